"""Is the elastic network as exact as once-for-all's own package, and how much faster is it?

The peer is PyPI's `ofa` (`make peers`): the same MobileNetV3 space, the same weights, the same subnets and
images. First the loss and the gradients of random subnets are compared, then one training step (a frozen
teacher in training mode, four random subnets forward and back with distillation and smoothed labels, SGD
with Nesterov momentum), the extraction of a subnet, and the re-estimation of its batch-norm statistics.
Each pair is measured in turns on one batch and one draw of subnets; a ratio is the median of the ratios of
all rounds.

On one thread the clock is the process's CPU time, which other work on the machine does not count towards;
on two it is the wall. The peer's step leaves out its progress bar and its accuracy meters. The bars of the
step are without `keep_freed_memory`, which `edge-bench train` has and the peer's users have not; what it
gives both stands beside them. In single precision gradients differ by up to a hundredth, in double by
1e-8: torch sums what a batch norm of a channels-last map needs less exactly than of a contiguous one. Ours
is what `edge-bench train` does in a phase of progressive shrinking.
"""

from __future__ import annotations

import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
import psutil
import report
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_bench.records import ArchConfig, SearchSpace
from supernet.calibration import recalibrate
from supernet.layers import ElasticConv, ElasticDepthwise
from supernet.memory import keep_freed_memory
from supernet.network import ElasticNetwork
from supernet.optimization import optimizer_of
from supernet.phases import Phase
from supernet.run import Training
from supernet.spaces.mobilenet_v3 import MobilenetV3
from supernet.step import gather_gradients

SIDES_PX = (32, 64)
BATCH, CLASSES, SUBNETS = 32, 10, 4
RATE, WEIGHT_DECAY, SMOOTHING = 0.01, 3e-5, 0.1
SEED = 0
# The stage that opens everything, as progressive shrinking trains it.
PHASE = Phase(name="expand_2", epochs=1, teacher="frozen", random_subnets=SUBNETS, label_weight=1.0)
TRAINING = Training(
    optimizer="sgd",
    learning_rate=RATE,
    momentum=0.9,
    weight_decay=WEIGHT_DECAY,
    label_smoothing=SMOOTHING,
    distillation=1.0,
)
ROUNDS = {"smoke": 2, "cpu": 7, "gpu": 7}
CHECKED = {"smoke": 3, "cpu": 12, "gpu": 12}
EXTRACTIONS = {"smoke": 20, "cpu": 100, "gpu": 100}
AIMS = {
    "training_step": 1.7,
    "loss_difference": 1e-5,
    "extraction_ms": 3,
    "recalibration_ratio": 1.3,
    "variance_error": 0.001,
}
# Load average; this script itself makes 1.
BUSY = 2.5
Clock = Callable[[], float]


def main() -> int:
    options = report.arguments(__doc__)
    sys.path.append(str(report.PEERS))
    if find_spec("ofa") is None or find_spec("torchvision") is None:
        print(f"the peer is not installed; {report.INSTALL_PEERS}")
        return 2
    peer = _Peer()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rounds = ROUNDS[options.size]
    loss, exactness = _exactness(peer, CHECKED[options.size])
    steps = {"1 thread": _steps(peer, rounds, threads=1)}
    kept = keep_freed_memory()
    if options.size != "smoke":
        steps["1 thread, freed memory kept"] = _steps(peer, rounds, threads=1)
        steps["2 threads, freed memory kept"] = _steps_on_two_threads(peer, rounds)
    extraction = _extraction(peer, EXTRACTIONS[options.size])
    calibration = _calibration(peer, rounds)
    figures = {
        "exactness": exactness,
        "training_step": steps,
        "extraction": extraction,
        "recalibration": calibration,
        "aims": AIMS,
    }
    bars = [
        *(
            report.Bar(
                name=f"training step at {side} px against ofa, one thread",
                floor=1.3,
                figure=steps["1 thread"][f"{side} px"]["ratio"],
                unit="×",
            )
            for side in SIDES_PX
        ),
        _most("loss on the same weights and batch, difference from ofa's", 1e-4, loss, ""),
        _most("extraction of a subnet", 10, extraction["ours_ms"], "ms"),
        _most("recalibration ÷ plain evaluation", 1.5, calibration["ours"]["ratio"], "×"),
        _most("calibrated variance, mean error", 0.001, calibration["ours"]["variance_error"], ""),
    ]
    return report.write(
        "once_for_all_speed",
        options.size,
        figures,
        bars,
        seed=SEED,
        batch=BATCH,
        subnets_per_step=SUBNETS,
        rounds=rounds,
        freed_memory_kept=kept,
        peer={"ofa": metadata.version("ofa"), "torchvision": metadata.version("torchvision")},
    )


def _most(name: str, floor: float, figure: float, unit: str) -> report.Bar:
    return report.Bar(name=name, floor=floor, figure=figure, unit=unit, at_most=True)


class _Peer:
    """The parts of `ofa` that are measured, imported beside a torch they were not made for."""

    def __init__(self) -> None:
        # Its data loader asks for a module that torch 2 dropped, and torchvision's binary part does
        # not load beside every build of torch. Neither is used here.
        six = types.ModuleType("torch._six")
        vars(six)["string_classes"] = (str, bytes)
        sys.modules["torch._six"] = six
        try:
            import torchvision  # noqa: F401
        except RuntimeError:
            for name in [name for name in sys.modules if name.startswith("torchvision")]:
                del sys.modules[name]
            self.operators = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                self.operators.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        from ofa import utils
        from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
        from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

        self.utils, self.recalibrate, self._build = utils, set_running_statistics, OFAMobileNetV3
        # Its losses leave the axis of a softmax to be guessed.
        warnings.filterwarnings("ignore", message="Implicit dimension choice")

    def network(self, weights: ElasticNetwork) -> Any:
        """Return its network with the weights of ours, in training mode and without dropout."""
        network = self._build(
            n_classes=CLASSES,
            dropout_rate=0.0,
            ks_list=[3, 5, 7],
            expand_ratio_list=[3, 4, 6],
            depth_list=[2, 3, 4],
        )
        pairs = list(_paired(weights, network))
        assert len(pairs) == len(list(network.parameters()))
        with torch.no_grad():
            for ours, theirs in pairs:
                theirs.copy_(ours.reshape(theirs.shape))
            weights.features.bias.zero_()  # It has none.
        return network.train()

    def use(self, network: Any, arch: ArchConfig) -> None:
        places = len(network.blocks) - 1
        kernels, expands = [3] * places, [3] * places
        depths = [0] * len(network.block_group_info)
        for block in arch.blocks:
            kernels[block.source], expands[block.source] = block.kernel, block.expand
            depths[block.source * len(depths) // places] += 1
        network.set_active_subnet(ks=kernels, e=expands, d=depths)

    def optimizer(self, network: Any) -> torch.optim.Optimizer:
        spared = ["bn", "bias"]
        groups = [network.get_parameters(spared, mode=mode) for mode in ("exclude", "include")]
        options = {"momentum": 0.9, "nesterov": True}
        optimizer: torch.optim.Optimizer = self.utils.build_optimizer(
            groups, "sgd", options, RATE, WEIGHT_DECAY, "bn#bias"
        )
        return optimizer

    def gradients(
        self, network: Any, teacher: Any, archs: Iterable[ArchConfig], inputs: Tensor, labels: Tensor
    ) -> list[float]:
        """Do what its training loop does in a step, short of the optimizer; return the losses."""
        with torch.no_grad():
            answers = F.softmax(teacher(inputs).detach(), dim=1)
        network.zero_grad()
        losses = []
        for arch in archs:
            self.use(network, arch)
            logits = network(inputs)
            loss = 1.0 * self.utils.cross_entropy_loss_with_soft_target(logits, answers)
            loss = loss + self.utils.cross_entropy_with_label_smoothing(logits, labels, SMOOTHING)
            loss.backward()
            losses.append(loss)
        return [float(loss.detach()) for loss in losses]


def _paired(ours: ElasticNetwork, theirs: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair each parameter of ours with the peer's; all but the bias of ours that it has not."""

    def layer(elastic: nn.Module, conv: nn.Module, norm: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(elastic, ElasticConv | ElasticDepthwise)
        yield elastic.weight, conv.weight
        yield elastic.norm.weight, norm.weight
        yield elastic.norm.bias, norm.bias

    yield from layer(ours.stem, theirs.first_conv.conv, theirs.first_conv.bn)
    first = theirs.blocks[0].conv
    yield from layer(ours.stem_depthwise, first.depth_conv.conv, first.depth_conv.bn)
    yield from layer(ours.stem_project, first.point_linear.conv, first.point_linear.bn)
    for block, other in zip(ours.blocks, theirs.blocks[1:], strict=True):
        parts = other.conv
        yield from layer(block.expand, parts.inverted_bottleneck.conv.conv, parts.inverted_bottleneck.bn.bn)
        depthwise = parts.depth_conv.conv
        yield from layer(block.depthwise, depthwise.conv, parts.depth_conv.bn.bn)
        for name, matrix in block.depthwise.transforms.items():
            yield matrix, getattr(depthwise, f"{name}_matrix")
        if block.squeeze is not None:
            for name in ("reduce", "expand"):
                mine, its = getattr(block.squeeze, name), getattr(parts.depth_conv.se.fc, name)
                yield mine.weight, its.weight
                yield mine.bias, its.bias
        yield from layer(block.project, parts.point_linear.conv.conv, parts.point_linear.bn.bn)
    yield from layer(ours.head, theirs.final_expand_layer.conv, theirs.final_expand_layer.bn)
    yield ours.features.weight, theirs.feature_mix_layer.conv.weight
    yield ours.classifier.weight, theirs.classifier.linear.weight
    yield ours.classifier.bias, theirs.classifier.linear.bias


def _space() -> SearchSpace:
    return MobilenetV3(resolutions=SIDES_PX).build(input_channels=3, classes=CLASSES)


def _network() -> ElasticNetwork:
    """Ours, random, and with no scale one, no shift zero and no kernel transform the identity."""
    network = ElasticNetwork(_space())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter) * parameter.abs().mean().clamp(min=0.1)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _batch(side: int, images: int = BATCH) -> tuple[Tensor, Tensor]:
    """Images of varied brightness and contrast, and labels."""
    contrast, brightness = 0.5 + torch.rand(images, 1, 1, 1), torch.randn(images, 1, 1, 1)
    return contrast * torch.randn(images, 3, side, side) + brightness, torch.randint(CLASSES, (images,))


def _exactness(peer: _Peer, count: int) -> tuple[float, dict[str, Any]]:
    """Return the largest difference in loss, and figures: differences in single and double precision."""
    figures = {}
    for precision in (torch.float32, torch.float64):
        torch.set_default_dtype(precision)
        generator = np.random.default_rng(SEED)
        network, teacher = _network(), _network()
        its, its_teacher = peer.network(network), peer.network(teacher)
        losses, gradients = [], []
        for number in range(count):
            inputs, labels = _batch(SIDES_PX[number % len(SIDES_PX)])
            arch = _space().sample(generator)
            network.zero_grad()
            mine = gather_gradients(
                network, [arch], inputs, labels, phase=PHASE, training=TRAINING, frozen=teacher
            )
            other = peer.gradients(its, its_teacher, [arch], inputs, labels)
            losses.append(abs(mine.losses[0] - other[0]))
            gradients.append(_gradient_difference(network, its))
        figures[str(precision).removeprefix("torch.")] = {
            "subnets": count,
            "loss_difference": max(losses),
            "gradient_difference": max(gradients),
        }
    torch.set_default_dtype(torch.float32)
    return figures["float32"]["loss_difference"], figures


def _gradient_difference(network: ElasticNetwork, its: Any) -> float:
    """Return the norm of the difference of all gradients, relative to that of the peer's."""
    difference = norm = 0.0
    for ours, theirs in _paired(network, its):
        zero = torch.zeros_like(theirs)
        mine = zero if ours.grad is None else ours.grad.reshape(theirs.shape)
        other = zero if theirs.grad is None else theirs.grad
        difference += float((mine - other).square().sum())
        norm += float(other.square().sum())
    return float((difference / norm) ** 0.5)


@dataclass
class _Sides:
    """Times of both sides of each round, in seconds."""

    ours: list[float]
    theirs: list[float]

    def figures(self, images: int) -> dict[str, Any]:
        ratios = sorted(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True))
        return {
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "ours_images_per_second": images / statistics.median(self.ours),
            "ofa_images_per_second": images / statistics.median(self.theirs),
        }


def _steps(peer: _Peer, rounds: int, *, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    figures = {f"{side} px": _step(peer, rounds, side=side, threads=threads) for side in SIDES_PX}
    torch.set_num_threads(1)
    return figures


def _steps_on_two_threads(peer: _Peer, rounds: int) -> dict[str, Any]:
    """On a busy machine threads wait for each other's turn, and the wall says nothing of either side."""
    load = psutil.getloadavg()[0]
    if load > BUSY:
        return {"not measured": f"load average {load:.1f} on {psutil.cpu_count()} cores"}
    return _steps(peer, rounds, threads=2)


def _step(peer: _Peer, rounds: int, *, side: int, threads: int) -> dict[str, Any]:
    clock = time.process_time if threads == 1 else time.perf_counter
    space, generator = _space(), np.random.default_rng(SEED)
    network, teacher = _network(), _network()
    its, its_teacher = peer.network(network), peer.network(teacher)
    optimizer, its_optimizer = optimizer_of(network, TRAINING), peer.optimizer(its)
    sides = _Sides([], [])
    for number in range(rounds + 1):
        archs = [space.sample(generator) for _ in range(SUBNETS)]
        inputs, labels = _batch(side)

        def step(archs=archs, inputs=inputs, labels=labels) -> None:  # type: ignore[no-untyped-def]
            optimizer.zero_grad(set_to_none=True)
            gather_gradients(network, archs, inputs, labels, phase=PHASE, training=TRAINING, frozen=teacher)
            optimizer.step()

        def its_step(archs=archs, inputs=inputs, labels=labels) -> None:  # type: ignore[no-untyped-def]
            peer.gradients(its, its_teacher, archs, inputs, labels)
            its_optimizer.step()

        seconds = {run: _timed(run, clock) for run in _turns((step, its_step), number)}
        if number:  # The first round warms up.
            sides.ours.append(seconds[step])
            sides.theirs.append(seconds[its_step])
    figures = sides.figures(BATCH)
    print(f"step, {threads} thread(s), {side} px: {figures['ratio']:.2f} ×")
    return figures


def _extraction(peer: _Peer, count: int) -> dict[str, float]:
    space, generator = _space(), np.random.default_rng(SEED)
    network = _network()
    its = peer.network(network)
    ours, theirs = [], []
    for number in range(count):
        arch = space.sample(generator)
        peer.use(its, arch)
        runs = (lambda arch=arch: network.materialize(arch), its.get_active_subnet)
        seconds = {run: _timed(run, time.process_time) for run in _turns(runs, number)}
        ours.append(seconds[runs[0]])
        theirs.append(seconds[runs[1]])
    return {
        "ours_ms": 1e3 * statistics.median(ours),
        "ofa_ms": 1e3 * statistics.median(theirs),
        "ours_first_ms": 1e3 * ours[0],
        "subnets": count,
    }


def _calibration(peer: _Peer, rounds: int) -> dict[str, Any]:
    """Recalibration on 4 batches, over an evaluation of the same subnet on the same 4 batches."""
    space, generator = _space(), np.random.default_rng(SEED)
    network = _network()
    its = peer.network(network).eval()
    ratios: tuple[list[float], list[float]] = ([], [])
    errors: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        arch = space.sample(generator)
        batches = [_batch(SIDES_PX[-1])[0] for _ in range(4)]
        plain = network.materialize(arch).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        peer.use(its, arch)
        loader = [(batch, None) for batch in batches]
        recalibrations: dict[Callable[[], None], nn.Module] = {
            lambda plain=plain, batches=batches: recalibrate(plain, batches): plain,  # type: ignore[misc]
            lambda loader=loader: peer.recalibrate(its, loader): its,  # type: ignore[misc]
        }
        places = dict(zip(recalibrations, range(2), strict=True))
        for run in _turns(tuple(recalibrations), number):
            judged = recalibrations[run]
            seconds = _timed(run, time.process_time)
            passed = _timed(
                lambda judged=judged, batches=batches: _evaluate(judged, batches), time.process_time
            )
            if number:
                ratios[places[run]].append(seconds / passed)
        for (run, judged), found in zip(recalibrations.items(), errors, strict=True):
            found.append(_variance_error(run, judged))
    return {
        name: {"ratio": statistics.median(measured), "variance_error": statistics.mean(found)}
        for name, measured, found in zip(("ours", "ofa"), ratios, errors, strict=True)
    }


@torch.inference_mode()
def _evaluate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    for batch in batches:
        network(batch)


def _variance_error(recalibration: Callable[[], None], network: nn.Module) -> float:
    """Recalibrate once more, looking at each batch norm's inputs; return the mean relative error.

    The truth is the variance of all values that the norm was given, in double precision.
    """
    seen: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.setdefault(name, []).append(inputs[0].transpose(0, 1).flatten(1))

        return see

    norms = {name: norm for name, norm in network.named_modules() if isinstance(norm, nn.BatchNorm2d)}
    hooks = [norm.register_forward_pre_hook(watch(name)) for name, norm in norms.items()]
    recalibration()
    for hook in hooks:
        hook.remove()
    errors = []
    for name, inputs in seen.items():
        exact = torch.cat(inputs, 1).double().var(1, unbiased=False)
        found = norms[name].running_var
        assert found is not None
        errors.append(float((found[: len(exact)] / exact - 1).abs().mean()))
    return statistics.mean(errors)


def _turns(runs: tuple[Any, ...], number: int) -> tuple[Any, ...]:
    """Who goes first changes from round to round."""
    return runs if number % 2 else runs[::-1]


def _timed(run: Callable[[], object], clock: Clock) -> float:
    begun = clock()
    result = run()
    seconds = clock() - begun
    del result  # What it takes to give its memory back is not counted.
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
