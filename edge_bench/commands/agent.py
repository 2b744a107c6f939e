"""run on a device: ask a controller for work, measure, hand the results over"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from edge_bench.commands import Command, Context, Outcome
from edge_bench.errors import ConfigError
from edge_bench.network import is_loopback
from edge_bench.tokens import others_can_read, read_token


class Agent(Command):
    """The base install and one runtime are enough. It opens no port: it asks, and nobody asks it."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--controller", metavar="URL", required=True, help="e.g. http://laptop:8642")
        parser.add_argument(
            "--token-file",
            metavar="FILE",
            type=Path,
            required=True,
            help="holds what `edge-bench devices add NAME --agent` showed, and nothing else",
        )
        parser.add_argument("--name", metavar="NAME", help="refuse to work under another name than this")
        parser.add_argument(
            "--authority", metavar="FILE", type=Path, help="certificates to trust for https (PEM)"
        )
        parser.add_argument(
            "--poll-seconds",
            type=float,
            default=3.0,
            metavar="S",
            help="pause between questions (default: 3)",
        )
        parser.add_argument("--once", action="store_true", help="one job at most, then end: for scripts")

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from edge_bench.devices.agent import Agent as Loop
        from edge_bench.devices.client import ControllerClient

        if not 0 < options.poll_seconds <= 3600:
            raise ConfigError("--poll-seconds must be above 0 and at most 3600")
        client = ControllerClient(
            options.controller,
            _token(options.token_file, context),
            name=options.name,
            authority=options.authority,
        )
        address = urlsplit(client.url)
        if address.scheme == "http" and not is_loopback(address.hostname or ""):
            context.say("the token and the results travel unencrypted: use https on a network you share")
        _end_politely()
        context.say(f"asking {client.url} for work; Ctrl-C ends")
        tally = Loop(client, context.home, say=context.say, poll_s=options.poll_seconds).run(
            once=options.once
        )
        document = {"delivered": tally.delivered, "dropped": tally.dropped}
        return Outcome(
            document=document, text=f"{tally.delivered} reports taken, {tally.dropped} not needed"
        )


def _token(path: Path, context: Context) -> str:
    token = read_token(path, hint="`edge-bench devices add NAME --agent`, on the controller, shows one")
    if others_can_read(path):
        context.say(f"others on this machine can read the token: chmod 600 {path}")
    return token


def _end_politely() -> None:
    """Let a service manager's SIGTERM do what Ctrl-C does: give the lease back."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
