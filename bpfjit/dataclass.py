"""dataclass, field and replace as the standard library's, for modules that every process imports.

The standard library writes and compiles six methods for each class when it is made (half a millisecond), and brings
`inspect` along. Here a class's `__init__` is compiled when some objects have been made, and the other methods are the same
functions for all. What is not needed is not here: order, kw_only, init=False.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")
_BY_HAND = 8  # objects that are made before an `__init__` is compiled for them
_FIELDS = "__bpfjit_fields__"  # name -> field, bases' first


class FrozenError(AttributeError):
    """An attribute of a frozen object is assigned."""


class _Field:
    __slots__ = ("compare", "default", "default_factory", "repr")

    def __init__(self, default: Any, default_factory: Any, compare: bool, repr: bool) -> None:
        self.default, self.default_factory, self.compare, self.repr = default, default_factory, compare, repr


_NONE: Any = object()


class _StandardFields:
    """What the standard library's own functions (asdict, replace) ask a class for, made when they do."""

    def __get__(self, obj: object, cls: type) -> dict[str, Any]:
        import dataclasses

        members: dict[str, _Field] = getattr(cls, _FIELDS)
        return {f.name: f for f in dataclasses.fields(dataclasses.make_dataclass(cls.__name__, members))}


def field(
    *, default: Any = _NONE, default_factory: Callable[[], Any] = _NONE, compare: bool = True, repr: bool = True
) -> Any:
    """A member with a default made anew for each object, or left out of comparisons or repr()."""
    return _Field(default, default_factory, compare, repr)


@overload
def dataclass(cls: type[T], /) -> type[T]: ...
@overload
def dataclass(*, frozen: bool = ..., slots: bool = ..., eq: bool = ...) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(field_specifiers=(field,))
def dataclass(cls: type[T] | None = None, /, *, frozen: bool = False, slots: bool = False, eq: bool = True) -> Any:
    """The class with `__init__`, `__repr__`, `__eq__` and, if frozen, `__hash__`; see the standard library's."""

    def make(cls: type[T]) -> type[T]:
        return _make(cls, frozen, slots, eq)

    return make if cls is None else make(cls)


def replace(obj: T, /, **changes: Any) -> T:
    """A copy of an object with some members exchanged."""
    return type(obj)(**{name: getattr(obj, name) for name in fields(obj)} | changes)


def fields(obj: Any) -> dict[str, Any]:
    """The members of a class or an object, in order."""
    found: dict[str, Any] = getattr(obj, _FIELDS)
    return found


def _make(cls: type[T], frozen: bool, slots: bool, eq: bool) -> type[T]:
    ns = dict(cls.__dict__)
    own = [
        n for n, kind in ns.get("__annotations__", {}).items() if not str(kind).startswith(("ClassVar", "typing.ClassVar"))
    ]
    members: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        members |= base.__dict__.get(_FIELDS, {})
    for name in own:
        default = ns.get(name, _NONE)
        members[name] = default if isinstance(default, _Field) else _Field(default, _NONE, True, True)
        if slots or isinstance(default, _Field):
            ns.pop(name, None)
            if not slots and members[name].default is not _NONE:
                ns[name] = members[name].default
    ns[_FIELDS] = members
    ns["__dataclass_fields__"] = _StandardFields()
    ns["__match_args__"] = tuple(members)
    if slots:
        inherited = {n for base in cls.__mro__[1:] for n in base.__dict__.get("__slots__", ())}
        ns["__slots__"] = tuple(n for n in own if n not in inherited)
    for name in ("__dict__", "__weakref__"):
        ns.pop(name, None)
    compared = [name for name, f in members.items() if f.compare]
    own_init = "__init__" in ns
    ns.setdefault("__repr__", _repr)
    if eq and "__eq__" not in ns:
        ns["__eq__"] = _equal(compared)
        ns.setdefault("__hash__", _hash(compared) if frozen else None)
    if frozen:
        ns["__setattr__"] = ns["__delattr__"] = _refuse
        ns.setdefault("__getstate__", _state)
        ns.setdefault("__setstate__", _restore)
    metaclass: Any = type(cls)
    made: Any = metaclass(cls.__name__, cls.__bases__, ns)
    if not own_init:
        made.__init__ = _first_init(made, members, frozen)
    return made  # type: ignore[no-any-return]


def _first_init(cls: Any, members: dict[str, _Field], frozen: bool) -> Callable[..., None]:
    """An `__init__` that writes the real one once it is called often: most classes have few objects."""

    made = 0

    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:
        nonlocal made
        made += 1
        if made <= _BY_HAND and _fill(self, members, args, kwargs):
            return
        scope: dict[str, Any] = {"_set": object.__setattr__, "_none": _NONE}
        head, body = ["self"], []
        for name, f in members.items():
            value = name
            if f.default_factory is not _NONE:
                scope[f"_make_{name}"] = f.default_factory
                head.append(f"{name}=_none")
                value = f"_make_{name}() if {name} is _none else {name}"
            elif f.default is not _NONE:
                scope[f"_default_{name}"] = f.default
                head.append(f"{name}=_default_{name}")
            else:
                head.append(name)
            body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
        if hasattr(cls, "__post_init__"):
            body.append("self.__post_init__()")
        exec(f"def __init__({', '.join(head)}):\n  " + "\n  ".join(body or ["pass"]), scope)
        init = scope["__init__"]
        init.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = init
        init(self, *args, **kwargs)

    return __init__


def _fill(self: Any, members: dict[str, _Field], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Make an object without an `__init__` of its class; False for arguments that do not fit."""
    given = dict(zip(members, args, strict=False))
    if len(args) > len(members) or given.keys() & kwargs.keys() or kwargs.keys() - members.keys():
        return False
    given |= kwargs
    for name, f in members.items():
        if name not in given:
            value = f.default if f.default_factory is _NONE else f.default_factory()
            if value is _NONE:
                return False
            given[name] = value
    for name, value in given.items():
        object.__setattr__(self, name, value)
    if hasattr(self, "__post_init__"):
        self.__post_init__()
    return True


def _values(names: list[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda obj: ()


def _equal(names: list[str]) -> Callable[[Any, object], bool]:
    values = _values(names)

    def __eq__(self: Any, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash(names: list[str]) -> Callable[[Any], int]:
    values = _values(names)

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __hash__


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, f in fields(self).items() if f.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, *value: Any) -> None:
    raise FrozenError(f"{type(self).__name__}.{name} cannot be changed")


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for name, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, name, value)
