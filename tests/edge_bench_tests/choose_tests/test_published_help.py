"""HELP's tables: what is read of each space, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_bench.choose.features import MACS
from edge_bench.choose.published import MeasuredTable, read_published
from edge_bench.errors import DataError

CELL = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
ALL_3X3 = CELL.format(*["nor_conv_3x3"] * 6)
FBNET = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(
        pa.Table.from_pylist([{"arch_idx": place, **row} for place, row in enumerate(rows)]), path
    )
    return path


def cells(path: Path, *cells: str | None, latency: Any = 5.0) -> Path:
    rows = [{"arch_str": cell, "raspi4": 10.0, "titan_rtx_256": latency} for cell in cells]
    return written(path / "cells.parquet", rows)


def fbnet(path: Path, *operations: int) -> Path:
    row = {"op_idx": " ".join(map(str, operations)), "ops": " ".join(FBNET[one] for one in operations)}
    return written(path / "fbnet.parquet", [{**row, "pixel3": 10.0}])


def once_for_all(path: Path, **changed: Any) -> Path:
    rows = {
        "resolution": 224,
        "depth": "4 4 4 4 4",
        "kernel": " ".join(["7"] * 20),
        "expand": " ".join(["6"] * 20),
        "v100_64": 10.0,
    }
    return written(path / "ofa.parquet", [rows, {**rows, **changed}])


def only(path: Path) -> MeasuredTable:
    (table,) = read_published(path)
    return table


def value(table: MeasuredTable, name: str, row: int = 0) -> float:
    return float(table.features.columns([name])[row, 0])


def test_a_cell_is_read_with_its_latencies_and_its_macs(tmp_path: Path) -> None:
    table = only(cells(tmp_path, ALL_3X3, CELL.format(*["skip_connect"] * 6)))
    assert (table.space, table.unit, table.keys[0]) == ("nasbench201", "network", ALL_3X3)
    assert table.latencies_ms["titan_rtx_256"].tolist() == [5.0, 5.0]
    # The paper's largest network has 220.12 million; that counts batch norm and shortcuts too.
    assert value(table, MACS) == pytest.approx(220.12e6, rel=0.002)
    assert value(table, "count.nor_conv_3x3") == 6
    assert value(table, "depth") == 3
    assert value(table, "depth", 1) == 0
    assert table.facts["titan_rtx_256"]["batch"] == "256"
    assert table.facts["raspi4"]["batch"] == "1"
    assert "HELP" in table.citation


def test_only_edges_on_a_way_from_input_to_output_are_alive(tmp_path: Path) -> None:
    # Node 1 hangs on nothing, so that what goes on from it counts for nothing; node 2 reaches the output.
    cell = CELL.format("none", "nor_conv_1x1", "nor_conv_3x3", "none", "nor_conv_3x3", "skip_connect")
    table = only(cells(tmp_path, cell, CELL.format(*["none"] * 3, *["nor_conv_3x3"] * 2, "none")))
    assert value(table, "count.nor_conv_3x3") == 2
    assert value(table, "live_count.nor_conv_3x3") == 0
    assert value(table, "live_count.nor_conv_1x1") == 1
    # Both lead to the output, whatever they are fed, and what ends in node 1 does not.
    assert value(table, "used_count.nor_conv_3x3") == 2
    assert value(table, "used_count.nor_conv_1x1") == 1
    assert value(table, "used_count.nor_conv_3x3", 1) == 2
    assert value(table, "edge_0_2.live_nor_conv_1x1") == 1
    assert value(table, "depth") == 1
    assert (value(table, "connected"), value(table, "connected", 1)) == (1, 1)
    assert value(table, MACS) > value(table, "live_macs")


def test_a_cell_that_hangs_on_no_input_is_kept_and_told_of(tmp_path: Path) -> None:
    table = only(cells(tmp_path, CELL.format("none", "none", "none", "none", *["nor_conv_3x3"] * 2)))
    assert value(table, "connected") == 0
    assert "connected = 0" in table.facts["raspi4"]["note"]


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (None, "arch_str is missing"),
        (ALL_3X3.replace("nor_conv_3x3~2", "conv_9x9~2"), "'conv_9x9'; one of none"),
        ("|nor_conv_3x3~0|", "three nodes"),
        (ALL_3X3.replace("~1", "~0"), "three nodes"),
    ],
)
def test_a_row_that_names_no_cell_is_named_and_counted(tmp_path: Path, cell: str | None, why: str) -> None:
    table = only(cells(tmp_path, ALL_3X3, cell))
    assert table.keys == (ALL_3X3,)
    (malformed,) = table.malformed
    assert malformed.where == "row 2"
    assert why in malformed.why


@pytest.mark.parametrize("latency", [-1.0, 0.0, float("nan"), float("inf"), None, "fast"])
def test_a_latency_that_is_none_is_named_by_device(tmp_path: Path, latency: Any) -> None:
    rows = [
        {"arch_str": ALL_3X3, "pixel3": "5.0" if isinstance(latency, str) else 5.0},
        {"arch_str": ALL_3X3, "pixel3": latency},
    ]
    table = only(written(tmp_path / "cells.parquet", rows))
    assert table.latencies_ms["pixel3"].tolist() == [5.0]
    (malformed,) = table.malformed
    assert malformed.where == "row 2"
    assert malformed.why.startswith("pixel3 is")


def test_a_table_without_one_good_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row that can be read: row 1: raspi4 is|titan_rtx_256 is"):
        read_published(cells(tmp_path, ALL_3X3, latency=-1.0))


def test_a_table_without_latencies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column of latencies"):
        read_published(written(tmp_path / "cells.parquet", [{"arch_str": ALL_3X3}]))


def test_a_table_of_no_known_space_is_refused_with_the_columns_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="arch_str for nasbench201; arch_idx, op_idx, ops for fbnet"):
        read_published(written(tmp_path / "cells.parquet", [{"raspi4": 5.0}]))


def test_a_text_named_as_this_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("arch_str,raspi4\n", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_published(path, source="help")


def test_fbnet_costs_what_its_blocks_cost(tmp_path: Path) -> None:
    skips, smallest = only(fbnet(tmp_path, *[8] * 22)), only(fbnet(tmp_path, *[8] * 21, 0))
    assert value(smallest, "place_21.k3_e1") == 1
    # The last place: 184 to 352 channels at 4 px, where a skip is a 1×1 convolution.
    block = 16 * (184 * 184 + 9 * 184 + 184 * 352)
    assert value(smallest, MACS) - value(skips, MACS) == block - 16 * 184 * 352


def test_fbnet_whose_two_columns_disagree_is_malformed(tmp_path: Path) -> None:
    good, wrong = [{"op_idx": " ".join(["8"] * 22), "ops": " ".join([op] * 22)} for op in ("skip", "k3_e1")]
    table = only(written(tmp_path / "fbnet.parquet", [{**row, "fpga": 1.0} for row in (good, wrong)]))
    assert [one.where for one in table.malformed] == ["row 2"]


def test_entries_beyond_a_depth_mean_nothing(tmp_path: Path) -> None:
    kernels = ["7"] * 20
    one = only(once_for_all(tmp_path, depth="2 4 4 4 4"))
    kernels[2], kernels[3] = "3", "5"
    other = only(once_for_all(tmp_path, depth="2 4 4 4 4", kernel=" ".join(kernels)))
    assert one.keys == other.keys
    assert np.array_equal(one.features.values, other.features.values)
    assert value(one, "place_2.kernel_7", 1) == 0
    assert value(one, "stage_0.depth", 1) == 2
    assert value(one, "stage_0.macs", 1) < value(one, "stage_0.macs")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"kernel": "7 7"}, "kernel has 2 numbers; 20 are expected"),
        ({"kernel": " ".join(["9"] * 20)}, "kernel 9"),
        ({"expand": "six"}, "20 integers"),
        ({"depth": "4 4 4 4 9"}, "2 to 4"),
        ({"resolution": 225}, "resolution 225"),
        ({"resolution": None}, "resolution is missing"),
        ({"depth": None}, "depth is missing"),
    ],
)
def test_a_network_outside_the_space_is_named(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    table = only(once_for_all(tmp_path, **changed))
    (malformed,) = table.malformed
    assert len(table.keys) == 1
    assert malformed.where == "row 2"
    assert why in malformed.why


def test_the_authors_pickles_are_refused_and_why(tmp_path: Path) -> None:
    path = tmp_path / "raspi4.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02cos\nsystem\n.")
    with pytest.raises(DataError, match="pickle, and opening one runs") as caught:
        read_published(path)
    assert "Parquet" in caught.value.hint


def test_parquet_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = cells(tmp_path, ALL_3X3)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_published(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "rows", "devices"),
    [("nasbench201", 15_625, 24), ("fbnet", 5_000, 24), ("ofa_mbv3", 5_000, 11)],
)
def test_every_published_row_is_read(shared_data: Path, file: str, rows: int, devices: int) -> None:
    table = only(shared_data / "help_latency" / f"{file}.parquet")
    assert len(set(table.keys)) == len(table.features) == rows
    assert len(table.latencies_ms) == devices
    assert not table.malformed
    assert not any(np.isnan(latencies).any() for latencies in table.latencies_ms.values())
