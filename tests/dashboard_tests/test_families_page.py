"""The page of families, run without a browser: curves, choices, depths, ladders and maps of position."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import opened
from run_folders import judge, probe, write_a_run
from streamlit.testing.v1 import AppTest

from dashboard import family_frames
from dashboard.stored import JOINER, escaped
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.records import (
    SearchSpace,
    Subnet,
    TransformerSpace,
)
from edge_bench.records.position import TARGETS
from edge_bench.runs import (
    LOG_FILE,
    RUN_FILE,
    read_judged,
    read_log,
    read_run,
    run_names,
)
from edge_bench.store import Record

NASTY = "<b>bold</b> [l](http://evil.example)"
WriteRun = Callable[..., str]


def page(**link: str) -> AppTest:
    return opened(AppTest.from_function(_families_page, default_timeout=120), link)


@pytest.fixture
def write_run(home: Home) -> WriteRun:
    """A function that writes a run folder and returns its name."""
    return partial(write_a_run, home)


@pytest.fixture
def ladder(write_run: WriteRun) -> str:
    """A dense run, two levels of tickets and a control beside each; returns the dense run's name."""
    dense = write_run("small-00000000", quality=0.95)
    for level, (ticket, random) in enumerate([(0.94, 0.90), (0.92, 0.80)], 1):
        for control, value in (("", ticket), ("random_ticket", random)):
            options = {"level": level, "control": control, "dense": dense, "below": dense}
            facts = {"pruned": 1 - 0.5**level, "weights": 100, "level": level}
            write_run(
                f"small-level{level}-{control or 'x'}-0000000{level}",
                techniques={"lottery_ticket": options},
                facts={"lottery_ticket": facts},
                quality=value,
            )
    return dense


def test_without_a_run_the_page_says_how_to_train_one(home: Home) -> None:
    shown = page()
    assert [one.value for one in shown.code] == [
        f"edge-bench train examples/digits.toml --home {home.root}"
    ]
    assert not home.root.exists(), "looking makes no file"


@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("choices", "edge-bench train examples/digits.toml"),
        ("depth", "edge-bench train examples/reviews.toml --data labelled_text:FOLDER"),
        ("sparsity", "edge-bench tickets examples/tickets.toml --rounds 10 --control random_ticket"),
        ("position", "edge-bench analyse position small-00000000 --untrained"),
    ],
)
def test_what_is_not_there_yet_names_the_command_that_fills_it(
    section: str, command: str, write_run: WriteRun, home: Home
) -> None:
    write_run("small-00000000")
    assert [one.value for one in page(show=section).code] == [f"{command} --home {home.root}"]


def test_curves_hold_every_epoch_and_mark_the_phases(write_run: WriteRun) -> None:
    write_run("two-00000000", phases=("largest", "all <i>choices</i>"))
    figure = _figures(page())[0]
    loss, learned, rate = figure["data"]
    assert _numbers(loss["y"]) == [2.0 / epoch for epoch in range(1, 9)]
    assert _numbers(learned["y"])[0] == 0.1
    assert set(_numbers(rate["y"])) == {0.01}
    marked = [one["text"] for one in figure["layout"]["annotations"]]
    assert marked == ["largest", "all &lt;i&gt;choices&lt;/i&gt;"]
    assert {line["x0"] for line in figure["layout"]["shapes"]} == {76}


def test_curves_of_a_run_that_trains_grow(write_run: WriteRun, home: Home) -> None:
    name = write_run("live-00000000", quality=None)
    shown = page()
    assert "Not finished**: epoch 4 of 4" in _told(shown)
    path = home.runs / name / LOG_FILE
    with path.open("a", encoding="utf-8") as file:
        file.write(
            path.read_text(encoding="utf-8").splitlines()[0].replace('"step": 19', '"step": 95') + "\n"
        )
        # A line that is being written is not there yet, and no damage.
        file.write('{"time": "2026')
    shown.run()
    assert len(_numbers(_figures(shown)[0]["data"][0]["y"])) == 5
    assert not shown.warning


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"loss": 1.0}', '{"time": "t", "phase": "p", "epoch": 1, "step": 1, "loss": NaN}', "\xff"],
)
def test_a_damaged_log_is_told_and_breaks_nothing(line: str, write_run: WriteRun, home: Home) -> None:
    name = write_run("torn-00000000")
    path = home.runs / name / LOG_FILE
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_bytes("\n".join([lines[0], line, *lines[1:], ""]).encode("latin-1"))
    shown = page()
    assert "log.jsonl', line 2" in _plain(shown.warning[0].value)
    assert len(_numbers(_figures(shown)[0]["data"][0]["y"])) == 4


def test_a_damaged_run_is_told_and_another_can_be_chosen(write_run: WriteRun, home: Home) -> None:
    write_run("good-00000000")
    (home.runs / write_run("torn-11111111") / RUN_FILE).write_text("{", encoding="utf-8")
    shown = page(run="torn-11111111")
    assert "cannot be read" in _plain(shown.error[0].value)
    shown.selectbox(key="run").set_value("good-00000000").run()
    assert not shown.error
    assert "Finished" in _told(shown)


def test_a_ladder_has_a_line_for_tickets_and_for_each_control(ladder: str) -> None:
    shown = page(run=ladder, show="sparsity")
    drawn = {trace["name"]: trace for trace in _figures(shown)[0]["data"]}
    assert list(drawn) == ["dense", "ticket", "random ticket"]
    assert _numbers(drawn["dense"]["x"]) == [100.0]
    assert _numbers(drawn["ticket"]["x"]) == [50.0, 25.0]
    assert _numbers(drawn["ticket"]["y"]) == [0.94, 0.92]
    assert _numbers(drawn["random ticket"]["y"]) == [0.90, 0.80]
    axis = _figures(shown)[0]["layout"]["xaxis"]
    assert axis["type"] == "log" and axis["range"][0] > axis["range"][1]
    table = shown.dataframe[0].value
    assert dict(table.loc[table["line"] == "ticket", ["level", "left"]].to_numpy()) == {1: 50.0, 2: 25.0}


def test_any_rung_leads_to_its_whole_ladder(ladder: str, home: Home) -> None:
    runs = [read_run(home, name) for name in run_names(home)]
    ladders = [family_frames.ladder_frame(run, runs) for run in runs]
    assert all(one.equals(ladders[0]) for one in ladders)
    assert len(ladders[0]) == 5


def test_techniques_at_several_sparsities_share_the_dense_run(write_run: WriteRun, home: Home) -> None:
    dense = write_run("cifar-00000000")
    for technique in ("dpf", "gradual_pruning"):
        for seed, share in ((0, 0.9), (1, 0.9), (0, 0.95)):
            write_run(
                f"{technique}-{share}-{seed}-00000001",
                techniques={technique: {"sparsity": share}},
                facts={technique: {"pruned": share}},
                quality=0.8 + seed / 10,
                seed=seed,
            )
    write_run("another-00000009", epochs=9)
    runs = [read_run(home, name) for name in run_names(home)]
    rungs = family_frames.ladder_frame(read_run(home, dense), runs)
    assert family_frames.lines_of(rungs) == ["dense", "dpf", "gradual_pruning"]
    two_seeds = rungs[(rungs["line"] == "dpf") & (rungs["left"] == 0.1)].iloc[0]
    assert (two_seeds["runs"], two_seeds["low"], two_seeds["high"]) == (2, 0.8, 0.9)
    assert two_seeds["metric"] == pytest.approx(0.85)


def test_ladders_of_other_options_are_lines_of_their_own(write_run: WriteRun, home: Home) -> None:
    for rate, value in ((0.2, 0.9), (0.5, 0.8)):
        write_run(
            f"dpf-{rate}-00000001",
            techniques={"dpf": {"sparsity": 0.9, "ramp_end": rate}},
            facts={"dpf": {"pruned": 0.9}},
            quality=value,
        )
    runs = [read_run(home, name) for name in run_names(home)]
    assert family_frames.lines_of(family_frames.ladder_frame(runs[0], runs)) == [
        "dpf, ramp_end 0.2",
        "dpf, ramp_end 0.5",
    ]


@pytest.mark.parametrize(("metric", "turned"), [("accuracy", False), ("perplexity", True)])
def test_lower_is_better_turns_the_axis_of_a_ladder(metric: str, turned: bool, write_run: WriteRun) -> None:
    write_run("text-00000000", metric=metric)
    options = {"dpf": {"sparsity": 0.5}}
    write_run("text-50-00000001", metric=metric, techniques=options, facts={"dpf": {"pruned": 0.5}})
    bottom, top = _figures(page(run="text-00000000", show="sparsity"))[0]["layout"]["yaxis"]["range"]
    assert (bottom > top) == turned


def test_choices_show_every_judged_network_once(
    made: tuple[Record, ...],
    write_run: WriteRun,
    put_in: Callable[[Home, Iterable[Record]], Home],
    home: Home,
) -> None:
    subnets = [one for one in made if isinstance(one, Subnet)]
    space = subnets[0].space
    assert isinstance(space, SearchSpace)
    name = write_run("digits-0a1b2c3d", space=space, alone=False)
    judged = [subnet.arch for subnet in subnets[:2]] + [
        space.sample(np.random.default_rng(seed)) for seed in range(90, 96)
    ]
    judge(home, name, judged, weights="new")
    put_in(home, subnets)
    shown = page(show="choices")
    figures = _figures(shown)
    assert [figure["layout"]["xaxis"]["title"]["text"].split()[0] for figure in figures] == [
        "kernel", "depth", "width:", "resolution",
    ]  # fmt: skip
    count = len({arch.key for arch in judged} | {subnet.arch.key for subnet in subnets})
    assert all(len(_numbers(figure["data"][0]["y"])) == count for figure in figures)
    assert f"{count} networks judged" in _told(shown)


def test_what_was_judged_with_older_weights_is_left_out(
    made: tuple[Record, ...], write_run: WriteRun, home: Home
) -> None:
    subnet = next(one for one in made if isinstance(one, Subnet))
    name = write_run("digits-0a1b2c3d", space=subnet.space, alone=False)
    judge(home, name, [subnet.space.smallest()], weights="old")
    judge(home, name, [subnet.space.largest()], weights="new")
    assert [one.arch for one in read_judged(home, name).found] == [subnet.space.largest()]


def test_depths_draw_the_best_of_each_and_turn_with_perplexity(write_run: WriteRun, home: Home) -> None:
    space = TransformerSpace(
        name="decoder", vocabulary=20, length=8, width=8, heads=2, hidden=16, outputs=20, decoder_layers=3
    )
    name = write_run("lm-00000000", space=space, alone=False, techniques={"layer_drop": {"rate": 0.2}})
    kept = [(0,), (0, 1), (0, 2), (0, 1, 2)]
    archs = [space.keeping({"decoder": layers}) for layers in kept]
    judge(home, name, archs, metric="perplexity", values=[30.0, 22.0, 20.0, 18.0])
    shown = page(show="depth")
    figure = _figures(shown)[0]
    every, best = figure["data"]
    assert _numbers(every["y"]) == [30.0, 22.0, 20.0, 18.0]
    assert (_numbers(best["x"]), _numbers(best["y"])) == ([1, 2, 3], [30.0, 20.0, 18.0])
    bottom, top = figure["layout"]["yaxis"]["range"]
    assert bottom > top
    assert "lower is better" in figure["layout"]["yaxis"]["title"]["text"]


def test_position_shows_scores_by_stage_maps_and_controls(write_run: WriteRun, home: Home) -> None:
    run = write_run("pos-00000000")
    control = write_run("pos-without-padding-11111111")
    for network in (f"{run}-abc", f"{run}-abc-untrained", f"{control}-abc", "elsewhere-22222222-abc"):
        probe(home, network)
    shown = page(run=run, show="position")
    headings = [_plain(one.value) for one in shown.markdown if "wide convolutions" in _plain(one.value)]
    assert [one.partition(" ")[0] for one in headings] == [
        f"{run}-abc", f"{run}-abc-untrained", f"{control}-abc",
    ]  # fmt: skip
    scores, maps = _figures(shown)[:2]
    assert [trace["name"] for trace in scores["data"]] == list(TARGETS)
    assert scores["data"][0]["x"] == ["image only", "one", "two", "all stages"]
    assert sum(trace["type"] == "heatmap" for trace in maps["data"]) == 3 * len(TARGETS)


def test_a_damaged_probe_is_told_beside_the_others(write_run: WriteRun, home: Home) -> None:
    run = write_run("pos-00000000")
    probe(home, f"{run}-abc")
    (home.probes / "position" / "torn.json").write_text("{}", encoding="utf-8")
    shown = page(run=run, show="position")
    assert "torn.json" in _plain(shown.warning[0].value)
    assert len(_figures(shown)) == 2


@pytest.mark.parametrize(
    "name", ["../elsewhere-00000000", "/etc", "linked-00000000", ".hidden-00000000", "a b"]
)
def test_a_run_outside_the_home_is_refused(
    name: str, write_run: WriteRun, home: Home, tmp_path: Path
) -> None:
    inside = home.runs / write_run("mine-00000000")
    outside = tmp_path / "elsewhere-00000000"
    inside.rename(outside)
    (home.runs / "linked-00000000").symlink_to(outside)
    with pytest.raises(ConfigError):
        read_run(home, name)


def test_a_log_that_leads_out_of_the_home_is_refused(
    write_run: WriteRun, home: Home, tmp_path: Path
) -> None:
    name = write_run("mine-00000000")
    log = home.runs / name / LOG_FILE
    log.rename(tmp_path / "log.jsonl")
    log.symlink_to(tmp_path / "log.jsonl")
    with pytest.raises(ConfigError, match="leads out of the home"):
        read_log(home, name)
    assert "leads out of the home" in _plain(page().error[0].value)


def test_names_with_markup_are_harmless(write_run: WriteRun, home: Home) -> None:
    run = write_run("pos-00000000", phases=(NASTY, "all"))
    probe(home, f"{run}-{NASTY}", file="nasty")
    shown = page(run=run, show="position")
    told = "".join(one.value for one in shown.markdown)
    assert escaped(NASTY) in told and NASTY not in told
    assert NASTY not in json.dumps(_figures(page(run=run)))


def test_the_reader_knows_what_training_writes(trained: tuple[Path, Home]) -> None:
    folder, home = trained
    run = read_run(home, folder.name)
    assert isinstance(run.space, SearchSpace)
    assert run.outcome is not None and run.outcome.quality is not None
    assert run.outcome.quality[0] == "accuracy"
    log = read_log(home, folder.name)
    assert not log.damaged
    assert [line.epoch for line in log.found] == list(range(1, run.epochs + 1))
    assert all(line.learned and line.learned[0] == "accuracy" for line in log.found)


def _families_page() -> None:
    from dashboard.views.families import Families
    from edge_bench.files import default_home

    Families().show(default_home())


def _figures(shown: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in shown.get("plotly_chart")]


def _numbers(column: Any) -> list[float]:
    """Return a trace's numbers, which plotly writes as a list or packed."""
    if isinstance(column, dict):
        return list(np.frombuffer(base64.b64decode(column["bdata"]), column["dtype"]).tolist())
    return list(column)


def _told(shown: AppTest) -> str:
    return "".join(_unescaped(one.value) for one in shown.markdown)


def _plain(markdown: str) -> str:
    return _unescaped(markdown.replace("**", ""))


def _unescaped(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown).replace(JOINER, "")
