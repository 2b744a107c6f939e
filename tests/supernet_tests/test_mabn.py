"""MABN: its statistics and gradients, that it leaves a plain network, and that it goes with the rest."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from interruption import stopped
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as checkpointed

from converters.export import FORMATS
from converters.formats import Converter
from converters.parity import logits_of
from edge_bench import variants
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError, MissingExtra
from edge_bench.files import Home
from edge_bench.measure.sandbox import predict
from supernet.calibration import recalibrate
from supernet.channels import importance_orders, reorder
from supernet.extraction import extract_arch
from supernet.models.convnet import Convnet
from supernet.models.encoder import Encoder
from supernet.moving_average_norm import Averaging, MovingAverageNorm, centred
from supernet.network import ElasticNetwork, folded
from supernet.phases import Phase, narrowed
from supernet.plain import BatchNorm
from supernet.run import CHECKPOINT_FILE, RunConfig, Training, checked
from supernet.spaces.lite_32 import LiteAt32
from supernet.sparsity import masked, masks
from supernet.step import gather_label_gradients
from supernet.techniques.mabn import Mabn
from supernet.trained import TrainedRun
from supernet.trainer import train

CHANNELS, BATCH = 3, 2
SHORT = {"simulated_batch": 8, "warmup_steps": 6, "renorm_warmup_steps": 8}


def norm_of(**options: Any) -> MovingAverageNorm:
    weight = nn.Parameter(torch.tensor([1.0, -0.5, 2.0]))
    bias = nn.Parameter(torch.tensor([0.0, 1.0, -1.0]))
    averaging = Averaging(**{"simulated_batch": BATCH, **options})
    return MovingAverageNorm(weight, bias, eps=1e-5, averaging=averaging, synchronised=False)


def batches(count: int, *, seed: int = 0, width: int = CHANNELS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (1 + n % 3) * torch.randn(BATCH, width, 4, 4, generator=generator) + 0.3 * n for n in range(count)
    ]


def learn(norm: nn.Module, x: Tensor, towards: Tensor | None = None) -> Tensor:
    """Send a batch through a layer and a gradient back; return the batch's own gradient."""
    x = x.detach().clone().requires_grad_()
    answered = norm(x)
    answered.backward(torch.ones_like(answered) if towards is None else towards)
    assert x.grad is not None
    return x.grad


def square(x: Tensor) -> Tensor:
    return x.square().mean((0, 2, 3))


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_of_one_batch_the_gradient_is_that_of_scaling_by_its_mean_square() -> None:
    norm = norm_of().double()
    [x] = batches(1)
    x = x.double().requires_grad_()
    assert torch.autograd.gradcheck(norm, (x,))
    parameters = (norm.weight, norm.bias)

    def reference(x: Tensor) -> Tensor:
        scale = norm.weight * (square(x) + norm.eps).rsqrt()
        return x * scale[:, None, None] + norm.bias[:, None, None]

    towards = torch.randn(x.shape, dtype=torch.float64)
    assert torch.allclose(norm(x), reference(x), rtol=1e-12, atol=0)
    found, wanted = (
        torch.autograd.grad(f(x), (x, *parameters), grad_outputs=towards) for f in (norm, reference)
    )
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    simulated=st.integers(1, 4).map(lambda batches: batches * BATCH),
    warmup=st.integers(0, 6),
    count=st.integers(1, 14),
)
def test_moments_are_averaged_over_the_latest_batches_forward_and_backward(
    simulated: int, warmup: int, count: int
) -> None:
    norm = norm_of(simulated_batch=simulated, warmup_steps=warmup)
    window = simulated // BATCH
    squares: list[Tensor] = []
    gradients: list[Tensor] = []
    for number, x in enumerate(batches(count)):
        towards = torch.cos(x)
        squares.append(square(x))
        moving = number >= max(window - 1, warmup)
        averaged = torch.stack(squares[-window:] if moving else squares[-1:]).mean(0)
        deviation = (averaged + norm.eps).sqrt()[:, None, None]
        z, scaled = x / deviation, towards * norm.weight.detach()[:, None, None]
        gradients.append((scaled * z).mean((0, 2, 3)))
        mean = torch.stack(gradients[-window:] if moving else gradients[-1:]).mean(0)
        norm.zero_grad()
        found = learn(norm, x, towards)
        assert torch.allclose(found, (scaled - z * mean[:, None, None]) / deviation, rtol=1e-4, atol=1e-5)
        assert norm.weight.grad is not None and norm.bias.grad is not None
        assert torch.allclose(norm.weight.grad, (towards * z).sum((0, 2, 3)), rtol=1e-4, atol=1e-4)
        assert torch.allclose(norm.bias.grad, towards.sum((0, 2, 3)), rtol=1e-4, atol=1e-4)


def test_renormalisation_begins_behind_its_warm_up_and_is_clipped() -> None:
    norm = norm_of(renorm_warmup_steps=2, clip_limit=1.5, momentum=0.5)
    moving, own = torch.ones(CHANNELS), norm.weight.detach()
    for number, factor in enumerate((1.0, 1.0, 1.2, 10.0, 0.01)):
        x = factor * batches(1, seed=number)[0]
        averaged = square(x)
        ratio = ((averaged + norm.eps) / (moving + norm.eps)).sqrt().clamp(1 / 1.5, 1.5)
        if number < 2:
            ratio = torch.ones(CHANNELS)
        scale = own * ratio / (averaged + norm.eps).sqrt()
        wanted = x * scale[:, None, None] + norm.bias.detach()[:, None, None]
        assert torch.allclose(norm(x), wanted, rtol=1e-4, atol=1e-5)
        learn(norm, x)
        moving = 0.5 * moving + 0.5 * averaged
    assert torch.allclose(norm.mean_square, moving, rtol=1e-5)
    assert number == 4 and ((ratio == 1 / 1.5) | (ratio == 1.5)).all()


def test_only_what_is_learned_from_is_counted() -> None:
    norm = norm_of(simulated_batch=8, warmup_steps=0)
    for x in batches(5):
        learn(norm, x)
    before, [x] = state(norm), batches(1, seed=9)
    with torch.no_grad():
        norm(x)
    norm(x.clone().requires_grad_())
    norm.eval()
    learn(norm, x)
    assert same(state(norm), before)
    # In evaluation the layer is one scale and shift, whatever the batch.
    assert torch.allclose(norm(x)[:1], norm(x[:1]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_layer_that_is_computed_twice_for_memory_counts_once(reentrant: bool) -> None:
    plain, saving = norm_of(simulated_batch=8, warmup_steps=0), norm_of(simulated_batch=8, warmup_steps=0)
    for x in batches(7):
        gradients = [
            learn(plain, x),
            learn(Called(lambda x: checkpointed(saving, x, use_reentrant=reentrant)), x),
        ]
        assert torch.equal(*gradients)
    assert same(state(plain), state(saving))


class Called(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        answered: Tensor = self.function(x)
        return answered


def test_each_micro_batch_of_a_step_is_a_batch() -> None:
    gathered = norm_of(simulated_batch=8, warmup_steps=0)
    for x in batches(6):
        learn(gathered, x)
    assert gathered.batches.tolist() == [6] * CHANNELS
    # The step's gradient of the weights is the sum over its micro-batches.
    total = gathered.weight.grad
    apart, sums = norm_of(simulated_batch=8, warmup_steps=0), torch.zeros(CHANNELS)
    for x in batches(6):
        apart.zero_grad()
        learn(apart, x)
        assert apart.weight.grad is not None
        sums += apart.weight.grad
    assert total is not None and torch.allclose(total, sums)


def test_channels_that_a_narrower_network_leaves_out_keep_their_averages() -> None:
    norm = norm_of(simulated_batch=8, warmup_steps=0)
    for x in batches(6):
        learn(norm, x)
    before = state(norm)
    learn(norm, batches(1, seed=5, width=2)[0])
    assert norm.batches.tolist() == [7, 7, 6]
    for name, dimension in (("mean_square", 0), ("squares", 1), ("gradients", 1)):
        now, then = norm.state_dict()[name], before[name]
        assert torch.equal(now.select(dimension, 2), then.select(dimension, 2))
        assert not torch.equal(now.select(dimension, 0), then.select(dimension, 0))


def test_half_precision_is_normalised_by_moments_in_single() -> None:
    norm, [x] = norm_of(), batches(1)
    answered = norm(x.bfloat16())
    assert answered.dtype == torch.bfloat16
    assert torch.allclose(answered.float(), norm(x.bfloat16().float()), rtol=1e-2, atol=1e-2)
    assert learn(norm, x.bfloat16()).dtype == torch.bfloat16


def test_centred_filters_have_mean_zero_and_pruned_weights_stay_zero() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    assert centred(weight).mean((1, 2, 3)).abs().max() < 1e-12
    assert torch.autograd.gradcheck(centred, (weight.clone().requires_grad_(),))
    weight[1, :, 0] = weight[2] = 0
    weight[3] = 0
    weight[3, 1, 1, 1] = 2.0
    found = centred(weight)
    assert torch.equal(found == 0, weight == 0) and found[3].sum() == 2
    assert found[:3].sum((1, 2, 3)).abs().max() < 1e-12
    level = torch.arange(4.0, dtype=torch.float64)[:, None, None, None]
    assert torch.allclose(centred(weight, level)[0], found[0]) and torch.equal(
        centred(weight, level) == 0, weight == 0
    )
    # Weights behind a mask that lets gradients through are trained on.
    through = weight.clone().requires_grad_()
    centred(through).backward(torch.ones_like(weight).index_fill_(2, torch.tensor([0]), 3.0))
    assert through.grad is not None and (through.grad[1, :, 0] == 2).all()


CONVNET = {"kind": "convnet", "resolution": 8, "widths": [8, 12], "strides": [1, 2]}
TINY_SPACE = {
    "kind": "lite_32",
    "stem_width": 4,
    "widths": [4, 8],
    "strides": [1, 2],
    "depths": [1, 2],
    "expands": [2, 3],
    "head_width": 16,
    "resolutions": [8],
}


def run(**tables: Any) -> RunConfig:
    """Return a run on digits with MABN at batch 2; `training` is changed in part."""
    pytest.importorskip("edge_bench.data.digits")
    training = {"batch_size": 2, "epochs": 1, "epoch_steps": 24, "checkpoint_steps": 14}
    training |= {"optimizer": "sgd", "learning_rate": 0.01, "clip_norm": 5.0, "threads": 1, "device": "cpu"}
    training |= tables.pop("training", {})
    techniques = tables.pop("techniques", {"mabn": SHORT})
    document = {"name": "mabn", "data": {"kind": "digits"}, "training": training, "techniques": techniques}
    return checked(from_document(RunConfig, {**document, **tables}))


def ended(config: RunConfig, home: Home) -> Path:
    return train(config, home=home, say=lambda line: None, interactive=False)


@pytest.mark.parametrize("table", [{"model": CONVNET}, {"space": TINY_SPACE}], ids=["network", "supernet"])
def test_a_resumed_run_equals_an_undisturbed_one(table: dict[str, Any], tmp_path: Path) -> None:
    config = run(**table)
    undisturbed, home = ended(config, Home(tmp_path / "one")), Home(tmp_path / "two")
    stopped(lambda: ended(config, home))
    one, two = (load_file(folder / CHECKPOINT_FILE) for folder in (undisturbed, ended(config, home)))
    assert {"batches", "gradients", "mean_square", "squares"} <= {name.rpartition(".")[2] for name in one}
    assert same({**one, "random.torch": two["random.torch"]}, two)


def trained_layers(network: nn.Module) -> list[str]:
    return [type(module).__name__ for module in network.modules()]


def mabn_network(*, groups: int = 1) -> tuple[Mabn, nn.Module]:
    """Return a network of two convolutions after a few steps."""
    torch.manual_seed(0)
    network = nn.Sequential(
        conv_norm(3, 8),
        conv_norm(8, 8, groups=groups),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    technique = Mabn(**SHORT)  # type: ignore[arg-type]
    technique.check(network)
    technique.begin(network)
    take_steps(network, 12)
    return technique, network


def conv_norm(inputs: int, outputs: int, *, groups: int = 1) -> nn.Module:
    row = nn.Sequential()
    row.add_module("conv", nn.Conv2d(inputs, outputs, 3, padding=1, bias=False, groups=groups))
    row.add_module("norm", BatchNorm(outputs))
    row.add_module("activation", nn.ReLU())
    return row


def take_steps(network: nn.Module, count: int) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for x in batches(count):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("groups", [1, 8])
def test_a_finished_network_is_plain_and_computes_and_folds_to_what_it_did(groups: int) -> None:
    technique, network = mabn_network(groups=groups)
    x, names = batches(1, seed=3)[0], [name for name, _ in network.named_parameters()]
    answered = network.eval()(x)
    technique.finish(network)
    assert {"BatchNorm", "Conv2d"} < set(trained_layers(network))
    assert not {"MovingAverageNorm", "CentredConv2d"} & set(trained_layers(network))
    assert [name for name, _ in network.named_parameters()] == names
    buffers = {name.rpartition(".")[2] for name, _ in network.named_buffers()}
    assert buffers == {"running_mean", "running_var", "num_batches_tracked"}
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    assert all(not norm.running_mean.any() for norm in norms)  # type: ignore[union-attr, operator]
    assert torch.allclose(network(x), answered, rtol=0, atol=1e-5)
    assert torch.allclose(folded(network)(x), answered, rtol=0, atol=1e-5)


def test_statistics_estimated_anew_are_mean_squares_of_all_images() -> None:
    technique, network = mabn_network()
    technique.finish(network)
    images = batches(6, seed=4)
    recalibrate(network, images)
    first = network[0]  # type: ignore[index]
    norm = first.norm
    exact = square(torch.cat([first.conv(x) for x in images]).double())
    assert torch.allclose(norm.running_var.double(), exact, rtol=1e-5) and not norm.running_mean.any()


def test_a_run_that_goes_on_from_batch_norm_begins_with_what_that_computed() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(conv_norm(3, 8), conv_norm(8, 8))
    recalibrate(network, batches(5))
    x = batches(1, seed=3)[0]
    answered, technique = network(x), Mabn(**SHORT)  # type: ignore[arg-type]
    technique.begin(network)
    assert torch.allclose(network(x), answered, rtol=0, atol=1e-5)
    # From the first step on it learns for inference, with no batch's own noise in what it answers.
    answers = network.train()(x)
    assert torch.allclose(answers, answered, rtol=0.2, atol=0.2)
    take_steps(network, 20)
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    again = copy.deepcopy(network).eval()
    technique.finish(again)
    technique.begin(again)
    assert torch.allclose(network.eval()(x), again(x), rtol=0, atol=1e-5)


def test_a_subnet_computes_what_the_supernet_computed_and_its_filters_are_centred() -> None:
    space = LiteAt32(
        widths=(8, 12), strides=(1, 2), depths=(1, 2), stem_width=8, head_width=16, resolutions=(8,)
    ).build(input_channels=3, classes=5)
    torch.manual_seed(0)
    network = ElasticNetwork(space)
    technique = Mabn(**SHORT)  # type: ignore[arg-type]
    technique.check(network)
    technique.begin(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    archs = (space.largest(), space.smallest(), space.middle())
    images = [torch.randn(4, 3, 8, 8) for _ in range(4)]
    for x in images:
        optimizer.zero_grad()
        for arch in archs:
            network.use(arch)
            network(x).square().mean().backward()
        optimizer.step()
    sorted_before = {arch: answers(network, arch, images[0]) for arch in archs[:1]}
    reorder(importance_orders(network, narrowed(space, Phase(name="all", epochs=1))), network.state_dict())
    for arch, before in sorted_before.items():
        assert torch.allclose(answers(network, arch, images[0]), before, rtol=0, atol=1e-5)
    technique.finish(network)
    for arch in archs:
        network.use(arch)
        plain = network.materialize(arch)
        recalibrate(plain, [images[0]])
        with torch.no_grad():
            assert torch.allclose(plain(images[0]), network(images[0]), rtol=0, atol=1e-4)
        for module in plain.modules():
            if isinstance(module, nn.Conv2d) and module.groups == 1:
                assert module.weight.mean((1, 2, 3)).abs().max() < 1e-6
            if isinstance(module, BatchNorm):
                assert module.running_mean is not None and not module.running_mean.any()


@torch.no_grad()
def answers(network: ElasticNetwork, arch: Any, x: Tensor) -> Tensor:
    """Return what a network in training answers by its averages, which this does not move."""
    network.use(arch)
    answered: Tensor = network.eval()(x)
    network.train()
    return answered


@pytest.mark.slow
def test_files_of_a_subnet_hold_the_operators_of_the_plain_network_and_answer_as_it_does(
    home: Home, tmp_path: Path
) -> None:
    told: dict[str, list[Counter[str]]] = {}
    for name, techniques in (("plain", {}), ("mabn", {"mabn": SHORT})):
        folder = ended(run(name=name, techniques=techniques, space=TINY_SPACE), home)
        opened = TrainedRun.open(folder)
        subnet = extract_arch(folder, opened.space.smallest(), home=home)
        program = torch.export.load(home.root / subnet.program)
        told[name] = [Counter(str(node.target) for node in program.graph.nodes)]
        assert {one.rpartition(".")[2] for one in program.state_dict} == {"weight", "bias"}
        for kind in variants.names(FORMATS):
            told[name].append(operators(kind, program, tmp_path / f"{name}.{kind}"))
    assert told["mabn"] == told["plain"]


def operators(kind: str, program: torch.export.ExportedProgram, file: Path) -> Counter[str]:
    """Export, hold the file's answers to the program's, and return how often each operator is in it."""
    try:
        converter = variants.load(Converter, FORMATS, kind)()
    except (MissingExtra, ModuleNotFoundError) as error:
        pytest.skip(str(error))
    converter.convert(program, file)
    inputs = np.random.default_rng(0).standard_normal((3, 1, 8, 8), np.float32)
    answered = predict(file, converter.layout(inputs), runtime=converter.runtime, batch=1)
    assert np.abs(answered - logits_of(program, inputs)).max() <= 1e-4
    if kind == "onnx":
        return Counter(node.op_type for node in onnx.load(str(file)).graph.node)
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(file.read_bytes()))
    return Counter(model.operatorCodes[one.opcodeIndex].builtinCode for one in model.subgraphs[0].operators)


@pytest.mark.parametrize("size", [2, 3])
def test_gradients_of_micro_batches_sum_to_those_of_the_whole(size: int) -> None:
    """Without statistics of a batch, they are the same; `test_each_micro_batch_…` tells of those with."""
    torch.manual_seed(0)
    network = Convnet(resolution=8, widths=(4,), strides=(1,), norm="none").build(channels=3, classes=5)
    inputs, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 5
    found = []
    for training in (Training(), Training(micro_batch_size=size)):
        network.zero_grad()
        result = gather_label_gradients(network, inputs, labels, training=training)
        found.append((result, [parameter.grad for parameter in network.parameters()]))
    (whole, expected), (parts, summed) = found
    assert (parts.right, parts.answers) == (whole.right, whole.answers)
    assert parts.losses == pytest.approx(whole.losses)
    for one, other in zip(expected, summed, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("table", [{"model": CONVNET}, {"space": TINY_SPACE}], ids=["network", "supernet"])
def test_a_step_of_micro_batches_counts_each_of_them(table: dict[str, Any], home: Home) -> None:
    training = {"batch_size": 8, "micro_batch_size": 2, "epoch_steps": 5}
    saved = load_file(ended(run(**table, training=training), home) / CHECKPOINT_FILE)
    counts = [int(saved[name].max()) for name in saved if name.endswith(".batches")]
    networks = 4 if "space" in table else 1
    assert max(counts) == 5 * 4 * networks


@pytest.mark.parametrize("first", ["mabn", "dpf"])
def test_with_dpf_the_deployed_weights_are_sparse_to_the_mask_and_centred(first: str, home: Home) -> None:
    tables: dict[str, Any] = {"mabn": SHORT, "dpf": {"sparsity": 0.7, "refresh_steps": 4}}
    techniques = {name: tables[name] for name in sorted(tables, key=lambda name: name != first)}
    training = {"learning_rate": 0.1, "batch_size": 8}
    opened = TrainedRun.open(ended(run(model=CONVNET, techniques=techniques, training=training), home))
    subnet = opened.cut(opened.space.largest(), home=home)
    assert subnet.technique == "mabn+dpf"
    weights = [opened.network.get_parameter(name) for name in masks.prunable(opened.network)]
    pruned = sum(int((one == 0).sum()) for one in weights) / sum(one.numel() for one in weights)
    assert abs(pruned - 0.7) < 1e-3 and abs(subnet.notes["dpf"]["pruned"] - pruned) < 1e-9
    assert subnet.notes["dpf"]["reactivated"] > 0
    for conv in opened.network.modules():
        if isinstance(conv, nn.Conv2d):
            several = (conv.weight != 0).sum((1, 2, 3)) > 1
            assert several.any() and conv.weight.sum((1, 2, 3))[several].abs().max() < 1e-5
    assert not masked.masks_in(opened.network)


def test_a_supernet_learns_at_batch_2_and_the_shared_layers_have_their_averages(home: Home) -> None:
    folder = ended(run(space=TINY_SPACE, training={"epoch_steps": 60}), home)
    saved = load_file(folder / CHECKPOINT_FILE)
    counted = saved["weights.blocks.0.expand.norm.batches"]
    assert counted.max() == 4 * 60 and counted.min() < counted.max()
    # Of the last steps alone: what was there before them is out of the window.
    assert saved["weights.head.norm.squares"].gt(0).all()
    network = TrainedRun.open(folder).network
    assert not {"MovingAverageNorm"} & set(trained_layers(network))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (
            {"model": {"kind": "mlp", "resolution": 8}},
            "takes the place of batch norms, and the network has none",
        ),
        ({"model": {**CONVNET, "norm": "group", "groups": 4}}, "the network has none"),
        (
            {"model": CONVNET, "training": {"batch_size": 64}},
            "simulated_batch is 8, below the batch of 64: there is nothing to average",
        ),
        (
            {"model": CONVNET, "techniques": {"mabn": {"momentum": 1.5}}},
            "momentum is 1.5; it must be at least 0",
        ),
        (
            {"model": CONVNET, "techniques": {"mabn": {"clip_limit": 0.5}}},
            "clip_limit is 0.5; it must be at least 1",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(tables: dict[str, Any], said: str, home: Home) -> None:
    with pytest.raises(ConfigError, match=said):
        ended(run(**tables), home)
    assert not home.runs.exists()


def test_a_transformer_is_refused_as_it_has_no_batch_norm() -> None:
    model = Encoder(layers=1, width=8, heads=2, length=8)
    network = model.build(model.space(vocabulary=8, outputs=2), pad=0)
    with pytest.raises(ConfigError, match="the network has none"):
        Mabn().check(network)
