"""Encodings: sparse and compact files answer as the network, and each tells its zeros and sizes."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from torch.export import Dim, ExportedProgram

from converters.encodings.sparse import Sparse, _kept, _rows
from converters.export import export_subnet
from converters.formats.onnx import Onnx
from converters.formats.tflite import TFLite
from edge_bench.cli import main
from edge_bench.errors import USAGE, ConfigError, ConversionError
from edge_bench.files import Home, sha256_of
from edge_bench.measure.sandbox import predict
from edge_bench.measure.tflite_file import survey_file
from edge_bench.records import ArchConfig, Preprocessing, Subnet
from edge_bench.records.operators import linear
from edge_bench.records.plain import PlainSpace
from edge_bench.store import ResultStore, now
from supernet.network import ElasticNetwork, folded
from supernet.programs import save_program, sparsity_of
from supernet.spaces.lite_32 import LiteAt32

SIZE = 8


def pruned(network: nn.Module, sparsity: float) -> nn.Module:
    """Return the network with random biases, and that share of its other weights zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight *= torch.rand(weight.shape, generator=generator) >= sparsity
            else:
                weight.copy_(torch.randn(weight.shape, generator=generator))
    return network.eval()


def perceptron() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIZE**2, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 10)
    )


def stored(network: nn.Module, home: Home) -> Subnet:
    """Return the record of a network for digits whose program lies in `home`."""
    operators = (linear(SIZE**2, 40, "relu"), linear(40, 20, "relu"), linear(20, 10, None))
    path = home.artifacts / "net-1" / "program.pt2"
    save_program(network, (torch.zeros(2, 1, SIZE, SIZE),), ({0: Dim("batch")},), path)
    subnet = Subnet(
        id="net-1",
        run="net",
        technique="dpf",
        space=PlainSpace(name="mlp", resolution=SIZE, operators=operators),
        arch=ArchConfig(space="mlp", resolution=SIZE, blocks=()),
        program=home.relative(path),
        digest=sha256_of(path),
        params=sum(weight.numel() for weight in network.parameters()),
        macs=SIZE**2 * 40 + 40 * 20 + 20 * 10,
        task="image_classification",
        metrics=(),
        class_names=tuple(str(digit) for digit in range(10)),
        preprocessing=Preprocessing(size=SIZE, channels=1, mean=(0.3,), std=(0.3,)),
        data={"kind": "digits"},
        created=now(),
        sparsity=sparsity_of(network),
    )
    with ResultStore(home.store_url) as store:
        store.add(subnet)
    return subnet


@pytest.fixture
def sparse_subnet(home: Home) -> Subnet:
    pytest.importorskip("edge_bench.data.digits")
    return stored(pruned(perceptron(), 0.95), home)


@pytest.fixture(scope="module")
def sparse_program() -> ExportedProgram:
    """A network of the `lite` space, nine of ten weights zero."""
    space = LiteAt32(
        stem_stride=2, widths=(8, 12), strides=(1, 2), stem_width=8, head_width=600, resolutions=(12,)
    ).build(input_channels=3, classes=5)
    torch.manual_seed(0)
    network = pruned(folded(ElasticNetwork(space).materialize(space.largest())), 0.9)
    return torch.export.export(network, (torch.zeros(2, 3, 12, 12),), dynamic_shapes=({0: Dim("batch")},))


@pytest.fixture(scope="module")
def files(sparse_program: ExportedProgram, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The network's dense and its sparse file."""
    folder = tmp_path_factory.mktemp("encoded")
    dense, sparse = folder / "dense.tflite", folder / "sparse.tflite"
    TFLite().convert(sparse_program, dense)
    sparse.write_bytes(dense.read_bytes())
    Sparse().encode(sparse)
    return dense, sparse


@pytest.mark.parametrize("batch", [1, 4])
def test_a_sparse_file_answers_as_the_dense_one_with_zeros(files: tuple[Path, Path], batch: int) -> None:
    inputs = np.random.default_rng(0).standard_normal((8, 12, 12, 3), np.float32)
    dense, sparse = (predict(file, inputs, runtime="litert", batch=batch) for file in files)
    assert np.abs(dense - sparse).max() <= 1e-6 < np.abs(dense).max()


def test_a_sparse_file_is_smaller_and_tells_the_same_zeros(files: tuple[Path, Path]) -> None:
    dense, sparse = files
    assert sparse.stat().st_size < 0.6 * dense.stat().st_size
    assert TFLite().count_weights(dense) == TFLite().count_weights(sparse)
    weights, zeros = TFLite().count_weights(sparse)
    assert zeros / weights == pytest.approx(0.9, abs=0.03)


def test_memory_of_a_sparse_file_counts_what_it_holds_and_what_is_decoded(files: tuple[Path, Path]) -> None:
    dense, sparse = (survey_file(file).footprint.weights_bytes for file in files)
    assert dense < sparse < 1.5 * dense


def test_formats_count_the_zeros_of_a_network_alike(
    sparse_program: ExportedProgram, tmp_path: Path
) -> None:
    Onnx().convert(sparse_program, tmp_path / "net.onnx")
    TFLite().convert(sparse_program, tmp_path / "net.tflite")
    matrices = [weight for weight in sparse_program.state_dict.values() if weight.ndim > 1]
    weights = sum(weight.numel() for weight in matrices)
    zeros = weights - sum(int(weight.count_nonzero()) for weight in matrices)
    for converter in (Onnx(), TFLite()):
        assert converter.count_weights(tmp_path / f"net.{converter.format}") == (weights, zeros)


def test_a_dense_network_has_no_sparse_file(home: Home) -> None:
    subnet = stored(perceptron(), home)
    with pytest.raises(ConversionError, match="is half zeros") as told:
        export_subnet(subnet, home=home, format="tflite", encoding="sparse")
    assert "dpf" in told.value.hint
    assert not list(home.artifacts.rglob("*.tflite"))


def test_a_network_whose_units_all_live_has_no_compact_file(home: Home) -> None:
    subnet = stored(perceptron(), home)
    with pytest.raises(ConversionError, match="none of the network's 60 units is dead"):
        export_subnet(subnet, home=home, format="onnx", encoding="compact")


def test_an_encoding_that_a_format_does_not_have_is_refused(home: Home, sparse_subnet: Subnet) -> None:
    with pytest.raises(ConfigError, match="'sparse' is of fp32 files in tflite, not of fp32 in onnx"):
        export_subnet(sparse_subnet, home=home, format="onnx", encoding="sparse")


@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_a_compact_file_is_smaller_and_its_record_tells_its_own_size(
    home: Home, sparse_subnet: Subnet, form: str
) -> None:
    (dense,) = export_subnet(sparse_subnet, home=home, format=form)
    (compact,) = export_subnet(sparse_subnet, home=home, format=form, encoding="compact")
    assert compact.id == f"net-1-{form}-fp32-compact" and compact.encoding == "compact"
    assert compact.parity is not None and compact.parity.max_abs_error <= 1e-5
    assert compact.size_bytes < dense.size_bytes
    assert dense.params == sparse_subnet.params and dense.macs == sparse_subnet.macs
    assert compact.params is not None and compact.params < sparse_subnet.params
    assert compact.macs is not None and compact.macs < sparse_subnet.macs
    assert compact.weights is not None and dense.weights is not None and compact.weights < dense.weights


@pytest.mark.parametrize(
    ("form", "encoding"), [("onnx", "dense"), ("tflite", "dense"), ("tflite", "sparse")]
)
def test_the_record_tells_zeros_and_compressed_sizes_of_the_file(
    home: Home, sparse_subnet: Subnet, form: str, encoding: str
) -> None:
    (artifact,) = export_subnet(sparse_subnet, home=home, format=form, encoding=encoding)
    content = home.absolute(artifact.file).read_bytes()
    assert artifact.sparsity == pytest.approx(sparse_subnet.sparsity, abs=1e-6)
    assert artifact.gzip_bytes == pytest.approx(len(gzip.compress(content, 6)), rel=0.01)
    assert artifact.zstd_bytes == pytest.approx(len(zstandard.compress(content, 10)), rel=0.01)
    assert artifact.compressed_bytes == min(artifact.gzip_bytes or 0, artifact.zstd_bytes or 0)


def test_a_mask_that_was_not_written_into_the_weights_is_an_error(home: Home) -> None:
    class Masked(nn.Module):
        """What a technique leaves behind if it is not finished."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(10, SIZE**2))
            self.mask = nn.Parameter((torch.rand(10) > 0.9).float())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answered: torch.Tensor = nn.functional.linear(x.flatten(1), self.weight) * self.mask
            return answered

    pytest.importorskip("edge_bench.data.digits")
    masked = stored(Masked(), home)

    with pytest.raises(ConversionError, match="zeros among its weights, and the network's record tells"):
        export_subnet(replace(masked, sparsity=0.9), home=home, format="onnx")
    assert not list(home.artifacts.rglob("*.onnx"))


def test_no_mask_is_multiplied_in_the_file_of_a_pruned_network(home: Home, sparse_subnet: Subnet) -> None:
    (artifact,) = export_subnet(sparse_subnet, home=home, format="onnx")
    graph = onnx.load(str(home.absolute(artifact.file))).graph
    assert {node.op_type for node in graph.node} <= {"Flatten", "Reshape", "Gemm", "Relu", "MatMul", "Add"}


def test_export_writes_the_encodings_that_exist_and_finds_them_again(
    home: Home, sparse_subnet: Subnet, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "net-1", "--encoding", "dense,sparse,compact", "--json"]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)["artifacts"]
    assert [row["id"].removeprefix("net-1-") for row in rows] == [
        "onnx-fp32",
        "onnx-fp32-compact",
        "tflite-fp32",
        "tflite-fp32-sparse",
        "tflite-fp32-compact",
    ]
    assert [row["sparsity"] for row in rows][0] == pytest.approx(sparse_subnet.sparsity)
    assert all(row["zstd_bytes"] < row["size_bytes"] for row in rows)
    written = {path: path.stat().st_mtime_ns for path in home.artifacts.rglob("*.tflite")}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in home.artifacts.rglob("*.tflite")} == written


def test_an_encoding_that_no_file_asked_for_can_have_is_told_before_anything_is_written(
    sparse_subnet: Subnet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "net-1", "--format", "onnx", "--encoding", "sparse"]) == USAGE
    assert "is of fp32 files in tflite; asked for are fp32 in onnx" in capsys.readouterr().err


def test_pick_list_and_card_tell_compressed_sizes(
    sparse_subnet: Subnet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "net-1", "--format", "tflite", "--encoding", "sparse"]) == 0
    capsys.readouterr()
    assert main(["results", "list", "--kind", "artifact"]) == 0
    told = capsys.readouterr().out
    assert "zstd_mb" in told and "sparsity" in told


class _Three(nn.Module):
    """Linear layers, the second of which may be the first itself, or say nothing."""

    def __init__(self, *, tied: bool, silent: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 5)
        pruned(self, 0.8)
        with torch.no_grad():
            if silent:
                self.second.weight.zero_()
        if tied:
            self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.last(self.second(self.first(x.flatten(1)).relu()).relu())
        return answers


@pytest.mark.parametrize(("tied", "silent"), [(True, False), (False, True)])
def test_layers_that_share_a_filter_or_have_only_zeros_answer_as_before(
    tied: bool, silent: bool, tmp_path: Path
) -> None:
    network = _Three(tied=tied, silent=silent).eval()
    program = torch.export.export(network, (torch.zeros(2, 1, 4, 4),), dynamic_shapes=({0: Dim("batch")},))
    dense, sparse = tmp_path / "dense.tflite", tmp_path / "sparse.tflite"
    TFLite().convert(program, dense)
    sparse.write_bytes(dense.read_bytes())
    Sparse().encode(sparse)
    inputs = np.random.default_rng(0).standard_normal((4, 4, 4, 1), np.float32)
    answers = [predict(file, inputs, runtime="litert", batch=1) for file in (dense, sparse)]
    assert np.abs(answers[0] - answers[1]).max() <= 1e-6 < np.ptp(answers[0])
    assert TFLite().count_weights(sparse) == TFLite().count_weights(dense), "no zero is lost to the count"


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.just(1), st.just(1), st.integers(1, 300)),
        elements=st.sampled_from([0.0, 0.0, 0.0, -1.5, 2.0]),
    )
)
def test_rows_and_places_tell_where_each_other_weight_stood(filters: npt.NDArray[np.float32]) -> None:
    kept = _kept(filters)
    assert kept.any() and not filters[~kept].any()
    last = _rows(kept).dimMetadata[-1]
    counts = np.diff(np.asarray(last.arraySegments.values))
    again = np.zeros((len(filters), filters.shape[-1]), np.float32)
    again[np.repeat(np.arange(len(filters)), counts), np.asarray(last.arrayIndices.values)] = filters[kept]
    assert np.array_equal(again.reshape(filters.shape), filters)
