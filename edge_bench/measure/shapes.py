"""In the sandbox's child: the sizes of an ONNX file's tensors, inferred by onnx or seen in a run."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import onnx

from edge_bench.documents import from_document
from edge_bench.errors import InvalidModel
from edge_bench.measure.inputs import Feeding, batch_axis, random_feeds
from edge_bench.records.artifact import TensorSpec


def sizes(job: Mapping[str, Any], _: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answer the bytes of each tensor of the main graph whose shape follows from a batch of one.

    Other sides that are open, such as a text's length, are as long as the feeding says, else 1. Where
    a shape depends on values, as those of a transformer's places do, the graph is run once.
    """
    model = onnx.load(Path(job["model"]), load_external_data=False)
    feeding = from_document(Feeding, job["feeding"])
    length = feeding.length or 1
    for tensor in model.graph.input:
        sides = tensor.type.tensor_type.shape.dim
        axis = batch_axis([side.dim_value for side in sides])
        for place, side in enumerate(sides):
            if not side.HasField("dim_value"):
                side.dim_value = 1 if place == axis else length
    # What the file says of a free batch would stand against what follows from a batch of one.
    del model.graph.value_info[:]
    for tensor in model.graph.output:
        tensor.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:
        raise InvalidModel(f"its shapes cannot be inferred: {error}") from error
    told = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        # A side that is left open after that depends on values.
        if kind.elem_type and kind.HasField("shape") and all(one.dim_value for one in kind.shape.dim):
            values = prod(side.dim_value for side in kind.shape.dim)
            told[value.name] = values * onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    if feeding.length is not None and not all(
        name in told for node in model.graph.node for name in node.output if name
    ):
        told |= _seen(model, feeding)
    return {"sizes": told}, {}


def _seen(model: onnx.ModelProto, feeding: Feeding) -> dict[str, int]:
    """Return the bytes of each tensor that a run of the graph computes, as its operators stand."""
    # Here, since what most files need is onnx alone.
    import onnxruntime

    named = [name for node in model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in named)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    inputs = [
        TensorSpec(
            name=tensor.name,
            dtype=onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type).name,
            shape=tuple(side.dim_value for side in tensor.type.tensor_type.shape.dim),
        )
        for tensor in model.graph.input
    ]
    try:
        content = model.SerializeToString()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        answers = session.run(named, random_feeds(inputs, batch=1, feeding=feeding))
    except Exception as error:
        raise InvalidModel(f"its shapes cannot be seen in a run: {error}") from error
    return {name: int(array.nbytes) for name, array in zip(named, answers, strict=True)}
