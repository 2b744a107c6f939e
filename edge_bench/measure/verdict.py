"""What a number is worth, in one word and the cause in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from edge_bench.measure.timing import POLLUTED, half_width
from edge_bench.measure.witness import Observed
from edge_bench.records.result import TimingBlock, Verdict

# Above these shares the machine was not ours: the host ran somebody else; other processes worked
# beside us (a model ran 1.4 times slower with the other hardware thread busy, never off the CPU;
# clock ticks are coarse, so a short measurement errs by some hundredths); the clock fell.
STEAL = 0.05
OTHERS = 0.15
FREQUENCY_DROP = 0.10
MIN_RUNS = 6


def judge(blocks: Sequence[TimingBlock], observed: Observed, *, precision: float) -> tuple[Verdict, str]:
    """Return the verdict on a measurement and its cause in words.

    throttled: the CPU slowed down. noisy: the CPU was taken away during blocks that had to be
    counted, or by the host, or other work ran beside. inconclusive: the interval of p50 stayed wider
    than `precision`.
    clean: none of these.
    """
    counted = [block for block in blocks if block.counted]
    told = sources(blocks, observed)
    if observed.throttled:
        return "throttled", f"the CPU was slowed to cool {observed.throttled} times; {told}"
    if observed.frequency is not None and observed.frequency < 1 - FREQUENCY_DROP:
        fell = 1 - observed.frequency
        return "throttled", f"the CPU's clock fell by {fell:.0%} while measuring; {told}"
    if observed.steal is not None and observed.steal > STEAL:
        return "noisy", f"the host took {observed.steal:.0%} of the CPU time; {told}"
    if observed.others is not None and observed.others > OTHERS:
        return "noisy", f"other work used {observed.others:.0%} of the machine's CPUs; {told}"
    polluted = [block.off_cpu for block in counted if (block.off_cpu or 0) > POLLUTED]
    if polluted:
        share = max(one for one in polluted if one is not None)
        return "noisy", (
            f"other work kept the model off the CPU in {len(polluted)} of {len(counted)} blocks "
            f"that count, up to {share:.0%} of the time; {told}"
        )
    runs = sum(len(block.latencies_ns) for block in counted)
    if runs < MIN_RUNS:
        return "inconclusive", f"{runs} runs are too few for an interval: allow more seconds; {told}"
    reached = half_width([block.latencies_ns for block in counted])
    if reached > precision:
        return "inconclusive", f"p50 is known to ±{reached:.1%} only, not ±{precision:.1%}; {told}"
    return "clean", f"p50 is known to ±{reached:.1%}; {told}"


def sources(blocks: Sequence[TimingBlock], observed: Observed) -> str:
    """Return what each source told, or that it was unavailable."""
    shares = [block.off_cpu for block in blocks if block.counted and block.off_cpu is not None]
    again = sum(not block.counted for block in blocks)
    parts = [
        f"off the CPU {_share(sum(shares) / len(shares) if shares else None)}",
        *([f"{again} polluted blocks were measured again"] if again else []),
        f"waiting tasks on the machine {_share(observed.pressure)}",
        f"stolen by the host {_share(observed.steal)}",
        f"other work {_share(observed.others)}",
        f"clock {'unavailable' if observed.frequency is None else 'steady'}",
    ]
    return ", ".join(parts)


def _share(share: float | None) -> str:
    return "unavailable" if share is None else f"{share:.1%}"
