"""The same things from a shell: `python -m mer_lib run --corpus duet-i --system method --fold 1 --seed 0 --json`.

Results go to stdout, progress to stderr. Exit code 0: all was done; 1: a part failed, and stderr says which and why, or
something unexpected happened; 2 and one sentence: something was asked wrongly, or a file cannot be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import redirect_stdout
from importlib import import_module
from types import ModuleType

from mer_lib.cli.answer import Answer
from mer_lib.errors import expected, issues, sentence

COMMANDS = {
    "run": ("train", "train one system on one fold and test it"),
    "sweep": ("train", "train all variants on many folds and seeds"),
    "tune": ("train", "try every row of a table with the same few learning rates, on dev only"),
    "conditions": ("train", "measure when each part of the method matters, on corpora drawn anew"),
    "control": ("train", "measure the terms of L_sp in every epoch, trained on or not"),
    "predict": ("predict", "say which emotion a trained system hears and reads in files of your own"),
    "export": ("look", "print the folds of a corpus as JSON, for other programs"),
    "audit": ("look", "cross-examine a table of recalls that was published (chapter 16)"),
    "tables": ("look", "print mean and 95 percent interval of finished runs"),
    "ceilings": ("look", "the best possible scores on a Duet corpus"),
    "systems": ("look", "list the systems"),
    "corpora": ("look", "list the corpora"),
}
"""Name of each command, the module that does it, and what it does. Only the module of the asked one is loaded."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parser, modules = _parser(given)
    asked = parser.parse_args(given)
    try:
        with redirect_stdout(sys.stderr):  # what loaders say is no part of the answer
            answer: Answer = modules[asked.name].COMMANDS[asked.name](asked)
        print(answer.as_json() if asked.json else answer.as_text(), flush=True)
    except KeyboardInterrupt:
        print("mer_lib: stopped; what was finished is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who reads the answer has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if asked.debug:
            raise
        print(f"mer_lib: {_told(error, asked.name)}", file=sys.stderr)
        return 2 if _foreseen(error) else 1
    for problem in answer.problems:
        print(f"mer_lib: {problem}", file=sys.stderr)
    return 1 if answer.problems else 0


def _foreseen(error: Exception) -> bool:
    return expected(error) or (isinstance(error, OSError) and bool(error.strerror))


def _told(error: Exception, command: str) -> str:
    if _foreseen(error):
        return sentence(error)
    where = f", and report it at {issues()}" if issues() else ""
    return f"{sentence(error).rstrip('.')}, in `{command}`; run it again with --debug for the traceback{where}."


def _parser(given: list[str]) -> tuple[argparse.ArgumentParser, dict[str, ModuleType]]:
    """The parser, with the options of those commands that are named in what was given; and their modules."""
    first, _, codes = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(prog="python -m mer_lib", description=first, epilog=codes)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="command", dest="name")
    modules = {}
    for name, (module, about) in COMMANDS.items():
        sub = commands.add_parser(name, help=about, description=about[0].upper() + about[1:])
        sub.add_argument("--json", action="store_true", help="print JSON instead of a table or sentences")
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        if name in given:
            modules[name] = import_module(f"{__name__}.{module}")
            modules[name].arguments(name, sub)
    return parser, modules
