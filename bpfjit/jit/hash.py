"""A hash's lookup as LLVM IR, made for one key size: what rt_hash_find() does (runtime/include/hash.h), with no call.

The seven tags of a bucket are compared at once, by a load of the whole line. That load is only a hint: the slot it
points to is loaded again, atomically, its key compared, and the slot looked at once more, as the C does.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from .memory import INVARIANT, RUNTIME

# The multipliers of rt_hash_bytes().
_START, _WORD, _TAIL, _LAST = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB

# @name(map, key, offset into the value) -> the value's address plus that offset, or NULL. 10922 is 0x2aaa: the tags
# are the upper halves of the first seven of a bucket's eight words.
_LOOKUP = Template("""\
define internal fastcc ptr @$name(ptr nonnull %map, ptr nonnull %key, i64 %offset) nounwind inlinehint {
entry:
  %seed.at = getelementptr i8, ptr %map, i64 $seed
  %seed = load i64, ptr %seed.at, align 8$invariant
  %mask.at = getelementptr i8, ptr %map, i64 $mask
  %mask = load i32, ptr %mask.at, align 4$invariant
  %buckets.at = getelementptr i8, ptr %map, i64 $buckets
  %buckets = load ptr, ptr %buckets.at, align 8$invariant
  %elems.at = getelementptr i8, ptr %map, i64 $elems
  %elems = load ptr, ptr %elems.at, align 8$invariant
  %elem_bytes.at = getelementptr i8, ptr %map, i64 $elem_bytes
  %elem_bytes32 = load i32, ptr %elem_bytes.at, align 4$invariant
  %elem_bytes = zext i32 %elem_bytes32 to i64
$hashed
  %upper = lshr i64 %hash, 32
  %tag = trunc i64 %upper to i32
  %tag.one = insertelement <16 x i32> poison, i32 %tag, i64 0
  %tags = shufflevector <16 x i32> %tag.one, <16 x i32> poison, <16 x i32> zeroinitializer
  %lower = trunc i64 %hash to i32
  %number = and i32 %lower, %mask
  %number64 = zext i32 %number to i64
  %home.off = shl i64 %number64, 6
  %home = getelementptr i8, ptr %buckets, i64 %home.off
  br label %bucket
bucket:
  %b = phi ptr [ %home, %entry ], [ %following, %overflow ]
  %line = load <16 x i32>, ptr %b, align 64$runtime
  %equal = icmp eq <16 x i32> %line, %tags
  %equal.bits = bitcast <16 x i1> %equal to i16
  %hits = and i16 %equal.bits, 10922
  %miss = icmp eq i16 %hits, 0
  br i1 %miss, label %next, label %match
match:
  %left = phi i16 [ %hits, %bucket ], [ %rest, %other ]
  %bit = call i16 @llvm.cttz.i16(i16 %left, i1 true)
  %i = lshr i16 %bit, 1
  %i64 = zext i16 %i to i64
  %slot = getelementptr i64, ptr %b, i64 %i64
  %word = load atomic i64, ptr %slot acquire, align 8$runtime
  %word.upper = lshr i64 %word, 32
  %word.tag = trunc i64 %word.upper to i32
  %same = icmp eq i32 %word.tag, %tag
  %e1 = trunc i64 %word to i32
  %used = icmp ne i32 %e1, 0
  %candidate = and i1 %same, %used
  br i1 %candidate, label %compare, label %other
compare:
  %e = add i32 %e1, -1
  %e64 = zext i32 %e to i64
  %elem.off = mul i64 %e64, %elem_bytes
  %elem = getelementptr i8, ptr %elems, i64 %elem.off
$compared
  br i1 %key.equal, label %again, label %other
again:
  fence acquire
  %word2 = load atomic i64, ptr %slot monotonic, align 8$runtime
  %still = icmp eq i64 %word2, %word
  br i1 %still, label %found, label %other
found:
$seen
  %value.off = add i64 %offset, $key_bytes
  %value = getelementptr i8, ptr %elem, i64 %value.off
  ret ptr %value
other:
  %left1 = add i16 %left, -1
  %rest = and i16 %left, %left1
  %last = icmp eq i16 %rest, 0
  br i1 %last, label %next, label %match
next:
  %next.at = getelementptr i8, ptr %b, i64 $next
  %n = load atomic i32, ptr %next.at acquire, align 4$runtime
  %none = icmp eq i32 %n, 0
  br i1 %none, label %absent, label %overflow
overflow:
  %overflow.at = getelementptr i8, ptr %map, i64 $overflow
  %overflows = load ptr, ptr %overflow.at, align 8$invariant
  %n.1 = add i32 %n, -1
  %n64 = zext i32 %n.1 to i64
  %following.off = shl i64 %n64, 6
  %following = getelementptr i8, ptr %overflows, i64 %following.off
  br label %bucket
absent:
  ret ptr null
}""")

# An LRU's element has been looked up; a line that all readers share is not written for nothing.
_SEEN = Template("""\
  %referenced.at = getelementptr i8, ptr %map, i64 $referenced
  %referenced = load ptr, ptr %referenced.at, align 8$invariant
  %mark.at = getelementptr i8, ptr %referenced, i64 %e64
  %mark = load atomic i8, ptr %mark.at monotonic, align 1$runtime
  %marked = icmp eq i8 %mark, 1
  br i1 %marked, label %out, label %mark.it
mark.it:
  store atomic i8 1, ptr %mark.at monotonic, align 1$runtime
  br label %out
out:""")


def _pieces(size: int) -> list[tuple[int, int]]:
    """(offset, bits) of the loads that make up a key of `size` bytes."""
    found, at = [], 0
    while at < size:
        n = next(n for n in (8, 4, 2, 1) if n <= size - at)
        found.append((at, n * 8))
        at += n
    return found


def _hashed(size: int) -> str:
    """rt_hash_bytes() of the key into %hash, its pieces into %key.OFFSET."""
    lines = [f"%x = xor i64 %seed, {_START}"]
    x, tail = "%x", ""

    def mix(word: str, multiplier: int, name: str) -> str:
        """The two halves of a product, folded."""
        lines.extend(
            [
                f"%{name}.in = xor i64 {x}, {word}",
                f"%{name}.wide = zext i64 %{name}.in to i128",
                f"%{name}.product = mul i128 %{name}.wide, {multiplier}",
                f"%{name}.shifted = lshr i128 %{name}.product, 64",
                f"%{name}.high = trunc i128 %{name}.shifted to i64",
                f"%{name}.low = trunc i128 %{name}.product to i64",
                f"%{name} = xor i64 %{name}.high, %{name}.low",
            ]
        )
        return f"%{name}"

    for at, bits in _pieces(size):
        lines.append(f"%key.at{at} = getelementptr i8, ptr %key, i64 {at}")
        lines.append(f"%key.{at} = load i{bits}, ptr %key.at{at}, align 1")
        if bits == 64:
            x = mix(f"%key.{at}", _WORD, f"x{at}")
            continue
        lines.append(f"%wide.{at} = zext i{bits} %key.{at} to i64")
        lines.append(f"%part.{at} = shl i64 %wide.{at}, {at % 8 * 8}")
        lines.append(f"%tail.{at} = or i64 %part.{at}, {tail or '0'}")
        tail = f"%tail.{at}"
    if tail:
        x = mix(tail, _TAIL, "xt")
    mix(str(size), _LAST, "hash")
    return "\n".join("  " + line for line in lines)


def _compared(size: int) -> str:
    """Whether the key at %elem is that of %key.OFFSET, into %key.equal."""
    lines, equal = [], "true"
    for at, bits in _pieces(size):
        lines += [
            f"%have.at{at} = getelementptr i8, ptr %elem, i64 {at}",
            f"%have.{at} = load i{bits}, ptr %have.at{at}, align {bits // 8}{RUNTIME}",
            f"%same.{at} = icmp eq i{bits} %have.{at}, %key.{at}",
            f"%equal.{at} = and i1 %same.{at}, {equal}",
        ]
        equal = f"%equal.{at}"
    return "\n".join("  " + line for line in [*lines, f"%key.equal = and i1 {equal}, true"])


LOOKUP = "rt_map_lookup_elem"
LOOKUP_DECL = f"declare ptr @{LOOKUP}(ptr, ptr) nounwind"


def lookup_call(name: str) -> str:
    """The same by a call: this CPU's value, a use of an LRU's element, as the runtime has them."""
    head = f"define internal fastcc ptr @{name}(ptr nonnull %map, ptr nonnull %key, i64 %offset) nounwind {{"
    return f"{head}\n  %value = call ptr @{LOOKUP}(ptr %map, ptr %key)\n  ret ptr %value\n}}"


def lookup_function(name: str, key_size: int, at: Mapping[str, int], *, lru: bool) -> str:
    """The function @name for keys of `key_size` bytes; `at` says where the members lie (runtime.offsets())."""
    members = {member.removeprefix("hash."): offset for member, offset in at.items() if member.startswith("hash.")}
    facts = {"invariant": INVARIANT, "runtime": RUNTIME}
    return _LOOKUP.substitute(
        members,
        **facts,
        name=name,
        next=at["bucket.next"],
        hashed=_hashed(key_size),
        compared=_compared(key_size),
        key_bytes=-(-key_size // 8) * 8,
        seen=_SEEN.substitute(members, **facts) if lru else "",
    )
