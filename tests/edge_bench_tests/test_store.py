"""What the store promises: nothing lost, nothing half-written, and refusals in one line."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge_bench.documents import canonical_json
from edge_bench.errors import OUR_FAULT, StoreError
from edge_bench.files import Home
from edge_bench.records import (
    AccuracyErrors,
    Artifact,
    BenchmarkResult,
    FittedAccuracyPredictor,
    FittedPredictor,
    HeldOut,
    Survey,
    TimingBlock,
)
from edge_bench.store import KINDS, VERSION, ResultStore, document_of, schema_of

WRITERS, EACH = 4, 25
# A result as version 1 kept it, before modes, scenarios, operators and origins. It stays as it is.
FROM_VERSION_1 = {
    "id": "old",
    "model": "net.onnx",
    "digest": "00ff",
    "format": "onnx",
    "precision": "fp32",
    "device": "this-machine",
    "runtime": "onnxruntime",
    "runtime_version": "1.0",
    "threads": 1,
    "batch": 1,
    "load_ms": 1.0,
    "first_ms": 2.0,
    "blocks": [
        {"latencies_ns": [1_000_000, 3_000_000, 2_000_000], "counted": True, "off_cpu": 0.01, "reason": ""},
        {"latencies_ns": [9_000_000], "counted": False, "reason": "off the CPU for 34% of the block"},
    ],
    "p50_low_ms": 1.0,
    "p50_high_ms": 3.0,
    "peak_memory_mb": 3.0,
    "verdict": "clean",
    "verdict_cause": "p50 is known to ±1.0%",
    "stopped_by": "the interval of p50 is within ±2.0%",
    "environment": {"cpu": "some"},
    "created": "2026-01-01T00:00:00+00:00",
}
# A writer in a process of its own: it waits for the word to go, then adds its records one by one.
WRITER = textwrap.dedent("""
    import json, sys
    from dataclasses import replace
    from edge_bench.documents import from_document
    from edge_bench.records import Artifact
    from edge_bench.store import ResultStore
    url, who, each, first = sys.argv[1:]
    artifact = from_document(Artifact, json.loads(first))
    print("ready", flush=True)
    sys.stdin.readline()
    with ResultStore(url) as store:
        for number in range(int(each)):
            store.add(replace(artifact, id=f"{who}-{number}"), replace(artifact, name=f"{who}-{number}"))
""")


def artifact(id: str = "one", **changes: Any) -> Artifact:
    made = Artifact(
        id=id,
        name="a net",
        subnet=None,
        format="onnx",
        precision="fp32",
        file="artifacts/net.onnx",
        digest="00ff",
        size_bytes=10,
        inputs=(),
        outputs=(),
        metrics=(),
        created="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)


def result(id: str, device: str) -> BenchmarkResult:
    return BenchmarkResult(
        id=id,
        artifact=None,
        model="net.onnx",
        digest="00ff",
        format="onnx",
        precision="fp32",
        device=device,
        runtime="onnxruntime",
        runtime_version="1.0",
        threads=1,
        batch=1,
        load_ms=1.0,
        first_ms=2.0,
        blocks=(TimingBlock(latencies_ns=(1_000_000, 2_000_000), counted=True, off_cpu=None),),
        p50_low_ms=1.0,
        p50_high_ms=2.0,
        peak_memory_mb=3.0,
        verdict="clean",
        verdict_cause="",
        stopped_by="precision",
        environment={"cpu": "some", "flags": ["a", None, 1.5]},
        created="2026-01-01T00:00:00+00:00",
    )


def predictor(id: str, device: str) -> FittedPredictor:
    held_out = HeldOut(
        networks=4, mape=0.1, within_5_percent=0.5, within_10_percent=0.9, spearman=1.0, kendall=1.0
    )
    return FittedPredictor(
        id=id,
        kind="line",
        device=device,
        runtime="onnxruntime",
        threads=1,
        precision="fp32",
        space="lite-0",
        fitted_networks=8,
        parameters={"coefficients": [1.0, 2.0]},
        validity={"macs": (1.0, 2.0)},
        held_out=held_out,
        baseline=held_out,
        created="2026-01-01T00:00:00+00:00",
    )


def accuracy_predictor(identity: str, run: str) -> FittedAccuracyPredictor:
    errors = AccuracyErrors(networks=10, rmse_points=0.5, kendall=0.9, spearman=0.95)
    return FittedAccuracyPredictor(
        id=identity,
        kind="mean",
        run=run,
        space="lite-0",
        metric="accuracy",
        split="selection",
        examples=500,
        fitted_networks=30,
        parameters={"mean": 0.5},
        held_out=errors,
        # Of what predicts every network alike there is no rank correlation.
        baselines={"mean": AccuracyErrors(networks=10, rmse_points=2.0)},
        cross_validated={"mean": errors},
        created="2026-01-01T00:00:00+00:00",
    )


def survey(identity: str, device: str) -> Survey:
    return Survey(
        id=identity,
        device=device,
        digest="0" * 64,
        space="lite-0",
        runtime="onnxruntime",
        threads=1,
        latencies_ms={"0123456789ab": 1.5, "block-0123456789ab": 0.5},
        environment={"cpu": "a CPU"},
        created="2026-01-01T00:00:00+00:00",
    )


def test_several_processes_writing_at_once_lose_nothing(home: Home) -> None:
    first = canonical_json(artifact("shared"))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, home.store_url, f"writer{number}", str(EACH), first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert writer.returncode == 0, said
    with ResultStore(home.store_url) as store:
        found = store.artifacts()
    own = {f"writer{number}-{count}" for number in range(WRITERS) for count in range(EACH)}
    assert {one.id for one in found} == own | {"shared"}
    assert len(found) == len(own) + 1
    # Whoever came last replaced the shared one with its own last record.
    (shared,) = (one for one in found if one.id == "shared")
    assert shared.name in {f"writer{number}-{EACH - 1}" for number in range(WRITERS)}


def test_writing_out_a_large_record_holds_up_no_other_writer(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ResultStore(home.store_url) as store, ResultStore(home.store_url) as other:

        def slow(record: Artifact) -> str:
            if record.id == "large":
                other.add(artifact("meanwhile"))
            return canonical_json(record)

        monkeypatch.setattr("edge_bench.store.canonical_json", slow)
        store.add(artifact("before"), artifact("large"))
        assert {one.id for one in store.artifacts()} == {"before", "large", "meanwhile"}


def test_a_reader_sees_whole_records_while_another_writes(home: Home) -> None:
    with ResultStore(home.store_url) as writing, ResultStore(home.store_url) as reading:
        for number in range(10):
            writing.add(artifact(f"n{number}"))
            assert [one.id for one in reading.artifacts()] == [f"n{count}" for count in range(number + 1)]


def test_records_come_back_equal_and_in_the_order_of_adding(home: Home) -> None:
    kept = [artifact("b"), artifact("a", macs=5), result("r", "this-machine"), predictor("p", "pixel")]
    with ResultStore(home.store_url) as store:
        store.add(*kept)
    with ResultStore(home.store_url) as store:
        assert [*store.artifacts(), *store.results(), *store.predictors()] == kept
        assert store.subnets() == []


def test_adding_a_record_again_replaces_it_and_no_other(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(artifact("one"), artifact("two"), result("one", "here"))
        store.add(artifact("one", name="another"))
        assert {one.id: one.name for one in store.artifacts()} == {"one": "another", "two": "a net"}
        assert len(store.results()) == 1


def test_the_revision_grows_with_every_write_also_with_a_replacement(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        seen = [store.revision()]
        for _ in range(3):
            store.add(artifact("same"))
            seen.append(store.revision())
        assert seen == sorted(set(seen)) and seen[0] == 0
        assert store.revision() == seen[-1]


def test_what_was_written_since_a_revision_is_told_with_how_many_there_are(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(artifact("one"), artifact("two"), result("three", "board"))
        first = store.written(Artifact)
        assert [one.id for one in first.records] == ["one", "two"]
        assert (first.revision, first.held) == (store.revision(), 2)
        store.add(artifact("one", name="again"), result("four", "board"))
        since = store.written(Artifact, BenchmarkResult, since=first.revision)
        assert [one.id for one in since.records] == ["one", "four"]
        assert (since.revision, since.held) == (store.revision(), 4)
        assert not store.written(Artifact, since=since.revision).records


def test_results_and_predictors_can_be_asked_for_by_device(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(result("a", "here"), result("b", "there"), predictor("c", "there"))
        assert [one.id for one in store.results(device="there")] == ["b"]
        assert [one.id for one in store.predictors(device="there")] == ["c"]
        assert store.results(device="nowhere") == [] and len(store.results()) == 2


def test_results_of_one_file_can_be_asked_for(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        # A document may hold another's digest in its texts.
        store.add(result("a", "here"), replace(result("b", "here"), digest="11%", model='"digest":"00ff"'))
        store.add(result("c", "there"))
        assert [one.id for one in store.results(digest="00ff")] == ["a", "c"]
        assert [one.id for one in store.results(device="here", digest="00ff")] == ["a"]
        assert [one.id for one in store.results(digest="11%")] == ["b"] and not store.results(digest="0_ff")


def test_accuracy_predictors_come_back_equal_and_can_be_asked_for_by_run(home: Home) -> None:
    kept = [accuracy_predictor("a", "digits"), accuracy_predictor("b", "pictures")]
    with ResultStore(home.store_url) as store:
        store.add(*kept)
        assert store.accuracy_predictors() == kept
        assert store.accuracy_predictors(run="pictures") == kept[1:]
        assert store.predictors() == []


def test_records_are_added_all_or_none(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(artifact("before"))
        broken = replace(result("broken", "here"), load_ms=float("nan"))
        with pytest.raises(ValueError):
            store.add(artifact("after"), broken)
        assert [one.id for one in store.artifacts()] == ["before"]


def test_a_document_of_a_later_version_is_refused_with_a_hint(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(artifact("new"))
        change(home, "UPDATE records SET version = ?", VERSION + 1)
        with pytest.raises(
            StoreError, match=f"artifact 'new' .* later edge-bench .*{VERSION + 1}"
        ) as raised:
            store.artifacts()
        assert "--upgrade" in raised.value.hint


def test_a_result_of_version_1_is_read_and_said_in_the_present_version(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(result("old", "this-machine"))
        change(home, "UPDATE records SET version = 1, document = ?", json.dumps(FROM_VERSION_1))
        (read,) = store.results()
    assert (read.p50_ms, read.latencies_ms, read.runs) == (2.0, (1.0, 3.0, 2.0), 3)
    assert (read.mode, read.scenario, read.origin) == ("burst", "single_stream", "edge-bench")
    document = document_of(read)
    assert document["version"] == VERSION and FROM_VERSION_1.items() <= {**document}.items()
    jsonschema.validate(json.loads(json.dumps(document)), schema_of("result"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "artifact 'one' cannot be read"),
        ("[]", r"artifact 'one' cannot be read: the document is \[\]; it must be a table"),
        ('{"id": "one"}', "artifact 'one' cannot be read: missing key 'name'"),
        ('{"identity": "one"}', "artifact 'one' cannot be read: unknown key 'identity'"),
    ],
)
def test_a_malformed_document_names_its_record(home: Home, text: str, told: str) -> None:
    with ResultStore(home.store_url) as store:
        store.add(artifact("one"), result("fine", "here"))
        change(home, "UPDATE records SET document = ? WHERE kind = 'artifact'", text)
        with pytest.raises(StoreError, match=told):
            store.artifacts()
        assert [one.id for one in store.results()] == ["fine"]


def test_a_file_that_is_no_database_is_told_in_one_line(home: Home) -> None:
    home.root.mkdir()
    (home.root / "store.sqlite").write_text("not a database\n" * 100, encoding="utf-8")
    refused_in_one_line(home.store_url, "not a database")
    assert (home.root / "store.sqlite").read_text(encoding="utf-8").startswith("not a database")


def test_a_place_below_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    refused_in_one_line(Home(tmp_path / "file" / "home").store_url, "Not a directory")


def test_a_folder_in_the_place_of_the_store_is_told_in_one_line(tmp_path: Path) -> None:
    refused_in_one_line(f"sqlite:///{tmp_path}", "unable to open")


@pytest.mark.parametrize("url", ["no url at all", "nosuchdialect://host/name"])
def test_what_is_no_database_address_is_told_in_one_line(url: str) -> None:
    refused_in_one_line(url, "cannot open the store")


def test_a_read_only_store_can_be_read_and_refuses_writes_in_one_line(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(artifact("one"))
        read_only = f"sqlite:///file:{home.root / 'store.sqlite'}?mode=ro&uri=true"
        with ResultStore(read_only) as reader:
            assert [one.id for one in reader.artifacts()] == ["one"]
            with pytest.raises(StoreError, match="readonly database") as raised:
                reader.add(artifact("two"))
    assert one_line(raised.value)


def test_a_full_disk_refuses_in_one_line_and_keeps_what_was_there(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(artifact("before"))
    # A limit on file size makes the system refuse to let the database grow, as a full disk does.
    code = textwrap.dedent("""
        import json, resource, signal, sys
        from edge_bench.documents import from_document
        from edge_bench.errors import StoreError
        from edge_bench.records import Artifact
        from edge_bench.store import ResultStore
        store = ResultStore(sys.argv[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
        try:
            store.add(from_document(Artifact, json.load(sys.stdin)))
        except StoreError as error:
            print(error.message.count(chr(10)), error.hint)
        else:
            print("written")
    """)
    large = canonical_json(artifact("large", name="x" * 1_000_000))
    told = subprocess.run(
        [sys.executable, "-c", code, home.store_url],
        input=large,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert told.startswith("0 ") and "--home" in told
    with ResultStore(home.store_url) as store:
        assert [one.id for one in store.artifacts()] == ["before"]
        store.add(artifact("after"))
        assert [one.id for one in store.artifacts()] == ["before", "after"]


def test_raw_documents_are_as_stored_for_every_kind(home: Home) -> None:
    with ResultStore(home.store_url) as store:
        store.add(artifact("one"), result("two", "here"), predictor("three", "here"))
        store.add(accuracy_predictor("four", "digits"), survey("five", "here"))
        found = {kind: [one["id"] for one in store.documents(kind)] for kind in KINDS}
    assert found == {
        "subnet": [],
        "artifact": ["one"],
        "result": ["two"],
        "predictor": ["three"],
        "accuracy_predictor": ["four"],
        "survey": ["five"],
    }


def change(home: Home, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(home.root / "store.sqlite")
    with connection:
        connection.execute(statement, values)
    connection.close()


def refused_in_one_line(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as raised, ResultStore(url) as store:
        store.artifacts()
    assert one_line(raised.value)


def one_line(error: StoreError) -> bool:
    return "\n" not in error.message and "--home" in error.hint and error.status == OUR_FAULT
