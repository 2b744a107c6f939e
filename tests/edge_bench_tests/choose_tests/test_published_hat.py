"""HAT's tables of transformers: the authors' files, the prepared one, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from edge_bench.choose.features import MACS
from edge_bench.choose.published import read_published
from edge_bench.choose.published.hat import LATENCIES, SHAPE
from edge_bench.errors import DataError

COLUMNS = ",".join([*SHAPE, *LATENCIES, "latency_std_encoder", "latency_std_decoder"])
ROW = "640,6,2048,6,512,4,1024,4,4,2,5.5,100.25,0.1,0.2"


def written(path: Path, *lines: str) -> Path:
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def test_the_authors_file_tells_task_and_hardware_by_its_name(tmp_path: Path) -> None:
    (table,) = read_published(written(tmp_path / "wmt14ende_cpu_xeon_all.csv", COLUMNS, ROW))
    assert table.space == "hat_wmt14ende"
    assert {device: list(ms) for device, ms in table.latencies_ms.items()} == {"cpu_xeon": [105.75]}
    assert "HAT" in table.citation


def test_features_mean_what_all_layers_compute(tmp_path: Path) -> None:
    (table,) = read_published(written(tmp_path / "wmt14ende_cpu_xeon_all.csv", COLUMNS, ROW))
    shown = dict(zip(table.features.names, table.features.values[0], strict=True))
    assert shown["decoder_ffn_weights"] == 4 * 512 * 1024
    encoder = 6 * (2 * 640 * 2048 + 4 * 640 * 512)
    decoder = 4 * (2 * 512 * 1024 + 6 * 512 * 512 + 2 * 640 * 512)
    assert shown[MACS] == 30 * (encoder + decoder)


def test_a_prepared_file_gives_a_table_a_task_and_a_column_a_hardware(tmp_path: Path) -> None:
    path = written(
        tmp_path / "latency.csv.gz",
        f"task,hardware,{COLUMNS}",
        f"wmt14ende,cpu_xeon,{ROW}",
        f"iwslt14deen,gpu_titanxp,{ROW}",
        f"wmt14ende,gpu_titanxp,{ROW.replace('100.25', '50')}",
    )
    first, second = read_published(path)
    assert (first.space, second.space) == ("hat_iwslt14deen", "hat_wmt14ende")
    assert sorted(second.latencies_ms) == ["cpu_xeon", "gpu_titanxp"]
    features, latencies = second.measured_on("gpu_titanxp")
    assert (len(features), latencies.tolist()) == (1, [55.5])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (ROW.replace("100.25", "-3"), "latency_mean_decoder is '-3'; a number above 0"),
        (ROW.replace("100.25", "inf"), "latency_mean_decoder is 'inf'"),
        (ROW.replace("100.25", "slow"), "latency_mean_decoder is 'slow'"),
        (ROW.replace("100.25", ""), "latency_mean_decoder is missing"),
        (ROW.replace("640,", ",", 1), "encoder_embed_dim is missing"),
        ("640,6", "encoder_ffn_embed_dim_avg is missing"),
        (f"{ROW},7", "more values than the 14 columns"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_the_rest_kept(tmp_path: Path, line: str, why: str) -> None:
    path = written(tmp_path / "wmt14ende_cpu_xeon_all.csv", COLUMNS, ROW, line, ROW)
    (table,) = read_published(path)
    assert len(table.keys) == 2
    (malformed,) = table.malformed
    assert malformed.where == "line 3"
    assert why in malformed.why


def test_what_cannot_be_read_is_counted_once(tmp_path: Path) -> None:
    path = written(
        tmp_path / "latency.csv.gz",
        f"task,hardware,{COLUMNS}",
        f"a,cpu_x,{ROW}",
        f",cpu_x,{ROW}",
        f"b,cpu_x,{ROW}",
    )
    assert [one.why for table in read_published(path) for one in table.malformed] == ["task is missing"]


def test_a_file_that_does_not_say_which_hardware_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'hardware'") as caught:
        read_published(written(tmp_path / "renamed.csv", COLUMNS, ROW))
    assert "by name" in caught.value.hint


@pytest.mark.parametrize("lacking", ["latency_mean_decoder", "encoder_embed_dim"])
def test_a_file_that_lacks_a_column_is_refused_by_its_name(tmp_path: Path, lacking: str) -> None:
    path = written(tmp_path / "wmt14ende_cpu_xeon_all.csv", COLUMNS.replace(f"{lacking},", ""), ROW)
    with pytest.raises(DataError, match=f"no column '{lacking}'"):
        read_published(path)


def test_gzip_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wmt14ende_cpu_xeon_all.csv.gz"
    rows = [f"{ROW[:-1]}{number}" for number in range(20_000)]
    path.write_bytes(gzip.compress("\n".join([COLUMNS, *rows]).encode())[:-2_000])
    with pytest.raises(DataError, match="cannot be read"):
        read_published(path)


def test_every_published_row_is_read(shared_data: Path) -> None:
    tables = read_published(shared_data / "hat_latency" / "latency.csv.gz")
    pairs = {
        (table.space, device): int(np.isfinite(latencies).sum())
        for table in tables
        for device, latencies in table.latencies_ms.items()
    }
    assert sum(pairs.values()) == 12_000
    assert set(pairs.values()) == {2_000}
    assert not any(table.malformed for table in tables)
