"""`edge-bench fit` and `pick` of text models: a few files tell the latency of every depth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_bench import cli, errors
from edge_bench.choose.candidates import RUNTIMES, candidates
from edge_bench.commands import _fit_depths
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult, Subnet, TimingBlock, TransformerSpace
from edge_bench.store import ResultStore

CREATED = "2026-01-01T00:00:00+00:00"
DEPTHS = ((6, 4), (6, 1), (3, 2), (1, 4), (1, 1))
Answer = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """A function that runs a command in this process and returns its status and document."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        status = cli.main([*words, "--json", "--quiet"])
        return status, json.loads(capsys.readouterr().out)

    return run


def result(of: Artifact, p50_ms: float) -> BenchmarkResult:
    return BenchmarkResult(
        id=f"result-{of.id}",
        artifact=of.id,
        model=of.name,
        digest=of.digest,
        format=of.format,
        precision=of.precision,
        device="this-machine",
        runtime=RUNTIMES[of.format],
        runtime_version="1.2.3",
        threads=1,
        batch=1,
        load_ms=12.0,
        first_ms=3 * p50_ms,
        blocks=(TimingBlock(latencies_ns=(int(1e6 * p50_ms),) * 20, counted=True, off_cpu=0.0),),
        p50_low_ms=0.98 * p50_ms,
        p50_high_ms=1.03 * p50_ms,
        peak_memory_mb=40.0,
        verdict="clean",
        verdict_cause="nothing else ran",
        stopped_by="interval",
        environment={"cpu": "A Processor"},
        created=CREATED,
    )


def latency_ms(file: Artifact, subnet: Subnet) -> float:
    """A network takes 1 ms, 0.5 an encoder layer and 0.1 a decoder layer; a step 0.2 and 0.05 a layer."""
    assert isinstance(subnet.space, TransformerSpace)
    encoder, decoder = (len(kept) for kept in subnet.space.kept(subnet.arch).values())
    return 0.2 + 0.05 * decoder if file.step_of else 1.0 + 0.5 * encoder + 0.1 * decoder


class Stored:
    """Subnets of `DEPTHS` with their files, in a store; what is benchmarked there is counted."""

    def __init__(
        self, home: Home, subnets: Sequence[Subnet], text_files: Callable[..., list[Artifact]]
    ) -> None:
        self.home, self.subnets = home, {one.id: one for one in subnets}
        self.files = [file for one in subnets for file in text_files(one)]
        self.benched: list[str] = []
        with ResultStore(home.store_url) as store:
            store.add(*subnets, *self.files)

    def measure(self, files: Sequence[Artifact]) -> list[BenchmarkResult]:
        results = [result(one, latency_ms(one, self.subnets[one.subnet or ""])) for one in files]
        self.benched += [one.id for one in files]
        with ResultStore(self.home.store_url) as store:
            store.add(*results)
        return results


@pytest.fixture
def stored(
    home: Home,
    text_space: Callable[[str], TransformerSpace],
    text_subnet: Callable[..., Subnet],
    text_files: Callable[..., list[Artifact]],
    monkeypatch: pytest.MonkeyPatch,
) -> Stored:
    space = text_space("translation")
    archs = [space.spread({"encoder": e, "decoder": d}) for e, d in DEPTHS]
    subnets = [text_subnet("translation", space.kept(arch)) for arch in archs]
    made = Stored(home, subnets, text_files)
    monkeypatch.setattr(_fit_depths, "bench_artifacts", lambda context, files: made.measure(files))
    return made


def test_files_without_a_result_are_measured_and_every_other_depth_is_foretold(
    stored: Stored, answer: Answer, text_subnet: Callable[..., Subnet]
) -> None:
    stored.measure(stored.files[:2])
    stored.benched.clear()
    status, document = answer("fit")
    assert status == errors.OK
    rows = document["predictors"]
    assert [(row["runtime"], row["unit"], row["fitted"]) for row in rows] == [
        ("onnxruntime", "network", 5),
        ("onnxruntime", "step", 3),
    ]
    assert rows[0]["prices_ms"] == pytest.approx(
        {"base": 1.0, "encoder_layers": 0.5, "decoder_layers": 0.1}, rel=1e-3
    )
    assert rows[1]["prices_ms"] == pytest.approx({"base": 0.2, "decoder_layers": 0.05}, rel=1e-3)
    assert rows[0]["mape"] < 0.01 and rows[0]["held_out"] == 5
    # Steps of one depth take the same: one file of each tells.
    assert len(stored.benched) == 4 + 2
    assert not {file.id for file in stored.files[:2]} & set(stored.benched)
    with ResultStore(stored.home.store_url) as store:
        fitted = store.predictors()
    other = text_subnet("translation", {"encoder": (0, 1), "decoder": (0, 1, 2)})
    [one] = candidates([other], [], [], fitted, device="this-machine")
    assert one.latency_ms == pytest.approx(1.0 + 1.0 + 0.3 + 10 * 0.35, rel=1e-3)


def test_fewer_depths_are_measured_where_fewer_are_asked_for_the_extremes_first(
    stored: Stored, answer: Answer
) -> None:
    status, _ = answer("fit", "--nets", "4", "--runtimes", "onnxruntime")
    assert status == errors.OK
    networks = [stored.files[place].id for place in (0, 8)]
    assert set(networks) <= set(stored.benched)


def test_a_runtime_with_too_few_files_stops_no_other_unless_it_is_named(
    stored: Stored, answer: Answer, text_files: Callable[..., list[Artifact]]
) -> None:
    with ResultStore(stored.home.store_url) as store:
        store.add(*text_files(next(iter(stored.subnets.values())), format="tflite"))
    status, document = answer("fit")
    assert status == errors.OK
    assert {row["runtime"] for row in document["predictors"]} == {"onnxruntime"}
    assert answer("fit", "--runtimes", "onnxruntime,litert")[0] == errors.USAGE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--held-out 3", "--held-out does not apply to a text model"),
        ("--from a-phone", "--from does not apply to a text model"),
        ("--threads 2", "depths are fitted on one thread"),
        ("--nets 2", "3 or more depths are needed"),
        ("--nets 3", "3 depths of networks of 'translation-space' are there to fit on; 4 are needed"),
        ("--runtimes onnx", "unknown runtime 'onnx'"),
        ("--runtimes litert", "0 depths of networks"),
        ("--device a-phone", "0 depths of networks"),
    ],
)
def test_what_does_not_apply_is_told_before_anything_is_measured(
    stored: Stored, answer: Answer, words: str, said: str
) -> None:
    status, document = answer("fit", *words.split())
    assert status == errors.USAGE
    assert said in document["error"]["message"]
    assert stored.benched == []


def test_a_run_without_files_says_how_to_get_some(
    home: Home, text_subnet: Callable[..., Subnet], answer: Answer
) -> None:
    with ResultStore(home.store_url) as store:
        store.add(text_subnet("translation"))
    status, document = answer("fit")
    assert (status, "no exported file" in document["error"]["message"]) == (errors.USAGE, True)
    assert "edge-bench export" in document["error"]["hint"]


def test_a_pick_of_a_translation_is_a_folder_with_both_files_and_its_tokenizer(
    stored: Stored, answer: Answer, tmp_path: Path
) -> None:
    stored.measure(stored.files)
    for file in stored.files:
        path = stored.home.absolute(file.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.id, encoding="utf-8")
        assert file.text is not None
        stored.home.absolute(file.text.tokenizer).write_text("{}", encoding="utf-8")
    status, document = answer("pick", "--output", str(tmp_path / "picked"), "--max-latency-ms", "6")
    assert status == errors.OK
    one = document["candidate"]
    assert one["latency_ms"] <= 6 and one["generation"]["tokens"] == 10
    assert (one["metric"]["name"], one["metric"]["higher_is_better"]) == ("bleu", True)
    names = ["model.onnx", "step.onnx", "tokenizer.json"]
    names += ["model_card.md", "run_model.py", "check.sh", "pick.json"]
    assert [Path(file).name for file in document["files"]] == names
    assert document["gate"].startswith("edge-bench check step.onnx --max-latency-ms 0.")
    folder = tmp_path / "picked"
    assert (folder / "model.onnx").read_text(encoding="utf-8") == one["artifact"]
    assert (folder / "step.onnx").read_text(encoding="utf-8") == one["generation"]["step"]
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    encoder, decoder = (kept.replace(",", ", ") for kept in one["layers"].split("/"))
    assert f"counted from 0: {encoder} of 6 encoder layers; {decoder} of 4 decoder layers." in card
    assert "numbers below 50, at most 16 a text. They stand between 1 and 2" in card
    assert "ms for the source and" in card and "ms a token, measured file by file" in card
    assert "| BLEU | test | 33.4000 | 200 |" in card
    compile((folder / "run_model.py").read_text(encoding="utf-8"), "run_model.py", "exec")
