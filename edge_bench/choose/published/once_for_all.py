"""Once-for-all and ProxylessNAS: latencies of blocks on two phones, and the networks searched with them.

The authors publish a YAML file a device and resolution, a key a block; also read are the same rows as one
CSV table (`table`, `resolution`, `key`, `count`, `mean_ms`, `std_ms`) and the searched networks as another.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_bench import variants
from edge_bench.choose.features import block_features, blocks, operator_features
from edge_bench.choose.predictors import FeatureTable
from edge_bench.choose.published import MeasuredTable, PublishedTable, positive, read_rows
from edge_bench.errors import DataError
from edge_bench.records import Operator
from edge_bench.records.operators import Kind, squeezed_width

KEY = re.compile(
    r"(?P<layer>\w+)-input:(?P<input>[\dx]+)-output:(?P<output>[\dx]+)(?P<options>(-\w+:\d+)*)"
)
KEY_START = re.compile(r"^['\"]?(Conv|expanded_conv|Logits|AvgPool2D)\w*-input:", re.MULTILINE)
# The tables by the device that they were measured on.
DEVICES = {"ofa_note10": "note10", "proxyless_pixel1_trim": "pixel1"}
OF_BLOCKS = {"table", "resolution", "key", "mean_ms"}
OF_NETWORKS = {"name", "device", "latency_ms", "resolution", "blocks_in_out_k_s_exp_mid_se_act_skip"}
LAYERS: Mapping[str, Kind] = {
    "Conv": "convolution",
    "Conv_1": "pointwise",
    "Conv_2": "linear",
    "AvgPool2D": "global_pool",
    "Logits": "linear",
}
FORERUNNER = "measured with TensorFlow Lite, which LiteRT was called then"
ACTIVATED = ("Conv", "Conv_1", "Conv_2")
# Widths behind the blocks by the width of the stem, which tells the space's width multiplier.
HEADS = {"MobileNetV3": {16: (960, 1280), 24: (1152, 1536)}, "ProxylessNASNets": {40: (1664, 0)}}


class OnceForAll(PublishedTable):
    """A key gives a block's input and output maps, kernel, stride, and its middle width.

    In the tables of Note 10 `expand` is that width itself and keys tell squeeze-excite (`se`) and h-swish
    (`hs`); in ProxylessNAS's of Pixel 1 it is the ratio to the input's channels, and the last layer takes
    the mean over the map with it. A YAML file names no device: keys with `se` are of Note 10.
    """

    citation = (
        "Cai, Gan, Wang, Zhang, Han. Once-for-All: Train One Network and Specialize it for Efficient "
        "Deployment. ICLR 2020; Cai, Zhu, Han. ProxylessNAS. ICLR 2019; github.com/han-cai/files at a7c9bcd"
    )

    def recognises(self, path: Path) -> bool:
        """A table's header, or a YAML file that begins with keys of blocks."""
        try:
            with path.open(encoding="utf-8") as file:
                start = file.read(4096)
        except UnicodeDecodeError:
            return False
        header = set(start.partition("\n")[0].strip().split(","))
        return header >= OF_BLOCKS or header >= OF_NETWORKS or KEY_START.search(start) is not None

    def read(self, path: Path) -> list[MeasuredTable]:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"'{path}' cannot be read: {error}") from error
        header = set(text.partition("\n")[0].strip().split(","))
        if header >= OF_NETWORKS:
            return [self._networks(path, text)]
        rows = _rows_of_csv(text) if header >= OF_BLOCKS else _rows_of_yaml(path, text)
        return self._blocks(path, rows)

    def _blocks(self, path: Path, rows: Iterator[tuple[str, Mapping[str, Any]]]) -> list[MeasuredTable]:
        kept, malformed = read_rows(path, rows, _read_block)
        tables: list[MeasuredTable] = []
        for device in sorted({one.device for one in kept}):
            of_device = [one for one in kept if one.device == device]
            tables.append(
                MeasuredTable(
                    space="",
                    unit="block",
                    keys=tuple(one.key for one in of_device),
                    features=FeatureTable.of([one.features for one in of_device]),
                    latencies_ms={device: np.array([one.latency_ms for one in of_device])},
                    facts={device: {"batch": "1", "runtime": "litert", "note": FORERUNNER}},
                    citation=self.citation,
                    malformed=malformed if not tables else (),
                )
            )
        return tables

    def _networks(self, path: Path, text: str) -> MeasuredTable:
        kept, malformed = read_rows(path, _rows_of_csv(text), _read_network)
        devices = sorted({one.device for one in kept})
        latencies = {
            device: np.array([one.latency_ms if one.device == device else np.nan for one in kept])
            for device in devices
        }
        batches = {one.device: one.batch for one in kept}
        return MeasuredTable(
            space="ofa_specialized",
            unit="network",
            keys=tuple(one.key for one in kept),
            features=FeatureTable.of(_alike([one.features for one in kept])),
            latencies_ms=latencies,
            facts={device: {"batch": batches[device]} for device in devices},
            citation=self.citation,
            malformed=malformed,
            blocks=tuple(one.blocks for one in kept),
        )


@dataclass(frozen=True, kw_only=True)
class _Block:
    device: str
    key: str
    features: Mapping[str, float]
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class _Network:
    device: str
    batch: str
    key: str
    features: Mapping[str, float]
    blocks: FeatureTable
    latency_ms: float


def operators_of(key: str, *, swish: bool) -> list[Operator]:
    """Return what the block of a key computes; `swish` says whether stem and head have h-swish.

    Raises:
        ValueError: the key is not of the form that the tables have, or contradicts itself.
    """
    told = KEY.fullmatch(key)
    if told is None:
        raise ValueError(f"key '{key}' does not read LAYER-input:HxWxC-output:…")
    before, after = _map(told["input"]), _map(told["output"])
    options = {name: int(value) for name, value in re.findall(r"-(\w+):(\d+)", told["options"])}
    if told["layer"] == "expanded_conv":
        return _inverted_residual(before, after, options)
    if told["layer"] not in LAYERS:
        raise ValueError(f"key '{key}' has layer '{told['layer']}'; known: {', '.join(LAYERS)}")
    kind = LAYERS[told["layer"]]
    flat = kind == "linear"
    activated = told["layer"] in ACTIVATED
    return [
        Operator(
            kind=kind,
            block=-1,
            input_channels=before[1],
            output_channels=after[1],
            input_size=1 if flat else before[0],
            output_size=1 if flat else after[0],
            kernel=3 if kind == "convolution" else 1,
            stride=-(-before[0] // after[0]) if kind == "convolution" else 1,
            activation=("h_swish" if swish else "relu6") if activated else None,
        )
    ]


def _inverted_residual(
    before: tuple[int, int], after: tuple[int, int], options: Mapping[str, int]
) -> list[Operator]:
    missing = {"expand", "kernel", "stride", "idskip"} - set(options)
    if missing:
        raise ValueError(f"the key names no {', '.join(sorted(missing))}")
    mid = options["expand"] if "se" in options else options["expand"] * before[1]
    if after[0] != -(-before[0] // options["stride"]):
        raise ValueError(f"stride {options['stride']} does not take {before[0]} px to {after[0]}")
    return _residual_block(
        0,
        (before[0], before[1], mid, after[1]),
        kernel=options["kernel"],
        stride=options["stride"],
        activation="h_swish" if options.get("hs") else "relu",
        squeezed=bool(options.get("se")),
        added=bool(options["idskip"]),
    )


def _residual_block(
    number: int,
    shape: tuple[int, int, int, int],
    *,
    kernel: int,
    stride: int,
    activation: str,
    squeezed: bool,
    added: bool,
) -> list[Operator]:
    """Return an inverted residual's operators; `shape` is the side, and input, middle and output width."""
    side, before, mid, after = shape
    smaller = -(-side // stride)

    def operator(kind: Kind, channels: tuple[int, int], sides: tuple[int, int], **more: Any) -> Operator:
        return Operator(
            kind=kind,
            block=number,
            input_channels=channels[0],
            output_channels=channels[1],
            input_size=sides[0],
            output_size=sides[1],
            **more,
        )

    listed = []
    if mid != before:
        listed.append(operator("pointwise", (before, mid), (side, side), activation=activation))
    listed.append(
        operator(
            "depthwise", (mid, mid), (side, smaller), kernel=kernel, stride=stride, activation=activation
        )
    )
    if squeezed:
        listed.append(
            operator("squeeze_excite", (mid, mid), (smaller, smaller), hidden=squeezed_width(mid))
        )
    listed.append(operator("pointwise", (mid, after), (smaller, smaller)))
    if added:
        listed.append(operator("add", (after, after), (smaller, smaller)))
    return listed


def _map(told: str) -> tuple[int, int]:
    """Return side and channels of "14x14x96", or of "1000"."""
    sizes = [int(size) for size in told.split("x") if size]
    if len(sizes) not in (1, 3) or not all(sizes) or sizes[0] != sizes[min(1, len(sizes) - 1)]:
        raise ValueError(f"the map {told} is neither HxWxC with equal sides nor a number of channels")
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[2])


def _read_block(row: Mapping[str, Any]) -> _Block:
    key = str(row["key"])
    table = row.get("table")
    if table not in (None, *DEVICES):
        raise ValueError(f"table is '{table}'; known: {', '.join(DEVICES)}")
    return _Block(
        device=DEVICES[str(table)],
        key=key,
        features=block_features(operators_of(key, swish=table == "ofa_note10")),
        latency_ms=positive(row["mean_ms"], "mean_ms"),
    )


def _read_network(row: Mapping[str, Any]) -> _Network:
    latency = positive(row["latency_ms"], "latency_ms")
    listed = list(_network(row))
    return _Network(
        device=str(row["device"]),
        batch=str(int(positive(row.get("batch") or "1", "batch"))),
        key=str(row["name"]),
        features=_summed(listed),
        blocks=FeatureTable.of([block_features(block) for block in blocks(listed)]),
        latency_ms=latency,
    )


def _network(row: Mapping[str, Any]) -> Iterator[Operator]:
    """Yield a searched network's operators; the file tells its stem and blocks, the space its head."""
    resolution, stem = int(positive(row["resolution"], "resolution")), int(row["first_conv_out"])
    heads = HEADS.get(row["network"], {})
    if stem not in heads:
        raise ValueError(f"network '{row['network']}' with a stem of {stem} channels is of no known space")
    swish = row["network"] == "MobileNetV3"
    side, width = -(-resolution // 2), stem
    end = "h_swish" if swish else "relu6"
    yield _single("convolution", (3, stem), (resolution, side), kernel=3, stride=2, activation=end)
    for number, told in enumerate(json.loads(row["blocks_in_out_k_s_exp_mid_se_act_skip"])):
        before, after, kernel, stride, _, mid, squeezed, activation, added = told
        if before != width:
            raise ValueError(f"block {number} takes {before} channels, and the one before gives {width}")
        yield from _residual_block(
            # A first block without expansion belongs to the stem, as in our spaces.
            -1 if number == 0 and mid == before else number,
            (side, before, mid, after),
            kernel=kernel,
            stride=stride,
            activation=activation,
            squeezed=bool(squeezed),
            added=bool(added) and stride == 1 and before == after,
        )
        side, width = -(-side // stride), after
    head, feature = heads[stem]
    yield _single("pointwise", (width, head), (side, side), activation=end)
    yield _single("global_pool", (head, head), (side, 1))
    if feature:
        yield _single("linear", (head, feature), (1, 1), activation=end)
    yield _single("linear", (feature or head, 1000), (1, 1))


def _single(kind: Kind, channels: tuple[int, int], sides: tuple[int, int], **more: Any) -> Operator:
    return Operator(
        kind=kind,
        block=-1,
        input_channels=channels[0],
        output_channels=channels[1],
        input_size=sides[0],
        output_size=sides[1],
        **more,
    )


def _summed(listed: list[Operator]) -> dict[str, float]:
    found: dict[str, float] = {}
    for operator in listed:
        for name, value in operator_features(operator).items():
            found[name] = found.get(name, 0.0) + value
    return found


def _alike(rows: list[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return rows of the same names: what a network has not of is 0."""
    names = sorted({name for row in rows for name in row})
    return [{name: row.get(name, 0.0) for name in names} for row in rows]


def _rows_of_csv(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        yield f"line {line}", row


def _rows_of_yaml(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise variants.explain(error) from error
    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"'{path}' is not YAML: {error}") from error
    if not isinstance(told, Mapping):
        raise DataError(f"'{path}' holds no keys of blocks")
    table = "ofa_note10" if any("-se:" in str(key) for key in told) else "proxyless_pixel1_trim"
    for key, one in told.items():
        mean = one.get("mean") if isinstance(one, Mapping) else None
        yield f"key '{key}'", {"table": table, "key": key, "mean_ms": mean}
