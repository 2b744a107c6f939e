"""A subnet as a model file: converted, checked against the network, and its own accuracy measured."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch.export import ExportedProgram

from converters import FORMATS, PRECISIONS
from converters.borders import border_error, border_inputs
from converters.classes import check_classes
from converters.form import Form
from converters.formats import Converter
from converters.parity import compared, logits_of
from converters.policy_export import export_policy
from converters.programs import load_program, macs_of, weights_of
from converters.text_export import export_text
from edge_bench import variants
from edge_bench.data import open_images, prepare
from edge_bench.documents import canonical_json
from edge_bench.errors import ConfigError
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
    encoding: str = "dense",
    data: Mapping[str, Any] | None = None,
) -> tuple[Artifact, ...]:
    """Write `subnet` as files under the home folder; return the record of its network, metrics included,
    and then that of its step where it generates text.

    Files appear only when they answer as the network does (fp32; for int8 the difference is reported), for
    images also at each border, and have run on every example (or episode) of the selection and the test
    split, one at a time.

    Args:
        subnet: the network; its programs are read from `home`.
        home: where the programs lie and the files go, `artifacts/<subnet id>/`.
        format: a file of `converters/formats`.
        precision: "fp32", or "int8": of images with ranges from the training split, of others the weights.
        encoding: a file of `converters/encodings` that exists in that format and precision.
        data: the `[data]` table to calibrate and measure on; None takes the one it was trained on.

    Raises:
        UnknownVariant, ConfigError: no such format or encoding, a precision other than those two, or data
            of another task.
        ConversionError: a program or tokenizer is missing or another, or cannot be converted; the network
            has no zeros that the encoding is for; the file lacks zeros that the network has.
        ParityError: a file answers otherwise than the network.
        DataError, StoreError: the examples cannot be read, a file cannot be written.
    """
    converter = variants.load(Converter, FORMATS, format)()
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision '{precision}'. Known: {', '.join(PRECISIONS)}.")
    how = Form(converter=converter, precision=precision, encoding=encoding)
    if subnet.text is not None:
        return export_text(subnet, subnet.text, home=home, how=how, data=data)
    if subnet.observation is not None:
        return (export_policy(subnet, subnet.observation, home=home, how=how, data=data),)
    return (_export_image(subnet, home=home, how=how, data=data),)


def _export_image(subnet: Subnet, *, home: Home, how: Form, data: Mapping[str, Any] | None) -> Artifact:
    assert subnet.preprocessing is not None
    converter, precision = how.converter, how.precision
    examples = _examples(canonical_json(data or subnet.data), subnet.preprocessing, subnet.class_names)
    program = load_program(subnet, home)
    written = how.prepared(program)
    identity = how.identity(subnet.id)
    target = home.artifacts / subnet.id / how.file_name(subnet.id)
    with atomic_path(target) as temporary:
        if precision == "fp32":
            converter.convert(written, temporary)
        else:
            _quantize(converter, written, temporary, examples)
        facts = how.finish(temporary, program, subnet.sparsity)
        borders = border_inputs(subnet.preprocessing)
        layout = [converter.layout(inputs) for inputs in (*examples.inputs.values(), borders)]
        runtime = converter.runtime
        answered = predict(temporary, np.concatenate(layout), runtime=runtime, batch=1)
        selected, tested, bordered = np.split(answered, np.cumsum([len(part) for part in layout[:-1]]))
        tolerance = converter.tolerance if precision == "fp32" else None
        at_borders = border_error(temporary, logits_of(program, borders), bordered, tolerance=tolerance)
        parity = compared(
            temporary,
            layout[0],
            logits_of(program, examples.inputs["selection"]),
            selected,
            runtime=runtime,
            tolerance=tolerance,
        )
        metrics = (examples.metric("selection", selected), examples.metric("test", tested))
        ends = describe(temporary, runtime=runtime)
    return Artifact(
        id=identity,
        name=identity,
        subnet=subnet.id,
        format=cast(Format, converter.format),
        precision=cast(Precision, precision),
        file=home.relative(target),
        digest=sha256_of(target),
        size_bytes=target.stat().st_size,
        **facts,
        inputs=ends[0],
        outputs=ends[1],
        metrics=metrics,
        created=now(),
        parity=replace(parity, border_max_abs_error=at_borders),
        preprocessing=subnet.preprocessing,
        class_names=subnet.class_names,
        macs=subnet.macs if written is program else macs_of(written),
        params=subnet.params if written is program else weights_of(written),
        data=data,
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
        check_classes(images.class_names, class_names)
        inputs[split] = prepare(images.pixels, preprocessing)
        labels[split] = images.labels
    return _Examples(data=table, preprocessing=preprocessing, inputs=inputs, labels=labels)


def _quantize(converter: Converter, program: ExportedProgram, target: Path, examples: _Examples) -> None:
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        source = Path(folder) / f"fp32.{converter.format}"
        converter.convert(program, source)
        converter.quantize(source, target, examples.calibration())
