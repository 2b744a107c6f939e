"""Jobs that survey a bundle of many small files: what travels, what comes back, what is refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench.devices import bundle
from edge_bench.devices.job import SurveyOptions, read_job, survey_job
from edge_bench.devices.models import ModelCache
from edge_bench.documents import to_document
from edge_bench.errors import ConfigError, DataError, EdgeBenchError
from edge_bench.files import Home
from edge_bench.records import Survey

Scripted = Callable[..., Path]
OPTIONS = SurveyOptions(space="lite-0", runtime="scripted", threads=1, rounds=2, round_ms=1.0)


@pytest.fixture
def packed(scripted: Scripted, tmp_path: Path) -> Path:
    files = [scripted(name, latencies_ms=[ms]) for name, ms in (("slow", 2.5), ("quick", 0.25))]
    target = tmp_path / "survey.zip"
    bundle.pack(files, target)
    return target


def test_a_bundle_of_the_same_files_is_the_same_bundle(scripted: Scripted, tmp_path: Path) -> None:
    files = [scripted("a"), scripted("b")]
    bundle.pack(files, tmp_path / "one.zip")
    for file in files:
        file.touch()
    bundle.pack(files[::-1], tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    (tmp_path / "there").mkdir()
    unpacked = bundle.unpack(tmp_path / "one.zip", tmp_path / "there")
    assert [(one.name, one.read_bytes()) for one in unpacked] == [
        (one.name, one.read_bytes()) for one in files
    ]


@pytest.mark.parametrize("name", ["../out.onnx", "/out.onnx", "a/b.onnx", "..", "a\\b.onnx", "plain"])
def test_a_bundle_whose_names_are_paths_is_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as bad:
        bad.writestr("good.onnx", b"x")
        bad.writestr(name, b"x")
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="no name of a model file"):
        bundle.unpack(tmp_path / "bad.zip", tmp_path / "there")
    assert not list((tmp_path / "there").iterdir()) and not (tmp_path / "out.onnx").exists()


def test_what_is_no_bundle_or_too_much_of_one_is_refused(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK but no zip")
    with pytest.raises(DataError, match="is no bundle"):
        bundle.unpack(tmp_path / "no.zip", tmp_path)
    bundle.pack([scripted("a"), scripted("b")], tmp_path / "two.zip")
    monkeypatch.setattr(bundle, "MAX_FILES", 1)
    with pytest.raises(DataError, match="this one has 2"):
        bundle.unpack(tmp_path / "two.zip", tmp_path)


def test_an_agent_surveys_a_bundle_and_every_latency_comes_back_by_name(
    served: Any, packed: Path, tmp_path: Path
) -> None:
    token, job = served.device(), survey_job(packed, OPTIONS)
    ModelCache.of_controller(served.home).keep(job, packed)
    served.queue.add("pi", job)
    assert served.agent(token, Home(tmp_path / "device")).run(once=True).delivered == 1
    assert served.results() == []
    [survey] = served.store.surveys(device="pi")
    assert survey.latencies_ms == {"quick": 0.25, "slow": 2.5}
    assert (survey.space, survey.runtime, survey.threads) == ("lite-0", "scripted", 1)
    assert survey.digest == job.digest and survey.environment["cpu"]
    assert served.queue.entry(job.id).report == survey.id


def test_a_file_that_cannot_run_ends_the_survey_in_words(
    served: Any, scripted: Scripted, tmp_path: Path
) -> None:
    bundle.pack([scripted("fine"), scripted("bad", crash="SIGABRT")], tmp_path / "survey.zip")
    token, job = served.device(), survey_job(tmp_path / "survey.zip", OPTIONS)
    ModelCache.of_controller(served.home).keep(job, tmp_path / "survey.zip")
    served.queue.add("pi", job)
    served.agent(token, Home(tmp_path / "device")).run(once=True)
    failure = served.queue.entry(job.id).failure
    assert "SIGABRT" in failure.message and isinstance(failure.error(), EdgeBenchError)
    assert served.store.surveys() == []


def test_a_survey_that_travelled_is_the_same_job_and_an_older_device_is_told_to_upgrade(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = survey_job(packed, OPTIONS)
    assert read_job(to_document(job)) == job and isinstance(job.options, SurveyOptions)
    monkeypatch.setattr("edge_bench.devices.job.KNOWN_VERSION", 1)
    with pytest.raises(ConfigError, match="of version 2; the edge-bench on this device knows version 1"):
        read_job(to_document(job))


def test_a_survey_is_read_back_as_it_was(served: Any) -> None:
    survey = Survey(
        id="s",
        device="pi",
        digest="0" * 64,
        space="lite-0",
        runtime="litert",
        threads=2,
        latencies_ms={"abc": 1.5},
        environment={"cpu": "x"},
        created="2026-01-01T00:00:00+00:00",
    )
    served.store.add(survey)
    assert served.store.surveys() == [survey] and served.store.surveys(device="other") == []
