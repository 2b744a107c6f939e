"""Network deconvolution: what layers see is white, and what is cut is the plain network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from interruption import stopped
from safetensors.torch import load_file
from torch import Tensor, nn

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from supernet.models.convnet import Convnet
from supernet.network import folded
from supernet.run import CHECKPOINT_FILE, SUMMARY_FILE, RunConfig, checked, load_run
from supernet.tasks.image_classification import ImageClassification
from supernet.techniques.network_deconvolution import NetworkDeconvolution
from supernet.trained import TrainedRun
from supernet.trainer import train
from supernet.whitening import (
    Estimation,
    Whitened,
    WhitenedConv2d,
    WhitenedLinear,
    block_of,
    inverse_square_root,
)

TECHNIQUE = {"network_deconvolution": {}}
RESNET = {"kind": "resnet", "depth": 8, "width": 4, "resolution": 8}
TRAINING = {"epochs": 1, "batch_size": 64, "learning_rate": 0.01, "threads": 1, "device": "cpu"}
# Options of a convolution of 16 channels.
CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 3, "padding": 1},
    "stride": {"kernel_size": 3, "padding": 1, "stride": 2},
    "dilation": {"kernel_size": 3, "padding": 2, "dilation": 2},
    "groups": {"kernel_size": 3, "padding": 1, "groups": 4},
    "depthwise": {"kernel_size": 3, "padding": 1, "groups": 16},
    "one": {"kernel_size": 1},
    "large": {"kernel_size": 5, "padding": 2},
    "sides": {"kernel_size": (1, 3), "padding": (0, 1), "stride": (1, 2)},
    "same": {"kernel_size": 5, "padding": "same"},
}


def maps(images: int = 24, channels: int = 16, side: int = 11) -> Tensor:
    """Maps as they are behind a ReLU: of means above 0, neighbours alike."""
    smooth = F.avg_pool2d(torch.randn(images, channels, side + 2, side + 2), 3, stride=1)
    mixed = torch.einsum("oc,nchw->nohw", torch.randn(channels, channels), smooth)
    return F.relu(3 * mixed + 0.5)


def convolution(name: str, *, block: int = 8, **estimation: Any) -> WhitenedConv2d:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, **{"bias": name != "plain", **CONVOLUTIONS[name]})
    return WhitenedConv2d.of(conv, Estimation(block=block, **estimation))


def trained(layer: Whitened, x: Tensor, steps: int = 5) -> Whitened:
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    layer.train()
    for _ in range(steps):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
    return layer.eval()


def every_patch(layer: WhitenedConv2d, x: Tensor) -> Tensor:
    """Return all patches [groups, images, places, blocks, f] of x: slices of neighbouring channels."""
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    padded = F.pad(x, (left, right, top, bottom))
    (rows, columns), (down, across) = layer.kernel_size, layer.stride
    (dilated, aside), block = layer.dilation, layer.whitening.mean.shape[1] // (rows * columns)
    found = []
    for y in range(0, padded.shape[2] - dilated * (rows - 1), down):
        for z in range(0, padded.shape[3] - aside * (columns - 1), across):
            patch = padded[:, :, y : y + dilated * rows : dilated, z : z + aside * columns : aside]
            patch = patch[:, :, :rows, :columns]
            blocks = [
                patch[:, first : first + block].permute(0, 2, 3, 1).flatten(1)
                for first in range(0, x.shape[1], block)
            ]
            found.append(torch.stack(blocks, 1))
    patches = torch.stack(found, 1)
    return patches.unflatten(2, (layer.groups, -1)).permute(2, 0, 1, 3, 4)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 24).flatmap(
        lambda size: st.tuples(
            st.lists(st.floats(0.01, 1), min_size=size, max_size=size), st.integers(0, 1000)
        )
    )
)
def test_newton_schulz_comes_nearer_with_each_iteration_up_to_the_root(
    drawn: tuple[list[float], int],
) -> None:
    eigenvalues, seed = torch.tensor(drawn[0], dtype=torch.double), drawn[1]
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(
        torch.randn(len(eigenvalues), len(eigenvalues), generator=generator).double()
    )[0]
    matrix = (rotation * eigenvalues) @ rotation.mT
    values, vectors = torch.linalg.eigh(matrix)
    exact = (vectors * values.rsqrt()) @ vectors.mT
    apart = [
        float((inverse_square_root(matrix[None], iterations=count)[0] - exact).norm())
        for count in range(1, 16)
    ]
    assert all(later <= earlier + 1e-9 for earlier, later in zip(apart, apart[1:], strict=False))
    assert apart[-1] <= 1e-6 * float(exact.norm())
    single = inverse_square_root(matrix[None].float(), iterations=15)[0]
    assert float((single - exact).norm()) <= 1e-3 * float(exact.norm())


def test_five_iterations_leave_small_directions_small() -> None:
    matrix = torch.diag(torch.tensor([1.0, 1e-8]))[None]
    root = inverse_square_root(matrix, iterations=5)[0]
    assert abs(root[0, 0] - 1) < 1e-3 and 7 < root[1, 1] < 1.5**5 + 0.1


@pytest.mark.parametrize(
    ("channels", "block", "expected"), [(3, 64, 3), (64, 64, 64), (96, 64, 32), (40, 16, 8), (67, 64, 1)]
)
def test_blocks_divide_the_channels(channels: int, block: int, expected: int) -> None:
    assert block_of(channels, block) == expected


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_rows_are_the_patches_of_neighbouring_channels(name: str, stride: int) -> None:
    layer, x = convolution(name, stride=stride), maps(3)
    patches = every_patch(layer, x)
    down, across = layer.forward(x).shape[2:]
    taken = patches.unflatten(2, (down, across))[:, :, ::stride, ::stride]
    assert torch.equal(layer.rows(x), taken.flatten(1, 4))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_layer_answers_as_if_its_patches_were_whitened(name: str) -> None:
    layer, x = convolution(name), maps()
    # In training: by the statistics of the batch.
    answered = layer.train()(x)
    mean, matrix = layer.whitening.of_rows(layer.rows(x))
    patches = every_patch(layer, x)
    white = (patches - mean[:, None, None, None]) @ matrix[:, None, None]
    # Weights taken apart by the channels that a patch has, whatever the layer's own order is.
    kernel = layer.weight.unflatten(0, (layer.groups, -1)).unflatten(2, (patches.shape[3], -1))
    expected = torch.einsum("gnpbf,gobf->ngop", white, kernel.permute(0, 1, 2, 4, 5, 3).flatten(3))
    expected = expected.flatten(1, 2) + layer.bias[:, None]
    torch.testing.assert_close(answered.flatten(2), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["plain", "stride", "dilation", "groups", "large"])
def test_gradients_flow_through_mean_and_matrix(name: str) -> None:
    layer, given = convolution(name).train(), maps(6, side=7)
    directions = torch.randn(6, 32, *layer(given).shape[2:])

    def gradients(rows: Any) -> tuple[Tensor, ...]:
        x = given.clone().requires_grad_()
        found = rows(x)
        mean = found.mean(1)
        apart = found - mean[:, None]
        covariance = apart.mT @ apart / found.shape[1] + 1e-5 * torch.eye(found.shape[2])
        if found.shape[1] < found.shape[2]:
            diagonal = covariance.diagonal(dim1=1, dim2=2) - 1e-5
            ridge = 1e-2 * diagonal.mean(1)[:, None, None]
            covariance = covariance + ridge * torch.eye(found.shape[2])
        matrix = inverse_square_root(covariance, iterations=5)
        loss = (layer._conv_forward(x, *layer.folded(mean, matrix)) * directions).sum()
        return torch.autograd.grad(loss, (x, layer.weight))

    def slowly(x: Tensor) -> Tensor:
        patches = every_patch(layer, x)
        return patches.unflatten(2, layer(x).shape[2:])[:, :, ::3, ::3].flatten(1, 4)

    expected = gradients(slowly)
    x = given.clone().requires_grad_()
    got = torch.autograd.grad((layer(x) * directions).sum(), (x, layer.weight))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_plain_convolution_answers_as_the_trained_layer(name: str) -> None:
    x = maps()
    layer = trained(convolution(name), x)
    plain = layer.plain()
    assert type(plain) is nn.Conv2d and plain.bias is not None
    assert set(plain.state_dict()) == {"weight", "bias"}
    expected = layer(x)
    assert (plain(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
    # As it trained: padded zeros are zeros, and what the mean takes off is a bias.
    if name == "plain":
        at_border = F.conv2d(F.pad(x, (1, 1, 1, 1)), plain.weight, plain.bias)
        torch.testing.assert_close(at_border, expected, rtol=1e-5, atol=1e-5)


def test_the_plain_linear_layer_answers_as_the_trained_one() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 12) @ torch.randn(12, 12) + 1
    layer = trained(WhitenedLinear.of(nn.Linear(12, 5), Estimation(block=4)), x)
    plain = layer.plain()
    assert type(plain) is nn.Linear and layer.whitening.mean.shape == (1, 4)
    torch.testing.assert_close(plain(x), layer(x), rtol=1e-5, atol=1e-5)


def test_before_any_step_a_layer_is_the_one_it_was_made_of() -> None:
    conv, linear, x = nn.Conv2d(16, 8, 3, bias=False), nn.Linear(16, 8), maps()
    expected = conv(x)
    layer = WhitenedConv2d.of(conv, Estimation()).eval()
    assert layer.weight is conv.weight and torch.equal(layer.bias, torch.zeros(8))
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    flat = torch.randn(3, 7, 16)
    same = WhitenedLinear.of(linear, Estimation()).eval()
    torch.testing.assert_close(same(flat), linear(flat), rtol=1e-5, atol=1e-5)


def test_what_a_layer_sees_is_less_correlated() -> None:
    layer, x = convolution("plain"), maps(64)
    rows = layer.rows(x)
    mean, matrix = layer.whitening.of_rows(rows)
    before, after = correlation(rows[0]), correlation(((rows - mean[:, None]) @ matrix)[0])
    assert before > 0.05 and after < 0.5 * before


def correlation(rows: Tensor) -> float:
    """Return the mean absolute correlation between two columns."""
    found = torch.corrcoef(rows.mT)
    return float(found.fill_diagonal_(0).abs().sum()) / (len(found) * (len(found) - 1))


@pytest.mark.parametrize("iterations", [5, 15])
@pytest.mark.parametrize("kind", ["few", "constant", "dead"])
def test_batches_without_a_covariance_that_can_be_inverted_stay_finite(kind: str, iterations: int) -> None:
    x = {
        # One place, 4 images: 4 rows of 144 columns.
        "few": maps(4, side=1),
        "constant": torch.ones(8, 16, 5, 5),
        "dead": torch.zeros(8, 16, 5, 5),
    }[kind]
    layer = convolution("plain", block=16, iterations=iterations).train()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(5):
        given = x.clone().requires_grad_()
        answered = layer(given)
        optimizer.zero_grad()
        answered.square().mean().backward()
        optimizer.step()
        assert given.grad is not None and answered.isfinite().all() and given.grad.isfinite().all()
    assert layer.eval()(x).isfinite().all() and layer.whitening.matrix.isfinite().all()


def test_statistics_are_float32_under_autocast() -> None:
    layer, x = convolution("plain").train(), maps()
    expected = layer(x)
    fresh = convolution("plain").train()
    seen: list[Tensor] = []
    of_rows = fresh.whitening.of_rows

    def look(rows: Tensor) -> tuple[Tensor, Tensor]:
        seen.extend((rows, *of_rows(rows)))
        return seen[-2], seen[-1]

    fresh.whitening.of_rows = look  # type: ignore[method-assign]
    given = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        answered = fresh(given)
        answered.float().square().mean().backward()
    assert answered.dtype == torch.bfloat16
    assert [one.dtype for one in seen] == [torch.float32] * 3
    torch.testing.assert_close(fresh.whitening.matrix, layer.whitening.matrix)
    assert fresh.weight.grad is not None and fresh.weight.grad.dtype == torch.float32
    assert (answered.float() - expected).abs().max() < 0.05 * expected.abs().max()


def convnet(*, norm: str = "batch") -> nn.Module:
    torch.manual_seed(0)
    return Convnet(resolution=12, widths=(8, 16), strides=(1, 2), norm=norm).build(channels=3, classes=4)  # type: ignore[arg-type]


def deconvolved(network: nn.Module, **options: Any) -> tuple[nn.Module, NetworkDeconvolution]:
    technique = NetworkDeconvolution(**options)
    technique.check(network)
    technique.begin(network)
    return network, technique


def moved(network: nn.Module, technique: NetworkDeconvolution, steps: int = 6) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    network.train()
    for step in range(steps):
        technique.before_step(network, np.random.default_rng(step), step, steps)
        inputs = maps(16, 3, 12)
        optimizer.zero_grad()
        F.cross_entropy(network(inputs), torch.arange(16) % 4).backward()
        optimizer.step()


def test_every_layer_is_whitened_in_place_of_batch_norms_and_keeps_its_name() -> None:
    before = {name for name, _ in convnet().named_parameters() if ".norm." not in name}
    network, technique = deconvolved(convnet(), block=4)
    biases = {name.replace("weight", "bias") for name in before}
    assert {name for name, _ in network.named_parameters()} == before | biases
    assert not [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    layers = [one for one in network.modules() if isinstance(one, Whitened)]
    assert [one.whitening.mean.shape[1] for one in layers] == [27, 36, 16]
    assert technique.facts(network) == {"layers": 3}


def test_the_finished_network_is_plain_and_answers_the_same() -> None:
    network, technique = deconvolved(convnet())
    moved(network, technique)
    inputs = maps(5, 3, 12)
    expected = network.eval()(inputs)
    technique.finish(network)
    assert {type(one) for one in network.modules()} == {type(one) for one in convnet(norm="none").modules()}
    assert set(network.state_dict()) == set(convnet(norm="none").state_dict())
    for plain in (network, folded(network)):
        assert (plain(inputs) - expected).abs().max() < 1e-5


def test_running_statistics_are_means_over_the_first_batches_and_follow_slowly_then() -> None:
    layer = WhitenedLinear.of(nn.Linear(4, 2), Estimation(momentum=0.25)).train()
    means, running = [], []
    for _ in range(8):
        x = torch.randn(16, 4) + 3
        layer(x)
        means.append(x.mean(0))
        running.append(layer.whitening.mean[0].clone())
    for count in (1, 2, 4):
        torch.testing.assert_close(running[count - 1], torch.stack(means[:count]).mean(0))
    torch.testing.assert_close(running[7], 0.75 * running[6] + 0.25 * means[7])


def test_frozen_statistics_are_renewed_now_and_then() -> None:
    network, technique = deconvolved(convnet(), freeze_steps=2, refresh_steps=3)
    layer = next(one for one in network.modules() if isinstance(one, Whitened))
    renewed = []
    network.train()
    for step in range(9):
        before = layer.whitening.matrix.clone()
        technique.before_step(network, np.random.default_rng(0), step, 9)
        network(maps(8, 3, 12)).sum().backward()
        renewed.append(not torch.equal(before, layer.whitening.matrix))
    assert renewed == [True, True, True, False, False, True, False, False, True]
    assert layer.weight.grad is not None and layer.weight.grad.any()


def run(**tables: Any) -> RunConfig:
    pytest.importorskip("edge_bench.data.digits")
    training = {**TRAINING, **tables.pop("training", {})}
    document = {"name": "white", "data": {"kind": "digits"}, "training": training, **tables}
    return checked(from_document(RunConfig, document))


def ended(config: RunConfig, home: Home) -> Path:
    return train(config, home=home, say=lambda line: None, interactive=False)


@pytest.mark.parametrize("options", [{}, {"freeze_steps": 4, "refresh_steps": 3}])
def test_a_resumed_run_equals_an_undisturbed_one_and_what_is_cut_is_plain(
    options: dict[str, Any], tmp_path: Path
) -> None:
    config = run(
        model=RESNET,
        techniques={"network_deconvolution": options},
        training={"checkpoint_steps": 5, "epoch_steps": 12},
    )
    undisturbed, home = ended(config, Home(tmp_path / "one")), Home(tmp_path / "two")
    stopped(lambda: ended(config, home))
    resumed = ended(config, home)
    one, two = (load_file(folder / CHECKPOINT_FILE) for folder in (undisturbed, resumed))
    assert one.keys() == two.keys() and any("whitening.matrix" in name for name in one)
    assert [name for name in one if name != "random.torch" and not torch.equal(one[name], two[name])] == []
    opened = TrainedRun.open(resumed)
    subnet = opened.cut(opened.space.largest(), home=home)
    assert subnet.technique == "network_deconvolution"
    assert subnet.notes["network_deconvolution"] == {"layers": 10}
    names = {name.rpartition(".")[2] for name in torch.export.load(home.root / subnet.program).state_dict}
    assert names == {"weight", "bias"}


@pytest.mark.slow
def test_a_network_learns_without_batch_norms(home: Home) -> None:
    folder = ended(run(model=RESNET, techniques=TECHNIQUE, training={"epochs": 6}), home)
    assert json.loads((folder / SUMMARY_FILE).read_text())["largest_accuracy"] > 0.8


def test_a_run_goes_on_from_batch_norms_with_what_they_learned(home: Home) -> None:
    first = ended(run(model=RESNET, training={"epochs": 6}), home)
    config = run(name="on", start={"run": first.name}, techniques=TECHNIQUE)
    before = TrainedRun.open(first)
    arch = before.space.largest()
    task = ImageClassification.begun(config, home, config.folder(home))
    network = task.network(config.seed)
    task.begin(network)
    task.start(network, home)
    inputs, _ = task.images.split("train", arch.resolution)
    expected = before.task.trainee.plain(before.network, arch, task.images)(inputs[:64])  # type: ignore[attr-defined]
    torch.testing.assert_close(network.eval()(inputs[:64]), expected, rtol=1e-3, atol=1e-3)
    # Whitening the batch in training too: what the weights take up undoes it.
    answered = network.train()(inputs[:64])
    assert (answered - expected).abs().max() < 0.05 * expected.abs().max()
    assert {
        (one.whitening.matrix != torch.eye(one.whitening.matrix.shape[1])).any().item()
        for one in network.modules()
        if isinstance(one, Whitened)
    } == {True}


def test_a_run_cannot_go_on_from_a_network_that_lost_its_batch_norms(home: Home) -> None:
    first = ended(run(model=RESNET, techniques=TECHNIQUE), home)
    with pytest.raises(ConfigError, match="network_deconvolution.*no other run can go on from it"):
        ended(run(name="on", start={"run": first.name}), home)


def test_a_subnet_of_a_supernet_is_trained_on_and_the_supernet_is_refused(
    trained: tuple[Path, Home], run_file: Path, tmp_path: Path
) -> None:
    config = load_run(run_file, ("techniques.network_deconvolution={}",))
    with pytest.raises(ConfigError, match="elastic network of space 'lite_32'.*one choice of channels"):
        ended(config, Home(tmp_path))
    network = TrainedRun.open(trained[0]).network.materialize(config_arch(trained[0]))  # type: ignore[operator]
    whitened, technique = deconvolved(network.requires_grad_(True))
    assert any(one.groups > 1 for one in whitened.modules() if isinstance(one, WhitenedConv2d))
    whitened.train()(torch.randn(16, 1, 8, 8)).sum().backward()
    technique.finish(whitened)
    assert not [one for one in whitened.modules() if isinstance(one, Whitened | nn.BatchNorm2d)]


def config_arch(folder: Path) -> Any:
    return TrainedRun.open(folder).space.smallest()


def test_batch_norms_that_are_taken_out_are_not_averaged() -> None:
    with pytest.raises(ConfigError, match="mabn.* cannot be used together.*batch norms"):
        run(model=RESNET, techniques={"mabn": {}, **TECHNIQUE}, training={"batch_size": 2})


@pytest.mark.parametrize("other", ["dpf", "gradual_pruning", "one_shot_pruning", "lottery_ticket"])
def test_pruning_beside_it_is_refused_with_the_reason(other: str) -> None:
    with pytest.raises(ConfigError, match=f"{other}.* cannot be used together.*no zero of a mask"):
        run(model=RESNET, techniques={other: {}, **TECHNIQUE})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"block": 0}, r"\[techniques.network_deconvolution\] block is 0; it must be at least 1"),
        ({"sampling_stride": 0}, "sampling_stride is 0"),
        ({"iterations": 0}, "iterations is 0"),
        ({"refresh_steps": 0}, "refresh_steps is 0"),
        ({"freeze_steps": -1}, "freeze_steps is -1"),
        ({"eps": 0.0}, "eps is 0; it must be above 0"),
        ({"momentum": 0.0}, "momentum is 0; it must be above 0 and at most 1"),
    ],
)
def test_options_that_cannot_be_used_are_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        NetworkDeconvolution(**options).check(convnet())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Sequential(nn.ReLU()), "the network has none"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "'1' follows no convolution"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")), "'0' pads by 'circular'"),
    ],
)
def test_networks_it_does_not_fit_are_told(network: nn.Module, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        NetworkDeconvolution().check(network)
