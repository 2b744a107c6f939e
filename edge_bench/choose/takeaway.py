"""What is taken away of a pick: files, a card, a script that runs them and a gate, as a folder or a zip."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edge_bench.choose.candidates import newest_results
from edge_bench.choose.card import model_card
from edge_bench.choose.chances import chance
from edge_bench.choose.percentiles import P90
from edge_bench.choose.pick import Pick
from edge_bench.choose.snippets import TOKENIZER, Picked, run_script
from edge_bench.errors import NoCandidate
from edge_bench.records import Artifact, BenchmarkResult, Candidate, Metric, Subnet

CARD, SCRIPT, GATE, DOCUMENT = "model_card.md", "run_model.py", "check.sh", "pick.json"
# What a gate allows over a latency for which no budget was asked.
SLACK = 1.2
# Every entry of a zip gets one date, so that the same pick is the same zip.
_DATE = (2020, 1, 1, 0, 0, 0)
Locate = Callable[[str], Path | None]


@dataclass(frozen=True, kw_only=True)
class Known:
    """The records that a pick was made from."""

    subnets: Sequence[Subnet]
    artifacts: Sequence[Artifact]
    results: Sequence[BenchmarkResult]


@dataclass(frozen=True, kw_only=True)
class Takeaway:
    """Files by the names under which they lie together: `files` are copied, the picked one first, and
    `texts` are written. `gate` is the line that holds the model to its limits in CI.
    """

    files: Mapping[str, Path]
    texts: Mapping[str, str]
    gate: str

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.files, *self.texts)

    def write(self, folder: Path) -> None:
        """Write everything into a folder that is there and empty."""
        for name, source in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / GATE).chmod(0o755)

    def zipped(self) -> bytes:
        """Return everything as a zip."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in self.names:
                entry = zipfile.ZipInfo(name, _DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (0o755 if name == GATE else 0o644) << 16
                content = self.files[name].read_bytes() if name in self.files else self.texts[name].encode()
                archive.writestr(entry, content)
        return packed.getvalue()


def takeaway(picked: Pick, known: Known, *, locate: Locate) -> Takeaway:
    """Return what to take away of a pick: its file, of a text model with its steps' and tokenizer, and the
    same network's file in another format where there is one.

    Args:
        picked: the recommendation.
        known: the records it was made from.
        locate: where the file lies that a record names; None where it is gone.

    Raises:
        NoCandidate: a file that belongs to it is not there, or how it takes its inputs is not known.
    """
    one = picked.recommended
    by_id = {artifact.id: artifact for artifact in known.artifacts}
    artifact = by_id.get(one.artifact or "")
    if artifact is None:
        raise NoCandidate(f"'{one.name}' has no file yet", hint="edge-bench pick writes it")
    subnet = next((subnet for subnet in known.subnets if subnet.id == artifact.subnet), None)
    step = by_id.get(one.generation.step or "") if one.generation else None
    files = _with_weights(artifact, locate)
    model = next(iter(files))
    step_file = f"step.{artifact.format}" if step else ""
    if step:
        files[step_file] = _located(step.file, step.name, locate)
    run = Picked.of(artifact, subnet, file=model, step_file=step_file)
    if run.text:
        files[TOKENIZER] = _located(run.text.tokenizer, "the tokenizer", locate)
    others = _in_other_formats(artifact, known.artifacts, locate)
    for other, path in others:
        files[f"{'step' if other.step_of else 'model'}.{other.format}"] = path
    card = model_card(
        picked,
        artifact,
        subnet,
        result_behind(one, known.results),
        step,
        others=[other for other, _ in others if other.step_of is None],
    )
    gate = gate_line(picked, model=model, step=step_file)
    texts = {
        CARD: card,
        SCRIPT: run_script(run),
        GATE: _gate_script(gate),
        DOCUMENT: json.dumps(pick_document(picked), indent=2, ensure_ascii=False) + "\n",
    }
    return Takeaway(files=files, texts=texts, gate=gate)


def result_behind(one: Candidate, results: Sequence[BenchmarkResult]) -> BenchmarkResult | None:
    """Return the measurement that a candidate's latency comes from; None where it is predicted."""
    if one.source == "predicted" or one.artifact is None:
        return None
    of_runtime = [result for result in results if result.runtime == one.runtime]
    return newest_results(of_runtime, one.device).get(one.artifact)


def gate_line(picked: Pick, *, model: str, step: str = "") -> str:
    """Return the command that holds the picked file to the budget in CI.

    Where no latency was asked for it is what was measured, and a fifth more. A budget for a whole text
    becomes one for each step; limits on size and memory, which are of both files, are then left out.
    """
    one, budget = picked.recommended, picked.budget
    limit_ms = budget.max_latency_ms or one.latency_high_ms * SLACK
    of = one.generation
    if of is not None and step:
        spent = of.network_ms if budget.max_latency_ms else of.network_ms * SLACK
        return shlex.join(
            ["edge-bench", "check", step, "--max-latency-ms", f"{(limit_ms - spent) / of.tokens:.3g}"]
        )
    limits = {
        "--max-p90-ms" if one.latency_is == P90 else "--max-latency-ms": limit_ms,
        "--max-size-mb": budget.max_size_mb,
        "--max-memory-mb": budget.max_peak_memory_mb,
    }
    words = [(option, f"{limit:.4g}") for option, limit in limits.items() if limit is not None]
    # A file made elsewhere keeps its name, whatever that is.
    named = f"./{model}" if model.startswith("-") else model
    return shlex.join(["edge-bench", "check", named, *(word for pair in words for word in pair)])


def pick_document(picked: Pick) -> dict[str, Any]:
    """Return a pick as JSON can say it."""
    return {
        "candidate": {**_row(picked.recommended, picked), "reasons": list(picked.reasons)},
        "alternatives": [_row(one, picked) for one in picked.alternatives],
        "changes": list(picked.changes),
        "budget": asdict(picked.budget),
        "preset": picked.preset,
    }


def _row(one: Candidate, picked: Pick) -> dict[str, Any]:
    document = asdict(one)
    document["metric"] = _metric(one.metric)
    document["test_metric"] = _metric(one.test_metric) if one.test_metric else None
    document["chance"] = chance(one, picked.budget)
    return document


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "value": metric.value,
        "higher_is_better": metric.higher_is_better,
        "split": metric.split,
        "examples": metric.examples,
    }


def _located(file: str, what: str, locate: Locate) -> Path:
    path = locate(file)
    if path is None:
        raise NoCandidate(f"the file of '{what}' is gone: {file}", hint="edge-bench export writes it again")
    return path


def _with_weights(artifact: Artifact, locate: Locate) -> dict[str, Path]:
    """Return the model, and the weights that lie beside one made elsewhere under names that it knows."""
    path = _located(artifact.file, artifact.name, locate)
    kept = PurePosixPath(artifact.file)
    beside: dict[str, Path] = {}
    # Each import has a folder of its own, artifacts/<digest>; of no other folder is all of it a model.
    if artifact.subnet is None and kept.parts[0] == "artifacts" and len(kept.parts) > 2:
        for found in sorted(path.parent.rglob("*")):
            name = found.relative_to(path.parent).as_posix()
            inside = locate((kept.parent / name).as_posix())
            if inside is not None and found != path:
                beside[name] = inside
    return {path.name: path, **beside} if beside else {f"model.{artifact.format}": path}


def _in_other_formats(
    artifact: Artifact, artifacts: Sequence[Artifact], locate: Locate
) -> list[tuple[Artifact, Path]]:
    """Return the same network's files in other formats, each followed by that of its steps."""
    if artifact.subnet is None:
        return []
    alike = [
        one
        for one in artifacts
        if one.subnet == artifact.subnet and one.format != artifact.format and one.step_of is None
    ]
    # Of several in a format the one that is most like the picked one, and of those the newest.
    alike.sort(key=lambda one: (one.precision == artifact.precision, one.encoding == artifact.encoding))
    found: list[tuple[Artifact, Path]] = []
    for one in {one.format: one for one in alike}.values():
        both = [one, *(other for other in artifacts if other.step_of == one.id)]
        paths = [locate(file.file) for file in both]
        found += [(file, path) for file, path in zip(both, paths, strict=True) if path is not None]
    return found


def _gate_script(gate: str) -> str:
    return (
        "#!/bin/sh\n"
        "# Holds the model to its limits on the machine that runs this:\n"
        "# status 0 passed, 3 failed, 4 too noisy to say.\n"
        'cd "$(dirname "$0")" || exit\n'
        f"exec {gate}\n"
    )
