"""HW-NAS-Bench's price list is found again in sums over networks, as far as sums tell it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge_bench.choose.published import MeasuredTable, read_published
from edge_bench.choose.published._help_spaces import FBNet
from edge_bench.choose.published.hw_nas_bench import ANCHORED, network_blocks, places
from edge_bench.errors import DataError

NETWORKS, PLAIN = 700, 6


@pytest.fixture(scope="module")
def prices() -> np.ndarray:
    """The price in ms of each choice at each place, by work: more kernel, more expansion, larger maps."""
    rows = []
    for place in places():
        dense = place.side**2 * place.before * (place.before + place.after / place.stride**2) * 2e-7
        taken = [dense * 0.5 * expand + 0.05 * kernel for kernel in (3, 5) for expand in (1, 1.5, 3, 6)]
        rows.append([*taken, 0.0 if place.skip_is_free else 0.2])
    return np.array(rows)


@pytest.fixture(scope="module")
def tables(prices: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[MeasuredTable]:
    generator = np.random.default_rng(0)
    chosen = generator.integers(0, 9, (NETWORKS, 22))
    grouped = np.isin(chosen, (1, 5))
    chosen[~grouped.any(1), 0] = 1
    chosen[:PLAIN] = generator.choice([0, 2, 3, 4, 6, 7, 8], (PLAIN, 22))
    latencies = 1.5 + prices[np.arange(22), chosen].sum(1)
    path = tmp_path_factory.mktemp("fbnet") / "fbnet.parquet"
    pq.write_table(
        pa.table(
            {
                "arch_idx": list(range(NETWORKS)),
                "op_idx": [" ".join(map(str, row)) for row in chosen],
                "ops": [" ".join(FBNet.choices[one] for one in row) for row in chosen],
                "raspi4": latencies,
            }
        ),
        path,
    )
    return read_published(path, source="hw_nas_bench")


def test_where_a_skip_is_free_prices_are_found_exactly(
    tables: list[MeasuredTable], prices: np.ndarray
) -> None:
    _, table = tables
    found = dict(zip(table.keys, table.latencies_ms["raspi4"].tolist(), strict=True))
    for number, place in enumerate(places()):
        for choice, name in enumerate(FBNet.choices):
            key = f"{name} {place.before}-{place.after} at {place.side} px"
            if place.skip_is_free and key in found:
                assert found[key] == pytest.approx(prices[number, choice], rel=1e-6)


def test_what_sums_do_not_tell_is_marked(tables: list[MeasuredTable]) -> None:
    _, table = tables
    anchored = [key for key in table.keys if key.endswith(ANCHORED)]
    # Six choices at each of six first blocks, and stem, head, pool and classifier.
    assert len(anchored) == 36 + 4 and len(table.keys) == 36 + 40
    assert not any("_g2" in key for key in table.keys)
    assert "no evidence" in table.facts["raspi4"]["note"]


def test_networks_of_our_blocks_are_kept_to_judge_on_and_take_no_part(tables: list[MeasuredTable]) -> None:
    networks, _ = tables
    assert len(networks.keys) == len(networks.blocks) == PLAIN
    assert all(network_blocks(key) is not None for key in networks.keys)
    assert network_blocks("k3_e1_g2 " + "skip " * 21) is None
    # Stem, head, pool, classifier, and the six skips that are convolutions.
    assert len(network_blocks("skip " * 22) or ()) == 10


def test_a_file_of_another_space_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nasbench201.parquet"
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    pq.write_table(pa.table({"arch_idx": [0], "arch_str": [cell], "raspi4": [1.0]}), path)
    with pytest.raises(DataError, match="nasbench201; blocks can be recovered from those of fbnet"):
        read_published(path, source="hw_nas_bench")
