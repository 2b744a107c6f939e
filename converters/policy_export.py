"""A policy as a model file: compared with its program on what its episodes show, and judged by playing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch.export import ExportedProgram

from converters.form import Form
from converters.parity import BATCH, compared_by_name
from converters.programs import LOGITS, Named, load_program, macs_of, weights_of
from edge_bench.data import open_control
from edge_bench.episodes import Observations
from edge_bench.errors import ConfigError, MissingExtra
from edge_bench.files import Home, atomic_path, sha256_of
from edge_bench.measure.playing import played
from edge_bench.measure.sandbox import describe
from edge_bench.records import Artifact, ObservationInput, Subnet
from edge_bench.records.artifact import Format, Precision
from edge_bench.records.subnet import Metric, Split
from edge_bench.store import now

OBSERVATION = "observation"
COMPARED = 8 * BATCH
SPLITS: tuple[Split, Split] = ("selection", "test")


def export_policy(
    subnet: Subnet,
    seen: ObservationInput,
    *,
    home: Home,
    how: Form,
    data: Mapping[str, Any] | None,
) -> Artifact:
    """Write a policy's file and return its record.

    Where the environments' library is not installed, it is compared on drawn numbers and not judged: the
    record has no metrics.

    Args:
        subnet: the network; its program is read from `home`.
        seen: what it takes.
        home: where the file goes, `artifacts/<subnet id>/`.
        how: the form of the file; "int8" is of the weights.
        data: the `[data]` table of the environments; None takes the one it was trained in.

    Raises:
        As `export_subnet`.
    """
    table = data or subnet.data
    converter, saved = how.converter, load_program(subnet, home)
    program, written = Named(saved), how.prepared(saved)
    target = home.artifacts / subnet.id / how.file_name(subnet.id)
    observed = _observed(program, seen, table)
    alone = [{OBSERVATION: observed[place : place + 1]} for place in range(COMPARED)]
    cases = {1: alone}
    if converter.free_sides:
        cases[BATCH] = [
            {OBSERVATION: observed[place : place + BATCH]} for place in range(0, COMPARED, BATCH)
        ]
    with atomic_path(target) as file:
        _write(written, file, how)
        facts = how.finish(file, saved, subnet.sparsity)
        parity = compared_by_name(
            file,
            cases,
            program,
            runtime=converter.runtime,
            tolerance=converter.tolerance if how.precision == "fp32" else None,
        )
        metrics = _judged(file, table, runtime=converter.runtime)
        inputs, outputs = describe(file, runtime=converter.runtime)
    identity = how.identity(subnet.id)
    return Artifact(
        id=identity,
        name=identity,
        subnet=subnet.id,
        format=cast(Format, converter.format),
        precision=cast(Precision, how.precision),
        file=home.relative(target),
        digest=sha256_of(target),
        size_bytes=target.stat().st_size,
        **facts,
        inputs=inputs,
        outputs=outputs,
        metrics=metrics,
        created=now(),
        parity=parity,
        macs=subnet.macs if written is saved else macs_of(written),
        params=subnet.params if written is saved else weights_of(written),
        data=data,
        observation=seen,
        task=subnet.task,
    )


def _observed(program: Named, seen: ObservationInput, table: Mapping[str, Any]) -> Observations:
    """Return observations [COMPARED, numbers] of episodes that the policy acts in."""
    try:
        environments = open_control(table).open(BATCH)
    except MissingExtra:
        drawn = np.random.default_rng(0).normal(size=(COMPARED, seen.size))
        return drawn.astype(np.float32)
    if environments.size != seen.size:
        raise ConfigError(
            f"the environment shows {environments.size} numbers; the policy was trained on {seen.size}",
            hint="name data of the environment that the subnet was trained in",
        )
    observed = [environments.begin(0)]
    while len(observed) * BATCH < COMPARED:
        actions = program.answers({OBSERVATION: observed[-1]})[LOGITS].argmax(1)
        observed.append(environments.step(actions).observations)
    return np.concatenate(observed)


def _judged(file: Path, table: Mapping[str, Any], *, runtime: str) -> tuple[Metric, ...]:
    try:
        return tuple(played(file, table, split, runtime=runtime) for split in SPLITS)
    except MissingExtra:
        return ()


def _write(program: ExportedProgram, file: Path, how: Form) -> None:
    if how.precision == "fp32":
        how.converter.convert(program, file)
        return
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        source = Path(folder) / f"fp32.{how.converter.format}"
        how.converter.convert(program, source)
        how.converter.quantize_weights(source, file)
