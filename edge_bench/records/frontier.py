"""Candidates, what dominates what, and what may be spent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edge_bench.records.quality import PERPLEXITY, metric_word
from edge_bench.records.subnet import Metric

Source = Literal["measured", "predicted", "imported"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Of what the latency of a generated text consists: `network_ms` once (0 where only steps run) and
    `token_ms` for each of `tokens`. `step` is the artifact that generates, None while there is no file.
    """

    tokens: float
    network_ms: float
    token_ms: float
    step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network in a format and precision on a device, with a latency that is measured or predicted.

    `artifact` is None while the file has not been exported. `metric` is on the selection split, on
    which choices are made; `test_metric` is what is told; `data` is what people call the data both
    are of. Latency is the median in ms; where its `source` is "imported", `origin` measured it, not
    edge-bench, and told it as its `latency_is`; where it is "predicted" from what others published,
    `origin` is those. `threads` is 0 where a predictor's source does not tell them. `size_source` says
    whether there is a file of that size, `memory_source` where the peak comes from; of a predicted one
    `peak_memory_low_mb` and `peak_memory_high_mb` are its 90 % interval, and `memory_warning` is not empty
    where the model is larger than those that were weighed. `compressed_bytes` is the size of its file
    compressed, `sparsity` the share of zeros among the weights in it. `technique` says how the network was
    trained, as its run tells; it is empty for a file made elsewhere. `encoding` says what became of
    zeros in its file.

    Of a text model `layers` are those that it keeps (as `records.notation` writes them), `length` its
    longest text in tokens and `vocabulary` how many tokens it knows. One that generates is two files:
    latency is then that of a whole text, as `generation` tells, size that of both files, and the peak of
    memory at most the sum of both.
    """

    name: str
    subnet: str | None
    artifact: str | None
    format: str
    precision: str
    device: str
    runtime: str
    threads: int
    metric: Metric
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    source: Source
    test_metric: Metric | None = None
    size_bytes: int | None = None
    size_source: Source = "measured"
    peak_memory_mb: float | None = None
    peak_memory_low_mb: float | None = None
    peak_memory_high_mb: float | None = None
    memory_source: Source | None = None
    memory_warning: str = ""
    macs: int | None = None
    verdict: str = ""
    warning: str = ""
    data: str = ""
    origin: str = ""
    latency_is: str = "median"
    layers: str = ""
    length: int | None = None
    vocabulary: int | None = None
    generation: Generation | None = None
    compressed_bytes: int | None = None
    sparsity: float | None = None
    technique: str = ""
    encoding: str = "dense"

    @property
    def quality(self) -> float:
        """The metric's value, turned so that more is better."""
        return self.metric.value if self.metric.higher_is_better else -self.metric.value

    @property
    def judged_by(self) -> str:
        """The data and metric by which it is judged: only candidates of one can be compared.

        A perplexity is of one token, so that of another vocabulary says something else.
        """
        of = f" of {self.vocabulary} tokens" if self.metric.name == PERPLEXITY and self.vocabulary else ""
        return f"{self.data or 'other data'}, {metric_word(self.metric.name)}{of}"

    def dominates(self, other: Candidate) -> bool:
        """Say whether this one is at least as good and as fast as `other`, and better in one."""
        return (
            self.quality >= other.quality
            and self.latency_ms <= other.latency_ms
            and (self.quality > other.quality or self.latency_ms < other.latency_ms)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent; None means any amount. Latency is what candidates state, as a rule the median."""

    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    max_peak_memory_mb: float | None = None

    def admits(self, candidate: Candidate) -> bool:
        """Say whether `candidate` fits, by what was measured, else by what is predicted.

        What is not known of it does not speak against it.
        """
        spent = (
            (self.max_latency_ms, candidate.latency_ms),
            (self.max_size_mb, candidate.size_bytes and candidate.size_bytes / 1e6),
            (self.max_peak_memory_mb, candidate.peak_memory_mb),
        )
        return all(limit is None or cost is None or cost <= limit for limit, cost in spent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Candidates that none other dominates, fastest first, and the rest."""

    members: tuple[Candidate, ...]
    dominated: tuple[Candidate, ...]

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Frontier:
        """Split candidates into the front and the rest. Of equals the first given stays on it."""
        given = sorted(candidates, key=lambda one: (one.latency_ms, -one.quality))
        members: list[Candidate] = []
        dominated: list[Candidate] = []
        for candidate in given:
            better = not members or candidate.quality > members[-1].quality
            (members if better else dominated).append(candidate)
        return cls(members=tuple(members), dominated=tuple(dominated))

    def within(self, budget: Budget) -> Frontier:
        """Return the front of the candidates that `budget` admits."""
        return Frontier.of(one for one in (*self.members, *self.dominated) if budget.admits(one))
