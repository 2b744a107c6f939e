"""What could run on a device, from what the store holds: files and networks, measured and predicted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge_bench.choose.depths import answering_depths, predicted_bytes, predicted_depth
from edge_bench.choose.foretelling import Foretelling
from edge_bench.choose.generation import Timed, of_text, runs_network, summed_peaks
from edge_bench.choose.memory import peak_memory
from edge_bench.choose.shipped import published_by
from edge_bench.data import data_name
from edge_bench.records import (
    AnyStep,
    Artifact,
    BenchmarkResult,
    Candidate,
    FittedMemory,
    FittedPredictor,
    RecurrentSpace,
    Subnet,
    TransformerSpace,
    arch_name,
)
from edge_bench.records.frontier import Source
from edge_bench.records.prediction import Unit

RUNTIMES: Mapping[str, str] = {"onnx": "onnxruntime", "tflite": "litert"}
# A runtime, or a runtime and a search space.
_Weighed = str | tuple[str, str]


def candidates(
    subnets: Iterable[Subnet],
    artifacts: Iterable[Artifact],
    results: Iterable[BenchmarkResult],
    predictors: Iterable[FittedPredictor],
    *,
    device: str,
) -> list[Candidate]:
    """Return what could run on `device`: each file, and each subnet in each format it lacks in fp32.

    A subnet without a file has a predicted size; a peak of memory that nobody measured is predicted too,
    where peaks were measured to fit it.

    Latency is measured where the file has a result there, else imported where somebody else measured
    it, else predicted where a predictor of the device answers (`choose.shipped.answering`, of text models
    `choose.depths`). Measured is of one thread; a prediction tells its own. What has neither is left out.
    The metric is the file's own where there is a file, else the subnet's; a file made elsewhere is one of
    them once its quality was measured.

    A text model that generates is two files and one candidate: its latency is that of a whole text
    (`choose.generation`), its size that of both.
    """
    by_id = {subnet.id: subnet for subnet in subnets}
    files = list(artifacts)
    steps = {one.step_of: one for one in files if one.step_of}
    fitted = [one for one in predictors if one.device == device]
    known = _Known.of(list(results), fitted, device, Foretelling(by_id.values(), fitted))
    networks = [one for one in files if one.step_of is None]
    found = [known.of_file(one, by_id.get(one.subnet or ""), steps.get(one.id)) for one in networks]
    exported = {
        (one.subnet, one.format)
        for one in networks
        if one.precision == "fp32"
        and one.encoding == "dense"
        and (one.id in steps or not _step_of(one, by_id.get(one.subnet or "")))
    }
    found += [
        known.of_subnet(subnet, form)
        for subnet in by_id.values()
        for form in RUNTIMES
        if (subnet.id, form) not in exported
    ]
    return [one for one in found if one is not None]


def newest_results(results: Iterable[BenchmarkResult], device: str) -> dict[str, BenchmarkResult]:
    """Return each file's newest result of single inferences, one after another, on one thread.

    An inconclusive one only where there is no other, and what others measured only where edge-bench
    measured nothing.
    """
    newest: dict[str, BenchmarkResult] = {}
    for result in results:
        plain = result.plain and result.device == device and result.threads == 1
        if not plain or result.artifact is None:
            continue
        known = newest.get(result.artifact)
        if known is None or weight(result) >= weight(known):
            newest[result.artifact] = result
    return newest


def weight(result: BenchmarkResult) -> tuple[bool, bool]:
    """Return what a result counts: of several alike the newest of those that count most is told."""
    return result.measured_here, result.verdict != "inconclusive"


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of one device: each file's newest result in each runtime and in any, and predictors."""

    device: str
    measured: Mapping[str, BenchmarkResult]
    by_runtime: Mapping[str, Mapping[str, BenchmarkResult]]
    fitted: Sequence[FittedPredictor]
    foretelling: Foretelling
    weighed: Mapping[_Weighed, FittedMemory]

    @classmethod
    def of(
        cls,
        results: Sequence[BenchmarkResult],
        fitted: Sequence[FittedPredictor],
        device: str,
        foretelling: Foretelling,
    ) -> _Known:
        alike = [one for one in fitted if one.threads == 1]
        weighed: dict[_Weighed, FittedMemory] = {one.runtime: one.memory for one in alike if one.memory}
        weighed |= {(one.runtime, one.space): one.memory for one in alike if one.memory}
        runtimes = dict.fromkeys((*RUNTIMES.values(), *(one.runtime for one in results)))
        return cls(
            device=device,
            measured=newest_results(results, device),
            by_runtime={
                name: newest_results([one for one in results if one.runtime == name], device)
                for name in runtimes
            },
            fitted=fitted,
            foretelling=foretelling,
            weighed=weighed,
        )

    def of_file(self, artifact: Artifact, subnet: Subnet | None, step: Artifact | None) -> Candidate | None:
        """Return the candidate of a file, of a text model that generates with that of its steps."""
        metric = artifact.metric("selection") or (subnet.metric("selection") if subnet else None)
        if metric is None:
            return None
        if _step_of(artifact, subnet):
            return self._generating(artifact, subnet, step, metric=metric)
        result = self.measured.get(artifact.id)
        timed = _told_by(result) if result else self._file_foretold(artifact, subnet)
        if timed is None:
            return None
        return _candidate(
            self.device,
            timed,
            artifact=artifact,
            subnet=subnet,
            metric=metric,
            size_bytes=artifact.size_bytes,
            compressed_bytes=artifact.compressed_bytes,
            **self._memory(
                result, timed.runtime, subnet if artifact.encoding == "dense" else None, artifact.precision
            ),
        )

    def of_subnet(self, subnet: Subnet, form: str) -> Candidate | None:
        """Return the candidate of a network without a file in a format; None where nothing foretells it."""
        metric, runtime = subnet.metric("selection"), RUNTIMES[form]
        timed = self._foretold(subnet, runtime, "fp32", "network")
        generation: dict[str, Any] = {}
        if subnet.step is not None:
            step = self._foretold(subnet, runtime, "fp32", "step")
            network = timed if runs_network(subnet.task) else None
            if step is None or (timed is None and runs_network(subnet.task)):
                return None
            timed, generation["generation"] = of_text(network, step, tokens=subnet.step.tokens)
        if metric is None or timed is None:
            return None
        return _candidate(
            self.device,
            timed,
            artifact=None,
            subnet=subnet,
            form=form,
            metric=metric,
            size_bytes=self._foretold_bytes(subnet, form),
            size_source="predicted",
            **generation,
            **self._memory(None, runtime, subnet, "fp32"),
        )

    def _generating(
        self, network: Artifact, subnet: Subnet | None, step: Artifact | None, **more: Any
    ) -> Candidate | None:
        """Return the candidate of a network's file and that of its steps, each measured or foretold."""
        told = _step_of(network, subnet)
        if told is None or step is None:
            return None
        run = (network, step) if runs_network(subnet.task if subnet else network.task) else (step,)
        runtime = self._runtime_of(run, default=RUNTIMES[network.format])
        results = [self.by_runtime.get(runtime, {}).get(one.id) for one in run]
        times = [
            _told_by(result) if result else self._file_foretold(one, subnet)
            for one, result in zip(run, results, strict=True)
        ]
        known = [one for one in times if one is not None]
        if len(known) < len(run):
            return None
        *once, each = known
        timed, generation = of_text(once[0] if once else None, each, tokens=told.tokens)
        return _candidate(
            self.device,
            timed,
            artifact=network,
            subnet=subnet,
            size_bytes=network.size_bytes + step.size_bytes,
            compressed_bytes=_both(network.compressed_bytes, step.compressed_bytes),
            generation=replace(generation, step=step.id),
            **summed_peaks(results),
            **more,
        )

    def _runtime_of(self, files: Sequence[Artifact], *, default: str) -> str:
        """Return the runtime that all `files` were measured in, the default first."""
        known = (default, *self.by_runtime)
        return next(
            (name for name in known if all(one.id in self.by_runtime.get(name, {}) for one in files)),
            default,
        )

    def _file_foretold(self, artifact: Artifact, subnet: Subnet | None) -> Timed | None:
        # A predictor knows the dense file of the whole network.
        if subnet is None or artifact.encoding != "dense":
            return None
        unit: Unit = "step" if artifact.step_of else "network"
        return self._foretold(subnet, RUNTIMES[artifact.format], artifact.precision, unit)

    def _foretold(self, subnet: Subnet, runtime: str, precision: str, unit: Unit) -> Timed | None:
        """Return the predicted latency of a network, or of its steps; None where no predictor answers."""
        space = subnet.space
        if isinstance(space, RecurrentSpace):
            # One network, whose files are measured or not at all.
            return None
        if isinstance(space, TransformerSpace):
            known = answering_depths(self.fitted, space, runtime=runtime, precision=precision, unit=unit)
            told = (known, predicted_depth(known, space, subnet.arch)) if known else None
        else:
            told = self.foretelling.latency(subnet, runtime, precision)
        if told is None:
            return None
        fitted, prediction = told
        return Timed(
            ms=prediction.latency_ms,
            low_ms=prediction.low_ms,
            high_ms=prediction.high_ms,
            source="predicted",
            runtime=runtime,
            threads=fitted.threads,
            warning=prediction.warning,
            origin=published_by(fitted),
        )

    def _foretold_bytes(self, subnet: Subnet, form: str) -> int | None:
        if isinstance(subnet.space, RecurrentSpace):
            return None
        if not isinstance(subnet.space, TransformerSpace):
            return self.foretelling.file_bytes(subnet, form)
        units: tuple[Unit, ...] = ("network", "step") if subnet.step else ("network",)
        total = 0
        for unit in units:
            known = answering_depths(
                self.fitted, subnet.space, runtime=RUNTIMES[form], precision="fp32", unit=unit
            )
            if known is None:
                return None
            total += predicted_bytes(known, subnet.space, subnet.arch)
        return total

    def _memory(
        self,
        result: BenchmarkResult | None,
        runtime: str,
        subnet: Subnet | None,
        precision: str,
    ) -> dict[str, Any]:
        """Return a candidate's peak memory: measured or imported, else predicted where peaks were fitted.

        What was weighed in the same search space comes first, but any in the runtime will do.
        """
        if result and result.peak_memory_mb is not None:
            return {"peak_memory_mb": result.peak_memory_mb, "memory_source": _source(result)}
        if subnet is None or isinstance(subnet.space, TransformerSpace | RecurrentSpace):
            return {}
        key = self.foretelling.space_key(subnet)
        known = self.weighed.get((runtime, key)) or self.weighed.get(runtime)
        if known is None:
            return {}
        told = peak_memory(known, self.foretelling.footprint(subnet, precision))
        return {
            "peak_memory_mb": told.peak_mb,
            "peak_memory_low_mb": told.low_mb,
            "peak_memory_high_mb": told.high_mb,
            "memory_source": "predicted",
            "memory_warning": told.warning,
        }


def _candidate(
    device: str,
    timed: Timed,
    *,
    artifact: Artifact | None,
    subnet: Subnet | None,
    form: str = "",
    **more: Any,
) -> Candidate:
    """Return the candidate of a file, or of a subnet in a format; `more` are its other fields."""
    told = artifact or subnet
    assert told is not None
    space = subnet.space if subnet else None
    name = artifact.name if artifact else f"{told.id}-{form}-fp32"
    macs = artifact.macs if artifact and artifact.macs is not None else subnet.macs if subnet else None
    table = (artifact.data if artifact else None) or (subnet.data if subnet else None)
    return Candidate(
        name=name,
        subnet=subnet.id if subnet else artifact.subnet if artifact else None,
        artifact=artifact.id if artifact else None,
        format=artifact.format if artifact else form,
        precision=artifact.precision if artifact else "fp32",
        device=device,
        runtime=timed.runtime,
        threads=timed.threads,
        test_metric=told.metric("test"),
        latency_ms=timed.ms,
        latency_low_ms=timed.low_ms,
        latency_high_ms=timed.high_ms,
        source=timed.source,
        macs=macs,
        verdict=timed.verdict,
        warning=timed.warning,
        data=data_name(table) if table else "",
        origin=timed.origin,
        latency_is=timed.told_as,
        sparsity=artifact.sparsity if artifact else subnet.sparsity if subnet else None,
        technique=subnet.technique if subnet else "",
        encoding=artifact.encoding if artifact else "dense",
        layers=arch_name(space, subnet.arch) if subnet and isinstance(space, TransformerSpace) else "",
        length=told.text.length if told.text else None,
        vocabulary=told.text.vocabulary if told.text else None,
        **more,
    )


def _step_of(file: Artifact, subnet: Subnet | None) -> AnyStep | None:
    """Return how a text is generated with a file; None where it does not generate."""
    return file.step or (subnet.step if subnet else None)


def _told_by(result: BenchmarkResult) -> Timed:
    ms, low_ms, high_ms = result.p50_bounds_ms
    return Timed(
        ms=ms,
        low_ms=low_ms,
        high_ms=high_ms,
        source=_source(result),
        runtime=result.runtime,
        threads=1,
        verdict=result.verdict,
        origin="" if result.measured_here else result.origin,
        told_as=result.p50_is,
    )


def _both(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _source(result: BenchmarkResult) -> Source:
    return "measured" if result.measured_here else "imported"
