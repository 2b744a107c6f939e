"""Stores in which each page has each of its charts to show, and stores whose every name is hostile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from run_folders import judge, probe, write_a_run

from edge_bench.files import Home
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    FittedPredictor,
    SearchSpace,
    Subnet,
    TimingBlock,
    TransformerSpace,
)
from edge_bench.records.result import OperatorTime, Placement
from edge_bench.store import Record

RUN = "digits-0a1b2c3d"
DENSE = "small-00000000"
TEXT = "reviews-00000001"
# What shows each chart there is.
VIEWS = (
    "",
    "/pick",
    "/devices",
    "/benchmarks",
    f"/families?run={RUN}",
    f"/families?run={RUN}&show=choices",
    f"/families?run={TEXT}&show=depth",
    f"/families?run={DENSE}&show=sparsity",
    f"/families?run={DENSE}&show=position",
    "/model",
)
# What a foreign file of results or a model's own metadata may call something.
HOSTILE = (
    '<script>window.hit=1</script><img src=x onerror="window.hit=1"><b>b</b> ![i](http://evil.example/a.png)'
    " [l](http://evil.example) www.evil.example me@evil.example **c** `d` $x^2$ :material/home: :red[e]"
    " &lt;i&gt; a\u202eb\u2066c\x07d"
)
LONG = "n" * 300
# What identifies a record, tells which ones belong together, or is one of few values.
_KEPT = set(
    "id artifact subnet run digest created file format precision split verdict step_of program arch space"
    " kind unit held_out_unit device origin mode scenario encoding preprocessing inputs outputs".split()
)


def whole(records: Iterable[Record]) -> list[Record]:
    """Return records, and behind them results that benchmarks, sweeps and comparisons are drawn of."""
    given = list(records)
    results = [one for one in given if isinstance(one, BenchmarkResult)]
    profiled = replace(
        results[-1],
        blocks=(
            *(_block(1_000 + 40 * number, at_s=0.2 * number) for number in range(8)),
            _block(2_400, at_s=1.7, reason="the CPU was taken away"),
        ),
        operators=tuple(
            OperatorTime(name=f"layer_{number}", kind="Conv", mean_ms=0.1 / number, share=0.3 / number)
            for number in range(1, 7)
        ),
        placements=(Placement(where="CPU", operators={"Conv": 6}, wanted=False),),
        notes=("the clock is coarse",),
        environment={"cpu": "one", "cores": 4},
    )
    others = [
        replace(profiled, id="two-threads", threads=2),
        replace(profiled, id="another-runtime", runtime="openvino"),
        replace(profiled, id="paced", mode="paced", scenario="offline"),
        replace(profiled, id="elsewhere", device="board", environment={"cpu": "other"}),
        replace(profiled, id="imported", device="phone", origin="a program", reported={"mean_ms": 2.0}),
    ]
    return [*(one for one in given if one.id != profiled.id), *others, profiled]


def hostile_store(records: Iterable[Record], text: str = HOSTILE) -> list[Record]:
    """Return the records of `whole` with hostile names; some of a hostile device, run and origin too."""
    told: list[Record] = []
    for one in whole(records):
        changed = hostile(one, text)
        if isinstance(changed, BenchmarkResult) and changed.id in ("elsewhere", "imported", "paced"):
            changed = replace(
                changed,
                device=hostile(changed.device, text) if changed.id != "paced" else changed.device,
                origin=hostile(changed.origin, text) if changed.id == "imported" else changed.origin,
                mode=hostile(changed.mode, text) if changed.id == "paced" else changed.mode,
            )
        told.append(changed)
    strange = next(one for one in told if isinstance(one, Subnet))
    return [replace(one, run=hostile(one.run, text)) if one is strange else one for one in told]


def put_model(home: Home, records: Iterable[Record], model: Path) -> None:
    """Put a model that can be read where the file of each network's first artifact lies."""
    for one in records:
        if isinstance(one, Artifact) and one.format == "onnx":
            home.absolute(one.file).write_bytes(model.read_bytes())


def runs(home: Home, records: Iterable[Record], text_space: TransformerSpace, *, called: str = "") -> None:
    """Write runs and probes that fill each section of the page of families."""
    space = next(one.space for one in records if isinstance(one, Subnet))
    assert isinstance(space, SearchSpace)
    word = called or "accuracy"
    names: dict[str, Any] = {"config_name": called, "learned": word, "metric": word}
    phases = (called or "largest", f"{called}all")
    write_a_run(home, RUN, space=space, alone=False, phases=phases, quality=0.9, **names)
    write_a_run(home, TEXT, space=text_space, alone=False, quality=0.9, **names)
    judge(home, TEXT, [text_space.largest(), text_space.smallest()], metric=word)
    write_a_run(home, DENSE, quality=0.95, **names)
    for level, value in enumerate((0.94, 0.92), 1):
        options = {"level": level, "control": called, "dense": DENSE, "below": DENSE}
        write_a_run(
            home,
            f"small-level{level}-x-0000000{level}",
            techniques={"lottery_ticket": options},
            facts={"lottery_ticket": {"pruned": 1 - 0.5**level, "weights": 100, "level": level}},
            quality=value,
            **names,
        )
    probe(home, f"{DENSE}-{called}", file="found")


def hostile(record: Any, text: str = HOSTILE) -> Any:
    """Return a record whose every name begins with `text`; what it was stands behind, to tell it apart."""
    if isinstance(record, str):
        return f"{text} {record}"
    if isinstance(record, tuple):
        return tuple(hostile(one, text) for one in record)
    if isinstance(record, dict):
        return {hostile(key, text): hostile(value, text) for key, value in record.items()}
    if isinstance(record, FittedPredictor):
        return replace(record, source=hostile(record.source, text), method=hostile(record.method, text))
    if is_dataclass(record) and not isinstance(record, type):
        changed = {
            one.name: hostile(getattr(record, one.name), text)
            for one in fields(record)
            if one.init and one.name not in _KEPT
        }
        return replace(record, **changed)
    return record


def _block(micros: int, *, at_s: float, reason: str = "") -> TimingBlock:
    latencies = tuple(1_000 * (micros + place) for place in range(20))
    return TimingBlock(
        latencies_ns=latencies, counted=not reason, off_cpu=0.5 if reason else 0.0, reason=reason, at_s=at_s
    )
