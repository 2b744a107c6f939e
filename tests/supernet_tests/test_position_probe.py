"""A probe of position finds what a network's maps tell of where they are, and nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.records import Preprocessing, SearchSpace
from edge_bench.records.position import TARGETS, PositionFindings, targets
from supernet import probes
from supernet.extraction import extract_arch
from supernet.models.convnet import Convnet
from supernet.models.lenet import Lenet
from supernet.models.mlp import Mlp
from supernet.models.resnet import Resnet
from supernet.network import ElasticNetwork, folded
from supernet.probes import Subject
from supernet.probes._readout import Readouts
from supernet.probes._stages import FeatureMaps
from supernet.probes.position import Position, mean_spearman
from supernet.run import read_record
from supernet.trained import TrainedRun

SIZE = 8
SEEN = Preprocessing(size=SIZE, channels=1, mean=(0.3,), std=(0.3,))
QUICK = Position(targets=("H", "HS"), steps=60, images=200, held_out=24, seeds=1)


def program_of(network: nn.Module, *, size: int = SIZE, channels: int = 1) -> ExportedProgram:
    example = torch.zeros(2, channels, size, size)
    return torch.export.export(network.eval(), (example,), dynamic_shapes=({0: Dim("batch")},))


def subject_of(network: nn.Module) -> Subject:
    return Subject(name="net", program=program_of(network), preprocessing=SEEN, data={"kind": "noise"})


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of noise, which tell nothing of position; those of a data set are often centred."""

    def load(split: str, *, size: int) -> SimpleNamespace:
        generator = np.random.default_rng(len(split))
        return SimpleNamespace(pixels=generator.integers(0, 256, (300, size, size, 1), np.uint8))

    monkeypatch.setattr(probes, "open_images", lambda table: SimpleNamespace(load=load))


class Told(nn.Module):
    """A network that sees one pixel at a time, and is told where that is if `told`."""

    def __init__(self, *, told: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        across = torch.linspace(-1, 1, SIZE).expand(1, 1, SIZE, SIZE)
        self.register_buffer("place", across if told else torch.zeros_like(across))
        self.conv = nn.Conv2d(2, 12, 1)
        self.classifier = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        given = torch.cat((x, self.place.expand(x.shape[0], -1, -1, -1)), dim=1)
        return self.classifier(torch.relu(self.conv(given)).mean((2, 3)))


def test_targets_are_the_maps_that_their_names_say() -> None:
    maps = targets()
    assert tuple(maps) == TARGETS and tuple(targets(("G", "H"))) == ("G", "H")
    for wanted in maps.values():
        assert wanted.shape == (28, 28) and wanted.dtype == np.float32
        assert (wanted.min(), wanted.max()) == (0, 1)
    assert (np.diff(maps["H"], axis=1) > 0).all() and (np.diff(maps["H"], axis=0) == 0).all()
    for across, down in (("H", "V"), ("HS", "VS"), ("G", "G")):
        assert np.array_equal(maps[across], maps[down].T)
    for turned in (maps["G"][::-1], maps["G"][:, ::-1]):
        np.testing.assert_allclose(turned, maps["G"], atol=1e-6)
    assert maps["G"].argmax() % 28 in (13, 14) and maps["G"][0, 0] == 0
    changes = np.flatnonzero(np.diff(maps["HS"][0]))
    assert len(changes) == 7 and set(np.diff(changes)) <= {3, 4}


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=9, max_size=9), min_size=1, max_size=4),
    st.permutations(range(9)),
)
def test_correlation_is_spearmans_of_each_image_and_that_of_a_constant_map_is_0(
    images: list[list[int]], wanted: list[int]
) -> None:
    predicted, target = np.array(images, float).reshape(-1, 3, 3), np.array(wanted, float).reshape(3, 3)
    expected = [
        0.0 if len(set(image)) == 1 else stats.spearmanr(image, wanted).statistic for image in images
    ]
    assert mean_spearman(predicted, target) == pytest.approx(np.mean(expected), abs=1e-9)
    assert mean_spearman(np.ones((2, 3, 3)), target) == 0
    assert mean_spearman(target[None], target) == pytest.approx(1)
    assert mean_spearman(-target[None], target) == pytest.approx(-1)


def test_each_readout_learns_from_its_own_loss_alone() -> None:
    readouts = Readouts([1, 3, 2], 2, seed=0)
    torch.manual_seed(0)
    answered = readouts(torch.randn(4, 1, 8, 8), [torch.randn(4, 3, 8, 8), torch.randn(4, 2, 4, 4)])
    assert answered.shape == (4, 4, 2, 28, 28)

    def learned(source: int) -> dict[str, list[bool]]:
        """Return which targets' weights a loss of the second target, read from a source, moves."""
        readouts.zero_grad(set_to_none=False)
        answered[:, source, 1].square().sum().backward(retain_graph=True)
        return {
            name: [bool(part.any()) for part in one.grad]
            for name, one in readouts.named_parameters()
            if one.ndim == 4 and one.grad is not None
        }

    answered.sum().backward(retain_graph=True)
    none, second = [False, False], [False, True]
    own = ("own.0", "own.1", "own.2")
    for source, name in enumerate(own):
        joint = {"joint.0": none, "joint.1": none}
        assert learned(source) == {**dict.fromkeys(own, none), name: second, **joint}
    assert learned(3) == {**dict.fromkeys(own, none), "joint.0": second, "joint.1": second}


def test_a_readout_sees_no_border_of_its_own() -> None:
    # Of maps that are the same everywhere each answer is too: the readout is not padded.
    readouts = Readouts([1, 2], 1, seed=0).eval()
    answered = readouts(torch.ones(1, 1, 8, 8), [torch.ones(1, 2, 4, 4)])
    assert float(answered.detach().flatten(3).std(dim=3).max()) < 1e-6


def test_a_network_that_is_told_where_it_is_scores_high_and_one_that_cannot_know_low(noise: None) -> None:
    told, blind = (QUICK.measure(subject_of(Told(told=one))) for one in (True, False))
    assert told.score("all", "H").mean_spearman > 0.9 and told.score("all", "H").mean_mae < 0.1
    assert abs(blind.score("all", "H").mean_spearman) < 0.1 and blind.score("all", "H").mean_mae > 0.2
    # The control is the same, whatever the network.
    assert told.score("image", "H") == blind.score("image", "H")
    assert (told.padded_convolutions, told.wide_convolutions) == (0, 0)


def test_findings_are_the_same_each_time_and_say_all_that_was_measured(noise: None) -> None:
    subject = subject_of(Convnet(resolution=SIZE, widths=(4, 6), strides=()).build(channels=1, classes=4))
    probe = Position(steps=4, images=40, held_out=10, seeds=2)
    steps: list[int] = []
    found = probe.measure(subject, report=lambda done, word: steps.append(done))
    assert steps == list(range(1, 9))
    assert found == probe.measure(subject)
    assert found.sources == ("image", "layers.0", "layers.1", "all") and found.targets == TARGETS
    assert len(found.scores) == 20 and all(len(score.spearman) == 2 for score in found.scores)
    assert any(score.spearman[0] != score.spearman[1] for score in found.scores)
    assert (found.padded_convolutions, found.wide_convolutions) == (2, 2)
    assert (found.readout_images, found.held_out_images) == (40, 10)
    assert np.shape(found.predicted["all"]["G"]) == (28, 28)
    assert from_document(PositionFindings, json.loads(json.dumps(to_document(found)))) == found
    with pytest.raises(KeyError):
        found.score("layers.9", "H")


def kinds() -> dict[str, tuple[nn.Module, int]]:
    """Return small networks by kind, and their resolution."""
    models = {
        "lenet": Lenet(resolution=16),
        "resnet": Resnet(depth=14, width=4, resolution=16),
        "convnet": Convnet(resolution=16, widths=(4, 4, 6), strides=(1, 2, 1)),
        "bare": Convnet(resolution=16, widths=(4, 4, 6), strides=(1, 2, 1), padding="none"),
        "group": Convnet(resolution=16, widths=(8, 8), strides=(1, 2), norm="group"),
    }
    return {kind: (model.build(channels=3, classes=4), 16) for kind, model in models.items()}


STAGES = {
    "lenet": [("1", 6, 16), ("4", 16, 8)],
    "resnet": [
        (f"layers.{n}", w, s)
        for n, w, s in zip(
            range(7), [4] * 3 + [8] * 2 + [16] * 2, [16] * 3 + [8] * 2 + [4] * 2, strict=True
        )
    ],
    "convnet": [("layers.0", 4, 16), ("layers.1", 4, 8), ("layers.2", 6, 8)],
    "bare": [("layers.0", 4, 14), ("layers.1", 4, 6), ("layers.2", 6, 4)],
    "group": [("layers.0", 8, 16), ("layers.1", 8, 8)],
}


@pytest.mark.parametrize("kind", list(STAGES))
def test_stages_of_a_saved_program_are_the_ends_of_its_networks_blocks(kind: str) -> None:
    made, size = kinds()[kind]
    network = folded(made)
    saved = io.BytesIO()
    torch.export.save(program_of(network, size=size, channels=3), saved)
    saved.seek(0)
    features = FeatureMaps(torch.export.load(saved), count=9)
    assert [(one.name, one.channels, one.side) for one in features.stages] == STAGES[kind]
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    layers = network if isinstance(network, nn.Sequential) else network.layers
    assert isinstance(layers, nn.Sequential)
    for stage, answered in zip(features.stages, features(images), strict=True):
        last = int(stage.name.rpartition(".")[2])
        with torch.no_grad():
            expected = layers[: last + 1](images)
        assert answered.shape == (3, stage.channels, stage.side, stage.side)
        torch.testing.assert_close(answered, expected)
    assert features.padding.wide > 0
    assert features.padding.padded == (0 if kind == "bare" else features.padding.wide)


def test_stages_of_a_subnet_are_its_blocks_and_not_what_is_widened_within_them(space: SearchSpace) -> None:
    arch = space.largest()
    network = folded(ElasticNetwork(space).materialize(arch))
    channels, size = space.input_channels, arch.resolution
    features = FeatureMaps(program_of(network, size=size, channels=channels), count=99)
    names = [one.name.removesuffix(".project") for one in features.stages]
    blocks = [f"layers.block{block.source}" for block in arch.blocks]
    assert names[0] == "layers.stem" and names[-1] == "layers.head"
    # Without the stem's own block, which only some spaces have.
    assert [name for name in names if name[:12] == "layers.block"] == blocks
    widths = [space.stem_width, *(stage.width for stage in space.stages), space.head_width]
    assert {one.channels for one in features.stages} == set(widths)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [6]), (2, [0, 6]), (3, [0, 3, 6]), (5, [0, 2, 3, 4, 6]), (7, list(range(7)))],
)
def test_few_stages_lie_at_even_distances_the_last_among_them(count: int, expected: list[int]) -> None:
    network = folded(Resnet(depth=14, width=4, resolution=16).build(channels=3, classes=4))
    features = FeatureMaps(program_of(network, size=16, channels=3), count=count)
    assert [one.name for one in features.stages] == [f"layers.{place}" for place in expected]
    assert len(features(torch.zeros(1, 3, 16, 16))) == len(expected)


def test_a_runs_network_is_probed_just_as_its_subnet(trained: tuple[Path, Home], tmp_path: Path) -> None:
    folder, home = trained[0], Home(tmp_path / "cut")
    run = TrainedRun.open(folder)
    arch = read_record(folder).search_space.largest()
    subject = Subject.of_run(run, arch)
    cut = extract_arch(folder, arch, home=home)
    assert subject.name == cut.id and cut.preprocessing == subject.preprocessing
    program = torch.export.load(home.absolute(cut.program))
    again = Subject(name=cut.id, program=program, preprocessing=subject.preprocessing, data=cut.data)
    probe = Position(targets=("H",), steps=3, images=40, held_out=6, seeds=1)
    assert probe.measure(again) == probe.measure(subject)
    drawn = Subject.of_run(run, arch, untrained=True)
    assert drawn.name == f"{cut.id}-untrained"
    assert probe.measure(drawn).score("all", "H") != probe.measure(subject).score("all", "H")


def test_a_network_without_maps_and_a_run_on_text_are_refused(
    text_run: Any,
) -> None:
    with pytest.raises(ConfigError, match="'net' has no feature maps to probe"):
        QUICK.measure(subject_of(Mlp(resolution=SIZE).build(channels=1, classes=4)))
    folder, home = text_run("language_modelling")
    run = TrainedRun.open(folder, home=home)
    with pytest.raises(ConfigError, match=f"run '{folder.name}' is for language modelling; only networks"):
        Subject.of_run(run, run.space.largest())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ("H", "D")}, "unknown target 'D'. Known: H, V, G, HS, VS"),
        ({"targets": ()}, "--targets is 0; it must be at least 1"),
        ({"stages": 0}, "--stages is 0; it must be at least 1"),
        ({"steps": 0}, "--steps is 0"),
        ({"images": 1}, "--images is 1; it must be at least 2"),
        ({"held_out": 0}, "--held-out is 0"),
        ({"seeds": 0}, "--seeds is 0"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Position(**options).check()
    assert message in caught.value.message
