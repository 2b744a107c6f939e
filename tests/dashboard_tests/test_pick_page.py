"""The page Pick without a browser: devices, percentiles, chances, and what measuring a candidate takes."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from pages import opened
from streamlit.testing.v1 import AppTest

from dashboard.device_cards import CARDS, card
from dashboard.jobs import Job
from dashboard.measuring import missing_format, target_of, to_measure, to_write
from dashboard.reading import published
from dashboard.stored import JOINER, Stored, candidates_of, own_devices, stored
from device_profiles import load
from edge_bench.devices.registry import Device, Registry
from edge_bench.files import Home
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    FittedPredictor,
    TimingBlock,
)
from edge_bench.store import Record, ResultStore

Put = Callable[[Iterable[Record]], Home]
NASTY = "**pi** ![x](http://evil.example/a.png)"
PATIENCE_S = 120


def pick(**link: str) -> AppTest:
    return opened(AppTest.from_function(_pick_page, default_timeout=60), link)


def moved(records: Iterable[Record], device: str) -> list[Record]:
    """Return the measurements and predictors of another device, twice as slow in blocks that differ."""
    found: list[Record] = []
    for one in records:
        if isinstance(one, BenchmarkResult):
            runs = [2 * ns for ns in one.blocks[0].latencies_ns]
            parts = (runs[:20], runs[20:35], runs[35:])
            blocks = tuple(
                TimingBlock(latencies_ns=tuple(part), counted=True, off_cpu=0.0) for part in parts
            )
            found.append(replace(one, id=f"{one.id}-{device}", device=device, blocks=blocks))
        elif isinstance(one, FittedPredictor):
            found.append(replace(one, id=f"{one.id}-{device}", device=device))
    return found


def test_a_card_says_what_a_device_can_answer_and_what_it_is(records: list[Record]) -> None:
    results = [one for one in records if isinstance(one, BenchmarkResult)]
    predictors = [one for one in records if isinstance(one, FittedPredictor)]
    errors = {one.runtime: one.held_out.mape for one in predictors}
    theirs = replace(results[0], id="theirs", origin="loadgen", blocks=(), reported={"p50_ms": 1.0})
    seen = replace(results[-1], environment={"cpu": "A Processor", "logical_cores": 4, "cores": 2})
    told = card("this-machine", [*results[:-1], seen, theirs], predictors, load("this-machine"))
    assert told.answers == (
        f"28 files measured · predicted by onnxruntime (±{errors['onnxruntime']:.1%}), "
        f"litert (±{errors['litert']:.1%}) · 1 imported"
    )
    assert told.facts == "A Processor, 2 cores"
    pi = card("raspberry-pi-4", [], [], load("raspberry-pi-4"))
    assert pi.answers == "nothing known yet"
    shipped = card("raspberry-pi-4", [], published("raspberry-pi-4"), None)
    assert re.fullmatch(r"predicted by litert \(±\d+\.\d% on blocks\)", shipped.answers)
    assert pi.facts == "Broadcom BCM2711, ARM Cortex-A72, 4 cores"


def test_a_device_is_chosen_by_card_or_by_link(records: list[Record], put: Put) -> None:
    put([*records, *moved(records, NASTY)[1:]])
    shown = pick()
    assert _plain(shown.radio(key="device-card").options) == ["this-machine", NASTY]
    assert "device" not in shown.query_params
    shown.radio(key="device-card").set_value(NASTY).run()
    assert shown.query_params["device"] in (NASTY, [NASTY])
    linked = pick(device=NASTY)
    assert linked.radio(key="device-card").value == NASTY
    assert linked.metric[1].value == shown.metric[1].value != pick().metric[1].value
    assert pick(device="nowhere").radio(key="device-card").value == "this-machine"


def test_many_devices_are_a_list_with_the_card_of_the_chosen_one(records: list[Record], put: Put) -> None:
    names = [f"board-{number}" for number in range(CARDS)]
    put([*records, *(one for name in names for one in moved(records, name)[:3])])
    shown = pick(device=names[2])
    assert not shown.radio
    assert shown.selectbox(key="device").value == names[2]
    assert "3 files measured" in _plain([shown.caption[0].value])[0]


def test_a_device_that_one_does_not_have_is_predicted_by_what_others_published(
    records: list[Record], put: Put
) -> None:
    put(records)
    shown = pick()
    assert "raspberry-pi-4" in shown.selectbox(key="device-other").options
    shown.selectbox(key="device-other").set_value("raspberry-pi-4").run()
    assert not shown.exception
    assert shown.radio(key="device-card").value == "raspberry-pi-4"
    assert set(shown.dataframe[0].value["source"]) == {"predicted"}
    linked = pick(device="raspberry-pi-4")
    assert linked.subheader[0].value == shown.subheader[0].value
    assert not [one for one in linked.button if one.label.startswith("Measure")]
    told = next(one for one in linked.code if one.value.startswith("edge-bench devices add"))
    assert "edge-bench bench" in told.value
    shown.radio(key="device-card").set_value("this-machine").run()
    assert shown.query_params["device"] in ("this-machine", ["this-machine"])


def test_a_device_of_ones_own_of_which_nothing_is_known_says_what_fills_it(
    records: list[Record], put: Put
) -> None:
    home = put(records)
    with ResultStore(home.store_url) as store:
        Registry(store).add(Device(name="pi", transport="agent"))
    shown = pick(device="pi")
    assert shown.radio(key="device-card").value == "pi"
    assert [shlex.split(line)[1:3] for line in shown.code[0].value.splitlines()] == [
        ["bench", "--all"],
        ["devices", "profile"],
        ["import", "net.onnx"],
    ]


def test_looking_for_own_devices_makes_no_table(records: list[Record], put: Put) -> None:
    home = put(records)
    before = Path(home.store_url.removeprefix("sqlite:///")).read_bytes()
    assert own_devices(home) == []
    assert Path(home.store_url.removeprefix("sqlite:///")).read_bytes() == before


def test_a_budget_of_p90_speaks_of_p90_everywhere(records: list[Record], put: Put) -> None:
    put([*records, *moved(records, "pi")])
    median, tail = pick(device="pi"), pick(device="pi", percentile="p90")
    assert median.select_slider[0].label == "Latency budget (median, ms)"
    assert tail.select_slider[0].label == "Latency budget (p90, ms)"
    assert tail.metric[1].label == "latency, p90"
    assert set(median.dataframe[0].value["source"]) <= {"measured", "predicted"}
    assert set(tail.dataframe[0].value["source"]) == {"measured"}
    assert float(tail.metric[1].value.split()[0]) > float(median.metric[1].value.split()[0])
    left_out = "16 candidates whose p90 nobody measured are left out"
    assert any(left_out in one.value for one in tail.caption)
    assert "--max-p90-ms" in tail.code[-1].value


def test_where_nothing_is_measured_there_is_no_choice_of_percentile(
    records: list[Record], put: Put
) -> None:
    put(one for one in records if not isinstance(one, BenchmarkResult))
    assert [one.key for one in pick().button_group] == ["preset"]


def test_where_others_told_medians_alone_p90_leaves_nothing_and_says_so(
    records: list[Record], put: Put
) -> None:
    put(
        replace(one, origin="loadgen", blocks=(), reported={"p50_ms": one.p50_ms})
        if isinstance(one, BenchmarkResult)
        else one
        for one in records
    )
    shown = pick(percentile="p90")
    assert not shown.subheader and not shown.error
    assert "44 candidates whose p90 nobody measured are left out" in shown.caption[-1].value
    assert pick().subheader


def test_the_chance_to_meet_the_budget_is_told_where_there_is_one(filled: Home) -> None:
    shown = pick(budget="0.12")
    assert shown.metric[2].label == "meets the budget"
    table = shown.dataframe[0].value
    recommended = table[table["pick"] == "★"]
    assert recommended["chance"].tolist() == [shown.metric[2].value]
    assert len(table) <= 5 and (table["chance"].str.endswith("%")).all()
    assert table["exchange"].iloc[-1].startswith("+")
    without = pick()
    assert [one.label for one in without.metric][2:] == []
    assert "chance" not in without.dataframe[0].value


def test_what_would_change_the_answer_stands_beside_why(filled: Home) -> None:
    shown = pick(budget="0.12")
    told = next(one.value for one in shown.markdown if one.value.startswith("**What would change"))
    assert re.search(r"From 0\.\d+ ms on it is digits-\w+-(onnx|tflite)", _plain([told])[0])


def test_what_has_no_file_is_exported_first_and_only_then(records: list[Record], put: Put) -> None:
    home = put(records)
    known = _known(home)
    networks = [one for one in candidates_of(known, "this-machine") if one.artifact is None]
    subnet = next(one for one in known.subnets if one.id == networks[0].subnet)
    gone = to_measure(networks[0], known, home, own=())
    assert not gone.steps and "is gone" in gone.why_not and "edge-bench extract" in gone.command
    home.absolute(subnet.program).parent.mkdir(parents=True)
    home.absolute(subnet.program).touch()
    export, bench = to_measure(networks[0], known, home, own=()).steps
    assert export.words == (
        *("export", subnet.id, "--format", networks[0].format),
        *("--precision", "fp32"),
    )
    assert bench.words == ("bench", target_of(networks[0]), "--runtime", networks[0].runtime)
    assert export.tidies and not bench.tidies
    there = next(one for one in candidates_of(known, "this-machine") if one.artifact)
    assert [step.words[:2] for step in to_measure(there, known, home, own=()).steps] == [
        ("bench", there.artifact)
    ]
    assert to_write(there, known, home).steps == ()


def test_only_devices_of_ones_own_can_be_measured_from_here(records: list[Record], put: Put) -> None:
    home = put([*records, *moved(records, "pi"), *moved(records, "samsung-note-10")])
    known = _known(home)
    there = next(one for one in candidates_of(known, "pi") if one.artifact)
    [step] = to_measure(there, known, home, own=("pi",)).steps
    assert step.words == ("bench", there.artifact, "--device", "pi", "--runtime", there.runtime)
    assert step.tidies, "a job that was sent away is called back"
    other = next(one for one in candidates_of(known, "samsung-note-10") if one.artifact)
    refused = to_measure(other, known, home, own=("pi",))
    assert not refused.steps and "no device of yours" in refused.why_not
    assert refused.command.startswith("edge-bench devices add NAME --ssh USER@HOST")
    shown = pick(device="samsung-note-10")
    assert [one.label for one in shown.expander if "Measure" in one.label] == [
        "Measure it again: not from here"
    ]
    assert not [one for one in shown.button if one.label.startswith("Measure")]


@pytest.mark.parametrize("name", ["--home=/elsewhere", "../../secret", "a b", "-x"])
def test_names_that_a_command_could_misread_are_never_handed_to_one(
    name: str, records: list[Record], put: Put
) -> None:
    home = put(records)
    known = _known(home)
    one = next(one for one in candidates_of(known, "this-machine") if one.artifact)
    artifact = next(file for file in known.artifacts if file.id == one.artifact)
    hostile = replace(known, artifacts=(replace(artifact, id=name),))
    assert to_measure(replace(one, artifact=name), hostile, home, own=()).why_not
    other = replace(known, subnets=(replace(known.subnets[0], id=name, program=artifact.file),))
    assert to_write(replace(one, artifact=None, subnet=name), other, home).why_not


def test_a_missing_format_can_be_written_too(records: list[Record], put: Put) -> None:
    home = put(one for one in records if not (isinstance(one, Artifact) and one.format == "tflite"))
    known = _known(home)
    one = next(one for one in candidates_of(known, "this-machine") if one.artifact)
    subnet = next(subnet for subnet in known.subnets if subnet.id == one.subnet)
    home.absolute(subnet.program).parent.mkdir(parents=True)
    home.absolute(subnet.program).touch()
    assert missing_format(one, known, home) == "tflite"
    [step] = to_write(one, known, home, form="tflite").steps
    assert step.words[:4] == ("export", subnet.id, "--format", "tflite")


def test_measuring_from_the_page_fills_the_point_and_judges_the_prediction(
    records: list[Record], put: Put, tiny_onnx: Path
) -> None:
    files = [one for one in records if isinstance(one, Artifact) and one.format == "onnx"]
    best = max(files, key=lambda one: one.metrics[0].value)
    home = put(
        one
        for one in records
        if not (isinstance(one, BenchmarkResult) and one.artifact == best.id)
        and not (isinstance(one, Artifact) and one.subnet == best.subnet and one.id != best.id)
    )
    shutil.copyfile(tiny_onnx, home.absolute(best.file))
    shown = pick()
    assert _plain([shown.subheader[0].value]) == [best.name]
    assert "predicted" in shown.caption[1].value
    button = next(one for one in shown.button if one.label == "Measure it now")
    button.click().run()
    assert not shown.exception
    under_way = next(one for one in shown.button if one.label == "Measure it now")
    assert under_way.disabled and "Cancel" in [one.label for one in shown.button]
    job = _ended(home)
    assert (job.state, job.message) == ("done", "")
    shown = pick()
    told = _plain([shown.markdown[0].value])[0]
    assert told.startswith(f"{best.name} · measured: ")
    assert re.search(r" ms\), \w+\. Predicted were .* ms\): it lies (within|outside of) that\.$", told)
    assert "edge-bench fit --home" in shown.code[0].value, "what the predictor learns from"
    next(one for one in shown.button if one.label == "Dismiss").click().run()
    assert "measured:" not in shown.markdown[0].value


def test_a_device_of_ones_own_is_measured_from_the_page(
    records: list[Record], put: Put, tiny_onnx: Path
) -> None:
    home = put([*records, *(one for one in moved(records, "pi") if isinstance(one, FittedPredictor))])
    with ResultStore(home.store_url) as store:
        Registry(store).add(Device(name="pi", transport="local"))
    for artifact in records:
        if isinstance(artifact, Artifact) and artifact.format == "onnx":
            shutil.copyfile(tiny_onnx, home.absolute(artifact.file))
    shown = pick(device="pi")
    assert "onnx" in shown.subheader[0].value
    next(one for one in shown.button if one.label == "Measure it now").click().run()
    job = _ended(home)
    assert (job.state, job.does) == ("done", "measuring on pi")
    with ResultStore(home.store_url) as store:
        [result] = store.results(device="pi")
    assert result.model == _plain([shown.subheader[0].value])[0]
    assert "1 file measured" in _plain(pick(device="pi").radio(key="device-card").proto.captions)[1]


def test_a_measurement_that_fails_is_told_in_the_commands_own_words(
    records: list[Record], put: Put
) -> None:
    put(records)
    shown = pick()
    next(one for one in shown.button if one.label == "Measure it again").click().run()
    home = put([])
    assert _ended(home).state == "failed"
    shown = pick()
    assert "measuring on this machine failed" in shown.error[0].value
    assert "is not an ONNX model" in _plain([shown.error[0].value])[0]


def _pick_page() -> None:
    from dashboard.views.pick import Pick
    from edge_bench.files import default_home

    Pick().show(default_home())


def _known(home: Home) -> Stored:
    found = stored(home)
    assert found is not None
    return found


def _ended(home: Home) -> Job:
    """Return the job of a server's only measurement, once it has ended."""
    from dashboard.job_bar import jobs_of

    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        [job] = jobs_of(home).all()
        if not job.active:
            return job
        time.sleep(0.1)
    raise AssertionError("it did not end")


def _plain(markdown: Iterable[str]) -> list[str]:
    """Return what Markdown shows of texts, in which only bold is not escaped."""
    return [re.sub(r"\\(.)", r"\1", one.replace("**", "")).replace(JOINER, "") for one in markdown]
