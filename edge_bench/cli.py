"""The command line: finds a command by name, runs it, and turns errors into one line and a status."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from edge_bench import __version__, errors, variants
from edge_bench.errors import EdgeBenchError
from edge_bench.files import HINT_OTHER_PLACE, Home, default_home, refused

COMMANDS = "edge_bench.commands"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `edge-bench` and return its exit status (the table is in README.md)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        status = _run(given)
        sys.stdout.flush()
        return status
    except EdgeBenchError as error:
        return _tell(error.message, error.hint, type(error).__name__, error.status, as_json)
    except ModuleNotFoundError as error:
        explained = variants.explain(error)
        if not isinstance(explained, EdgeBenchError):
            raise
        return _tell(explained.message, explained.hint, "MissingExtra", explained.status, as_json)
    except BrokenPipeError:
        # The reader went away (`… | head`): what is left to say has nobody to hear it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.OK
    except OSError as error:
        if (refusal := refused(error)) is None:
            raise
        place = f" '{error.filename}'" if error.filename else ""
        message = f"cannot write{place}: {refusal}"
        return _tell(message, HINT_OTHER_PLACE, "StoreError", errors.OUR_FAULT, as_json)
    except KeyboardInterrupt:
        hint = "run the same command again to go on"
        return _tell("interrupted", hint, "Interrupted", errors.INTERRUPTED, as_json)


def _run(given: list[str]) -> int:
    # What every command takes may stand before its name too: `--home FOLDER results`.
    shared = _Parser(prog="edge-bench", add_help=False, allow_abbrev=False)
    _shared(shared)
    options, given_command = shared.parse_known_args(given)
    name = _command_name(given_command)
    if name is None:
        _overview().parse_args(given)
        _overview().print_help()
        return errors.OK

    # The command's package imports the store; the overview above must answer without that.
    from edge_bench.commands import Command, Context

    command = variants.load(Command, COMMANDS, name.replace(" ", "_"))()
    parser = _Parser(prog=f"edge-bench {name}", description=variants.summary(COMMANDS, _stem(name)))
    command.arguments(parser)
    _shared(parser)
    # Options may stand between names: `bench a.onnx --threads 2 b.onnx`.
    parser.parse_intermixed_args(given_command, options)
    home = Home(Path(options.home).expanduser().absolute()) if options.home else default_home()
    outcome = command.run(options, Context(home=home, json=options.json, quiet=options.quiet))
    if not outcome.silent:
        _print(json.dumps(outcome.document, allow_nan=False, indent=1) if options.json else outcome.text)
    return outcome.status


def _command_name(given: list[str]) -> str | None:
    """Take the command's name out of `given` and return it.

    A command of two words, such as `bench parity`, is the file `bench_parity.py`; its second word
    stands right behind the first. Whoever has a file of that name writes `bench ./parity`.
    """
    place = next((place for place, word in enumerate(given) if not word.startswith("-")), None)
    if place is None:
        return None
    words = given[place : place + 2]
    if len(words) == 2 and _stem("_".join(words)) in variants.names(COMMANDS):
        del given[place : place + 2]
        return " ".join(words)
    return given.pop(place)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise errors.ConfigError(message, hint=f"{self.prog} --help")


def _overview() -> argparse.ArgumentParser:
    # As people type it: analyse_early_phase.py is `analyse early-phase`.
    typed = {
        name.replace("_", " ", 1).replace("_", "-"): variants.summary(COMMANDS, name)
        for name in variants.names(COMMANDS)
    }
    width = max(map(len, typed)) + 2
    listed = "\n".join(f"  {name:{width}}{summary}" for name, summary in typed.items())
    parser = _Parser(
        prog="edge-bench",
        usage="edge-bench COMMAND [options]",
        description="Train once, cut many models, put them on a device, measure them honestly,\n"
        "pick one, and see why.",
        epilog=f"commands:\n{listed}\n\n`edge-bench COMMAND --help` tells a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge-bench {__version__}")
    return parser


def _shared(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("everywhere")
    group.add_argument(
        "--home",
        metavar="FOLDER",
        help="where runs, artifacts and the store lie (default: $EDGE_BENCH_HOME, else "
        "~/.local/share/edge-bench)",
    )
    group.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _tell(message: str, hint: str, kind: str, status: int, as_json: bool) -> int:
    line = f"edge-bench: {message}" + (f"\n  → {hint}" if hint else "")
    print(line, file=sys.stderr)  # noqa: T201
    if as_json:
        error: dict[str, Any] = {"kind": kind, "message": message, "hint": hint, "status": status}
        _print(json.dumps({"error": error}))
    return status


def _print(text: str) -> None:
    print(text)  # noqa: T201


def _stem(name: str) -> str:
    return name.replace("-", "_").replace(" ", "_")
