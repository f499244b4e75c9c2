"""What the generated extension offers: cffi's objects, typed as loosely as they are."""

from typing import Any

ffi: Any
lib: Any
