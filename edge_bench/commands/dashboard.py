"""open the store in a browser: trade-offs on a chart, and a page that picks"""

from __future__ import annotations

import argparse

from edge_bench.commands import Command, Context, Outcome


class Dashboard(Command):
    """Serves the dashboard on this machine only, until Ctrl-C."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", metavar="N", type=int, default=8501, help="TCP port (default: 8501)")
        parser.add_argument("--no-browser", action="store_true", help="only serve; open no window")

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from dashboard.launch import launch

        address = launch(context.home, port=options.port, browser=not options.no_browser, say=context.say)
        document = {"address": address, "home": str(context.home.root)}
        return Outcome(document=document, text="dashboard closed")
