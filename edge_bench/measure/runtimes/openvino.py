"""OpenVINO on the CPU: ONNX and TFLite files, fastest on Intel's processors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino

from edge_bench.errors import InvalidModel
from edge_bench.measure import onnx_file, tflite_file
from edge_bench.measure.inputs import UNTOLD, Feeding, batch_axis, fixed_batch_of, random_feeds
from edge_bench.measure.runtimes import Profile, Runtime, Session, Tensors, by_share, fixed_batch, refusal
from edge_bench.records.artifact import Precision, TensorSpec
from edge_bench.records.result import OperatorTime, Placement
from edge_bench.statistics import percentile

# What disturbs the machine falls on whichever layer runs: the median of these is told.
PROFILED_RUNS = 50

_DTYPES = {
    openvino.Type.f16: "float16",
    openvino.Type.f32: "float32",
    openvino.Type.f64: "float64",
    openvino.Type.i8: "int8",
    openvino.Type.i16: "int16",
    openvino.Type.i32: "int32",
    openvino.Type.i64: "int64",
    openvino.Type.u8: "uint8",
    openvino.Type.u16: "uint16",
    openvino.Type.u32: "uint32",
    openvino.Type.u64: "uint64",
    openvino.Type.boolean: "bool",
}


class OpenVino(Runtime):
    """Computes in float32: by default the library may take less (an error of 1.4e-3 was measured).

    Latency is of one stream that all threads share, and inference runs in the calling thread.
    """

    name = "openvino"
    formats = ("onnx", "tflite")
    precedence = 3
    delegate = "CPU"

    def open(self, model: Path, *, threads: int, batch: int = 1) -> Session:
        return self._open(model, threads, batch)

    def profile(self, model: Path, *, threads: int, batch: int = 1, feeding: Feeding = UNTOLD) -> Profile:
        """Tell the time of each layer that the compiled network has left, and its kernel."""
        session = self._open(model, threads, batch, PERF_COUNT=True)
        session.prepare(random_feeds(session.inputs, batch=batch, feeding=feeding))
        times: dict[tuple[str, str], list[float]] = {}
        for _ in range(PROFILED_RUNS):
            session.invoke()
            for name, kind, time_ms in session.layers():
                times.setdefault((name, kind), []).append(time_ms)
        return Profile(
            operators=by_share(
                OperatorTime(
                    name=name, kind=kind, mean_ms=percentile(each, 50), share=0.0, where=self.delegate
                )
                for (name, kind), each in times.items()
            ),
            placements=(
                Placement(where=self.delegate, operators=Counter(kind.split()[0] for _, kind in times)),
            ),
        )

    def _open(self, model: Path, threads: int, batch: int, **more: bool) -> _Session:
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            **more,
        }
        core = openvino.Core()
        try:
            read = core.read_model(model)
            ends = _ends(model, read)
            _set_batch(model, read, ends[0], batch)
            compiled = core.compile_model(read, self.delegate, settings)
        except RuntimeError as error:
            raise refusal(self.name, model, error) from error
        return _Session(model, compiled, ends, _precision(model, ends[0]))

    def version(self) -> str:
        return str(openvino.__version__).partition("-")[0]


class _Session(Session):
    def __init__(
        self,
        model: Path,
        compiled: openvino.CompiledModel,
        ends: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
        precision: Precision,
    ) -> None:
        self._model = model
        self._request = compiled.create_infer_request()
        self.inputs, self.outputs = ends
        self.precision = precision
        self._places = {spec.name: port for spec, port in zip(self.inputs, compiled.inputs, strict=True)}
        self._answers = {spec.name: port for spec, port in zip(self.outputs, compiled.outputs, strict=True)}

    def run(self, feeds: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        try:
            self._request.reset_state()
            self.prepare(feeds)
            self.invoke()
            answers = {name: self._request.get_tensor(port) for name, port in self._answers.items()}
        except RuntimeError as error:
            raise refusal("openvino", self._model, error) from error
        return {name: answer.data.copy() for name, answer in answers.items()}

    def prepare(self, feeds: Tensors) -> None:
        # The request points into these arrays and does not keep them alive.
        self._bound = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        for name, array in self._bound.items():
            self._request.set_tensor(self._places[name], openvino.Tensor(array, shared_memory=True))

    def invoke(self) -> None:
        self._request.infer(share_outputs=True)

    def layers(self) -> list[tuple[str, str, float]]:
        """Return name, kind with its kernel, and milliseconds of each layer that the last run executed."""
        return [
            (one.node_name, f"{one.node_type} {one.exec_type}", one.real_time.total_seconds() * 1e3)
            for one in self._request.get_profiling_info()
            if one.status == openvino.ProfilingInfo.Status.EXECUTED
        ]


def _ends(model: Path, read: openvino.Model) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return inputs and outputs as the file states them; the library tells no scale of integers."""
    quantized = {}
    if model.suffix.lower() == ".tflite":
        seen = tflite_file.survey_file(model)
        quantized = {one.name: (one.scale, one.zero_point) for one in (*seen.inputs, *seen.outputs)}
    inputs, outputs = (
        tuple(_spec(model, port, *quantized.get(port.any_name, (None, None))) for port in ports)
        for ports in (read.inputs, read.outputs)
    )
    return inputs, outputs


def _spec(model: Path, port: openvino.Output, scale: float | None, zero_point: int | None) -> TensorSpec:
    name, kind = port.any_name, port.element_type
    if kind not in _DTYPES:
        raise InvalidModel(
            f"'{model.name}': '{name}' is of {kind.get_type_name()}; numeric tensors are supported"
        )
    if port.partial_shape.rank.is_dynamic:
        raise InvalidModel(f"openvino refuses '{model.name}': '{name}' has no fixed number of dimensions")
    shape = tuple(None if side.is_dynamic else side.get_length() for side in port.partial_shape)
    return TensorSpec(name=name, dtype=_DTYPES[kind], shape=shape, scale=scale, zero_point=zero_point)


def _set_batch(model: Path, read: openvino.Model, inputs: Sequence[TensorSpec], batch: int) -> None:
    """Give open batch dimensions the size `batch`."""
    wanted = {}
    for port, spec in zip(read.inputs, inputs, strict=True):
        axis = batch_axis(spec.shape)
        if spec.shape and spec.shape[axis] is None:
            sides = list(port.partial_shape)
            wanted[port] = openvino.PartialShape([*sides[:axis], batch, *sides[axis + 1 :]])
        elif batch > 1 and (fixed := fixed_batch_of(spec)) not in (None, batch):
            raise fixed_batch(model, fixed or 1, batch)
    if wanted:
        read.reshape(wanted)


def _precision(model: Path, inputs: tuple[TensorSpec, ...]) -> Precision:
    if model.suffix.lower() == ".tflite":
        return tflite_file.survey_file(model).precision
    return onnx_file.survey_file(model).precision(inputs[0].dtype if inputs else "")
