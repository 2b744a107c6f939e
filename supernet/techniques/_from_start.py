"""What techniques share that hold a network near the weights it begins with: which those are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from edge_bench.errors import ConfigError
from supernet.models import TextNetwork
from supernet.techniques import Technique

if TYPE_CHECKING:
    from supernet.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class FromStart(Technique):
    """For runs that begin with trained weights: `[start]`, or a `[model]` that is pretrained. Layers that
    are new in a pretrained network, such as its classifier, have none, and are left as they are.
    """

    tasks: ClassVar[tuple[str, ...]] = (
        "image_classification",
        "text_classification",
        "language_modelling",
        "translation",
    )

    excludes: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "lottery_ticket": "a ticket begins with weights of its own ladder, not with those of [start]",
            "network_deconvolution": "it changes the weights that a run begins with, for other inputs",
        }
    )

    @property
    def table(self) -> str:
        """The run file's table, for messages."""
        return f"[techniques.{type(self).__module__.rpartition('.')[2]}]"

    def check_run(self, run: RunConfig) -> None:
        if run.start or (run.model and run.open_model().pretrained):
            return
        begins = (
            "the elastic network of a [space]" if run.elastic else f"[model] kind '{run.model['kind']}'"
        )
        raise ConfigError(
            f"{self.table} holds a network near the trained weights it begins with, but {begins} begins "
            "with random ones",
            hint="train without it first, then name that run in [start] (keep: one of its subnets), or "
            'take a [model] of kind "pretrained"',
        )


def trained_modules(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a network but those in its new layers."""
    fresh = network.fresh if isinstance(network, TextNetwork) else ()
    for name, module in network.named_modules():
        if not any(name == one or name.startswith(f"{one}.") for one in fresh):
            yield module
