"""Does every broken or hostile model file end in an exit status and one line?

Damaged copies of models made by others (flipped bits, truncations, overwritten length fields, moved
pieces) and ONNX files made to do harm are inspected, and those that pass are loaded and run in the
sandbox, as `edge-bench bench` does before it measures; every hundredth goes through the command line.
A case ends well if it runs or is refused in one line, and this process lives to tell. Case n is made
with seed n from the smaller models, so any one can be made again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report

from edge_bench.errors import GATE_FAILED, INVALID_MODEL, OK, EdgeBenchError, ModelCrashed
from edge_bench.measure.inspection import check_model, runtime_for
from edge_bench.measure.sandbox import run_job

CASES = {"smoke": 60, "cpu": 2000, "gpu": 2000}
# Larger ones only take longer to copy: the structure is the same.
MAX_SOURCE_BYTES = 350_000
TIMEOUT_S = 30
# What a case may take beyond its child's time-out: making and inspecting it, on a busy machine.
GRACE_S = 60
BY_COMMAND_LINE = 100


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a case ended: exit status, in which way, and the line that tells it."""

    status: int
    way: str
    line: str = ""

    @property
    def well(self) -> bool:
        told = self.status == OK or bool(self.line.strip())
        return self.status in (OK, INVALID_MODEL) and told and "\n" not in self.line


def main() -> int:
    options = report.arguments(__doc__, first={"type": int, "default": 0, "help": "seed of the first case"})
    folder = report.data_folder() / "external_models"
    models = sources(folder)
    if not models:
        print(f"no models under {folder}; name the folder of data by EDGE_BENCH_DATA")
        return GATE_FAILED
    seeds = range(options.first, options.first + CASES[options.size])
    ways: Counter[str] = Counter()
    bad: list[dict[str, Any]] = []
    slowest_s = 0.0
    with tempfile.TemporaryDirectory() as named:
        made = list(hand_made())
        for number, (name, file) in enumerate(cases(models, seeds, Path(named), made=made)):
            begun = time.perf_counter()
            ended = by_command_line(file) if number % BY_COMMAND_LINE == 0 else ending(file)
            spent_s = time.perf_counter() - begun
            slowest_s = max(slowest_s, spent_s)
            ways[f"{file.suffix[1:]}: {ended.way}"] += 1
            if not ended.well or spent_s > TIMEOUT_S + GRACE_S:
                bad.append({"case": name, "status": ended.status, "line": ended.line, "seconds": spent_s})
            if number % 20 == 0:
                print(f"{number:5} {name:60} {ended.status} {ended.way}: {ended.line[:90]}", flush=True)
    total = sum(ways.values())
    figures = {
        "cases": total,
        "endings": dict(sorted(ways.items())),
        "ended_badly": bad,
        "slowest_case_s": slowest_s,
    }
    bars = [
        report.Bar(name="cases that end well", floor=total, figure=total - len(bad), unit="cases"),
    ]
    return report.write(
        "hostile_models",
        options.size,
        figures,
        bars,
        first_seed=options.first,
        sources=[file.relative_to(folder).as_posix() for file in models],
        hand_made=len(made),
    )


def sources(folder: Path) -> list[Path]:
    """Return the smaller models under `folder`."""
    files = (file for file in folder.rglob("*") if file.suffix in (".tflite", ".onnx"))
    return sorted(file for file in files if file.stat().st_size <= MAX_SOURCE_BYTES)


def cases(
    models: Sequence[Path], seeds: Sequence[int], folder: Path, *, made: Sequence[tuple[str, bytes]] = ()
) -> Iterator[tuple[str, Path]]:
    """Write one file after the other into `folder`, those of `made` first; yield name and file.

    As many as there are seeds; each is gone when the next one is asked for.
    """
    for name, content in made:
        yield from _written(name, folder / "case.onnx", content)
    for seed in seeds[len(made) :]:
        generator = np.random.default_rng(seed)
        model = models[generator.integers(len(models))]
        way = list(DAMAGES)[generator.integers(len(DAMAGES))]
        content = DAMAGES[way](model.read_bytes(), generator)
        yield from _written(f"{seed}: {way} of {model.name}", folder / f"case{model.suffix}", content)


def _written(name: str, file: Path, content: bytes) -> Iterator[tuple[str, Path]]:
    file.write_bytes(content)
    yield name, file
    file.unlink()


def ending(file: Path) -> Ending:
    """Inspect a file and, if it passes, load and run it in a child."""
    try:
        runtime = runtime_for(file)
        check_model(file, runtime=runtime)
    except EdgeBenchError as error:
        return Ending(status=error.status, way="refused by inspection", line=error.message)
    job = {"runtime": runtime, "model": str(file), "batch": 1, "threads": 1}
    try:
        run_job("memory", job, timeout_s=TIMEOUT_S)
    except ModelCrashed as error:
        return Ending(status=error.status, way=_death(error.message), line=error.message)
    except EdgeBenchError as error:
        return Ending(status=error.status, way="refused by the runtime", line=error.message)
    return Ending(status=OK, way="ran")


def by_command_line(file: Path) -> Ending:
    """Bench a file as a user would."""
    with tempfile.TemporaryDirectory() as home:
        words = ("bench", str(file), "--home", home, "--json", "--quiet", "--max-seconds", "0.1")
        command = [sys.executable, "-m", "edge_bench", *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    # A hint may follow the line.
    lines = ended.stderr.strip().splitlines()
    line = ended.stderr if len(lines) > 2 else "".join(lines[:1])
    return Ending(status=ended.returncode, way="by the command line", line=line)


def _death(message: str) -> str:
    for signal in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL", "SIGXCPU"):
        if signal in message:
            return f"crashed the runtime ({signal})"
    return "stopped after the time-out" if "did not answer" in message else "ended the runtime"


def _bits(content: bytes, generator: np.random.Generator) -> bytes:
    """Flip up to 32 bits, half of the time among the first 2,000 bytes, where structure is dense."""
    damaged = np.frombuffer(content, np.uint8).copy()
    reach = min(len(damaged), 2000) if generator.random() < 0.5 else len(damaged)
    places = generator.integers(reach, size=generator.integers(1, 33))
    damaged[places] ^= np.asarray(1 << generator.integers(8, size=len(places)), np.uint8)
    return damaged.tobytes()


def _truncated(content: bytes, generator: np.random.Generator) -> bytes:
    return content[: generator.integers(len(content))]


def _lengths(content: bytes, generator: np.random.Generator) -> bytes:
    """Overwrite up to 4 words of 4 bytes, as offsets, lengths and shapes are, by extreme ones."""
    damaged = bytearray(content)
    for _ in range(generator.integers(1, 5)):
        reach = min(len(content), 4000) if generator.random() < 0.5 else len(content)
        place = int(generator.integers(max(reach // 4, 1))) * 4
        extreme = (0, 1, 0x7F, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, int(generator.integers(1 << 32)))
        word = extreme[generator.integers(len(extreme))].to_bytes(4, "little")
        damaged[place : place + 4] = word[: len(damaged) - place]
    return bytes(damaged)


def _moved(content: bytes, generator: np.random.Generator) -> bytes:
    """Cut out a piece, or write it a second time somewhere else."""
    begin, end = sorted(int(one) for one in generator.integers(len(content), size=2))
    end = min(end, begin + 2000)
    if generator.random() < 0.5:
        return content[:begin] + content[end:]
    place = int(generator.integers(len(content)))
    return content[:place] + content[begin:end] + content[place:]


DAMAGES = {"bits": _bits, "truncation": _truncated, "lengths": _lengths, "moved piece": _moved}


def hand_made() -> Iterator[tuple[str, bytes]]:
    """Yield ONNX files that were made to do harm: name and content."""
    from onnx import TensorProto, helper

    def model(*nodes: Any, weights: Sequence[Any] = (), sparse: Sequence[Any] = (), **more: Any) -> bytes:
        graph = helper.make_graph(
            list(nodes) or [helper.make_node("Add", ["x", "w"], ["y"])],
            "hostile",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, more.pop("shape", [1]))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            list(weights),
            sparse_initializer=list(sparse),
        )
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
            functions=more.pop("functions", []),
        )
        for training in more.pop("training", []):
            made.training_info.add().algorithm.CopyFrom(training)
        return bytes(made.SerializeToString())

    def outside(place: str) -> Any:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        return tensor

    def vector(name: str, *values: int) -> Any:
        return helper.make_tensor(name, TensorProto.INT64, [len(values)], list(values))

    def small(name: str = "w") -> Any:
        return helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0])

    add = helper.make_node("Add", ["many", "x"], ["y"])
    one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    large = 40_000_000_000
    passwords = "/etc/passwd" if os.name == "posix" else "C:/Windows/win.ini"
    for place in (
        "../weights.bin",
        passwords,
        "a/../../weights.bin",
        "nul\0byte",
        "*/_ORT_MEM_ADDR_/*",
        "",
    ):
        yield f"weights in {place!r}", model(weights=[outside(place)])
    constant = helper.make_node("Constant", [], ["w"], value=outside(passwords))
    total = helper.make_node("Add", ["x", "w"], ["y"])
    yield "weights outside, in an attribute", model(constant, total)
    body = helper.make_graph([constant], "body", [], [helper.make_tensor_value_info("w", 1, [1])])
    choice = helper.make_node("If", ["c"], ["w"], then_branch=body, else_branch=body)
    truth = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    yield "weights outside, in a branch", model(choice, total, weights=[truth])
    yield "weights outside, in training information", model(weights=[small()], training=[body])
    function = helper.make_function("own", "F", [], ["w"], [constant], [helper.make_opsetid("", 17)])
    yield "weights outside, in a function", model(weights=[small()], functions=[function])
    scattered = helper.make_sparse_tensor(outside(passwords), vector("i", 0), [4])
    yield "weights outside, in a sparse tensor", model(weights=[small("v")], sparse=[scattered])
    filled = helper.make_node("ConstantOfShape", ["size"], ["many"], value=one)
    yield "a constant of 160 GB", model(filled, add, weights=[vector("size", large)])
    sized = helper.make_node("Constant", [], ["size"], value=vector("size", large))
    yield "a constant of 160 GB, its size computed", model(sized, filled, add)
    twice = helper.make_node("Add", ["size", "size"], ["double"])
    hidden = helper.make_node("ConstantOfShape", ["double"], ["many"], value=one)
    yield (
        "a constant of 160 GB behind a sum",
        model(twice, hidden, add, weights=[vector("size", large // 2)]),
    )
    spread = helper.make_node("Expand", ["x", "size"], ["many"])
    yield "one number spread over 160 GB", model(spread, add, weights=[vector("size", large, 1)])
    tiled = helper.make_node("Tile", ["x", "size"], ["many"])
    yield "one number laid 40e9 times", model(tiled, add, weights=[vector("size", large)])
    noise = helper.make_node("RandomNormal", [], ["many"], shape=[200_000, 200_000])
    yield "160 GB of noise", model(noise, add)
    yield "an input of 160 GB", model(weights=[small()], shape=[200_000, 200_000])
    empty = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[large])
    yield "weights of 160 GB without data", model(weights=[empty])
    negative = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1], raw_data=bytes(4))
    yield "weights of -1 values", model(weights=[negative])
    wide = helper.make_sparse_tensor(small("v"), vector("i", 0), [200_000, 200_000])
    yield "a sparse tensor of 160 GB", model(weights=[small()], sparse=[wide])
    nested = body
    for _ in range(80):
        inner = helper.make_node("If", ["c"], ["w"], then_branch=nested, else_branch=nested)
        nested = helper.make_graph([inner], "body", [], [helper.make_tensor_value_info("w", 1, [1])])
        if nested.ByteSize() > 100_000:
            break
    yield "branches in branches", model(*nested.node, total, weights=[truth])
    yield "branches 90 deep", _deep(90)
    yield "an operator nobody knows", model(helper.make_node("Evil", ["x"], ["y"], domain="own"))
    yield "a graph that feeds itself", model(helper.make_node("Add", ["x", "y"], ["y"]))
    loop = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )
    endless = helper.make_node("Loop", ["", "c", "x"], ["y"], body=loop)
    yield "a loop without an end", model(endless, weights=[truth])


def _deep(levels: int) -> bytes:
    """Return a model of branches in branches, deeper than the onnx package would write it."""

    def field(number: int, content: bytes) -> bytes:
        length, digits = len(content), bytearray()
        while length > 0x7F:
            digits.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes((number << 3 | 2, *digits, length)) + content

    graph = b""
    for _ in range(levels):
        graph = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
    return b"\x08\x08" + field(7, graph)


if __name__ == "__main__":
    raise SystemExit(main())
