"""`python -m edge_bench.tethered COMMAND …`: a command that ends when its standard input does, and so with
the process that started it, however that ends. SIGTERM is heard as Ctrl-C is.
"""

from __future__ import annotations

import os
import signal
import threading

from edge_bench.cli import main


def _end_with_starter() -> None:
    # Nobody writes: this returns when the last who could is gone. What a sandbox runs ends with us.
    while os.read(0, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    raise SystemExit(main())
