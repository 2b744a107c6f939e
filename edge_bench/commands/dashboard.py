"""open the store in a browser: trade-offs on a chart, and a page that picks"""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_bench.commands import Command, Context, Outcome


class Dashboard(Command):
    """Serves the dashboard until Ctrl-C: on this machine only, or elsewhere to those who have a token."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", metavar="N", type=int, default=8501, help="TCP port (default: 8501)")
        parser.add_argument("--no-browser", action="store_true", help="only serve; open no window")
        parser.add_argument(
            "--address",
            metavar="HOST",
            default="127.0.0.1",
            help="listen here; what others can reach needs --token-file (default: 127.0.0.1)",
        )
        parser.add_argument(
            "--token-file",
            metavar="FILE",
            type=Path,
            help="ask everybody for the token that this file of yours alone holds (chmod 600)",
        )
        parser.add_argument("--certificate", metavar="FILE", type=Path, help="serve https (PEM)")
        parser.add_argument("--key", metavar="FILE", type=Path, help="the certificate's private key")

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from dashboard.launch import launch, place_for

        place = place_for(
            host=options.address,
            port=options.port,
            token_file=options.token_file,
            certificate=options.certificate,
            key=options.key,
        )
        address = launch(context.home, place, browser=not options.no_browser, say=context.say)
        document = {"address": address, "home": str(context.home.root)}
        return Outcome(document=document, text="dashboard closed")
