"""A file is compared with its network logit by logit, alone and in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import Dim

from converters.parity import BATCH, EXAMPLES_IN_BATCHES, compared, logits_of
from edge_bench.errors import InvalidModel, ParityError
from edge_bench.records import Parity

INPUTS = np.random.default_rng(0).standard_normal((EXAMPLES_IN_BATCHES + 9, 4), np.float32)
# What `tiny_onnx` computes.
EXPECTED = INPUTS @ np.arange(12, dtype=np.float32).reshape(4, 3)


def test_the_largest_difference_of_any_logit_is_told(tiny_onnx: Path) -> None:
    alone = EXPECTED.copy()
    # Of an example that is not among those run in batches.
    alone[-1, 2] += 0.25
    parity = compared(tiny_onnx, INPUTS, EXPECTED, alone, runtime="onnxruntime", tolerance=0.5)
    assert parity == Parity(
        max_abs_error=pytest.approx(0.25, rel=1e-4),
        tolerance=0.5,
        batch_sizes=(1, BATCH),
        examples=len(INPUTS),
    )


def test_a_difference_above_the_tolerance_is_refused(tiny_onnx: Path) -> None:
    alone = EXPECTED.copy()
    alone[3, 0] -= 0.6
    with pytest.raises(ParityError, match=r"'onnx' differs.* by 0\.6 in a logit at batch 1; at most 0\.5"):
        compared(tiny_onnx, INPUTS, EXPECTED, alone, runtime="onnxruntime", tolerance=0.5)
    # int8 only reports it.
    parity = compared(tiny_onnx, INPUTS, EXPECTED, alone, runtime="onnxruntime", tolerance=None)
    assert parity.max_abs_error == pytest.approx(0.6, rel=1e-4) and parity.tolerance is None


def test_a_file_that_errs_in_batches_only_is_refused(tiny_onnx: Path) -> None:
    # Alone all is well; what the file itself answers in batches is another network's.
    other = EXPECTED + np.float32(1)
    with pytest.raises(ParityError, match=f"by 1 in a logit at batch {BATCH}"):
        compared(tiny_onnx, INPUTS, other, other, runtime="onnxruntime", tolerance=0.5)


@pytest.mark.parametrize("tolerance", [0.5, None])
def test_a_logit_that_is_no_number_is_refused_even_where_a_difference_is_not(
    tiny_onnx: Path, tolerance: float | None
) -> None:
    alone = EXPECTED.copy()
    alone[0, 0] = np.nan
    with pytest.raises(ParityError, match="by nan"):
        compared(tiny_onnx, INPUTS, EXPECTED, alone, runtime="onnxruntime", tolerance=tolerance)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "noise.onnx"
    file.write_bytes(b"noise")
    with pytest.raises(InvalidModel):
        compared(file, INPUTS, EXPECTED, EXPECTED, runtime="onnxruntime", tolerance=None)


def test_the_networks_own_logits_are_those_of_all_examples_in_their_order() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    program = torch.export.export(network, (torch.zeros(2, 1, 2, 2),), dynamic_shapes=({0: Dim("batch")},))
    inputs = np.random.default_rng(0).standard_normal((150, 1, 2, 2), np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(logits_of(program, inputs), expected, atol=1e-6)
