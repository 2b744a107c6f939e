"""A report of stored records: which are meant, and the page that tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.names import encodable
from dashboard.report.devices import device_section, heat_section
from dashboard.report.families import family_sections
from dashboard.report.page import page
from edge_bench.choose.candidates import candidates, newest_results
from edge_bench.choose.percentiles import MEDIAN, P90, at_p90
from edge_bench.choose.presets import Preset
from edge_bench.files import Home
from edge_bench.records import Artifact, BenchmarkResult, Budget, Candidate, FittedPredictor, Subnet


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What a report is of: records, devices and run folders, and what is wanted of a pick.

    `made` says when and by what.
    """

    home: Home
    subnets: Sequence[Subnet]
    artifacts: Sequence[Artifact]
    results: Sequence[BenchmarkResult]
    predictors: Sequence[FittedPredictor]
    devices: Sequence[str]
    runs: Sequence[str]
    budget: Budget
    preset: Preset
    made: str
    percentile: str = MEDIAN


def report(of: Reported) -> str:
    """Return a report as one HTML file that loads nothing."""
    artifacts, results = [*map(encodable, of.artifacts)], [*map(encodable, of.results)]
    medians = {
        device: candidates(of.subnets, artifacts, results, of.predictors, device=device)
        for device in of.devices
    }
    sections = [*heat_section(artifacts, [one for one in results if one.device in medians], medians)]
    for device, found in medians.items():
        sections.append(
            device_section(
                device,
                _by_percentile(found, results, device, of.percentile),
                [one for one in results if one.device == device],
                [one for one in of.predictors if one.device == device],
                (of.subnets, artifacts),
                budget=of.budget,
                preset=of.preset,
            )
        )
    sections += family_sections(of.home, of.runs, of.subnets)
    counts = f"{len(of.subnets):,} networks, {len(artifacts):,} files, {len(results):,} results"
    facts = [
        f"{of.made}, from {counts}.",
        "Filled marks are measured, hollow ones predicted, hollow ones with a dot imported. Choices are "
        "made on selection data; the quality on test data is told.",
    ]
    return page("edge-bench report", facts, sections)


def _by_percentile(
    found: Sequence[Candidate], results: Sequence[BenchmarkResult], device: str, percentile: str
) -> Sequence[Candidate]:
    return at_p90(found, newest_results(results, device)) if percentile == P90 else found
