"""ONNX Runtime on the CPU, all graph optimisations on."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_bench.errors import InvalidModel
from edge_bench.measure.inputs import UNTOLD, Feeding, fixed_batch_of, random_feeds
from edge_bench.measure.onnx_file import survey_file
from edge_bench.measure.runtimes import Profile, Runtime, Session, Tensors, by_share, fixed_batch, refusal
from edge_bench.records.artifact import TensorSpec
from edge_bench.records.result import OperatorTime, Placement
from edge_bench.statistics import percentile

KERNEL = "_kernel_time"
PROFILED_RUNS = 50

# It would keep a file of what it was used for in the user's folder.
onnxruntime.disable_telemetry_events()

_DTYPES = {
    "float": "float32",
    "double": "float64",
    **{name: name for name in "float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split()},
}


class OnnxRuntime(Runtime):
    """Threads wait without spinning: a spinning pool takes the cores of whatever runs beside it."""

    name = "onnxruntime"
    formats = ("onnx",)
    precedence = 0
    delegate = "CPUExecutionProvider"

    def open(self, model: Path, *, threads: int, batch: int = 1) -> Session:
        return _Session(model, self._session(model, _options(threads)), batch)

    def profile(self, model: Path, *, threads: int, batch: int = 1, feeding: Feeding = UNTOLD) -> Profile:
        """Tell each node's time and provider, from the library's own trace."""
        options = _options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(tempfile.mkdtemp()) / "trace")
        opened = self._session(model, options)
        session = _Session(model, opened, batch)
        session.prepare(random_feeds(session.inputs, batch=batch, feeding=feeding))
        for _ in range(PROFILED_RUNS):
            session.invoke()
        trace = Path(opened.end_profiling())
        events = json.loads(trace.read_text(encoding="utf-8"))
        shutil.rmtree(trace.parent, ignore_errors=True)
        return profile_of(events, runs=PROFILED_RUNS)

    def _session(self, model: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        try:
            return onnxruntime.InferenceSession(str(model), sess_options=options, providers=[self.delegate])
        # The library raises a dozen classes that share no base but Exception.
        except Exception as error:
            raise refusal(self.name, model, error) from error

    def version(self) -> str:
        return str(onnxruntime.__version__)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Without it sums of int8 products overflow on x86 processors that have no VNNI: on an AMD EPYC a tiny
    # network's answers were off by 15 % of the largest, with it by 4 %. Elsewhere it changes nothing.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def profile_of(events: Sequence[Mapping[str, Any]], *, runs: int) -> Profile:
    """Return what a trace of `runs` inferences tells; the first of them is left out.

    `events` are those of the trace's JSON; a node's kernel time is one event an inference, in
    microseconds, in the graph as the optimiser left it.
    """
    kernels: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith(KERNEL):
            continue
        told = event["args"]
        node = (name.removesuffix(KERNEL), str(told["op_name"]), str(told.get("provider", "")))
        kernels.setdefault(node, []).append(float(event["dur"]))
    times = []
    placed: dict[str, Counter[str]] = {}
    for (name, kind, where), durations_us in kernels.items():
        calls = max(1, len(durations_us) // runs)
        warm = durations_us[calls:] or durations_us
        # What disturbs the machine falls on whichever node runs: the median inference is without it.
        totals_us = [sum(warm[start : start + calls]) for start in range(0, len(warm), calls)]
        mean_ms = percentile(totals_us, 50) / 1e3
        times.append(
            OperatorTime(name=name, kind=kind, mean_ms=mean_ms, share=0.0, calls=calls, where=where)
        )
        placed.setdefault(where, Counter())[kind] += 1
    placements = tuple(
        Placement(where=where, operators=dict(kinds), wanted=where == OnnxRuntime.delegate)
        for where, kinds in placed.items()
    )
    return Profile(operators=by_share(times), placements=placements)


class _Session(Session):
    def __init__(self, model: Path, session: onnxruntime.InferenceSession, batch: int) -> None:
        self._model = model
        self._session = session
        self.inputs = tuple(_spec(model, node) for node in session.get_inputs())
        # A classifier made by scikit-learn also answers with a list of tables; tensors are enough.
        tensors = [node for node in session.get_outputs() if node.type.startswith("tensor(")]
        self.outputs = tuple(_spec(model, node) for node in tensors)
        if not self.outputs:
            raise InvalidModel(f"'{model.name}' has no output that is a tensor")
        for spec in self.inputs:
            if batch > 1 and (fixed := fixed_batch_of(spec)) not in (None, batch):
                raise fixed_batch(model, fixed or 1, batch)
        self.precision = survey_file(model).precision(self.inputs[0].dtype if self.inputs else "")

    def run(self, feeds: Tensors) -> dict[str, npt.NDArray[np.generic]]:
        names = [spec.name for spec in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        except Exception as error:
            raise refusal("onnxruntime", self._model, error) from error

    def prepare(self, feeds: Tensors) -> None:
        self._binding = self._session.io_binding()
        # The binding points into these arrays and does not keep them alive.
        self._bound = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        for name, array in self._bound.items():
            self._binding.bind_cpu_input(name, array)
        for spec in self.outputs:
            self._binding.bind_output(spec.name)

    def invoke(self) -> None:
        self._session.run_with_iobinding(self._binding)


def _spec(model: Path, node: onnxruntime.NodeArg) -> TensorSpec:
    kind = node.type.removeprefix("tensor(").removesuffix(")")
    if not node.type.startswith("tensor(") or kind not in _DTYPES:
        raise InvalidModel(f"'{model.name}': '{node.name}' is a {node.type}; numeric tensors are supported")
    shape = tuple(side if isinstance(side, int) and side >= 0 else None for side in node.shape)
    return TensorSpec(name=node.name, dtype=_DTYPES[kind], shape=shape)
