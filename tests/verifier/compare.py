"""Both verdicts of every case side by side where they differ: `python tests/verifier/compare.py [-v] [PART OF A NAME]`."""

from __future__ import annotations

import sys

from judges import Live, live_or_reason, ours
from test_verdicts_of_cases import _load, case_of, words_of


def main() -> int:
    verbose = "-v" in sys.argv
    words = [a for a in sys.argv[1:] if not a.startswith("-")]
    live = live_or_reason()
    if not isinstance(live, Live):
        sys.exit(live)
    differ = 0
    for param in _load():
        row, name = param.values[0], str(param.id)
        if words and not any(w in name for w in words):
            continue
        case = case_of(row, live.btf)
        mine, theirs = ours(case, live.btf, 2 if verbose else 1), live.judge(case, 2 if verbose else 1)
        expected = words_of(row)[0]
        same = mine.errno == theirs.errno and ("stricter" in row or theirs.ok == ("refused" not in row))
        same = same and (mine.ok or expected in theirs.log) and (mine.ok or expected in mine.log)
        same = same and (mine.ok or mine.reason == theirs.reason)
        if same and not verbose:
            continue
        differ += 1
        print(f"{name}: expected {expected!r}")
        for who, verdict in (("ours ", mine), ("linux", theirs)):
            print(f"   {who} {verdict.errno:3} {verdict.reason}")
        if verbose:
            print(mine.log, theirs.log, sep="\n--- linux\n")
    print(differ)
    return bool(differ)


if __name__ == "__main__":
    sys.exit(main())
