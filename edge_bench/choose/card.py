"""The model card: what a picked file is, how good, how fast, where from, and how it was chosen."""

from __future__ import annotations

from collections.abc import Sequence

from edge_bench.choose.chances import chance, told_chance
from edge_bench.choose.percentiles import P90
from edge_bench.choose.pick import Pick
from edge_bench.choose.reasons import told_quality, told_threads
from edge_bench.choose.snippets import observation_of, seen
from edge_bench.records import (
    ArchConfig,
    Artifact,
    BenchmarkResult,
    Candidate,
    Generation,
    Metric,
    ObservationInput,
    Preprocessing,
    RecurrentStep,
    Subnet,
    TextInput,
    TransformerSpace,
    quality,
)
from edge_bench.records.quality import metric_word

FORMATS = {"onnx": "ONNX", "tflite": "TFLite"}


def model_card(
    pick: Pick,
    artifact: Artifact,
    subnet: Subnet | None,
    result: BenchmarkResult | None,
    step: Artifact | None = None,
    *,
    others: Sequence[Artifact] = (),
) -> str:
    """Return the card in Markdown.

    Args:
        pick: the recommendation and its reasons.
        artifact: the picked file.
        subnet: the network that it was exported from; None of a file made elsewhere.
        result: the measurement that the latency comes from, ours or imported; None where it is predicted.
        step: of a text model that generates, the file that does.
        others: the same network's files in other formats that lie beside it.
    """
    task = subnet.task if subnet else artifact.task
    text = artifact.text or (subnet.text if subnet else None)
    observed = observation_of(artifact, subnet)
    if text:
        given = _of_text(text, task)
    else:
        given = _of_observation(observed) if observed else _of_images(seen(artifact, subnet))
    classes = f" with {len(artifact.class_names)} classes" if artifact.class_names else ""
    beside = f" and {step.size_bytes / 1000:.1f} kB for what generates" if step else ""
    sections = [
        f"# {artifact.name}",
        f"{FORMATS[artifact.format]} file, {artifact.precision}, {artifact.size_bytes / 1000:.1f} kB"
        f"{_packed(artifact)}{beside}, for {task.replace('_', ' ')}{classes}.",
        "## Quality\nMeasured by running this file, one example at a time.\n\n"
        + _metrics(artifact.metrics),
        "## Speed\n" + _speed(pick.recommended, result),
        "## Why this one\n" + "\n".join(f"- {reason}" for reason in pick.reasons),
        "## What would change the answer\n" + "\n".join(f"- {change}" for change in pick.changes),
        "## Input and output\n" + _ends(artifact, given),
        *(["## Generating\n" + _generating(step)] if step else []),
        "## Origin\n" + _origin(artifact, subnet),
    ]
    if pick.alternatives:
        sections.append("## What else was near\n" + _alternatives(pick))
    if others:
        sections.append("## In another format\n" + _others(others))
    return "\n\n".join(sections) + "\n"


def _packed(artifact: Artifact) -> str:
    """Say how small the file gets, and how many of its weights are zero where some are."""
    packed = artifact.compressed_bytes
    told = f" ({packed / 1000:.1f} kB compressed)" if packed else ""
    if artifact.encoding != "dense":
        told += f", encoding `{artifact.encoding}`"
    if artifact.weights and artifact.zeros:
        told += f", {artifact.zeros:,} of {artifact.weights:,} weights zero"
    return told


def _metrics(metrics: Sequence[Metric]) -> str:
    rows = [
        f"| {metric_word(one.name)}{'' if one.higher_is_better else ' (less is better)'} | {one.split} | "
        f"{one.value:.4f} | {one.examples} |"
        for one in metrics
    ]
    return "\n".join(["| metric | split | value | examples |", "|---|---|---:|---:|", *rows])


def _speed(chosen: Candidate, result: BenchmarkResult | None) -> str:
    span = f"{chosen.latency_ms:.4g} ms ({chosen.latency_low_ms:.4g} to {chosen.latency_high_ms:.4g})"
    version = f" {result.runtime_version}" if result else ""
    how = f"{chosen.runtime}{version}, {told_threads(chosen.threads)}, batch 1"
    if chosen.generation is not None:
        return _speed_of_text(chosen, chosen.generation, span, how)
    if result is None:
        told = f" Mind: it lies {chosen.warning}." if chosen.warning else ""
        told += f" The predictor was fitted on measurements by {chosen.origin}." if chosen.origin else ""
        return (
            f"Median latency **predicted**, not measured: {span} on {chosen.device}, {how}; the interval "
            f"holds 90 % of networks like this one.{told}{_predicted_memory(chosen)}"
        )
    if not result.measured_here:
        return (
            f"Latency {chosen.latency_ms:.4g} ms ({chosen.latency_is}) on {chosen.device}, {how}: reported "
            f"by {chosen.origin}, **not measured** by edge-bench. Verdict: {result.verdict} "
            f"({result.verdict_cause})."
        )
    machine = result.environment.get("cpu", "this machine")
    known = {
        "p90": (result.p90_ms, "{:.4g} ms"),
        "p99": (result.p99_ms, "{:.4g} ms"),
        "load": (result.load_ms, "{:.4g} ms"),
        "first inference": (result.first_ms, "{:.4g} ms"),
        "peak memory": (result.peak_memory_mb, "{:.0f} MB of the whole process"),
    }
    facts = ", ".join(
        f"{name} {form.format(one)}" for name, (one, form) in known.items() if one is not None
    )
    which = P90 if chosen.latency_is == P90 else "median"
    return (
        f"{which.capitalize()} latency {span} on {machine}, {how}; the interval holds the {which} with "
        "95 % confidence"
        f"{'; ' if facts else ''}{facts}. Verdict: {result.verdict} ({result.verdict_cause})."
    )


def _speed_of_text(chosen: Candidate, of: Generation, span: str, how: str) -> str:
    once = f"{of.network_ms:.4g} ms for the source and " if of.network_ms else ""
    known = {
        "measured": "measured",
        "imported": f"reported by {chosen.origin}, **not measured** by edge-bench,",
        "predicted": "**predicted**, not measured,",
    }[chosen.source]
    told = f" Mind: it lies {chosen.warning}." if chosen.warning else ""
    told += f" Verdict: {chosen.verdict}." if chosen.verdict else ""
    return (
        f"A text of {of.tokens:.4g} tokens, the mean of the selection split, takes {span} on "
        f"{chosen.device}, {how}: {once}{of.token_ms:.4g} ms a token, {known} file by file and added up, "
        f"the bounds too.{told}"
    )


def _predicted_memory(chosen: Candidate) -> str:
    if chosen.peak_memory_mb is None or chosen.memory_source != "predicted":
        return ""
    return (
        f" Peak memory **predicted**: {chosen.peak_memory_mb:.0f} MB of the whole process "
        f"({chosen.peak_memory_low_mb:.0f} to {chosen.peak_memory_high_mb:.0f})."
    )


def _ends(artifact: Artifact, given: str) -> str:
    lines = [*_tensors(artifact), f"- {given}"]
    if artifact.class_names:
        lines.append(f"- Classes, in the order of the logits: {', '.join(artifact.class_names)}.")
    return "\n".join(lines)


def _tensors(artifact: Artifact) -> list[str]:
    return [
        f"- {word} `{end.name}`: {end.dtype} {['any' if size is None else size for size in end.shape]}"
        + (f", real = {end.scale:.6g} × (raw − {end.zero_point})" if end.scale is not None else "")
        for word, ends in (("input", artifact.inputs), ("output", artifact.outputs))
        for end in ends
    ]


def _of_images(used: Preprocessing) -> str:
    return (
        f"An image is resized to {used.size} × {used.size} pixels (bilinear, antialiased), "
        f"divided by 255, less {list(used.mean)}, divided by {list(used.std)}."
    )


def _of_observation(seen: ObservationInput) -> str:
    return (
        f"The {seen.size} numbers that {seen.environment} shows, as they are. The action to do is that of "
        "the highest logit, counted from 0."
    )


def _of_text(text: TextInput, task: str) -> str:
    around = ""
    if task != "language_modelling":
        longer = "is cut off" if text.truncate else "is an error"
        around = f" They stand between {text.begin} and {text.end}; a longer text {longer}."
    return (
        f"A text becomes tokens by `tokenizer.json` (of the tokenizers library, SHA-256 `{text.digest}`): "
        f"numbers below {text.vocabulary}, at most {text.length} a text.{around} {text.pad} fills a row up "
        "and is not looked at."
    )


def _generating(step: Artifact) -> str:
    remembers = (
        "and a state, zeros before the first; the new state that it answers takes its place."
        if isinstance(step.step, RecurrentStep)
        else "how many came before, and a cache of their keys and values; what it answers of a new one is "
        "put into the cache there."
    )
    lines = [
        f"- One file more answers one token after another. It takes the last token, {remembers}",
        *_tensors(step),
    ]
    return "\n".join(lines)


def _origin(artifact: Artifact, subnet: Subnet | None) -> str:
    if subnet is None:
        return "\n".join(
            [
                "- Made elsewhere and imported: who trained it, on what, and under which licence is not "
                "known here.",
                f"- Its quality was measured on `{dict(artifact.data or {})}`.",
                f"- SHA-256 `{artifact.digest}`, imported {artifact.created}.",
            ]
        )
    space = subnet.space
    lines = [
        f"- Subnet `{subnet.id}` of run `{subnet.run}` ({subnet.technique}), space `{space.name}`.",
        f"- {artifact.params or subnet.params:,} parameters, {artifact.macs or subnet.macs:,} "
        f"multiply-accumulates {_each(subnet)}.",
        *([_layers(space, subnet.arch)] if isinstance(space, TransformerSpace) else []),
        f"- Trained on `{dict(subnet.data)}`.",
        f"- SHA-256 `{artifact.digest}`, exported {artifact.created}.",
    ]
    if artifact.parity:
        parity = artifact.parity
        batches = " and ".join(str(size) for size in parity.batch_sizes)
        limit = f", {parity.tolerance:g} allowed" if parity.tolerance else ", reported only"
        lines.append(
            f"- Largest difference of a logit from the network: {parity.max_abs_error:.3g}{limit} "
            f"({parity.examples} real samples, batch {batches})."
        )
        if parity.border_max_abs_error is not None:
            lines.append(
                f"- The same at the borders: {parity.border_max_abs_error:.3g}{limit} (black images, "
                "white at one edge or corner, where another padding would show)."
            )
    return "\n".join(lines)


def _each(subnet: Subnet) -> str:
    """Say what a network's multiply-accumulates are counted for."""
    if subnet.text:
        return f"for {subnet.text.length} tokens"
    return "an observation" if subnet.observation else "an image"


def _layers(space: TransformerSpace, arch: ArchConfig) -> str:
    """Say which layers are left of those that were trained."""
    kept = space.kept(arch).items()
    told = [f"{', '.join(map(str, own))} of {space.layers[stack]} {stack} layers" for stack, own in kept]
    return f"- Layers kept, counted from 0: {'; '.join(told)}."


def _alternatives(pick: Pick) -> str:
    """Say what else was near, and how likely it meets the budget where there is one."""
    chances = [chance(one, pick.budget) for one in pick.alternatives]
    asked = any(one is not None for one in chances)
    head = ["file", "selection", f"{pick.recommended.latency_is} ms", *(["in budget"] if asked else []), ""]
    rules = ["---", *(["---:"] * (len(head) - 2)), "---"]
    rows = [head, rules]
    for one, probability in zip(pick.alternatives, chances, strict=True):
        fits = [] if not asked else ["–" if probability is None else told_chance(probability)]
        rows.append([one.name, told_quality(one), f"{one.latency_ms:.4g}", *fits, one.source])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _others(others: Sequence[Artifact]) -> str:
    """Say what lies beside the picked file, and how good it is; its speed is another matter."""
    lines = []
    for one in others:
        metric = one.metric("test")
        good = f": {quality.told(metric)} on the test split" if metric else ""
        lines.append(
            f"- `model.{one.format}`, {FORMATS[one.format]} {one.precision}, {one.size_bytes / 1000:.1f} kB"
            f"{good}. Its latency is not the one told here."
        )
    return "\n".join(lines)
