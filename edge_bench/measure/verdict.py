"""What a number is worth, in one word and the cause in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from edge_bench.measure.timing import POLLUTED, half_width
from edge_bench.measure.witness import Observed
from edge_bench.records.result import TimingBlock, Verdict

# Above these shares the machine was not ours: the host ran somebody else; other processes worked
# beside us (a model ran 1.4 times slower with the other hardware thread busy, never off the CPU;
# clock ticks are coarse, so a short measurement errs by some hundredths); some task waited, where
# nobody tells how much others worked; the clock fell; a quota stopped us.
STEAL = 0.05
OTHERS = 0.15
PRESSURE = 0.15
FREQUENCY_DROP = 0.10
QUOTA = 0.05
MIN_RUNS = 6


def judge(blocks: Sequence[TimingBlock], observed: Observed, *, precision: float) -> tuple[Verdict, str]:
    """Return the verdict on a measurement and its cause in words.

    throttled: the CPU slowed down, was slowed all along, or a quota stopped it. noisy: the CPU was
    taken away during blocks that had to be counted, or by the host, or other work ran beside.
    inconclusive: the interval of p50 stayed wider than `precision`. clean: none of these.
    """
    told = sources(blocks, observed)
    counted = [block for block in blocks if block.counted]
    if cause := _throttled(observed):
        return "throttled", f"{cause}; {told}"
    if cause := _noisy(counted, observed):
        return "noisy", f"{cause}; {told}"
    runs = sum(len(block.latencies_ns) for block in counted)
    if runs < MIN_RUNS:
        return "inconclusive", f"{runs} runs are too few for an interval: allow more seconds; {told}"
    reached = half_width([block.latencies_ns for block in counted])
    if reached > precision:
        return "inconclusive", f"p50 is known to ±{reached:.1%} only, not ±{precision:.1%}; {told}"
    return "clean", f"p50 is known to ±{reached:.1%}; {told}"


def sources(blocks: Sequence[TimingBlock], observed: Observed) -> str:
    """Return what each source told, and which were unavailable."""
    shares = [block.off_cpu for block in blocks if block.counted and block.off_cpu is not None]
    again = sum(not block.counted for block in blocks)
    told = {
        "time off the CPU": _share("off the CPU", sum(shares) / len(shares) if shares else None),
        "run delay": _share("waiting for a CPU", observed.run_delay),
        "pressure": _share("waiting tasks on the machine", observed.pressure),
        "steal": _share("stolen by the host", observed.steal),
        "other work": _share("other work", observed.others),
        "quota": _share("stopped by a quota", observed.quota),
        "clock": "" if observed.clock is None else f"clock at {observed.clock:.0%} of its highest",
        "temperature": _temperature(observed),
        "throttling": _throttling(observed),
    }
    parts = [f"{again} polluted blocks were measured again"] if again else []
    parts += [words for words in told.values() if words]
    absent = [name for name, words in told.items() if not words]
    return ", ".join(parts) + (f"; unavailable: {', '.join(absent)}" if absent else "")


def _throttled(observed: Observed) -> str:
    if observed.throttled:
        return f"the CPU was slowed to cool {observed.throttled} times"
    if observed.slowed:
        return f"the CPU was slowed at the end: {', '.join(observed.slowed)}"
    # A cooling device that is known to rest outweighs a trip point that is touched.
    if observed.slowed is None and observed.headroom_c is not None and observed.headroom_c <= 0:
        return "a thermal zone reached the point at which it slows the machine"
    if observed.frequency is not None and observed.frequency < 1 - FREQUENCY_DROP:
        return f"the CPU's clock fell by {1 - observed.frequency:.0%} while measuring"
    if observed.quota is not None and observed.quota > QUOTA:
        return f"a CPU quota, as containers have, stopped the model for {observed.quota:.0%} of the time"
    return ""


def _noisy(counted: Sequence[TimingBlock], observed: Observed) -> str:
    if observed.steal is not None and observed.steal > STEAL:
        return f"the host took {observed.steal:.0%} of the CPU time"
    if observed.others is not None and observed.others > OTHERS:
        return f"other work used {observed.others:.0%} of the machine's CPUs"
    if observed.others is None and observed.pressure is not None and observed.pressure > PRESSURE:
        return f"some task waited for a CPU for {observed.pressure:.0%} of the time"
    polluted = [
        block.off_cpu for block in counted if block.off_cpu is not None and block.off_cpu > POLLUTED
    ]
    if not polluted:
        return ""
    where = f"in {len(polluted)} of {len(counted)} blocks that count, up to {max(polluted):.0%} of the time"
    if observed.run_delay is not None and observed.run_delay < sum(polluted) / len(counted) / 2:
        return f"the model was off the CPU {where}, mostly asleep, as when memory or a disk is waited for"
    return f"other work kept the model off the CPU {where}"


def _temperature(observed: Observed) -> str:
    if observed.temperatures_c is None:
        return ""
    before, after = observed.temperatures_c
    left = observed.headroom_c
    limit = "" if left is None else f" ({left:.0f} °C below its limit)" if left > 0 else " (at its limit)"
    return f"{before:.0f} to {after:.0f} °C{limit}"


def _throttling(observed: Observed) -> str:
    known = observed.throttled is not None or observed.slowed is not None
    return ("throttled" if observed.throttled or observed.slowed else "not throttled") if known else ""


def _share(words: str, share: float | None) -> str:
    return "" if share is None else f"{words} {share:.1%}"
