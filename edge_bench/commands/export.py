"""write subnets as ONNX and TFLite files, check them and measure their accuracy"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from converters import ENCODINGS, FORMATS, PRECISIONS
from edge_bench import variants
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands.extract import ARCH_HELP, arch_of
from edge_bench.commands.train import data_table
from edge_bench.errors import ConfigError, EdgeBenchError, StoreError, did_you_mean
from edge_bench.files import Home, runs_called, sha256_of
from edge_bench.records import Artifact, Metric, Subnet


class Export(Command):
    """Each file is run on real samples against the network, and on the whole test split.

    A file that is there already, judged on the same data, is not written again. What fails stops no other.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "subnets",
            metavar="SUBNET",
            nargs="*",
            help="a subnet's id, or RUN:ARCH, which is cut first where it is not stored yet "
            f"(default: all of the newest run). {ARCH_HELP}",
        )
        parser.add_argument("--format", default="onnx,tflite", metavar="F[,F]", help="default: onnx,tflite")
        parser.add_argument(
            "--precision", default="fp32", metavar="P[,P]", help="fp32, int8 or both (default: fp32)"
        )
        kinds = [f"{name}: {variants.summary(ENCODINGS, name)}" for name in variants.names(ENCODINGS)]
        parser.add_argument(
            "--encoding",
            default="dense",
            metavar="E[,E]",
            help=f"what becomes of zeros (default: dense). {' '.join(kinds)}",
        )
        parser.add_argument(
            "--data",
            metavar="KIND_OR_FOLDER",
            help="measure and calibrate on other data of the same classes",
        )
        parser.add_argument("--force", action="store_true", help="write again what is there already")

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        formats = chosen(options.format, known=variants.names(FORMATS), what="format")
        precisions = chosen(options.precision, known=PRECISIONS, what="precision")
        encodings = chosen(options.encoding, known=variants.names(ENCODINGS), what="encoding")
        for encoding in encodings:
            _check_encoding(encoding, formats, precisions)
        subnets = wanted(options.subnets, context)
        artifacts, failures = export_subnets(
            context,
            subnets,
            formats=formats,
            precisions=precisions,
            encodings=encodings,
            data=data_table(options.data) if options.data else None,
            force=options.force,
        )
        if len(failures) == 1 and not artifacts:
            raise next(iter(failures.values()))
        return _outcome(artifacts, failures)


def export_subnets(
    context: Context,
    subnets: Sequence[Subnet],
    *,
    formats: Sequence[str],
    precisions: Sequence[str],
    encodings: Sequence[str] = ("dense",),
    data: Mapping[str, Any] | None = None,
    force: bool = False,
) -> tuple[list[Artifact], dict[str, EdgeBenchError]]:
    """Export every subnet in every format, precision and encoding, as far as there are such files; return
    artifacts and what failed, by id.

    Artifacts are stored as soon as they are there, a network's and its step's together and in this
    order. Those that are stored and whole are returned as they are, unless `force`.

    Raises:
        StoreError: the disk refuses; the others would fail as well.
    """
    with context.store() as store:
        forms = [
            (form, precision, encoding)
            for form in formats
            for precision in precisions
            for encoding in encodings
            if _exists(encoding, form, precision)
        ]
        kept = {
            "-".join((one.id, form, precision, *(() if encoding == "dense" else (encoding,)))): (
                one,
                (form, precision, encoding),
            )
            for one in subnets
            for form, precision, encoding in forms
        }
        stored = {} if force else {artifact.id: artifact for artifact in store.artifacts()}
        sets = {
            key: _whole_set(key, one, data or one.data, stored, context.home)
            for key, (one, _) in kept.items()
        }
        ready = {key: found for key, found in sets.items() if found}
        missing = [key for key in kept if key not in ready]
        failures: dict[str, EdgeBenchError] = {}
        if missing:
            from converters.export import export_subnet

            for key in context.track(missing, description="export", total=len(missing)):
                subnet, (form, precision, encoding) = kept[key]
                try:
                    made = export_subnet(
                        subnet,
                        home=context.home,
                        format=form,
                        precision=precision,
                        encoding=encoding,
                        data=data,
                    )
                except StoreError:
                    raise
                except EdgeBenchError as error:
                    failures[key] = error
                    continue
                store.add(*made)
                ready[key] = made
    return [artifact for key in kept for artifact in ready.get(key, ())], failures


def _exists(encoding: str, form: str, precision: str) -> bool:
    def stated(attribute: str) -> Any:
        return variants.stated(ENCODINGS, encoding, attribute, role="encoding")

    return form in stated("formats") and precision in stated("precisions")


def _check_encoding(encoding: str, formats: Sequence[str], precisions: Sequence[str]) -> None:
    """Raise `ConfigError` where none of the files that are asked for can be of an encoding."""
    if not any(_exists(encoding, form, precision) for form in formats for precision in precisions):
        forms, kinds = (
            variants.stated(ENCODINGS, encoding, attribute, role="encoding")
            for attribute in ("formats", "precisions")
        )
        raise ConfigError(
            f"the encoding '{encoding}' is of {' or '.join(kinds)} files in {' or '.join(forms)}; asked "
            f"for are {', '.join(precisions)} in {', '.join(formats)}"
        )


def _whole_set(
    key: str, subnet: Subnet, data: Mapping[str, Any], stored: Mapping[str, Artifact], home: Home
) -> tuple[Artifact, ...]:
    """Return a subnet's file `key` and its step's, if they and the tokenizer are whole and were judged on
    `data`; else none.
    """
    steps = [one for one in stored.values() if one.step_of == key]
    found = (stored[key], *steps) if key in stored else ()

    def whole(artifact: Artifact) -> bool:
        text = artifact.text
        return (
            (artifact.data or subnet.data) == data
            and _is_whole(home.absolute(artifact.file), artifact.digest)
            and (text is None or _is_whole(home.absolute(text.tokenizer), text.digest))
        )

    complete = len(found) == (2 if subnet.step else 1) and all(whole(one) for one in found)
    return found if complete else ()


def chosen(text: str, *, known: Iterable[str], what: str) -> list[str]:
    """Return the names in a list with commas; `ConfigError` names an unknown one and the nearest."""
    names = list(known)
    given = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in given:
        if name not in names:
            raise ConfigError(
                f"unknown {what} '{name}'. Known: {', '.join(names)}.{did_you_mean(name, names)}"
            )
    if not given:
        raise ConfigError(f"no {what} is named. Known: {', '.join(names)}.")
    return given


def wanted(given: Sequence[str], context: Context) -> list[Subnet]:
    """Return the subnets that are named by id or as RUN:ARCH, or all of the newest run.

    What RUN:ARCH means is cut and stored, unless it is there and whole.

    Raises:
        ConfigError: there is no such subnet, run or architecture; the nearest is named.
        InvalidArch: the run's search space does not contain the architecture.
        TrainingError: the run is not finished, or its checkpoint cannot be read.
    """
    with context.store() as store:
        stored = store.subnets()
    by_id = {subnet.id: subnet for subnet in stored}
    if not by_id and not any(":" in name for name in given):
        raise ConfigError("there is no subnet in the store", hint="edge-bench extract RUN")
    if not given:
        return subnets_of(stored)
    named: dict[str, Subnet] = {}
    for name in given:
        if name not in by_id and ":" not in name:
            raise ConfigError(
                f"there is no subnet '{name}'.{did_you_mean(name, by_id)}",
                hint="edge-bench results list --kind subnet; or name RUN:ARCH to cut one",
            )
        subnet = by_id.get(name) or _cut(name, stored, context)
        named[subnet.id] = subnet
    return list(named.values())


def _cut(name: str, stored: Sequence[Subnet], context: Context) -> Subnet:
    from supernet.extraction import extract_arch
    from supernet.run import find_run, read_record

    run, _, given = name.partition(":")
    folder = find_run(run, context.home)
    record = read_record(folder)
    arch = arch_of(given, record.search_space, stored, only=record.arch)
    for subnet in stored:
        if (subnet.run, subnet.arch) == (folder.name, arch) and _is_whole(
            context.home.absolute(subnet.program), subnet.digest
        ):
            return subnet
    context.say(f"cut {given} of {folder.name}")
    subnet = extract_arch(folder, arch, home=context.home)
    with context.store() as store:
        store.add(subnet)
    return subnet


def subnets_of(subnets: Sequence[Subnet], run: str | None = None) -> list[Subnet]:
    """Return the subnets of the run that is named, by name or folder, or else of the newest run.

    Args:
        subnets: all there are, in the order of adding; at least one.
        run: the name of a run or its folder.

    Raises:
        ConfigError: none is of that run; the nearest is named. Or several runs have that name.
    """
    runs = list(dict.fromkeys(subnet.run for subnet in subnets))
    name = Path(run).name if run else subnets[-1].run
    matching = runs_called(name, runs)
    if len(matching) > 1:
        raise ConfigError(f"'{name}' may be one of several runs: {', '.join(matching)}")
    if not matching:
        raise ConfigError(
            f"no subnet is of run '{name}'. Known: {', '.join(runs)}.{did_you_mean(name, runs)}"
        )
    return [subnet for subnet in subnets if subnet.run == matching[0]]


def accuracies(metrics: Sequence[Metric]) -> dict[str, float]:
    """Return each metric's value by split and name, e.g. "test_accuracy"."""
    return {f"{metric.split}_{metric.name}": metric.value for metric in metrics}


def artifact_row(artifact: Artifact) -> dict[str, Any]:
    """Return what is told of an artifact: a flat document; `parity`, and that at the borders of images, is
    in logits.
    """
    return {
        "id": artifact.id,
        "subnet": artifact.subnet,
        "format": artifact.format,
        "precision": artifact.precision,
        "file": artifact.file,
        "size_bytes": artifact.size_bytes,
        "zstd_bytes": artifact.zstd_bytes,
        "gzip_bytes": artifact.gzip_bytes,
        "encoding": artifact.encoding,
        "sparsity": artifact.sparsity,
        "parity": artifact.parity and artifact.parity.max_abs_error,
        "border_parity": artifact.parity and artifact.parity.border_max_abs_error,
        "parity_batch_sizes": artifact.parity and list(artifact.parity.batch_sizes),
        **accuracies(artifact.metrics),
    }


def _is_whole(file: Path, digest: str) -> bool:
    return file.is_file() and sha256_of(file) == digest


def _outcome(artifacts: Sequence[Artifact], failures: Mapping[str, EdgeBenchError]) -> Outcome:
    rows = [artifact_row(artifact) for artifact in artifacts]
    document: dict[str, Any] = {"artifacts": rows}
    hidden = {"subnet", "file", "parity_batch_sizes", "gzip_bytes", "encoding"}
    if all(row["border_parity"] is None for row in rows):
        hidden.add("border_parity")
    shown = [{key: value for key, value in row.items() if key not in hidden} for row in rows]
    lines = [table(shown)] if shown else []
    if failures:
        document["failures"] = [
            {"artifact": key, "kind": type(one).__name__, "message": one.message, "status": one.status}
            for key, one in failures.items()
        ]
        lines += [f"failed: {key}: {one.message}" for key, one in failures.items()]
    lines.append("next: edge-bench bench --all")
    status = max((one.status for one in failures.values()), default=0)
    return Outcome(document=document, text="\n".join(lines), status=status)
