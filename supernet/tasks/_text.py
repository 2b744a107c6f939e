"""What tasks on text share: tokens, the network and its techniques, and how a depth is judged and cut."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from edge_bench.data import TextSource, open_texts
from edge_bench.files import Home, sha256_of
from edge_bench.records import AnyStep, ArchConfig, Metric, RecurrentSpace, TextInput, TransformerSpace
from edge_bench.records.subnet import Split
from edge_bench.text.tokenizer import Tokenizer
from supernet.draws import drawing, weights_seed
from supernet.models import TextModel, TextNetwork, TextSpace
from supernet.phases import Place
from supernet.programs import save_program, sparsity_of
from supernet.ranks import Ranks
from supernet.run import (
    TOKENIZER_FILE,
    RunConfig,
    RunRecord,
    open_model,
)
from supernet.step import StepResult
from supernet.tasks import Facts, Rows, Task
from supernet.tasks._start import started
from supernet.techniques import Technique

POOLED_BATCHES = 50


class TextTask(Task):
    """Tokens, a network and the techniques it is trained with; a variant adds examples and a metric.

    `smoothing` is that of labels where the run gives none; `skipped` counts the examples that `read` found
    left out.
    """

    smoothing: ClassVar[float]
    skipped: int = 0
    space: TextSpace

    def __init__(
        self,
        config: RunConfig,
        source: TextSource,
        tokenizer: Tokenizer,
        text: TextInput,
        space: TextSpace,
        network: TextNetwork,
        class_names: tuple[str, ...],
        techniques: dict[str, Technique],
    ) -> None:
        self.config, self.source, self.tokenizer, self.text = config, source, tokenizer, text
        self.space, self.class_names, self.techniques = space, class_names, techniques
        self._network = network
        if config.start:
            # All of it was trained, the layer that was new to that run too.
            network.fresh = ()
        self._model: Mapping[str, Any] = config.model
        self._encoded: dict[Split, Any] = {}
        self.technique = "+".join(techniques) or "plain"

    @classmethod
    def begun(cls, config: RunConfig, home: Home, folder: Path) -> Self:
        source = open_texts(config.data)
        techniques = config.open_techniques()
        class_names = cls.classes(source)
        if config.start:
            begun = _started(config, home, class_names)
            tokenizer, network = begun.tokenizer, begun._network
            text = replace(begun.text, truncate=config.training.truncate)
            task = cls(config, source, tokenizer, text, network.space, network, class_names, techniques)
            task._model = begun._model
        else:
            model = config.open_model()
            assert isinstance(model, TextModel)
            brought = model.tokens()
            if brought is not None:
                tokenizer, text = brought
            else:
                tokenizer = _tokenizer(config, cls.corpus(source), folder)
                pad, begin, end = tokenizer.around()
                text = TextInput(
                    tokenizer=TOKENIZER_FILE,
                    digest=tokenizer.digest,
                    vocabulary=tokenizer.size,
                    length=model.length,
                    pad=pad,
                    begin=begin,
                    end=end,
                )
            text = replace(text, truncate=config.training.truncate)
            space = model.space(vocabulary=text.vocabulary, outputs=len(class_names) or text.vocabulary)
            with drawing(weights_seed(config.seed)):
                network = model.build(space, pad=text.pad)
            task = cls(config, source, tokenizer, text, space, network, class_names, techniques)
        task.read()
        # What is wrong with a split is told before training, not after it.
        task.encoded("selection")
        task.encoded("test")
        return task

    @classmethod
    def of_run(cls, record: RunRecord, home: Home, folder: Path) -> Self:
        assert record.text is not None
        space = record.search_space
        assert isinstance(space, TransformerSpace | RecurrentSpace)
        config = record.config
        tokenizer = Tokenizer.load(folder / TOKENIZER_FILE)
        model = open_model(record.model or config.model)
        assert isinstance(model, TextModel)
        with drawing(weights_seed(config.seed)):
            network = model.rebuild(space, pad=record.text.pad, structure=record.structure)
        return cls(
            config,
            open_texts(config.data),
            tokenizer,
            record.text,
            space,
            network,
            record.class_names,
            config.open_techniques(),
        )

    @classmethod
    def classes(cls, source: TextSource) -> tuple[str, ...]:
        """Return the names of the classes; none of a task that generates."""
        return ()

    @classmethod
    @abstractmethod
    def corpus(cls, source: TextSource) -> list[str]:
        """Return the texts of the training split, from which a vocabulary is made."""

    @abstractmethod
    def read(self) -> None:
        """Read and encode the training split."""

    @property
    @abstractmethod
    def examples(self) -> int:
        """How many examples the training split has."""

    @abstractmethod
    def loss(self, network: TextNetwork, rows: Rows, share: slice) -> tuple[Tensor, int, int, int]:
        """Return the summed loss of the rows in `share`, how many answers those have, how many of them
        are right, and how many answers all rows have.
        """

    @abstractmethod
    def quality(self, network: TextNetwork, split: Split) -> Metric:
        """Return the metric of a network in evaluation mode."""

    def tokens_per_text(self, network: TextNetwork) -> float:
        """Return how many tokens a text of the selection split has on average that is generated."""
        return 0.0

    @abstractmethod
    def encode(self, split: Split) -> Any:
        """Read a split and return what `quality` judges on."""

    def encoded(self, split: Split) -> Any:
        """Return what `encode` gave, which is asked once."""
        if split not in self._encoded:
            self._encoded[split] = self.encode(split)
        return self._encoded[split]

    def load(self, archs: list[ArchConfig]) -> None:
        self.encoded("selection")

    @property
    def facts(self) -> Facts:
        return Facts(
            text=self.text,
            class_names=self.class_names,
            examples=self.examples,
            skipped=self.skipped,
            structure=self._network.structure,
            model=self._model if self.config.start else {},
            arch=self.space.largest() if isinstance(self.space, RecurrentSpace) else None,
        )

    def network(self, seed: int) -> TextNetwork:
        return self._network

    def judged_network(self) -> TextNetwork:
        return copy.deepcopy(self._network)

    def drawn(self, seed: int) -> TextNetwork:
        model = open_model(self._model)
        assert isinstance(model, TextModel)
        with drawing(weights_seed(seed)):
            return model.rebuild(self.space, pad=self.text.pad, structure=self._network.structure)

    def save(self, folder: Path) -> None:
        self.tokenizer.save(folder / TOKENIZER_FILE)

    def gather(
        self,
        network: nn.Module,
        rows: Rows,
        share: slice,
        place: Place,
        generator: np.random.Generator,
        ranks: Ranks,
        frozen: nn.Module | None,
    ) -> StepResult:
        assert isinstance(network, TextNetwork)
        # Dropout depends on the step alone too. Each process has examples and so a dropout of its own.
        seed = int(generator.spawn(1)[0].integers(2**62)) + ranks.number
        device = next(network.parameters()).device
        half = self.config.training.mixed_precision and device.type == "cuda"
        with drawing(seed, device), torch.autocast(device.type, torch.bfloat16, enabled=half):
            total, answers, right, of_all = self.loss(network, rows, share)
        # Gradients are averaged over the processes, whose rows have unlike numbers of answers.
        (total * (ranks.count / of_all)).backward()  # type: ignore[no-untyped-call]
        return StepResult(losses=(total.item() / answers,), right=right, answers=answers)

    def judge(self, network: nn.Module, arch: ArchConfig, split: Split) -> Metric:
        assert isinstance(network, TextNetwork)
        return self.quality(network.cut(arch), split)

    def cut(self, network: nn.Module, arch: ArchConfig, *, folder: Path, home: Home) -> dict[str, Any]:
        assert isinstance(network, TextNetwork)
        plain = network.cut(arch).cpu()
        path, tokenizer = folder / "program.pt2", folder / TOKENIZER_FILE
        batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=self.space.length)
        tokens = torch.full((2, self.space.length - 1), self.text.end)
        save_program(plain.reader().eval(), (tokens,), {"tokens": {0: batch, 1: length}}, path)
        self.tokenizer.save(tokenizer)
        splits: tuple[Split, Split] = ("selection", "test")
        return {
            "program": home.relative(path),
            "digest": sha256_of(path),
            "params": sum(parameter.numel() for parameter in plain.parameters()),
            "sparsity": sparsity_of(plain),
            "metrics": tuple(self.quality(plain, split) for split in splits),
            "text": replace(self.text, tokenizer=home.relative(tokenizer), digest=sha256_of(tokenizer)),
            "step": self._cut_step(plain, folder / "step.pt2", home),
        }

    def smoothed(self) -> float:
        """Return the smoothing of labels: the run's, or else the task's own."""
        given = self.config.training.label_smoothing
        return self.smoothing if given is None else given

    def _cut_step(self, plain: TextNetwork, path: Path, home: Home) -> AnyStep | None:
        stepper = plain.stepper()
        if stepper is None:
            return None
        inputs = plain.step_inputs()
        save_program(stepper.eval(), tuple(inputs.examples.values()), dict(inputs.free), path)
        return plain.step(
            program=home.relative(path), digest=sha256_of(path), tokens=self.tokens_per_text(plain)
        )


def _tokenizer(config: RunConfig, corpus: list[str], folder: Path) -> Tokenizer:
    kept = folder / TOKENIZER_FILE
    # A run that goes on keeps the tokens it began with.
    return Tokenizer.load(kept) if kept.is_file() else config.open_tokenizer().train(corpus)


def _started(config: RunConfig, home: Home, class_names: tuple[str, ...]) -> TextTask:
    """Return the task of the run that `config` goes on from, its network cut and trained."""
    begun = started(config, home)
    begun.check_classes(class_names)
    task, network, record = begun.task, begun.network, begun.record
    assert isinstance(task, TextTask) and isinstance(network, TextNetwork)
    task._model = record.model or record.config.model
    task._network = network.cut(begun.arch)
    return task


def by_length(lengths: list[int], generator: np.random.Generator, batch: int) -> Rows:
    """Return all rows in a drawn order in which the rows of a batch are of about one length.

    Rows are drawn into pools of many batches; each pool is sorted by length and its batches are drawn
    again, so that neither what stands in a batch nor the order of lengths repeats.
    """
    sizes = np.asarray(lengths)
    drawn = generator.permutation(len(sizes))
    ordered: list[Rows] = []
    pool = POOLED_BATCHES * batch
    for start in range(0, len(drawn), pool):
        part = drawn[start : start + pool]
        part = part[np.argsort(sizes[part], kind="stable")]
        ordered += [part[first : first + batch] for first in range(0, len(part), batch)]
    whole = [one for one in ordered if len(one) == batch]
    # What is no whole batch is left out by the trainer: it stands last.
    rest = [one for one in ordered if len(one) < batch]
    shuffled = [whole[place] for place in generator.permutation(len(whole))]
    return np.concatenate([*shuffled, *rest])
