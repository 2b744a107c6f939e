"""ONNX Runtime without any care of ours, for the peers that drive it."""

from __future__ import annotations

import onnxruntime

from edge_bench.measure.peers import Assignment


def bare_session(assignment: Assignment) -> onnxruntime.InferenceSession:
    """Return a session with nothing set but its threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = assignment.threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(assignment.model, options, providers=["CPUExecutionProvider"])
