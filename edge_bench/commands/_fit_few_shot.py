"""`fit --device NEW --from DEVICES`: a new device from ten measurements and what other devices take."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import device_profiles
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.few_shot import Sampling, choose_networks, fit_transfer, sources_of
from edge_bench.choose.fitting import BASELINE
from edge_bench.choose.shipped import shipped
from edge_bench.commands import Context, Outcome, table
from edge_bench.commands._predictor_rows import errors_for_people
from edge_bench.commands._surveying import Surveyed, space_of_run, survey_networks
from edge_bench.commands.export import chosen
from edge_bench.errors import ConfigError
from edge_bench.records import THIS_MACHINE, FittedPredictor, SearchSpace, macs_of

SAMPLES, HELD_OUT = 10, 5


def add_few_shot_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a fit from few measurements."""
    parser.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help=f"networks to choose and measure on the device, with --from (default: {SAMPLES})",
    )
    parser.add_argument(
        "--from",
        dest="sources",
        metavar="DEVICE[,DEVICE]",
        help="devices with predictors, which the new device is told from",
    )


def fit_few_shot(options: argparse.Namespace, context: Context) -> Outcome:
    """Choose networks on purpose, measure them on the device, fit and judge, for each runtime."""
    device, sources = _devices(options)
    samples = SAMPLES if options.samples is None else options.samples
    held_out = HELD_OUT if options.held_out is None else options.held_out
    threads = options.threads or 1
    space = space_of_run(options.run, context)
    rows, texts = [], []
    runtimes = chosen(
        options.runtimes or "onnxruntime,litert", known=sorted(RUNTIMES.values()), what="runtime"
    )
    with context.store() as store:
        known = store.predictors()
    # All of them, so that a name that is misspelt is told those that would do.
    known += [one for name in device_profiles.names() for one in shipped(name)]
    for runtime in runtimes:
        found = sources_of(known, sources, space, runtime=runtime)
        sampling = choose_networks(space, found, samples=samples, held_out=held_out, seed=options.seed)
        context.say(
            f"measure {samples} networks chosen for {runtime} and {held_out} random ones on '{device}'"
        )
        surveyed = survey_networks(
            space,
            [*sampling.samples, *sampling.held_out],
            device=device,
            runtime=runtime,
            threads=threads,
            context=context,
        )
        fitted = fit_transfer(
            space,
            found,
            sampling,
            surveyed.latencies_ms,
            device=device,
            runtime=runtime,
            threads=threads,
        )
        with context.store() as store:
            store.add(fitted)
        rows.append(_row(space, fitted, sampling, surveyed))
        texts.append(_text(fitted, rows[-1]))
    text = "\n".join([*texts, f"next: edge-bench pick --device {device} --max-latency-ms 20"])
    return Outcome(document={"predictors": rows}, text=text)


def _devices(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the new device and those it is told from; `ConfigError` for what cannot be meant."""
    device = options.device or THIS_MACHINE
    sources = [name.strip() for name in (options.sources or "").split(",") if name.strip()]
    if not sources:
        raise ConfigError(
            "--samples says how many networks are measured on a new device; --from which devices tell it",
            hint="edge-bench fit --device NEW --samples 10 --from DEVICE,DEVICE",
        )
    if device in sources:
        raise ConfigError(
            f"'{device}' stands under --device and under --from", hint="a device cannot be told from itself"
        )
    for option in ("nets", "kind"):
        if getattr(options, option) is not None:
            raise ConfigError(f"--{option} does not go with --from, which takes --samples and --held-out")
    if options.compare:
        raise ConfigError(
            "--compare does not go with --from: other predictors need more than a few samples"
        )
    if (options.threads or 1) < 1:
        raise ConfigError("--threads must be 1 or more")
    return device, sources


def _row(
    space: SearchSpace, fitted: FittedPredictor, sampling: Sampling, surveyed: Surveyed
) -> dict[str, Any]:
    pairs = zip(sampling.samples, surveyed.latencies_ms, sampling.uncertainty, strict=False)
    return {
        "id": fitted.id,
        "device": fitted.device,
        "runtime": fitted.runtime,
        "threads": fitted.threads,
        "kind": fitted.kind,
        "from": [source.id for source in fitted.sources],
        "fitted": fitted.fitted_networks,
        "samples": [
            {
                "arch": arch.key,
                "resolution": arch.resolution,
                "blocks": len(arch.blocks),
                "macs": macs_of(space, arch),
                "latency_ms": latency,
                "uncertainty_left": uncertain,
            }
            for arch, latency, uncertain in pairs
        ],
        "judged_by": "held-out networks" if sampling.held_out else "leaving each sample out in turn",
        "held_out": asdict(fitted.held_out),
        "baseline": {"kind": BASELINE, **asdict(fitted.baseline)},
        "disagreement": surveyed.disagreement,
    }


def _text(fitted: FittedPredictor, row: dict[str, Any]) -> str:
    samples = [
        {
            "measured": one["arch"],
            "pixels": one["resolution"],
            "blocks": one["blocks"],
            "MMACs": one["macs"] / 1e6,
            "median ms": one["latency_ms"],
            "uncertainty left": f"{100 * one['uncertainty_left']:.1f} %",
        }
        for one in row["samples"]
    ]
    errors = [
        {"predictor": fitted.kind, **errors_for_people(fitted.held_out)},
        {"predictor": BASELINE, **errors_for_people(fitted.baseline)},
    ]
    few = "; so few tell the error roughly" if fitted.held_out.networks < 20 else ""
    return (
        f"{fitted.device} in {fitted.runtime}, told from "
        f"{', '.join(source.device for source in fitted.sources)} and {fitted.fitted_networks} measured "
        f"networks. Each was chosen since it leaves least uncertain of all others:\n{table(samples)}\n"
        f"Judged by {row['judged_by']} ({fitted.held_out.networks}{few})\n{table(errors)}"
    )
