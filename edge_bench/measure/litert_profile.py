"""Times of single operators from LiteRT's own profiler, through the C interface of its library.

The Python interpreter has no profiler and `litert-benchmark` no option for one; the library that both
come with has: https://ai.google.dev/edge/litert. Only the sandbox' child calls this.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_bench.errors import InvalidModel
from edge_bench.measure.interpreter import BUILTIN
from edge_bench.measure.runtimes import by_share
from edge_bench.records.result import OperatorTime
from edge_bench.statistics import percentile

CPU = 1
WRITE = 1
MAX_RANK = 8
WARM_UP = 3
# The profiler's clock ticks in microseconds: four runs show quarters of them. What disturbs the machine
# falls on whichever operator runs, so rounds are short and their lower quartile is told.
RUNS = 4
ROUNDS = 25
QUARTILE = 25
# A row of the summary's first table: kind, start, first, average, share, their sum, memory, calls, name.
_ROW = re.compile(
    r"^\s*(?P<kind>\S.*?)\s+[\d.]+\s+[\d.]+\s+(?P<mean_ms>[\d.]+)\s+(?P<percent>[\d.]+)%\s+[\d.]+%"
    r"\s+[\d.]+\s+(?P<calls>\d+)\s+(?P<name>\S.*)$"
)


class _Layout(ctypes.Structure):
    _fields_ = [
        ("rank", ctypes.c_uint32, 7),
        ("has_strides", ctypes.c_uint32, 1),
        ("dimensions", ctypes.c_int32 * MAX_RANK),
        ("strides", ctypes.c_uint32 * MAX_RANK),
    ]


class _TensorType(ctypes.Structure):
    _fields_ = [("element", ctypes.c_int32), ("layout", _Layout)]


def profile(
    library: Path, model: Path, feeds: Mapping[str, npt.NDArray[Any]], *, threads: int
) -> tuple[OperatorTime, ...]:
    """Return the time of each operator of one inference, the largest share first.

    Args:
        library: the file of LiteRT's shared library.
        model: the file to run.
        feeds: its inputs by the names of their tensors.
        threads: threads of XNNPACK.

    Raises:
        InvalidModel: LiteRT's newer interface does not take the file (e.g. one that keeps a state).
    """
    lite = _Library(library)
    summaries = _Profiled(lite, model, threads).run(feeds)
    return by_share(of_rounds(summaries))


def of_rounds(summaries: Sequence[str]) -> list[OperatorTime]:
    """Return the operators with the lower quartile of their times in rounds of `RUNS` inferences.

    A summary tells of all runs up to then, since a reset of the profiler does not reset it: what a round
    took is the difference to the summary before.
    """
    known = [operators(summary, runs=RUNS * number) for number, summary in enumerate(summaries, 1)]
    sums_ms = [[one.mean_ms * number for one in found] for number, found in enumerate(known, 1)]
    rounds_ms = np.diff(np.asarray(sums_ms), axis=0, prepend=0.0)
    usual_ms = [max(0.0, percentile(rounds_ms[:, place], QUARTILE)) for place in range(len(known[-1]))]
    if not any(usual_ms):
        # Most rounds take less than a tick of the clock: only their mean says something.
        return known[-1]
    return [replace(one, mean_ms=time_ms) for one, time_ms in zip(known[-1], usual_ms, strict=True)]


def operators(summary: str, *, runs: int) -> list[OperatorTime]:
    """Return what the profiler's summary of `runs` inferences says in its table in the order of running."""
    found: list[OperatorTime] = []
    for line in summary.partition("Top by Computation Time")[0].splitlines():
        if (row := _ROW.match(line)) is None:
            continue
        inside = row["kind"].startswith("Delegate/")
        found.append(
            OperatorTime(
                name=f"#{len(found)}",
                kind=row["kind"].removeprefix("Delegate/"),
                # Of a mean below a microsecond the share has more digits.
                mean_ms=float(row["percent"]),
                share=0.0,
                calls=max(1, round(int(row["calls"]) / runs)),
                where="XNNPACK" if inside else BUILTIN,
            )
        )
    total = re.search(r"Timings \(microseconds\):.*?curr=(\d+)", summary)
    if not found or total is None:
        raise InvalidModel("LiteRT's profiler told nothing of the operators")
    scale = int(total[1]) / runs / 1e3 / 100
    return [replace(one, mean_ms=one.mean_ms * scale) for one in found]


class _Library:
    """Calls functions of the C interface by name; a status other than 0 is an error that names it."""

    def __init__(self, file: Path) -> None:
        self._functions = ctypes.CDLL(str(file))

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._functions, f"LiteRt{name}")(*arguments)
        if status:
            raise InvalidModel(f"LiteRT's profiler refuses the file: {name} ended with status {status}")

    def made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Return the handle that the function writes into its last argument."""
        handle = ctypes.c_void_p()
        self.call(name, *arguments, ctypes.byref(handle))
        return handle


class _Profiled:
    """A compiled model with its profiler. Nothing is freed: the process ends after it."""

    def __init__(self, lite: _Library, model: Path, threads: int) -> None:
        self._lite = lite
        self._environment = lite.made("CreateEnvironment", 0, None)
        read = lite.made("CreateModelFromFile", self._environment, str(model).encode())
        options = lite.made("CreateOptions")
        lite.call("SetOptionsHardwareAccelerators", options, CPU)
        self._kept = [
            self._option(options, b"runtime_options_string", "enable_profiling = true\n"),
            self._option(options, b"xnnpack", f"num_threads = {threads}\n"),
        ]
        self._compiled = lite.made("CreateCompiledModel", self._environment, read, options)
        self._signature = lite.made("GetModelSignature", read, ctypes.c_size_t(0))

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> list[str]:
        """Return the profiler's summary after each of `ROUNDS` rounds of `RUNS` inferences."""
        inputs = self._inputs(feeds)
        outputs = self._outputs()
        sides = (ctypes.c_size_t(len(inputs)), inputs, ctypes.c_size_t(len(outputs)), outputs)
        profiler = self._lite.made("CompiledModelGetProfiler", self._compiled)
        summaries: list[str] = []
        for run in range(-WARM_UP, ROUNDS * RUNS):
            if run >= 0 and run % RUNS == 0:
                # Its buffer holds so many events only: what came before is in the summary already.
                self._lite.call("ResetProfiler", profiler)
                self._lite.call("StartProfiler", profiler)
            self._lite.call("RunCompiledModel", self._compiled, ctypes.c_size_t(0), *sides)
            if run % RUNS == RUNS - 1 and run >= 0:
                self._lite.call("StopProfiler", profiler)
                summary = ctypes.c_char_p()
                self._lite.call("GetProfileSummary", profiler, self._compiled, ctypes.byref(summary))
                summaries.append((summary.value or b"").decode(errors="replace"))
        return summaries

    def _option(self, options: ctypes.c_void_p, name: bytes, text: str) -> Any:
        payload = ctypes.create_string_buffer(text.encode())
        keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
        place = ctypes.cast(payload, ctypes.c_void_p)
        made = self._lite.made("CreateOpaqueOptions", ctypes.c_char_p(name), place, keep)
        self._lite.call("AddOpaqueOptions", options, made)
        # The library points into both for as long as the model lives.
        return payload, keep

    def _inputs(self, feeds: Mapping[str, npt.NDArray[Any]]) -> Any:
        buffers = (ctypes.c_void_p * self._count("Input"))()
        found: list[tuple[_TensorType, npt.NDArray[Any]]] = []
        for index in range(len(buffers)):
            tensor = self._tensor("Input", index)
            name = ctypes.c_char_p()
            self._lite.call("GetTensorName", tensor, ctypes.byref(name))
            array = np.ascontiguousarray(feeds[(name.value or b"").decode()])
            kind = self._type(tensor)
            sides = (ctypes.c_int * array.ndim)(*array.shape)
            if list(kind.layout.dimensions[: array.ndim]) != list(array.shape):
                place = (ctypes.c_size_t(0), ctypes.c_size_t(index), sides, ctypes.c_size_t(array.ndim))
                self._lite.call("CompiledModelResizeInputTensor", self._compiled, *place)
                kind.layout.dimensions[: array.ndim] = array.shape
            found.append((kind, array))
        for index, (kind, array) in enumerate(found):
            buffer = self._buffer("Input", index, kind)
            address = ctypes.c_void_p()
            self._lite.call("LockTensorBuffer", buffer, ctypes.byref(address), WRITE)
            ctypes.memmove(address, array.ctypes.data, array.nbytes)
            self._lite.call("UnlockTensorBuffer", buffer)
            buffers[index] = buffer.value
        return buffers

    def _outputs(self) -> Any:
        count = self._count("Output")
        buffers = (ctypes.c_void_p * count)()
        layouts = (_Layout * count)()
        self._lite.call(
            "GetCompiledModelOutputTensorLayouts",
            self._compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(count),
            layouts,
            ctypes.c_bool(True),
        )
        for index in range(count):
            kind = self._type(self._tensor("Output", index))
            kind.layout = layouts[index]
            buffers[index] = self._buffer("Output", index, kind).value
        return buffers

    def _buffer(self, end: str, index: int, kind: _TensorType) -> ctypes.c_void_p:
        wanted = self._lite.made(
            f"GetCompiledModel{end}BufferRequirements",
            self._compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(index),
        )
        return self._lite.made(
            "CreateManagedTensorBufferFromRequirements", self._environment, ctypes.byref(kind), wanted
        )

    def _tensor(self, end: str, index: int) -> ctypes.c_void_p:
        return self._lite.made(f"GetSignature{end}TensorByIndex", self._signature, ctypes.c_size_t(index))

    def _type(self, tensor: ctypes.c_void_p) -> _TensorType:
        kind = _TensorType()
        self._lite.call("GetRankedTensorType", tensor, ctypes.byref(kind))
        return kind

    def _count(self, end: str) -> int:
        count = ctypes.c_size_t()
        self._lite.call(f"GetNumSignature{end}s", self._signature, ctypes.byref(count))
        return count.value
