"""Scripts that run an exported file with nothing of edge-bench in them: one file a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from edge_bench import variants
from edge_bench.errors import NoCandidate
from edge_bench.records import AnyStep, Artifact, ObservationInput, Preprocessing, Subnet, TextInput

SNIPPETS = "edge_bench.choose.snippets"
TOKENIZER, CONTROL = "tokenizer.json", "control"


@dataclass(frozen=True, kw_only=True)
class Picked:
    """A picked file, what it needs to be run, and what its files are called where the script will lie.

    Attributes:
        task: what it does.
        artifact: the file; of a text model that of the network.
        file: its name.
        preprocessing: how images become its input; None of a text model.
        observation: what it is shown where it acts; None of others.
        text: how texts do, by a tokenizer called `TOKENIZER`; None of a model of images.
        step: how it generates; None where it does not.
        step_file: the name of the file that does.
    """

    task: str
    artifact: Artifact
    file: str
    preprocessing: Preprocessing | None = None
    observation: ObservationInput | None = None
    text: TextInput | None = None
    step: AnyStep | None = None
    step_file: str = ""

    @classmethod
    def of(cls, artifact: Artifact, subnet: Subnet | None, *, file: str, step_file: str = "") -> Picked:
        """Return a file with what its record tells, else its network's.

        Raises:
            NoCandidate: neither tells how images become its input.
        """
        text = artifact.text or (subnet.text if subnet else None)
        observed = observation_of(artifact, subnet)
        if observed is not None:
            return cls(task=CONTROL, artifact=artifact, file=file, observation=observed)
        if text is None:
            used = seen(artifact, subnet)
            return cls(task="image_classification", artifact=artifact, file=file, preprocessing=used)
        return cls(
            task=subnet.task if subnet else artifact.task,
            artifact=artifact,
            file=file,
            text=text,
            step=artifact.step or (subnet.step if subnet else None),
            step_file=step_file,
        )


def observation_of(artifact: Artifact, subnet: Subnet | None) -> ObservationInput | None:
    """Return what the file is shown where it acts, None where it does not act."""
    return artifact.observation or (subnet.observation if subnet else None)


def seen(artifact: Artifact, subnet: Subnet | None) -> Preprocessing:
    """Return how images become the file's inputs: as the file's record says, else as its network's.

    Raises:
        NoCandidate: neither says; such a file has no quality either.
    """
    used = artifact.preprocessing or (subnet.preprocessing if subnet else None)
    if used is None:
        raise NoCandidate(
            f"how '{artifact.name}' takes images is not known", hint="edge-bench import --data"
        )
    return used


class Snippet(ABC):
    """Writes the script of one task, which is the file's name.

    A script needs numpy, one runtime and the library that reads its inputs, and prints an answer for
    each input that it is given.
    """

    @abstractmethod
    def script(self, picked: Picked) -> str:
        """Return the script as Python, to be saved beside the picked files."""


def run_script(picked: Picked) -> str:
    """Return a Python script that lies beside a picked file and runs it.

    Raises:
        UnknownVariant: there is none for what the file does.
    """
    return variants.load(Snippet, SNIPPETS, picked.task)().script(picked)
