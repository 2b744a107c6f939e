"""`python -m edge_bench` is `edge-bench`."""

from edge_bench.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
