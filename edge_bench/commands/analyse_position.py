"""tell how much a network's feature maps know of where in the image they are, stage by stage"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands.export import chosen
from edge_bench.commands.extract import ARCH_HELP, arch_of
from edge_bench.documents import to_document
from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.files import runs_called, write_text
from edge_bench.records import Subnet
from edge_bench.runs import POSITION, name_without_padding

if TYPE_CHECKING:
    from edge_bench.records.position import PositionFindings
    from supernet.probes import Subject


class AnalysePosition(Command):
    """Trains small readouts on frozen maps and scores them on images held out (Islam, Jia and Bruce, 2020).

    What is found lies under the home folder, `probes/position/<network>.json`.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "networks",
            metavar="RUN|SUBNET",
            nargs="+",
            help="a run (its largest network), RUN:ARCH, or a stored subnet's id; several are compared. "
            f"{ARCH_HELP}",
        )
        parser.add_argument(
            "--without-padding",
            action="store_true",
            help='compare each run with one of the same file and [model] padding = "none"; it is trained '
            "first unless it is there",
        )
        parser.add_argument(
            "--untrained", action="store_true", help="compare each network with drawn weights in it as well"
        )
        parser.add_argument(
            "--targets",
            default="H,V,G,HS,VS",
            metavar="T[,T]",
            help="maps to read out: H and V rise across and down, G is a Gaussian, HS and VS are stripes "
            "(default: all five)",
        )
        parser.add_argument("--stages", type=int, default=5, help="how many stages at most (default: 5)")
        parser.add_argument(
            "--steps", type=int, default=150, help="of SGD that train a readout (default: 150)"
        )
        parser.add_argument(
            "--images", type=int, default=2048, help="training images for the readouts (default: 2048)"
        )
        parser.add_argument(
            "--held-out", type=int, default=128, help="test images that score them (default: 128)"
        )
        parser.add_argument(
            "--seeds", type=int, default=3, help="how many readouts to train for each figure (default: 3)"
        )
        parser.add_argument(
            "--plot",
            type=Path,
            metavar="FILE.svg",
            help="where the plot goes (default: beside what is found in the first network)",
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        from edge_bench.commands._position_plot import position_svg
        from edge_bench.records.position import TARGETS, targets
        from supernet.probes.position import Position
        from supernet.progress import shown

        if options.plot and options.plot.suffix.lower() != ".svg":
            raise ConfigError(f"--plot is '{options.plot}'; it must end in .svg, the one format there is")
        probe = Position(
            targets=tuple(chosen(options.targets, known=TARGETS, what="target")),
            stages=options.stages,
            steps=options.steps,
            images=options.images,
            held_out=options.held_out,
            seeds=options.seeds,
        )
        probe.check()
        found = []
        for subject in _subjects(options, context):
            with shown(
                f"probe {subject.name}",
                done=0,
                total=probe.seeds * probe.steps,
                say=context.say,
                interactive=context.interactive and not context.quiet,
            ) as advance:
                found.append(probe.measure(subject, report=advance))
        folder = context.home.probes / POSITION
        files = [folder / f"{one.network}.json" for one in found]
        for one, file in zip(found, files, strict=True):
            write_text(file, json.dumps(to_document(one), indent=1, allow_nan=False) + "\n")
        plot = options.plot.expanduser() if options.plot else files[0].with_suffix(".svg")
        write_text(plot, position_svg(found, targets(probe.targets)))
        document = {
            "networks": [{**_told(one), "file": str(file)} for one, file in zip(found, files, strict=True)],
            "plot": str(plot),
        }
        return Outcome(document=document, text=_text(found, files, plot))


def _subjects(options: argparse.Namespace, context: Context) -> list[Subject]:
    """Return what the command names and the controls it asks for, each once."""
    from supernet.probes import Subject
    from supernet.run import find_run, read_record
    from supernet.trained import TrainedRun

    with context.store() as store:
        stored = store.subnets()
    subjects: dict[str, Subject] = {}

    def add(subject: Subject) -> None:
        subjects.setdefault(subject.name, subject)

    for given in options.networks:
        subnet = next((one for one in stored if one.id == given), None)
        if subnet and not (options.untrained or options.without_padding):
            add(_of_subnet(subnet, context))
            continue
        run, _, word = (subnet.run, "", subnet.arch.key) if subnet else given.partition(":")
        _check_known(run, stored, context)
        folder = find_run(run, context.home)
        trained = TrainedRun.open(folder, home=context.home)
        record = trained.record
        if word:
            arch = arch_of(word, record.search_space, stored, only=record.arch)
        else:
            arch = record.arch or record.search_space.largest()
        add(Subject.of_run(trained, arch))
        if options.untrained:
            add(Subject.of_run(trained, arch, untrained=True))
        if options.without_padding:
            control = _trained_without_padding(folder, context)
            add(
                Subject.of_run(
                    TrainedRun.open(control, home=context.home), read_record(control).search_space.largest()
                )
            )
    return list(subjects.values())


def _of_subnet(subnet: Subnet, context: Context) -> Subject:
    from converters.programs import load_program
    from supernet.probes import Subject

    if subnet.preprocessing is None:
        raise ConfigError(
            f"subnet '{subnet.id}' is for {subnet.task.replace('_', ' ')}; only networks for images have "
            "feature maps to probe",
            hint="name a run, or a subnet, whose [data] are images",
        )
    return Subject(
        name=subnet.id,
        program=load_program(subnet, context.home),
        preprocessing=subnet.preprocessing,
        data=subnet.data,
    )


def _check_known(run: str, stored: Sequence[Subnet], context: Context) -> None:
    """Raise a `ConfigError` where a word is neither a run nor near enough to be looked for as one."""
    from supernet.run import RUN_FILE

    if (Path(run).expanduser() / RUN_FILE).is_file():
        return
    runs = sorted(file.parent.name for file in context.home.runs.glob(f"*/{RUN_FILE}"))
    if not runs_called(run, runs):
        known = [*(one.rpartition("-")[0] for one in runs), *runs, *(one.id for one in stored)]
        raise ConfigError(
            f"there is no run or subnet '{run}'.{did_you_mean(run, known)}",
            hint="edge-bench results list --kind subnet; edge-bench train RUN.toml makes a run",
        )


def _trained_without_padding(folder: Path, context: Context) -> Path:
    """Train a run's file again with no padding in its network; return its folder."""
    from supernet.run import open_model, read_record
    from supernet.trainer import train

    config = read_record(folder).config
    padding = getattr(open_model(config.model), "padding", None) if config.model else None
    if padding is None:
        raise ConfigError(
            f"run '{folder.name}' has no network that can be trained without padding",
            hint='train one of [model] kind = "convnet", or compare with a run of your own: '
            "edge-bench analyse position RUN OTHER_RUN",
        )
    if padding == "none":
        raise ConfigError(
            f"run '{folder.name}' was trained without padding; it is the control itself",
            hint='name the run with padding = "zeros"',
        )
    control = replace(
        config, name=name_without_padding(config.name), model={**config.model, "padding": "none"}
    )
    return train(
        control,
        home=context.home,
        say=context.say,
        interactive=context.interactive and not context.quiet,
    )


def _told(found: PositionFindings) -> dict[str, Any]:
    """Return what `--json` prints of a network: no maps, and the mean over seeds beside each figure."""
    return {
        "network": found.network,
        "padded_convolutions": found.padded_convolutions,
        "wide_convolutions": found.wide_convolutions,
        "stages": [to_document(stage) for stage in found.stages],
        "scores": [
            {
                "source": score.source,
                "target": score.target,
                "spearman": score.mean_spearman,
                "mae": score.mean_mae,
                "spearman_by_seed": list(score.spearman),
                "mae_by_seed": list(score.mae),
            }
            for score in found.scores
        ],
        "steps": found.steps,
        "readout_images": found.readout_images,
        "held_out_images": found.held_out_images,
    }


def _text(found: Sequence[PositionFindings], files: Sequence[Path], plot: Path) -> str:
    parts = ["rank correlation with each map of position (and mean absolute difference)"]
    for one, file in zip(found, files, strict=True):
        sizes = {stage.name: (stage.channels, stage.side) for stage in one.stages}
        rows = []
        for source in one.sources:
            channels, side = sizes.get(source, (None, None))
            scores = {target: one.score(source, target) for target in one.targets}
            told = {
                target: f"{score.mean_spearman:.3f} ({score.mean_mae:.3f})"
                for target, score in scores.items()
            }
            rows.append({"source": source, "channels": channels, "side": side, **told})
        parts.append(
            f"{one.network}: {one.padded_convolutions} of {one.wide_convolutions} convolutions wider than "
            f"a pixel are padded\n{table(rows)}\n  {file}"
        )
    return "\n\n".join([*parts, f"plot: {plot}"])
