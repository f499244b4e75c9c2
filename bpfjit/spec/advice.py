"""What usually mends a program that the verifier refuses: by its words (Linux's), the first row that fits."""

from __future__ import annotations

import re
from typing import NamedTuple


class Advice(NamedTuple):
    """`pattern` is looked for in the refusal; `text` says what to do, in a sentence or two."""

    pattern: re.Pattern[str]
    text: str


def _row(pattern: str, text: str) -> Advice:
    return Advice(re.compile(pattern), text)


ADVICE = (
    _row(
        r"invalid mem access '\w*_or_null|pointer arithmetic on \w*_or_null prohibited|Possibly NULL pointer",
        "The pointer may be NULL here. Compare it with NULL on every way that leads here, and return or skip if it is.",
    ),
    _row(
        r"offset is outside of the packet|invalid access to packet",
        "Prove that the packet reaches so far: `if (data + N > data_end) return …;` on this way, with the "
        "same pointer that is "
        "used afterwards. Helpers that may move the packet make all earlier checks void: read data and "
        "data_end anew.",
    ),
    _row(
        r"min value is negative|min value is outside|unbounded min value|makes \w+ pointer be out of bounds",
        "The number may be negative here. Make it unsigned, or check `if (i < 0) return …;` before it is used.",
    ),
    _row(
        r"unbounded memory access|max value is outside of the allowed memory range|invalid unbounded variable-offset",
        "The number may be larger than the memory behind the pointer. Bound it right before the access, in "
        "the variable that "
        "is used: `if (i >= SIZE) return …;` or `i &= SIZE - 1;` (SIZE a power of two).",
    ),
    _row(
        r"invalid zero-sized read",
        "The size may be 0 here. Let it be at least 1: `if (!size) return …;` or `size = (size & MASK) + 1;`.",
    ),
    _row(
        r"R\d+ !read_ok",
        "The register is not set on this way. Give the variable a value where it is declared; a helper call "
        "leaves nothing in "
        "r1 to r5.",
    ),
    _row(
        r"invalid mem access 'scalar'|invalid mem access 'inv'",
        "This is a number to the verifier, not a pointer. Addresses read with bpf_probe_read_kernel() or "
        "computed by hand can "
        "only be read by that helper again; keep the pointer in a pointer variable, and cast nothing to int.",
    ),
    _row(
        r"invalid mem access 'ptr_|only read is supported|invalid mem access 'untrusted",
        "Kernel memory is read only through this pointer. Change it by a helper or kernel function that is made for it.",
    ),
    _row(
        r"infinite loop detected|back-edge",
        "Nothing that the verifier can see changes from round to round. Let a counter with a constant bound "
        "end the loop, or use "
        "bpf_for(), bpf_loop() or `can_loop`.",
    ),
    _row(
        r"BPF program is too large|sequence of \d+ jumps is too complex",
        "There are too many ways through the program. Use bpf_for(), bpf_loop() or `can_loop` for loops, move"
        " parts into global "
        "functions (verified once), or let branches join before the next one.",
    ),
    _row(
        r"Unreleased reference|would lead to reference leak",
        "What was acquired must be given back on every way to the end, early returns included.",
    ),
    _row(
        r"cannot use helper|unknown func|invalid func unknown",
        "This helper is not for programs of this type. `bpfjit verify` checks by type: choose another "
        "section, or another helper.",
    ),
    _row(
        r"calling kernel function \S+ is not allowed",
        "This kernel function is not for programs of this type.",
    ),
    _row(
        r"GPL-restricted",
        'The helper is for GPL programs only: `char LICENSE[] SEC("license") = "GPL";`.',
    ),
    _row(
        r"might sleep|sleepable",
        'This may sleep, and here nothing may. Use a sleepable section (`SEC("fentry.s/…")`), or leave the '
        "locked or RCU section first.",
    ),
    _row(
        r"At program exit the register R0|At callback return",
        "Return only what this type of program may return, on every way; a number that came from elsewhere "
        "must be bounded first.",
    ),
    _row(
        r"combined stack size|the call stack of|stack size",
        "512 bytes of stack for a whole chain of calls. Put large variables into a map (a per-CPU array of "
        "one element is usual).",
    ),
    _row(
        r"write into map forbidden",
        "The map is read only for programs (BPF_F_RDONLY_PROG, or .rodata). Write to another.",
    ),
    _row(
        r"invalid bpf_context access|doesn't have \d+-th argument",
        "The context has no such member for programs of this type, or not in this width, or it may not be written.",
    ),
    _row(
        r"dereference of modified ctx ptr|variable ctx access",
        "Read the context's members by constant offsets from the context pointer itself (clang may have moved"
        " it: read the "
        "member into a variable first).",
    ),
    _row(
        r"misaligned (stack|value|packet)",
        "The address is not a multiple of the access's size. Use a type that lies where it should, or memcpy().",
    ),
    _row(
        r"invalid (variable-offset )?(read from|write to|indirect access to) stack",
        "The access leaves the function's stack, or the variable there. Check sizes and indexes of local arrays.",
    ),
    _row(
        r"leaks addr",
        "Addresses of the kernel may not go where users could read them. Store what lies behind the pointer instead.",
    ),
    _row(
        r"pointer arithmetic|pointer .* pointer prohibited|bitwise operator|32-bit pointer arithmetic",
        "This is no arithmetic for pointers of this kind. Add bounded numbers to pointers into maps, packets "
        "and the stack only.",
    ),
    _row(
        r"R\d+ type=\S+ expected=",
        "The argument is of another kind than the function wants. Pass the pointer that it names, checked for NULL.",
    ),
    _row(r"unreachable insn", "Remove the code that nothing leads to."),
)


def advice_for(reason: str) -> str:
    """What usually mends this; "" where nothing is known."""
    return next((row.text for row in ADVICE if row.pattern.search(reason)), "")
