"""A text subnet as model files: the network's, the step's where it generates, and the tokenizer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch.export import ExportedProgram

from converters.classes import check_classes
from converters.form import Form
from converters.parity import compared_by_name
from converters.programs import Named, cut_again, load_program
from converters.samples import Cases, Samples
from edge_bench.data import open_texts
from edge_bench.errors import ConfigError, ConversionError
from edge_bench.files import Home, atomic_path, sha256_of
from edge_bench.measure.judges import Files, judge_of
from edge_bench.measure.sandbox import describe
from edge_bench.records import Artifact, Subnet, TextInput
from edge_bench.records.artifact import Format, Precision
from edge_bench.records.subnet import Split
from edge_bench.store import now
from edge_bench.text.examples import LabelledTexts
from edge_bench.text.tokenizer import Tokenizer

TOKENIZER = "tokenizer.json"
SPLITS: tuple[Split, Split] = ("selection", "test")


def export_text(
    subnet: Subnet,
    text: TextInput,
    *,
    home: Home,
    how: Form,
    data: Mapping[str, Any] | None,
) -> tuple[Artifact, ...]:
    """Write a text subnet's files, all or none; return the network's record and, of one that generates,
    the step's.

    Each file is compared with its program on texts of the selection split, the step's while it
    generates. The metrics, which the network's record holds, are those of both files together.

    Args:
        subnet: the network; its programs and its tokenizer are read from `home`.
        text: what it takes.
        home: where the files go, `artifacts/<subnet id>/`.
        how: the form of the files; "int8" is of the weights.
        data: the `[data]` table that the texts come from; None takes the one it was trained on.

    Raises:
        As `export_subnet`.
    """
    source = open_texts(data or subnet.data)
    converter = how.converter
    examples = source.load("selection")
    if source.task != subnet.task:
        raise ConfigError(
            f"the data is for {source.task}, subnet '{subnet.id}' for {subnet.task}",
            hint="name data of the kind that the subnet was trained on",
        )
    if isinstance(examples, LabelledTexts):
        check_classes(examples.class_names, subnet.class_names)
    tokenizer = _tokenizer(text, subnet, home)
    folder = home.artifacts / subnet.id
    kept = folder / TOKENIZER
    samples = Samples.of(examples, Tokenizer.load(tokenizer), text)
    parts = _parts(subnet, samples, home, how)
    with ExitStack() as whole:
        # They are put in their places in the other direction: the network's, which stands for all, last.
        files = [whole.enter_context(atomic_path(part.target)) for part in parts]
        if not kept.is_file() or sha256_of(kept) != text.digest:
            shutil.copyfile(tokenizer, whole.enter_context(atomic_path(kept)))
        artifacts = []
        for part, file in zip(parts, files, strict=True):
            _write(part, file, how=how, length=text.length)
            facts = how.finish(file, part.program, subnet.sparsity)
            parity = compared_by_name(
                file,
                part.cases,
                Named(part.program),
                runtime=converter.runtime,
                tolerance=converter.tolerance if how.precision == "fp32" else None,
            )
            inputs, outputs = describe(file, runtime=converter.runtime)
            artifact = Artifact(
                id=part.id,
                name=part.id,
                subnet=subnet.id,
                format=cast(Format, converter.format),
                precision=cast(Precision, how.precision),
                file=home.relative(part.target),
                digest=sha256_of(file),
                size_bytes=file.stat().st_size,
                **facts,
                inputs=inputs,
                outputs=outputs,
                metrics=(),
                created=now(),
                parity=parity,
                data=data,
                class_names=subnet.class_names,
                text=replace(text, tokenizer=home.relative(kept)),
                step=subnet.step,
                step_of=parts[0].id if part is not parts[0] else None,
                task=subnet.task,
            )
            artifacts.append(artifact)
        judged = Files(
            network=files[0],
            step=files[1] if subnet.step else None,
            runtime=converter.runtime,
            tokenizer=tokenizer,
            class_names=subnet.class_names,
            step_record=subnet.step,
        )
        judge = judge_of(subnet.task)()
        metrics = tuple(judge.judge(judged, text=text, data=source, split=split) for split in SPLITS)
    network, *step = artifacts
    return (replace(network, metrics=metrics, macs=subnet.macs, params=subnet.params), *step)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One of a subnet's programs: the file it becomes, and the inputs that both are compared on."""

    id: str
    program: ExportedProgram
    target: Path
    cases: Cases


def _parts(subnet: Subnet, samples: Samples, home: Home, how: Form) -> list[_Part]:
    free = how.converter.free_sides

    def part(middle: str, program: ExportedProgram, cases: Cases) -> _Part:
        return _Part(
            id=how.identity(f"{subnet.id}{middle}"),
            program=program,
            target=home.artifacts / subnet.id / how.file_name(f"{subnet.id}{middle}"),
            cases=cases,
        )

    network = load_program(subnet, home)
    parts = [part("", network, samples.of_network(free=free))]
    if subnet.step is not None:
        stepping = load_program(subnet, home, step=True)
        cases = samples.of_step(Named(network), Named(stepping), subnet.step, free=free)
        parts.append(part("-step", stepping, cases))
    return parts


def _write(part: _Part, file: Path, *, how: Form, length: int) -> None:
    converter, program = how.converter, how.prepared(part.program)
    if how.precision == "fp32":
        converter.convert(program, file, length=length)
        return
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        source = Path(folder) / f"fp32.{converter.format}"
        converter.convert(program, source, length=length)
        converter.quantize_weights(source, file)


def _tokenizer(text: TextInput, subnet: Subnet, home: Home) -> Path:
    """Return where the subnet's tokenizer lies; it must be the one the network was trained with."""
    path = home.absolute(text.tokenizer)
    if not path.is_file():
        raise ConversionError(
            f"the tokenizer of subnet '{subnet.id}' is not at '{path}'", hint=cut_again(subnet)
        )
    if sha256_of(path) != text.digest:
        raise ConversionError(
            f"'{path}' is not the tokenizer that was saved for '{subnet.id}'", hint=cut_again(subnet)
        )
    return path
