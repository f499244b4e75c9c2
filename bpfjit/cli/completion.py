"""bpfjit completion bash | zsh | fish: a shell's completion, written from the parsers themselves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..dataclass import dataclass
from . import common


def add(commands: Any) -> None:
    parser = commands.add_parser("completion", help="print completion for a shell")
    parser.add_argument("shell", choices=tuple(_SHELLS))
    common.add_output(parser)
    parser.set_defaults(command=completion)


@dataclass(frozen=True, slots=True)
class Level:
    """What may follow some words: sub-commands or choices, options, and the choices of options that have some."""

    words: tuple[str, ...]
    commands: dict[str, str]
    options: dict[str, str]
    values: dict[str, tuple[str, ...]]


def levels(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[Level]:
    """Every level of the command line, outermost first."""
    commands: dict[str, str] = {}
    options: dict[str, str] = {}
    values: dict[str, tuple[str, ...]] = {}
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = dict(action.choices)
            commands |= {a.dest: a.help or "" for a in action._choices_actions} or dict.fromkeys(below, "")
            commands |= {name: "" for name in below if name not in commands}
        elif action.option_strings:
            options |= dict.fromkeys(action.option_strings, action.help or "")
            if action.choices:
                values |= dict.fromkeys(action.option_strings, tuple(map(str, action.choices)))
        elif action.choices:
            commands |= {str(c): "" for c in action.choices}
    yield Level(words, commands, options, values)
    for name, parser_below in below.items():
        yield from levels(parser_below, (*words, name))


def _bash(found: list[Level]) -> str:
    """The words before the cursor pick the level; what is no word of ours is a file."""
    cases = [f'\t"{" ".join(x.words)}") words="{" ".join([*x.commands, *x.options])}" ;;' for x in found]
    values = {option: choice for x in found for option, choice in x.values.items()}
    known = " ".join(f'"{" ".join(x.words)}"' for x in found if x.words)
    return "\n".join(
        [
            "_bpfjit() {",
            '\tlocal current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" level="" words="" i try known',
            '\tcase "$before" in',
            *[
                f'\t{option}) COMPREPLY=($(compgen -W "{" ".join(choice)}" -- "$current")); return ;;'
                for option, choice in values.items()
            ],
            "\tesac",
            "\tfor ((i = 1; i < COMP_CWORD; i++)); do",
            '\t\ttry="${level:+$level }${COMP_WORDS[i]}"',
            f'\t\tfor known in {known}; do [ "$known" = "$try" ] && level="$try"; done',
            "\tdone",
            '\tcase "$level" in',
            *cases,
            "\tesac",
            '\tCOMPREPLY=($(compgen -W "$words" -- "$current"))',
            '\t[ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))',
            "}",
            "complete -o filenames -F _bpfjit bpfjit",
            "",
        ]
    )


def _zsh(found: list[Level]) -> str:
    """zsh runs bash's completions."""
    return "#compdef bpfjit\nautoload -U +X bashcompinit && bashcompinit\n" + _bash(found)


def _fish(found: list[Level]) -> str:
    lines = []
    for x in found:
        seen = "; and ".join(f"__fish_seen_subcommand_from {w}" for w in x.words) or "__fish_use_subcommand"
        lines += [f"complete -c bpfjit -n '{seen}' -a {name} -d {_quoted(text)}" for name, text in x.commands.items()]
        for option, text in x.options.items():
            flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            choice = f" -x -a '{' '.join(x.values[option])}'" if option in x.values else ""
            lines.append(f"complete -c bpfjit -n '{seen}' {flag}{choice} -d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHELLS: dict[str, Callable[[list[Level]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}


def completion(args: argparse.Namespace) -> int:
    from .main import build_parser

    text = _SHELLS[args.shell](list(levels(build_parser())))
    if common.wants_json(args):
        common.print_json({"shell": args.shell, "text": text}, pretty=args.pretty)
    else:
        sys.stdout.write(text)
    return common.DONE
