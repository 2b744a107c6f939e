"""Export: a file appears only when it answers as the network does, with the accuracy of the file itself."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import Dim

from converters.export import export_subnet
from converters.formats.onnx import Onnx
from converters.sketches import write_onnx
from edge_bench.cli import main
from edge_bench.data import open_images, prepare
from edge_bench.errors import INVALID_MODEL, ConversionError, DataError, ParityError
from edge_bench.files import Home, sha256_of
from edge_bench.measure.quality import measured_accuracy
from edge_bench.records import Metric, Preprocessing, Subnet
from edge_bench.store import ResultStore, now
from supernet.extraction import extract_arch
from supernet.network import ElasticNetwork, folded
from supernet.run import read_record
from supernet.spaces.lite_32 import LiteAt32

SIZE = 8


@pytest.fixture
def subnet(home: Home) -> Subnet:
    """A stored network of the `lite` space for digits, untrained."""
    space = LiteAt32(
        stem_stride=2, widths=(8,), strides=(1,), stem_width=8, head_width=16, resolutions=(SIZE,)
    ).build(input_channels=1, classes=10)
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


@pytest.fixture(scope="module")
def digits(trained: tuple[Path, Home], tmp_path_factory: pytest.TempPathFactory) -> Subnet:
    """The largest network of a tiny run that was trained on digits, its program in a home of its own."""
    run, home = trained[0], Home(tmp_path_factory.mktemp("cut"))
    cut = extract_arch(run, read_record(run).search_space.largest(), home=home)
    return replace(cut, program=str(home.absolute(cut.program)))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_record_tells_of_the_file(home: Home, subnet: Subnet, precision: str) -> None:
    (artifact,) = export_subnet(subnet, home=home, format="onnx", precision=precision)
    file = home.absolute(artifact.file)
    assert sha256_of(file) == artifact.digest and file.stat().st_size == artifact.size_bytes
    assert artifact.metric("test") == accuracy_of(file, subnet)
    assert artifact.parity and artifact.parity.batch_sizes == (1, 8)
    assert (artifact.parity.tolerance is None) == (precision == "int8")


def test_the_accuracy_told_is_that_of_the_file_and_not_of_the_network(
    home: Home, digits: Subnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Quantizing that loses all there was: int8 is not held to the network, so its accuracy must tell.
    monkeypatch.setattr(
        Onnx, "quantize", lambda self, source, target, _: write_onnx(digits.space, digits.arch, target)
    )
    (artifact,) = export_subnet(digits, home=home, format="onnx", precision="int8")
    assert artifact.metric("test") == accuracy_of(home.absolute(artifact.file), digits)
    for split in ("selection", "test"):
        before, after = digits.metric(split), artifact.metric(split)
        assert before and after and before.value > 0.25 > after.value


@pytest.mark.parametrize("before", [{}, {"net-1-fp32.onnx": b"of before"}])
def test_a_file_that_answers_otherwise_is_not_left_behind(
    home: Home, subnet: Subnet, before: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home.artifacts / subnet.id
    for name, content in before.items():
        (folder / name).write_bytes(content)
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
    left = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "program.pt2"}
    assert left == before


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_int8_keeps_the_accuracy_of_a_trained_network(home: Home, digits: Subnet, format: str) -> None:
    (artifact,) = export_subnet(digits, home=home, format=format, precision="int8")
    for split in ("selection", "test"):
        before, after = digits.metric(split), artifact.metric(split)
        # Far above chance, which is 0.1, so that there is something to lose.
        assert before and after and before.value > 0.25
        assert after.value == pytest.approx(before.value, abs=0.03)
        assert after.examples == before.examples
    assert artifact.parity and artifact.parity.tolerance is None and artifact.parity.max_abs_error > 0


def test_a_program_that_is_not_the_recorded_one_is_not_loaded(home: Home, subnet: Subnet) -> None:
    home.absolute(subnet.program).write_bytes(b"something else")
    with pytest.raises(ConversionError, match="is not the file that was saved") as told:
        export_subnet(subnet, home=home, format="onnx")
    assert told.value.hint == f"cut it again: edge-bench extract net --arch {subnet.arch.key}"
    home.absolute(subnet.program).unlink()
    with pytest.raises(ConversionError, match="is not at"):
        export_subnet(subnet, home=home, format="onnx")


def test_data_of_other_classes_is_refused(home: Home, subnet: Subnet) -> None:
    other = replace(subnet, class_names=("cat", "dog"))
    with pytest.raises(DataError, match="the subnet cat, dog"):
        export_subnet(other, home=home, format="onnx")


def test_what_is_there_and_whole_is_not_written_again(
    home: Home, subnet: Subnet, capsys: pytest.CaptureFixture[str]
) -> None:
    def is_written(*options: str) -> bool:
        """Export; return whether the file is another than the one marked by a time of its own."""
        assert main(["export", subnet.id, "--format", "onnx", "--json", *options]) == 0
        (row,) = json.loads(capsys.readouterr().out)["artifacts"]
        file = home.absolute(row["file"])
        with ResultStore(home.store_url) as store:
            (artifact,) = store.artifacts()
        assert sha256_of(file) == artifact.digest
        written = file.stat().st_mtime_ns != 0
        os.utime(file, ns=(0, 0))
        return written

    assert is_written()
    assert not is_written()
    assert is_written("--force")
    (file,) = (home.artifacts / subnet.id).glob("*.onnx")
    file.write_bytes(b"damaged")
    os.utime(file, ns=(0, 0))
    assert is_written()


def test_what_fails_stops_no_other(home: Home, subnet: Subnet, capsys: pytest.CaptureFixture[str]) -> None:
    with ResultStore(home.store_url) as store:
        store.add(replace(subnet, id="net-0", program="artifacts/net-0/program.pt2"))
    status = main(["export", "net-0", subnet.id, "--format", "onnx", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == INVALID_MODEL
    assert [row["subnet"] for row in told["artifacts"]] == [subnet.id]
    (failure,) = told["failures"]
    assert failure["artifact"] == "net-0-onnx-fp32" and failure["status"] == status


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


def accuracy_of(file: Path, subnet: Subnet) -> Metric:
    """Return the accuracy of an ONNX file on the test split."""
    images = open_images(subnet.data).load("test", size=subnet.preprocessing.size)
    inputs = prepare(images.pixels, subnet.preprocessing)
    return measured_accuracy(file, inputs, images.labels, runtime="onnxruntime", split="test")
