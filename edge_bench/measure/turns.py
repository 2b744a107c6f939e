"""The child's side of a comparison: it sleeps until it is told that it is its turn, and runs one block."""

from __future__ import annotations

import json
import socket
import time

from edge_bench.documents import to_document
from edge_bench.measure.runtimes import Session, Tensors
from edge_bench.measure.timing import Plan, measure


def take_turns(session: Session, feeds: Tensors, *, threads: int, line: int) -> None:
    """Answer each line of JSON that comes over the socket `line` (a file descriptor) with one block.

    A question holds `block_ms` and `warmup_ms`. Each turn warms up first: meanwhile another model has
    used the caches. It ends when the other side closes the socket.
    """
    this_machine = session.clock(threads).of_this_machine
    with socket.socket(fileno=line) as talk, talk.makefile("rwb") as lines:
        for question in lines:
            asked = json.loads(question)
            # No time at all is allowed, so that it stops after the first block.
            plan = Plan(
                block_ms=asked["block_ms"], warmup_ms=asked["warmup_ms"], max_seconds=0.0, min_blocks=0
            )
            (block,) = measure(session, feeds, plan, threads=threads).blocks
            answer = {
                "block": to_document(block),
                "own_s": time.process_time(),
                "of_this_machine": this_machine,
            }
            lines.write(json.dumps(answer).encode() + b"\n")
            lines.flush()
