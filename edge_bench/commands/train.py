"""train a supernet from a run file, or go on with one that was interrupted"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_bench import config, variants
from edge_bench.commands import Command, Context, Outcome
from edge_bench.data import ImageSource
from edge_bench.errors import ConfigError
from edge_bench.records.quality import metric_word, value_text

if TYPE_CHECKING:
    from supernet.run import RunConfig

DATA = "edge_bench.data"
# The kind of a folder that shows none, and those that a text file's ending shows.
FOLDER = "folder"
TEXT_KINDS = {".tsv": "labelled_text", ".csv": "labelled_text", ".txt": "running_text"}


class Train(Command):
    """Trains `runs/<name>-<digest>` under the home folder; the same command resumes it.

    Several processes share the work where `torchrun` starts them:
    `torchrun --nproc-per-node 2 -m edge_bench train RUN.toml`.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN.toml", type=Path, help="the run file (see examples/)")
        parser.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="change one value of the file, e.g. training.epochs=5; may be given again",
        )
        parser.add_argument(
            "--data",
            metavar="KIND_OR_FOLDER",
            help="train on another data set: digits, a folder with one sub-folder of images a class or of "
            "CIFAR-10's parquet files, a folder or file of text (.tsv, .csv, .txt; pairs in train.en and "
            "train.de), or KIND:PATH; options in the file stay where they are of the same kind",
        )
        parser.add_argument(
            "--skip-bad",
            action="store_true",
            help="leave out images that do not decode, or empty lines of text, and count them",
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from supernet.ranks import ranks_of_environment
        from supernet.run import SUMMARY_FILE, load_run
        from supernet.trainer import train

        overrides = list(options.set)
        if options.data:
            overrides = [*_other_data(options.run, data_table(options.data)), *overrides]
        if options.skip_bad:
            overrides.append(_skipping(load_run(options.run, overrides)))
        folder = train(
            load_run(options.run, overrides),
            home=context.home,
            say=context.say,
            interactive=context.interactive and not context.quiet,
        )
        if not ranks_of_environment().first:
            return Outcome(document={}, text="", silent=True)
        document = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        document["folder"] = str(folder)
        return Outcome(document=document, text=_told(document))


def data_table(given: str) -> dict[str, Any]:
    """Return the `[data]` table that `--data` means: a kind, `kind:path`, or a path whose kind shows.

    Raises:
        ConfigError: neither a kind of data, nor a folder, nor a text file of a known ending.
    """
    path = Path(given).expanduser()
    kinds = variants.names(DATA)
    kind, _, place = given.partition(":")
    if kind in kinds and place:
        return {"kind": kind, "path": str(Path(place).expanduser().absolute())}
    if (shown := _kind_of(path)) is not None:
        return {"kind": shown, "path": str(path.absolute())}
    if given in kinds:
        return {"kind": given}
    raise ConfigError(
        f"'{given}' is neither a folder nor a kind of data ({', '.join(kinds)})",
        hint="name a folder that holds one sub-folder of images a class, or a .tsv, .csv or .txt file",
    )


def _kind_of(path: Path) -> str | None:
    """Return the kind of data that a file or folder shows by the names in it; None of any other file."""
    if path.is_dir():
        inside = {one.name.removesuffix(".gz") for one in path.iterdir()}
        if any(name.endswith(".parquet") for name in inside):
            return "cifar10"
        if inside >= {"train.en", "train.de"}:
            return "parallel_text"
        known = (kind for ending, kind in TEXT_KINDS.items() if f"train{ending}" in inside)
        return next(known, FOLDER)
    if path.is_file():
        return TEXT_KINDS.get(Path(path.name.removesuffix(".gz")).suffix.lower())
    return None


def _other_data(run: Path, table: dict[str, Any]) -> list[str]:
    """Return the changes of a run file that train on `table`; options of the same kind stay."""
    written = config.read_toml(run).get("data")
    same = isinstance(written, dict) and written.get("kind") == table["kind"]
    return [*([] if same else ["data={}"]), *(f"data.{key}={json.dumps(table[key])}" for key in table)]


def _skipping(run: RunConfig) -> str:
    """Return the change of a run file that leaves out what is bad in its data."""
    source = run.open_data()
    if isinstance(source, ImageSource):
        return "data.skip_bad=true"
    if not hasattr(source, "skip_empty"):
        raise ConfigError(
            f"--skip-bad is given, but data of kind '{run.data['kind']}' has no rows to leave out"
        )
    return "data.skip_empty=true"


def _told(document: dict[str, Any]) -> str:
    # A summary of an older version is of images.
    unit = document.get("unit", "images")
    skipped = document[f"skipped_{unit}"]
    what = "files were left out as unreadable" if unit == "images" else f"{unit} were left out"
    name = next(key for key in document if key.startswith("largest_")).removeprefix("largest_")
    ends = [end for end in ("largest", "smallest") if f"{end}_{name}" in document]
    reached = ", ".join(f"{end} {value_text(name, document[f'{end}_{name}'])}" for end in ends)
    networks = f"{document['architectures']:,} architectures" if ends[1:] else "1 network"
    reached = reached if ends[1:] else reached.removeprefix("largest ")
    lines = [
        f"run {document['run']}: {document['epochs']} epochs of {document[f'training_{unit}']} {unit} in "
        f"{document['seconds']:.0f} s ({document[f'{unit}_per_second']:.0f} {unit}/s)",
        *([f"  {skipped} {what}"] if skipped else []),
        f"  {networks}; selection {metric_word(name)}: {reached}",
        f"  in {document['folder']}",
        f"next: edge-bench extract {document['run']}",
    ]
    return "\n".join(lines)
