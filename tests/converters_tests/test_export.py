"""Export: a file appears only when it answers as the network does, with the accuracy of the file itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import Dim

from converters.export import export_subnet
from converters.formats.onnx import Onnx
from edge_bench.cli import main
from edge_bench.data import open_data, prepare
from edge_bench.errors import ConversionError, DataError, ParityError
from edge_bench.files import Home, sha256_of
from edge_bench.measure.quality import accuracy
from edge_bench.measure.sandbox import predict
from edge_bench.records import Preprocessing, Subnet
from edge_bench.store import ResultStore, now
from supernet.network import ElasticNetwork, folded
from supernet.spaces.lite import Lite

SIZE = 8


@pytest.fixture
def subnet(home: Home) -> Subnet:
    """A stored network of the `lite` space for digits, untrained."""
    space = Lite(widths=(8,), strides=(1,), stem_width=8, head_width=16, resolutions=(SIZE,)).build(
        input_channels=1, classes=10
    )
    torch.manual_seed(0)
    network = folded(ElasticNetwork(space).materialize(space.smallest())).eval()
    program = torch.export.export(
        network, (torch.zeros(2, 1, SIZE, SIZE),), dynamic_shapes=({0: Dim("batch")},)
    )
    path = home.artifacts / "net-1" / "program.pt2"
    path.parent.mkdir(parents=True)
    torch.export.save(program, path)
    made = Subnet(
        id="net-1",
        run="net",
        technique="once_for_all",
        space=space,
        arch=space.smallest(),
        program=home.relative(path),
        digest=sha256_of(path),
        params=1,
        macs=1,
        task="image_classification",
        metrics=(),
        class_names=tuple(str(digit) for digit in range(10)),
        preprocessing=Preprocessing(size=SIZE, channels=1, mean=(0.3,), std=(0.3,)),
        data={"kind": "digits"},
        created=now(),
    )
    with ResultStore(home.store_url) as store:
        store.add(made)
    return made


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_accuracy_told_is_that_of_the_file_itself(home: Home, subnet: Subnet, precision: str) -> None:
    artifact = export_subnet(subnet, home=home, format="onnx", precision=precision)
    file = home.absolute(artifact.file)
    assert sha256_of(file) == artifact.digest and file.stat().st_size == artifact.size_bytes
    images = open_data(subnet.data).load("test", size=SIZE)
    logits = predict(file, prepare(images.pixels, subnet.preprocessing), runtime="onnxruntime", batch=1)
    assert artifact.metric("test") == accuracy(logits, images.labels, split="test")
    assert artifact.parity and artifact.parity.batch_sizes == (1, 8)
    assert (artifact.parity.tolerance is None) == (precision == "int8")


def test_a_file_that_answers_otherwise_is_not_left_behind(
    home: Home, subnet: Subnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = Onnx.convert

    def wrong(self: Onnx, program: torch.export.ExportedProgram, target: Path) -> None:
        import onnx

        convert(self, program, target)
        model = onnx.load(str(target))
        weights = onnx.numpy_helper.to_array(model.graph.initializer[0]) + np.float32(0.01)
        model.graph.initializer[0].CopyFrom(
            onnx.numpy_helper.from_array(weights, model.graph.initializer[0].name)
        )
        onnx.save(model, str(target))

    monkeypatch.setattr(Onnx, "convert", wrong)
    with pytest.raises(ParityError, match="differs from the network"):
        export_subnet(subnet, home=home, format="onnx")
    assert [file.name for file in (home.artifacts / subnet.id).iterdir()] == ["program.pt2"]


def test_a_program_that_is_not_the_recorded_one_is_not_loaded(home: Home, subnet: Subnet) -> None:
    home.absolute(subnet.program).write_bytes(b"something else")
    with pytest.raises(ConversionError, match="is not the file that was saved") as told:
        export_subnet(subnet, home=home, format="onnx")
    assert told.value.hint == "cut it again: edge-bench extract net"


def test_data_of_other_classes_is_refused(home: Home, subnet: Subnet) -> None:
    other = replace(subnet, class_names=("cat", "dog"))
    with pytest.raises(DataError, match="the subnet cat, dog"):
        export_subnet(other, home=home, format="onnx")


def test_what_is_there_and_whole_is_not_written_again(
    home: Home, subnet: Subnet, capsys: pytest.CaptureFixture[str]
) -> None:
    def exported(*options: str) -> tuple[str, int]:
        assert main(["export", subnet.id, "--format", "onnx", "--json", *options]) == 0
        (row,) = json.loads(capsys.readouterr().out)["artifacts"]
        file = home.absolute(row["file"])
        return sha256_of(file), file.stat().st_mtime_ns

    first = exported()
    assert exported() == first
    assert exported("--force")[1] > first[1]
    (file,) = (home.artifacts / subnet.id).glob("*.onnx")
    file.write_bytes(b"damaged")
    assert exported()[0] != sha256_of(home.absolute(subnet.program))
    assert file.read_bytes() != b"damaged"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net-2"], "Did you mean 'net-1'?"),
        (["--format", "onx"], "Did you mean 'onnx'?"),
        (["--precision", "int4"], "Did you mean 'int8'?"),
    ],
)
def test_an_unknown_word_is_refused_with_the_nearest(
    subnet: Subnet, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words]) == 2
    assert said in capsys.readouterr().err
