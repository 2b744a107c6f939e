"""A subnet as a model file: converted, checked against the network, and its own accuracy measured."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram

from converters import FORMATS, PRECISIONS
from converters.chatter import silenced
from converters.formats import Converter
from converters.parity import compared, logits_of
from edge_bench import variants
from edge_bench.data import open_images, prepare
from edge_bench.documents import canonical_json
from edge_bench.errors import ConfigError, ConversionError, DataError
from edge_bench.files import Home, atomic_path, sha256_of
from edge_bench.measure.quality import accuracy
from edge_bench.measure.sandbox import describe, predict
from edge_bench.records import Artifact, Metric, Preprocessing, Subnet
from edge_bench.records.artifact import Format, Precision
from edge_bench.records.subnet import Split
from edge_bench.store import now

CALIBRATION_IMAGES = 256


def export_subnet(
    subnet: Subnet,
    *,
    home: Home,
    format: str,
    precision: str = "fp32",
    data: Mapping[str, Any] | None = None,
) -> Artifact:
    """Write `subnet` as a file under the home folder and return its record, metrics included.

    The file appears only when it answers as the network does (fp32; for int8 the difference is
    reported) and has run on every example of the selection and the test split, one at a time.

    Args:
        subnet: the network; its program is read from `home`.
        home: where the program lies and the file goes, `artifacts/<subnet id>/`.
        format: a file of `converters/formats`.
        precision: "fp32", or "int8" with ranges from images of the training split.
        data: the `[data]` table to calibrate and measure on; None takes the one it was trained on.

    Raises:
        UnknownVariant, ConfigError: no such format, or a precision other than those two.
        ConversionError: the program is missing or another, or cannot be converted.
        ParityError: the file answers otherwise than the network.
        DataError, StoreError: the examples cannot be read, the file cannot be written.
    """
    converter = variants.load(Converter, FORMATS, format)()
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision '{precision}'. Known: {', '.join(PRECISIONS)}.")
    examples = _examples(canonical_json(data or subnet.data), subnet.preprocessing, subnet.class_names)
    program = _program(subnet, home)
    identity = f"{subnet.id}-{format}-{precision}"
    target = home.artifacts / subnet.id / f"{subnet.id}-{precision}.{format}"
    with atomic_path(target) as temporary:
        if precision == "fp32":
            converter.convert(program, temporary)
        else:
            _quantize(converter, program, temporary, examples)
        layout = {split: converter.layout(inputs) for split, inputs in examples.inputs.items()}
        runtime = converter.runtime
        alone = predict(temporary, np.concatenate(list(layout.values())), runtime=runtime, batch=1)
        count = len(layout["selection"])
        parity = compared(
            temporary,
            layout["selection"],
            logits_of(program, examples.inputs["selection"]),
            alone[:count],
            runtime=runtime,
            tolerance=converter.tolerance if precision == "fp32" else None,
        )
        metrics = (
            examples.metric("selection", alone[:count]),
            examples.metric("test", alone[count:]),
        )
        ends = describe(temporary, runtime=runtime)
    return Artifact(
        id=identity,
        name=identity,
        subnet=subnet.id,
        format=cast(Format, format),
        precision=cast(Precision, precision),
        file=home.relative(target),
        digest=sha256_of(target),
        size_bytes=target.stat().st_size,
        inputs=ends[0],
        outputs=ends[1],
        metrics=metrics,
        created=now(),
        parity=parity,
        preprocessing=subnet.preprocessing,
        class_names=subnet.class_names,
        macs=subnet.macs,
        params=subnet.params,
    )


@dataclass(frozen=True, kw_only=True)
class _Examples:
    """Prepared inputs [n, channels, size, size] and labels [n] of the selection and the test split."""

    data: Mapping[str, Any]
    preprocessing: Preprocessing
    inputs: dict[Split, npt.NDArray[np.float32]]
    labels: dict[Split, npt.NDArray[np.int64]]

    def metric(self, split: Split, logits: npt.NDArray[np.float32]) -> Metric:
        return accuracy(logits, self.labels[split], split=split)

    def calibration(self) -> npt.NDArray[np.float32]:
        """Return inputs of the training split, always the same ones."""
        pixels = open_images(self.data).load("train").pixels
        rows = np.random.default_rng(0).permutation(len(pixels))[:CALIBRATION_IMAGES]
        return prepare(pixels[rows], self.preprocessing)


# One subnet is written in several formats and precisions in a row.
@lru_cache(maxsize=2)
def _examples(data: str, preprocessing: Preprocessing, class_names: tuple[str, ...]) -> _Examples:
    table: Mapping[str, Any] = json.loads(data)
    source = open_images(table)
    inputs: dict[Split, npt.NDArray[np.float32]] = {}
    labels: dict[Split, npt.NDArray[np.int64]] = {}
    splits: tuple[Split, Split] = ("selection", "test")
    for split in splits:
        images = source.load(split, size=preprocessing.size)
        if images.class_names != class_names:
            raise DataError(
                f"the data has the classes {_told(images.class_names)}, the subnet {_told(class_names)}",
                hint="name data with the classes that the subnet was trained on",
            )
        inputs[split] = prepare(images.pixels, preprocessing)
        labels[split] = images.labels
    return _Examples(data=table, preprocessing=preprocessing, inputs=inputs, labels=labels)


def _program(subnet: Subnet, home: Home) -> ExportedProgram:
    path = home.absolute(subnet.program)
    again = f"cut it again: edge-bench extract {subnet.run} --arch {subnet.arch.key}"
    if not path.is_file():
        raise ConversionError(f"the program of subnet '{subnet.id}' is not at '{path}'", hint=again)
    if sha256_of(path) != subnet.digest:
        raise ConversionError(f"'{path}' is not the file that was saved for '{subnet.id}'", hint=again)
    with silenced():
        return torch.export.load(path)


def _told(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _quantize(converter: Converter, program: ExportedProgram, target: Path, examples: _Examples) -> None:
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        source = Path(folder) / f"fp32.{converter.format}"
        converter.convert(program, source)
        converter.quantize(source, target, examples.calibration())
