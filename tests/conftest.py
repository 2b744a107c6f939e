"""Shared by all tests: a home folder of one's own, where the real data lies, tiny models and a tiny run."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_bench.files import HOME_VARIABLE, Home
from edge_bench.records import (
    Artifact,
    Metric,
    SearchSpace,
    Step,
    Subnet,
    TensorSpec,
    TextInput,
    TransformerSpace,
)
from supernet.spaces.lite_32 import LiteAt32
from supernet.spaces.mobilenet_v3 import MobilenetV3

ROOT = Path(__file__).parents[1]
# A supernet on scikit-learn's digits, trained in seconds.
TINY = """
name = "tiny"
[space]
kind = "lite_32"
stem_width = 8
stem_stride = 2
widths = [8, 12]
strides = [1, 2]
depths = [1, 2]
expands = [2, 3]
head_width = 16
resolutions = [8, 16]
[data]
kind = "digits"
[training]
epochs = 2
batch_size = 32
learning_rate = 0.01
threads = 1
device = "cpu"
"""


def pytest_configure() -> None:
    """Hear Ctrl-C, and let children hear it, where a shell started the tests in its background; and be
    CI to libraries that report their use to their makers.
    """
    os.environ["CI"] = "true"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home folder that nobody else writes to; commands find it by the environment."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; the test skips where there is none."""
    folder = Path(os.environ.get("EDGE_BENCH_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; name its folder by EDGE_BENCH_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file: logits [batch, 3] = inputs [batch, 4] @ weights, weights 0…11 row by row; any batch."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["inputs", "weights"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))
    return path


@pytest.fixture(scope="session")
def tiny_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `tiny_onnx` as TFLite: one fully connected operator, its batch open."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    weights = np.arange(12, dtype=np.float32).reshape(4, 3).T
    buffers = [schema.BufferT(), schema.BufferT()]
    buffers[1].data = np.frombuffer(weights.tobytes(), np.uint8)
    tensors = []
    for name, shape, buffer in (("inputs", [1, 4], 0), ("weights", [3, 4], 1), ("logits", [1, 3], 0)):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, shape, buffer
        tensor.shapeSignature = shape if buffer else [-1, shape[1]]
        tensors.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, [operator], [0], [2]
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes, model.subgraphs = 3, buffers, [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


@pytest.fixture(scope="session")
def tiny_toml() -> str:
    """The text of a run file: a supernet on scikit-learn's digits, trained in seconds."""
    return TINY


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """The run file of a tiny supernet; skips where there is no digits data set."""
    pytest.importorskip("edge_bench.data.digits")
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `train.tsv` (240 rows), `dev.tsv` and `test.tsv` (60 each): made-up sentences, a tab,
    and 1 where the words of praise in them outnumber those of blame, else 0.
    """
    folder = tmp_path_factory.mktemp("reviews")
    generator = random.Random(0)
    praise, blame = "good fine warm bright lovely witty".split(), "bad dull cold dark awful slow".split()
    things = "film story cast scene song ending".split()
    for name, rows in (("train", 240), ("dev", 60), ("test", 60)):
        lines = []
        for row in range(rows):
            label = row % 2
            words = generator.sample(praise if label else blame, 2)
            words += generator.sample(blame if label else praise, 1)
            generator.shuffle(words)
            said = " and the ".join(f"{generator.choice(things)} is {word}" for word in words)
            lines.append(f"{name} {row} : the {said}\t{label}\n")
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `train`, `val` and `test` (240, 40 and 40 lines) in `.en` and `.de`: made-up
    sentences of 2 to 6 words, translated word by word and in the opposite order.
    """
    folder = tmp_path_factory.mktemp("pairs")
    generator = random.Random(0)
    english = "a man dog runs sees green red house tree old street big".split()
    german = "ein Mann Hund rennt sieht grün rot Haus Baum alt Straße groß".split()
    words = dict(zip(english, german, strict=True))
    seen: set[tuple[str, ...]] = set()
    for name, rows in (("train", 240), ("val", 40), ("test", 40)):
        sources: list[tuple[str, ...]] = []
        while len(sources) < rows:
            drawn = tuple(generator.choices(english, k=generator.randint(2, 6)))
            if drawn not in seen:
                seen.add(drawn)
                sources.append(drawn)
        targets = [[words[word] for word in reversed(line)] for line in sources]
        for language, lines in (("en", sources), ("de", targets)):
            text = "".join(f"{' '.join(line)}\n" for line in lines)
            (folder / f"{name}.{language}").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `train.txt`, `valid.txt` and `test.txt` (some 12,000, 2,000 and 2,000 characters):
    sentences that count, so that much of the next one follows from the last.
    """
    folder = tmp_path_factory.mktemp("story")
    numbers = "one two three four five six seven eight nine ten".split()
    things = "birds boats stones leaves".split()
    for name, first, count in (("train", 0, 300), ("valid", 1000, 50), ("test", 2000, 50)):
        lines = [
            f"{numbers[n % 10]} and {numbers[(n + 1) % 10]} {things[n // 10 % 4]} were there .\n"
            for n in range(first, first + count)
        ]
        chapters = ("".join(lines[at : at + 10]) for at in range(0, count, 10))
        (folder / f"{name}.txt").write_text(f"{name}\n\n" + "\n".join(chapters), encoding="utf-8")
    return folder


@pytest.fixture(params=["lite", "mobilenet_v3", "mobilenet_v3_without_features"])
def space(request: pytest.FixtureRequest) -> SearchSpace:
    """A small space of each kind, with every kind of layer."""
    if request.param == "lite":
        return LiteAt32(stem_stride=2, widths=(8, 12), strides=(1, 2), stem_width=8, head_width=24).build(
            input_channels=1, classes=5
        )
    return MobilenetV3(
        widths=(8, 16, 16),
        strides=(2, 2, 1),
        activations=("relu", "h_swish", "h_swish"),
        squeeze_excite=(True, False, True),
        depths=(1, 2),
        head_width=24,
        feature_width=0 if request.param.endswith("features") else 40,
        resolutions=(16, 24),
    ).build(input_channels=3, classes=5)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Home]:
    """The folder and home of a tiny run that is finished; tests leave it as it is."""
    pytest.importorskip("edge_bench.data.digits")
    from supernet.run import load_run
    from supernet.trainer import train

    folder = tmp_path_factory.mktemp("trained")
    path = folder / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    home = Home(folder / "home")
    return train(load_run(path), home=home, say=lambda line: None, interactive=False), home


# Tiny runs on text, each trained in a second: the fixture that holds its data, and its tables.
TEXT_RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "text_classification": (
        "reviews",
        {
            "data": {"kind": "labelled_text"},
            "model": {"kind": "encoder", "layers": 4, "length": 40},
            "tokenizer": {"kind": "word_piece", "size": 200},
        },
    ),
    "language_modelling": (
        "story",
        {
            "data": {"kind": "running_text"},
            "model": {"kind": "decoder", "layers": 4, "length": 24},
            "tokenizer": {"kind": "characters"},
        },
    ),
    "translation": (
        "pairs",
        {
            "data": {"kind": "parallel_text"},
            "model": {"kind": "encoder_decoder", "encoder_layers": 3, "decoder_layers": 2, "length": 24},
            "tokenizer": {"kind": "bpe", "size": 300},
        },
    ),
}


@pytest.fixture(scope="session")
def text_tables(reviews: Path, story: Path, pairs: Path) -> Callable[..., dict[str, Any]]:
    """A function that gives the tables of a tiny run with LayerDrop for a task, some values changed:
    `text_tables("translation", training={"epochs": 1}, model={"length": 8})`.
    """
    folders = {"reviews": reviews, "story": story, "pairs": pairs}

    def make(task: str, **changes: Any) -> dict[str, Any]:
        place, own = TEXT_RUNS[task]
        tables: dict[str, Any] = {
            "name": task,
            **own,
            "data": {**own["data"], "path": str(folders[place])},
            "model": {"width": 16, "heads": 2, "dropout": 0.1, **own["model"]},
            "techniques": {"layer_drop": {"rate": 0.1}},
            "training": {
                "epochs": 2,
                "batch_size": 16,
                "learning_rate": 0.02,
                "epoch_steps": 30,
                "threads": 1,
                "device": "cpu",
            },
        }
        for name, change in changes.items():
            # A table is changed, or taken out by None.
            if change is None:
                del tables[name]
            else:
                tables[name] = {**tables.get(name, {}), **change} if isinstance(change, dict) else change
        return tables

    return make


@pytest.fixture
def text_file(text_tables: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., Path]:
    """A function that gives a run file of what `text_tables` gives."""

    def lines(table: dict[str, Any]) -> str:
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())

    def make(task: str, **changes: Any) -> Path:
        tables = text_tables(task, **changes)
        for name, options in tables.pop("techniques", {}).items():
            tables[f"techniques.{name}"] = options
        text = lines({key: value for key, value in tables.items() if not isinstance(value, dict)})
        for key, value in tables.items():
            text += f"[{key}]\n{lines(value)}" if isinstance(value, dict) else ""
        path = tmp_path / f"{task}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


@pytest.fixture(scope="session")
def text_run(
    text_tables: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Home]]:
    """A function that gives the folder and home of a task's tiny run, finished; tests leave it as it is."""
    from edge_bench.documents import from_document
    from supernet.run import RunConfig
    from supernet.trainer import train

    finished: dict[str, tuple[Path, Home]] = {}

    def make(task: str) -> tuple[Path, Home]:
        if task not in finished:
            home = Home(tmp_path_factory.mktemp(task) / "home")
            config = from_document(RunConfig, text_tables(task))
            finished[task] = train(config, home=home, say=lambda line: None, interactive=False), home
        return finished[task]

    return make


# What is measured of each task, whether more is better, and a value of it.
TEXT_METRICS = {
    "text_classification": ("accuracy", True, 0.831),
    "language_modelling": ("perplexity", False, 6.87),
    "translation": ("bleu", True, 33.4),
}
CREATED = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="session")
def text_space() -> Callable[[str], TransformerSpace]:
    """A function that gives a task's space: 6 encoder layers, 4 decoder layers, or both."""

    def make(task: str = "translation") -> TransformerSpace:
        return TransformerSpace(
            name=f"{task}-space",
            vocabulary=50,
            length=16,
            width=8,
            heads=2,
            hidden=16,
            outputs=2 if task == "text_classification" else 50,
            encoder_layers=0 if task == "language_modelling" else 6,
            decoder_layers=0 if task == "text_classification" else 4,
        )

    return make


@pytest.fixture(scope="session")
def text_subnet(text_space: Callable[[str], TransformerSpace]) -> Callable[..., Subnet]:
    """A function that gives a subnet of a text model: `text_subnet("translation", {"encoder": (0, 2)})`."""

    def make(task: str = "translation", kept: Any = None, quality: float | None = None) -> Subnet:
        space = text_space(task)
        arch = space.keeping(kept or {})
        name, higher, usual = TEXT_METRICS[task]
        identity = f"{task}-{arch.key[:8]}"
        return Subnet(
            id=identity,
            run=f"{task}-0a1b2c3d",
            technique="layer_drop",
            space=space,
            arch=arch,
            program="program.pt2",
            digest="0" * 64,
            params=1000 * len(arch.blocks),
            macs=10_000 * len(arch.blocks),
            task=task,
            metrics=tuple(
                Metric(
                    name=name,
                    value=usual if quality is None else quality,
                    higher_is_better=higher,
                    split=split,
                    examples=200,
                )
                for split in ("selection", "test")
            ),
            class_names=("bad", "good") if task == "text_classification" else (),
            preprocessing=None,
            data={"kind": task, "path": "texts"},
            created=CREATED,
            text=TextInput(
                tokenizer=f"artifacts/{identity}/tokenizer.json",
                digest="2" * 64,
                vocabulary=50,
                length=16,
            ),
            step=Step(
                program="step.pt2",
                digest="3" * 64,
                layers=len(space.kept(arch)["decoder"]),
                heads=2,
                head_width=4,
                tokens=10.0,
            )
            if space.decoder_layers
            else None,
        )

    return make


@pytest.fixture(scope="session")
def text_files() -> Callable[..., list[Artifact]]:
    """A function that gives the files of a text subnet: the network's, and of what generates the step's."""

    def make(of: Subnet, *, format: Any = "onnx", precision: Any = "fp32") -> list[Artifact]:
        identity = f"{of.id}-{format}-{precision}"

        def file(name: str, path: str, **more: Any) -> Artifact:
            return Artifact(
                id=name,
                name=name,
                subnet=of.id,
                format=format,
                precision=precision,
                file=f"artifacts/{of.id}/{path}-{precision}.{format}",
                digest="1" * 64,
                outputs=(TensorSpec(name="logits", dtype="float32", shape=(None, 2)),),
                class_names=of.class_names,
                created=CREATED,
                macs=of.macs,
                params=of.params,
                data=of.data,
                text=of.text,
                task=of.task,
                **more,
            )

        def tokens(name: str, last: int | None) -> TensorSpec:
            return TensorSpec(name=name, dtype="int64", shape=(None, last))

        network = file(
            identity,
            of.id,
            size_bytes=40_000,
            inputs=(tokens("tokens", None),),
            metrics=of.metrics,
            step=of.step,
        )
        if of.step is None:
            return [network]
        step = file(
            f"{of.id}-step-{format}-{precision}",
            f"{of.id}-step",
            size_bytes=30_000,
            inputs=(tokens("token", 1),),
            metrics=(),
            step=of.step,
            step_of=identity,
        )
        return [network, step]

    return make
