"""Once-for-all's tables: a key is a block of ours, a bad row is named, nothing is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_bench.choose.features import block_features, blocks
from edge_bench.choose.fitting import predict
from edge_bench.choose.published import MeasuredTable, read_published
from edge_bench.choose.published.once_for_all import operators_of
from edge_bench.choose.table_fitting import Parted, fit_on_table
from edge_bench.errors import DataError
from edge_bench.records import ArchConfig, Block, operators
from supernet.spaces.mobilenet_v3 import MobilenetV3

KEYS = (
    "Conv-input:224x224x3-output:112x112x24",
    "expanded_conv-input:112x112x24-output:112x112x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0",
    "expanded_conv-input:112x112x24-output:56x56x32-expand:72-kernel:5-stride:2-idskip:0-se:0-hs:0",
    "expanded_conv-input:56x56x32-output:56x56x32-expand:96-kernel:5-stride:1-idskip:1-se:0-hs:0",
    "expanded_conv-input:56x56x32-output:28x28x48-expand:96-kernel:5-stride:2-idskip:0-se:1-hs:0",
    "expanded_conv-input:28x28x48-output:28x28x48-expand:144-kernel:5-stride:1-idskip:1-se:1-hs:0",
    "expanded_conv-input:28x28x48-output:14x14x96-expand:144-kernel:5-stride:2-idskip:0-se:0-hs:1",
    "expanded_conv-input:14x14x96-output:14x14x96-expand:288-kernel:5-stride:1-idskip:1-se:0-hs:1",
    "expanded_conv-input:14x14x96-output:14x14x136-expand:288-kernel:5-stride:1-idskip:0-se:1-hs:1",
    "expanded_conv-input:14x14x136-output:14x14x136-expand:408-kernel:5-stride:1-idskip:1-se:1-hs:1",
    "expanded_conv-input:14x14x136-output:7x7x192-expand:408-kernel:5-stride:2-idskip:0-se:1-hs:1",
    "expanded_conv-input:7x7x192-output:7x7x192-expand:576-kernel:5-stride:1-idskip:1-se:1-hs:1",
    "Conv_1-input:7x7x192-output:7x7x1152",
    "AvgPool2D-input:7x7x1152-output:1x1x1152",
    "Conv_2-input:1x1x1152-output:1x1x1536",
    "Logits-input:1x1x1536-output:1000",
)
HEADER = "table,resolution,key,count,mean_ms,std_ms\n"
NETWORKS = (
    "name,device,batch,latency_ms,mflops,imagenet_top1,network,resolution,first_conv_out,n_blocks,"
    "blocks_in_out_k_s_exp_mid_se_act_skip\n"
)
BLOCKS = '"[[16, 16, 3, 1, 1, 16, 0, ""relu"", 1], [16, 24, 5, 2, 3, 48, 1, ""h_swish"", 0]]"'


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path) -> list[MeasuredTable]:
    return read_published(path)


def test_the_keys_of_a_network_are_the_blocks_of_ours() -> None:
    space = MobilenetV3(width_multiplier=1.2).build(input_channels=3, classes=1000)
    sources = [space.offsets[stage] + place for stage in range(5) for place in range(2)]
    arch = ArchConfig(
        space=space.name,
        resolution=224,
        blocks=tuple(Block(source=source, kernel=5, expand=3) for source in sources),
    )
    ours = [block_features(block) for block in blocks(operators(space, arch))]
    assert [block_features(operators_of(key, swish=True)) for key in KEYS] == ours


def test_in_tables_without_squeeze_excite_expand_is_a_ratio() -> None:
    told = block_features(
        operators_of(
            "expanded_conv-input:14x14x80-output:14x14x96-expand:6-kernel:3-stride:1-idskip:0", swish=False
        )
    )
    assert (told["mid_channels"], told["squeezed_channels"], told["residual"]) == (480, 0, 0)


def test_the_published_yaml_and_the_csv_table_say_the_same(tmp_path: Path) -> None:
    yaml = written(
        tmp_path / "224.yaml",
        "".join(f"{key}:\n  count: 9\n  mean: {place + 0.5}\n" for place, key in enumerate(KEYS)),
    )
    rows = "".join(f"ofa_note10,224,{key},9,{place + 0.5},0.1\n" for place, key in enumerate(KEYS))
    (one,), (other,) = read(yaml), read(written(tmp_path / "lut.csv", HEADER + rows))
    assert one.unit == "block" and one.keys == other.keys == KEYS
    assert one.latencies_ms["note10"].tolist() == other.latencies_ms["note10"].tolist()
    assert one.features.values.tolist() == other.features.values.tolist()
    assert "ICLR 2020" in one.citation


def test_rows_that_cannot_be_read_are_named_and_counted(tmp_path: Path) -> None:
    bad = [
        f"ofa_note10,224,{KEYS[0]},9,,0.1",
        f"ofa_note10,224,{KEYS[0]},9,-1,0.1",
        "ofa_note10,224,Pool-input:7x7x8-output:1x1x8,9,1,0.1",
        "ofa_note10,224,expanded_conv-input:8x8x8-output:8x8x8-expand:8-kernel:3,9,1,0.1",
        "ofa_note10,224,expanded_conv-input:8x8x8-output:8x8x8-expand:8-kernel:3-stride:2-idskip:0,9,1,1",
        "ofa_note10,224,Conv-input:8x9x3-output:4x4x8,9,1,0.1",
        f"somewhere,224,{KEYS[0]},9,1,0.1",
    ]
    good = f"ofa_note10,224,{KEYS[0]},9,1.5,0.1"
    (table,) = read(written(tmp_path / "lut.csv", HEADER + "\n".join([good, *bad]) + "\n"))
    assert len(table.keys) == 1
    assert [one.where for one in table.malformed] == [f"line {number}" for number in range(3, 10)]
    told = " ".join(one.why for one in table.malformed)
    for why in ("mean_ms is missing", "mean_ms is '-1'", "layer 'Pool'", "stride", "8 px to 8", "8x9x3"):
        assert why in told, why


def test_a_yaml_file_that_would_run_something_runs_nothing(tmp_path: Path) -> None:
    text = f"{KEYS[0]}: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n"
    with pytest.raises(DataError, match="not YAML"):
        read(written(tmp_path / "224.yaml", text))
    assert not (tmp_path / "made").exists()


def test_a_searched_network_tells_its_blocks_and_one_without_latency_is_counted(tmp_path: Path) -> None:
    rows = (
        f"a,note10,1,8.0,,71,MobileNetV3,160,16,2,{BLOCKS}\n"
        f"b,flops,1,,389,79,MobileNetV3,224,16,2,{BLOCKS}\n"
        f"c,v100,64,5.0,,70,Unheard,160,16,2,{BLOCKS}\n"
    )
    (table,) = read(written(tmp_path / "nets.csv", NETWORKS + rows))
    assert table.unit == "network" and table.keys == ("a",)
    # Stem, the block of the stem, a block, and pointwise, pool and two fully connected layers behind.
    assert len(table.blocks) == 1 and len(table.blocks[0]) == 7
    assert [one.where for one in table.malformed] == ["line 3", "line 4"]
    assert table.facts["note10"]["batch"] == "1"


def test_a_price_list_of_ones_own_prices_our_networks_exactly(tmp_path: Path) -> None:
    rows = "".join(f"ofa_note10,224,{key},9,{place + 0.5},0.1\n" for place, key in enumerate(KEYS))
    (table,) = read(written(tmp_path / "lut.csv", HEADER + rows))
    features, latencies = table.measured_on("note10")
    parted = Parted(seen=features, seen_ms=latencies, unseen=features, unseen_ms=latencies)
    fitted = fit_on_table(table, "note10", parted, kind="lookup_table")
    space = MobilenetV3(width_multiplier=1.2).build(input_channels=3, classes=1000)
    sources = [space.offsets[stage] + place for stage in range(5) for place in range(2)]
    arch = ArchConfig(
        space=space.name,
        resolution=224,
        blocks=tuple(Block(source=source, kernel=5, expand=3) for source in sources),
    )
    told = predict(fitted, space, arch)
    assert told.latency_ms == pytest.approx(sum(latencies)) and not told.warning
    assert (fitted.unit, fitted.held_out_unit, fitted.runtime) == ("block", "block", "litert")
