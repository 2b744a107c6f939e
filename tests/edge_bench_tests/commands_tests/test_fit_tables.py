"""`edge-bench fit --from-table` and `--compare`: what others measured becomes a predictor that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bench import errors, variants
from edge_bench.choose.fitting import PREDICTORS, open_predictor
from edge_bench.choose.published import read_published
from edge_bench.choose.published.hat import LATENCIES, SHAPE
from edge_bench.cli import main
from edge_bench.documents import from_document
from edge_bench.files import Home
from edge_bench.records import FittedPredictor
from edge_bench.store import ResultStore

HEADER = ",".join([*SHAPE, *LATENCIES])


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Sixty transformers whose latency follows decoder layers and widths, and a row that says "slow"."""
    generator = np.random.default_rng(0)
    lines = []
    for _ in range(60):
        layers, ffn, width = (
            generator.integers(1, 7),
            generator.integers(1, 7) * 512,
            generator.choice([512, 640]),
        )
        decoder = 5 + layers * (2 + ffn * width * 1e-5)
        lines.append(
            f"{width},6,2048,6,{width},{layers},{ffn},4,4,2,5.5,{decoder * generator.lognormal(0, 0.01)}"
        )
    lines.append(f"{lines[0].rpartition(',')[0]},slow")
    path = tmp_path / "wmt14ende_cpu_xeon_all.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["fit", "--quiet", "--json", *map(str, arguments)]) == errors.OK
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["fit", "--quiet", *map(str, arguments)]) == errors.USAGE
    return capsys.readouterr().err


def test_a_published_table_becomes_a_predictor_with_its_citation_and_error(
    measured: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    document = told(capsys, "--from-table", measured, "--device", "cpu_xeon", "--kind", "non-negative")
    row = document["predictor"]
    assert (row["fitted"], row["held_out"]["networks"]) == (48, 12)
    assert row["held_out"]["mape"] < 0.05 < row["baseline"]["mape"]
    with ResultStore(home.store_url) as store:
        (stored,) = store.predictors(device="cpu_xeon")
    assert stored.id == row["id"] == "cpu_xeon-hat_wmt14ende-non_negative"
    assert "HAT" in stored.source and "48 of 60 published networks" in stored.method
    assert stored.validity["decoder_layer_num"] == (1, 6)
    assert (stored.batch, stored.runtime, stored.threads) == (1, "unknown", 0)
    assert stored.space == "hat_wmt14ende"


def test_the_file_that_is_written_predicts_as_what_is_stored(
    measured: Path, tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "xeon.json"
    told(capsys, "--from-table", measured, "--device", "cpu_xeon", "--output", output)
    written = from_document(FittedPredictor, json.loads(output.read_text(encoding="utf-8")))
    with ResultStore(home.store_url) as store:
        (stored,) = store.predictors(device="cpu_xeon")
    assert written == stored
    (table,) = read_published(measured)
    assert open_predictor(written).predict(table.features).latency_ms.min() > 0


def test_rows_that_cannot_be_read_are_named_in_the_answer(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--from-table", measured, "--device", "cpu_xeon", "--kind", "ridge")
    malformed = told(capsys, *arguments)["malformed"]
    assert malformed["rows"] == 1
    assert malformed["named"][0]["where"] == "line 62"
    assert main(["fit", "--quiet", *map(str, arguments)]) == errors.OK
    assert "1 rows could not be read: line 62: latency_mean_decoder is 'slow'" in capsys.readouterr().out


def test_all_predictors_are_compared_on_the_same_networks(
    measured: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    document = told(capsys, "--from-table", measured, "--device", "cpu_xeon", "--compare", "--held-out", 20)
    rows = document["compared"]
    assert {row["kind"] for row in rows} == set(variants.names(PREDICTORS))
    assert [row["mape"] for row in rows] == sorted(row["mape"] for row in rows)
    assert {row["networks"] for row in rows} == {20}
    assert all(row["fit_seconds"] > 0 and row["seconds_for_100000"] > 0 for row in rows)
    assert not home.has_store


def test_as_many_are_fitted_on_as_asked_for(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--from-table", measured, "--device", "cpu_xeon", "--kind", "ridge", "--nets", 30)
    assert told(capsys, *arguments)["predictor"]["fitted"] == 30
    assert "has 60 rows: 30 to fit on and 31 to hold out" in refused(capsys, *arguments, "--held-out", 31)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "has several devices: cpu_xeon"),
        (("--device", "cpu_xen"), "Did you mean 'cpu_xeon'?"),
        (("--device", "cpu_xeon", "--space", "hat_wmt14endd"), "Did you mean 'hat_wmt14ende'?"),
        (("--device", "cpu_xeon", "--threads", "2"), "--threads does not apply"),
        (("--device", "cpu_xeon", "--kind", "rigde"), "Did you mean 'ridge'?"),
    ],
)
def test_what_cannot_be_is_refused_with_what_there_is(
    measured: Path, home: Home, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    assert why in refused(capsys, "--from-table", measured, *arguments)
    assert not home.has_store


def test_a_device_of_several_tasks_asks_which(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = measured.read_text(encoding="utf-8").splitlines()[1:]
    tasks = ("iwslt14deen", "wmt14ende")
    lines = [f"{tasks[number % 2]},cpu_xeon,{row}" for number, row in enumerate(rows)]
    path = tmp_path / "latency.csv"
    path.write_text("\n".join([f"task,hardware,{HEADER}", *lines]) + "\n", encoding="utf-8")
    assert "--space hat_iwslt14deen" in refused(capsys, "--from-table", path, "--device", "cpu_xeon")


def test_a_table_says_nothing_of_accuracy(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--from-table does not apply" in refused(capsys, "accuracy", "--from-table", measured)
