"""`edge-bench devices profile`: within a budget, kept when interrupted, stored so that pick uses it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bench import errors
from edge_bench.choose.features import blocks, features, part_features
from edge_bench.choose.fitting import fit_predictor
from edge_bench.choose.predictors import FeatureTable
from edge_bench.choose.predictors.corrected import Corrected
from edge_bench.choose.suggestions import suggest
from edge_bench.cli import main
from edge_bench.commands import _profiling
from edge_bench.commands._profiling import Agenda, measure
from edge_bench.commands._surveying import Sketch, Surveyor
from edge_bench.devices.bundle import unpack
from edge_bench.devices.job import Job, Report, SurveyOptions
from edge_bench.devices.models import ModelCache
from edge_bench.devices.queue import JobQueue
from edge_bench.devices.registry import Registry
from edge_bench.files import Home
from edge_bench.records import Operator, SearchSpace, Survey, operators, parse_arch
from edge_bench.store import ResultStore, now
from supernet.spaces.lite_32 import LiteAt32

SPACE = LiteAt32().build(input_channels=3, classes=1000)
# Blocks cost by their shape what sums of operators do not tell.
PRICES: dict[str, float] = {}


def latency_ms(listed: Sequence[Operator]) -> float:
    """An overhead, multiply-accumulates, and for each shape of block a factor of its own."""
    total = 0.02
    for block in blocks(listed):
        (shape,) = [name for name in part_features(block) if name.endswith(" count") and "block " in name]
        factor = PRICES.setdefault(shape, 1 + (sum(shape.encode()) % 7) / 10)
        total += factor * 2e-8 * sum(one.macs for one in block) + 1e-3
    return total


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile of few networks and blocks."""
    monkeypatch.setattr(_profiling, "NETS", 24)
    monkeypatch.setattr(_profiling, "HELD_OUT", 8)
    monkeypatch.setattr(_profiling, "BLOCKS", 12)


class Device:
    """Answers surveys with what `latency_ms` says of each sketch; somebody presses Ctrl-C `after` some."""

    def __init__(self, agenda: Agenda, *, after: int | None = None, seconds: float = 0.0) -> None:
        self.known = {one.name: latency_ms(one.operators) for one in agenda.sketches}
        self.after, self.seconds, self.asked = after, seconds, 0

    def __call__(self, transport: Any, job: Job, model: Path, **_: Any) -> Survey:
        if self.asked == self.after:
            raise KeyboardInterrupt
        self.asked += 1
        time.sleep(self.seconds)
        assert isinstance(job.options, SurveyOptions)
        folder = model.parent / "there"
        folder.mkdir()
        names = [file.stem for file in unpack(model, folder)]
        return Survey(
            id=f"{transport.device.name}-{time.time_ns()}",
            device=transport.device.name,
            digest=job.digest,
            space=job.options.space,
            runtime=job.options.runtime,
            threads=job.options.threads,
            latencies_ms={name: self.known[name] for name in names},
            environment={},
            created=now(),
        )


@pytest.fixture
def answered(few: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Device]:
    def answer(**options: Any) -> Device:
        device = Device(Agenda.of(SPACE), **options)
        monkeypatch.setattr(
            "edge_bench.devices.transports.local.Local.run",
            lambda self, job, model, **rest: device(self, job, model, **rest),
        )
        monkeypatch.setattr("edge_bench.commands._surveying.BUNDLE_FILES", 10)
        return device

    return answer


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    command = ["devices", "profile", "this-machine", "--space", "lite_32", "--runtimes", "litert", *words]
    assert main([*command, "--json", "--quiet"]) == errors.OK
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_profile_tells_its_errors_on_networks_it_was_not_fitted_on_and_is_stored(
    answered: Callable[..., Device], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    answered()
    [row] = told(capsys)["predictors"]
    assert (row["fitted"], row["held_out"], row["blocks"]) == (24, 8, 12)
    assert row["mape"] < 0.06 and row["mape"] < row["baseline"]["mape"]
    assert row["spearman"] > 0.95 and row["kendall"] > 0.85 and 0 <= row["coverage"] <= 1
    assert row["disagreement"] == 0
    assert len(row["suggestions"]) == 5
    with ResultStore(home.store_url) as store:
        [fitted] = store.predictors(device="this-machine")
        assert fitted.kind == "corrected" and "12 blocks measured alone" in fitted.method
        assert len(store.surveys()) == 10


def test_an_interrupted_profile_goes_on_from_what_it_has(
    answered: Callable[..., Device], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(after=3)
    words = ["devices", "profile", "this-machine", "--space", "lite_32", "--runtimes", "litert", "--quiet"]
    assert main(words) == errors.INTERRUPTED
    with ResultStore(home.store_url) as store:
        assert len(store.surveys()) == 3 and store.predictors() == []
    again = answered()
    [row] = told(capsys)["predictors"]
    assert row["fitted"] == 24 and again.asked == 7
    third = answered()
    told(capsys)
    assert third.asked == 0


def test_a_profile_stops_within_its_budget_and_says_what_is_missing(
    answered: Callable[..., Device], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    device = answered(seconds=0.3)
    words = [
        "devices",
        "profile",
        "--space",
        "lite_32",
        "--runtimes",
        "litert",
        "--budget-minutes",
        "0.001",
    ]
    assert main(words) == errors.USAGE
    said = capsys.readouterr().err
    assert "up to 32 networks" in said and "are needed" in said and "--budget-minutes" in said
    assert device.asked == 1


def test_any_beginning_of_an_agenda_has_networks_to_fit_on_and_to_judge_by(few: None) -> None:
    agenda = Agenda.of(SPACE)
    assert Agenda.of(SPACE) == agenda
    keys = [arch.key for arch in agenda.networks]
    assert len(set(keys)) == 32 and len(agenda.held_out) == 8
    assert agenda.networks[0] == SPACE.smallest() and agenda.networks[1] == SPACE.largest()
    for count in (12, 24):
        assert sum(key in agenda.held_out for key in keys[:count]) == count // 3


def test_a_second_visit_is_kept_apart_and_the_least_counts(
    answered: Callable[..., Device], home: Home
) -> None:
    from edge_bench.commands import Context

    device = answered()
    agenda = Agenda.of(SPACE)
    context = Context(home=home, quiet=True)
    with context.store() as store:
        surveyor = Surveyor(
            SPACE, device="this-machine", runtime="litert", threads=1, context=context, store=store
        )
        one = Sketch.of_network(SPACE, SPACE.smallest())
        surveyor.visit([one], what="one")
        first = device.known[one.name]
        device.known[one.name] = first * 1.1
        surveyor.visit([one], what="one")
        assert surveyor.visits[one.name] == [first, first * 1.1]
        assert surveyor.latency_ms(one.name) == first
        assert surveyor.disagreement([one.name]) == pytest.approx(0.1)
        measure(agenda, surveyor, until=time.monotonic() + 60)
        assert all(len(surveyor.visits[sketch.name]) >= 2 for sketch in agenda.sketches)


def test_an_own_device_is_profiled_by_its_agent_and_pick_knows_it(
    few: None, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["devices", "add", "pi", "--agent", "--quiet"])
    capsys.readouterr()
    known = Device(Agenda.of(SPACE)).known
    done = threading.Event()

    def agent() -> None:
        with ResultStore(home.store_url) as store:
            queue = JobQueue(store)
            while not done.is_set():
                Registry(store).seen("pi")
                if (grant := queue.lease("pi", "agent")) is None:
                    continue
                job = grant.job
                assert isinstance(job.options, SurveyOptions)
                folder = home.root / job.id
                folder.mkdir()
                files = unpack(ModelCache.of_controller(home).path(job), folder)
                survey = Survey(
                    id=job.id,
                    device="pi",
                    digest=job.digest,
                    space=job.options.space,
                    runtime=job.options.runtime,
                    threads=1,
                    latencies_ms={file.stem: known[file.stem] for file in files},
                    environment={},
                    created=now(),
                )
                queue.report("pi", Report(id=survey.id, job=job.id, lease=grant.lease, result=survey))

    thread = threading.Thread(target=agent)
    thread.start()
    try:
        words = ["devices", "profile", "pi", "--space", "lite_32", "--runtimes", "litert", "--json"]
        assert main([*words, "--quiet"]) == errors.OK
    finally:
        done.set()
        thread.join()
    [row] = json.loads(capsys.readouterr().out)["predictors"]
    assert row["device"] == "pi" and row["mape"] < 0.06
    with ResultStore(home.store_url) as store:
        [fitted] = store.predictors(device="pi")
    assert "pi" in fitted.source


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["profile", "nobody", "--space", "lite_32"], "is no device of yours"),
        (["profile", "this-machine", "--space", "lite_23"], "Did you mean 'lite_32'"),
        (["profile", "this-machine", "--space", "lite_32", "--run", "x"], "give one of them"),
        (["profile", "this-machine"], "no search space is known"),
        (["profile", "this-machine", "--space", "lite_32", "--budget-minutes", "0"], "above 0"),
        (["profile", "this-machine", "--space", "lite_32", "--runtimes", "litertt"], "Did you mean"),
        (["list", "--budget-minutes", "3"], "does not apply to devices list"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices", *words]) == errors.USAGE
    assert said in capsys.readouterr().err


def test_suggestions_have_short_names_and_are_unlike_what_was_measured(space: SearchSpace) -> None:
    generator = np.random.default_rng(1)
    drawn = {arch.key: arch for arch in (space.sample(generator) for _ in range(60))}
    archs = [space.smallest(), *(arch for key, arch in drawn.items() if key != space.smallest().key)]
    seen, unseen = archs[:20], archs[20:30]
    fitted = fit_predictor(
        space,
        seen,
        [latency_ms(operators(space, arch)) for arch in seen],
        kind="corrected",
        device="d",
        runtime="r",
        threads=1,
        held_out_archs=unseen,
        held_out_latencies_ms=[latency_ms(operators(space, arch)) for arch in unseen],
    )
    found = suggest(space, fitted, seen)
    assert len({one.arch.key for one in found}) == len(found) == 5
    for one in found:
        assert parse_arch(one.name, space) == one.arch
        assert one.arch.key not in {arch.key for arch in seen} and 0 < one.gain < 1
    # Once they are measured, the next tell less.
    later = suggest(space, fitted, [*seen, *(one.arch for one in found)])
    assert not later or later[0].gain < found[0].gain


def test_blocks_measured_alone_are_used_where_they_help_and_left_out_where_they_mislead() -> None:
    generator = np.random.default_rng(0)
    archs = list({arch.key: arch for arch in (SPACE.sample(generator) for _ in range(60))}.values())
    seen, unseen = archs[:20], archs[20:]
    known = FeatureTable.of([features(SPACE, arch) for arch in seen])
    alone = {one.name: one for arch in seen for one in map(Sketch.of_block, blocks(operators(SPACE, arch)))}
    rows = [part_features(one.operators) for one in alone.values()]
    table = FeatureTable.of([{name: row.get(name, 0.0) for name in known.names} for row in rows])
    truth = [latency_ms(operators(SPACE, arch)) for arch in seen]
    honest = [latency_ms(one.operators) for one in alone.values()]
    helped = Corrected().beside(table, honest).fit(known, truth)
    noise = generator.lognormal(0, 2, len(honest))
    misled = Corrected().beside(table, np.array(honest) * noise).fit(known, truth)
    plain = Corrected().fit(known, truth)
    others = FeatureTable.of([features(SPACE, arch) for arch in unseen])
    expected = np.array([latency_ms(operators(SPACE, arch)) for arch in unseen])
    errors_of = [
        np.abs(one.predict(others).latency_ms / expected - 1).mean() for one in (helped, misled, plain)
    ]
    assert helped.uses_blocks and not misled.uses_blocks
    assert errors_of[0] < errors_of[2] / 2 and errors_of[1] == errors_of[2]
