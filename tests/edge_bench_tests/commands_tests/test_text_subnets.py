"""Text models in the store: every command knows them or says what to use instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from edge_bench import cli
from edge_bench.errors import GATE_FAILED, OK, USAGE
from edge_bench.files import Home
from edge_bench.records import Artifact, Subnet
from edge_bench.store import ResultStore, document_of

TASKS = ("text_classification", "language_modelling", "translation")
Answer = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """A function that runs a command in this process and returns its status and document."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        status = cli.main([*words, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def stored(
    home: Home, text_subnet: Callable[..., Subnet], text_files: Callable[..., list[Artifact]]
) -> list[Subnet]:
    """A subnet of each task in the store, with its files."""
    subnets = [text_subnet(task) for task in TASKS]
    with ResultStore(home.store_url) as store:
        store.add(*subnets, *(file for one in subnets for file in text_files(one)))
    return subnets


def test_text_subnets_and_their_files_are_listed(stored: list[Subnet], answer: Answer) -> None:
    status, document = answer("results", "--kind", "subnet")
    assert (status, [row["metric"] for row in document["subnets"]]) == (
        OK,
        ["accuracy", "perplexity", "bleu"],
    )
    assert [row["layers"] for row in document["subnets"]] == [
        "0,1,2,3,4,5",
        "0,1,2,3",
        "0,1,2,3,4,5/0,1,2,3",
    ]
    assert [row["metric_higher_is_better"] for row in document["subnets"]] == [True, False, True]
    status, document = answer("results", "--kind", "artifact")
    rows = {row["id"]: row for row in document["artifacts"]}
    assert (status, len(rows)) == (OK, 5)
    assert [(rows[one]["task"], one) for one in rows if rows[one]["step_of"] is None] == [
        (one.task, f"{one.id}-onnx-fp32") for one in stored
    ]


@pytest.mark.parametrize("kind", ["subnet", "artifact"])
def test_records_of_text_models_fit_the_printed_schema(
    stored: list[Subnet], answer: Answer, home: Home, kind: str
) -> None:
    _, schema = answer("results", "schema", "--kind", kind)
    with ResultStore(home.store_url) as store:
        kept = store.subnets() if kind == "subnet" else store.artifacts()
    assert len(kept) >= len(stored)
    for one in kept:
        jsonschema.validate(document_of(one), schema)


@pytest.mark.parametrize("command", ["fit --samples 4 --from a-phone", "devices profile"])
def test_what_surveys_untrained_images_names_what_to_use_for_text(
    stored: list[Subnet], answer: Answer, command: str
) -> None:
    status, document = answer(*command.split(), "--run", stored[-1].run)
    assert status == USAGE
    assert "text model" in document["error"]["message"]
    assert "edge-bench" in document["error"]["hint"]


def test_picking_among_unmeasured_text_models_says_that_no_latency_is_known(
    stored: list[Subnet], answer: Answer
) -> None:
    for run in (stored[0].run, stored[0].run.rpartition("-")[0]):
        status, document = answer("pick", "--run", run)
        assert status == GATE_FAILED
        assert "no latency is known" in document["error"]["message"]


def test_a_run_is_named_without_its_digest_where_one_is_called_so(
    stored: list[Subnet], answer: Answer, home: Home
) -> None:
    name = stored[0].run.rpartition("-")[0]
    with ResultStore(home.store_url) as store:
        store.add(replace(stored[0], id="another", run=f"{name}-ffffffff"))
    status, document = answer("pick", "--run", name)
    assert status == USAGE
    assert f"may be one of several runs: {stored[0].run}, {name}-ffffffff" in document["error"]["message"]
    status, document = answer("pick", "--run", "nowhere")
    assert status == USAGE and "no subnet is of run 'nowhere'" in document["error"]["message"]


def test_devices_are_listed_where_text_models_are_stored(stored: list[Subnet], answer: Answer) -> None:
    assert answer("devices", "list")[0] == OK
