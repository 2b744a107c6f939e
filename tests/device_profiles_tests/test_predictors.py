"""Predictors come with devices as plain documents; a file dropped into the folder is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_profiles import ProfileError, load, names, predicted_devices, predictor_documents
from device_profiles.fitted import PREDICTORS


def test_a_file_dropped_into_the_folder_is_a_devices_predictor(tmp_path: Path) -> None:
    assert predictor_documents("my-board", tmp_path) == []
    (tmp_path / "my-board.blocks.json").write_text('{"id": "one"}', encoding="utf-8")
    (tmp_path / "my-board-2.blocks.json").write_text('{"id": "two"}', encoding="utf-8")
    assert predictor_documents("my-board", tmp_path) == [{"id": "one"}]
    assert predicted_devices(tmp_path) == ("my-board", "my-board-2")


@pytest.mark.parametrize(("text", "told"), [("{", "is not JSON"), ("[1]", "holds no document")])
def test_what_is_no_document_is_told_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "my-board.blocks.json").write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=rf"my-board\.blocks\.json.*{told}"):
        predictor_documents("my-board", tmp_path)


def test_a_device_says_predicted_where_a_predictor_comes_with_it_and_only_there() -> None:
    saying = [name for name in names() if load(name).latency_source == "predicted"]
    assert saying == list(predicted_devices())


def test_what_ships_is_small_and_holds_no_table_of_measurements() -> None:
    for path in PREDICTORS.glob("*.json"):
        assert path.stat().st_size < 12_000, path.name
        parameters = json.loads(path.read_text(encoding="utf-8"))["parameters"]
        assert not {"latencies_ms", "rows"} & set(parameters), path.name
