"""take a model made elsewhere into the store: ONNX, TFLite, Keras, SavedModel or torch.export"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands._seeing import OPTIONS, add_arguments, labels_of, seeing_of
from edge_bench.commands.export import accuracies
from edge_bench.commands.train import data_table
from edge_bench.data import data_name
from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.measure.adoption import Seeing, adopt, judge
from edge_bench.records import Artifact, Subnet


class Import(Command):
    """The file is copied under the home folder. With labelled data its accuracy is measured by running
    it, and then it stands on the same front as what was trained here. The same file is the same import.

    Keras files and SavedModel folders are converted by TensorFlow (extra `tensorflow`), `.pt2` programs
    by torch (extra `export`), in the sandbox; what holds Python code is refused.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "model",
            metavar="MODEL",
            help="an .onnx, .tflite, .keras, .h5 or .pt2 file, a SavedModel folder; or the id or name of "
            "an earlier import, to measure it on other data",
        )
        parser.add_argument("--name", help="what to call it (default: the file's name)")
        parser.add_argument(
            "--data",
            metavar="KIND_OR_FOLDER",
            help="labelled data: a kind such as digits, or a folder of one folder of images a class",
        )
        add_arguments(parser)
        parser.add_argument(
            "--trust", action="store_true", help="load a .pt2 program: that may run code it holds"
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        seeing, labels = seeing_of(options), labels_of(options)
        if not options.data and (labels or seeing != Seeing()):
            raise ConfigError(f"{OPTIONS} say how to measure: name the data, --data")
        with context.store() as store:
            known, subnets = store.artifacts(), store.subnets()
            artifact = _brought(options, known, context)
            # Before its quality is measured: what is in the store stays, if the data cannot be read.
            store.add(artifact)
            if options.data:
                data = _table(options.data, subnets)
                context.say(f"measuring {artifact.name} on {data_name(data)}")
                artifact = judge(artifact, home=context.home, data=data, seeing=seeing, labels=labels)
                store.add(artifact)
        return _outcome(artifact)


def _brought(options: argparse.Namespace, known: Sequence[Artifact], context: Context) -> Artifact:
    given = Path(options.model).expanduser()
    if not given.exists():
        imported = {word: one for one in known if one.subnet is None for word in (one.id, one.name)}
        if options.model in imported:
            return imported[options.model]
        raise ConfigError(
            f"there is no file, folder or import '{options.model}'.{did_you_mean(options.model, imported)}"
        )
    if given.suffix.lower() in (".onnx", ".tflite"):
        return adopt(given, home=context.home, name=options.name, known=known)
    from converters.bring import converted, source_of

    source = source_of(given)
    if source is None:
        what = "a folder without saved_model.pb" if given.is_dir() else f"'{given.suffix}'"
        raise ConfigError(
            f"'{given}' is of no kind that can be imported: {what}",
            hint=".onnx, .tflite, .keras, .h5 and .pt2 files and SavedModel folders can",
        )
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        file = converted(
            given,
            source,
            Path(folder),
            trust=options.trust,
            starting=lambda: context.say(f"converting {given.name}"),
        )
        return adopt(file, home=context.home, name=options.name, known=known)


def _table(given: str, subnets: Sequence[Subnet]) -> dict[str, Any]:
    """Return the `[data]` table; that of a run on the same data, so that both see the same examples."""
    table = data_table(given)
    alike = [subnet.data for subnet in subnets if data_name(subnet.data) == data_name(table)]
    same = [one for one in alike if one.get("path", "") == table.get("path", "")]
    return dict(same[-1]) if same else table


def _outcome(artifact: Artifact) -> Outcome:
    row = {
        "id": artifact.id,
        "name": artifact.name,
        "format": artifact.format,
        "precision": artifact.precision,
        "size_mb": artifact.size_bytes / 1e6,
        **accuracies(artifact.metrics),
    }
    document = {**row, "file": artifact.file, "digest": artifact.digest, "data": artifact.data}
    lines = [table([row])]
    used = artifact.preprocessing
    if used and artifact.data:
        document["preprocessing"] = {"size": used.size, "mean": list(used.mean), "std": list(used.std)}
        lines.append(
            f"measured on {data_name(artifact.data)}: images of {used.size} pixels in {used.channels} "
            f"channel{'s' if used.channels > 1 else ''}, mean {list(used.mean)}, std {list(used.std)}"
        )
        lines += _doubts(artifact)
    else:
        lines.append(
            "nothing is known of its quality, so that pick leaves it out; to measure it: "
            f"edge-bench import {artifact.id} --data KIND_OR_FOLDER"
        )
    lines.append(f"next: edge-bench bench {artifact.id}")
    return Outcome(document=document, text="\n".join(lines))


def _doubts(artifact: Artifact) -> list[str]:
    chance = 1 / max(1, len(artifact.class_names))
    metric = artifact.metric("selection")
    if metric is None or metric.value > 1.5 * chance:
        return []
    return [
        f"{metric.value:.1%} is no better than guessing among {len(artifact.class_names)}: does the file "
        "expect another --mean and --std, or its classes in another order (--labels)?"
    ]
