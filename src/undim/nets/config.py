"""What a network is made of: the one description from which recipes and the headers of files of weights are made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from undim.errors import ModelError, UndimError
from undim.nets.adr import KernelKind, Where, add_adr, replace_convs
from undim.nets.backbone import Backbone
from undim.nets.pog import Basis, Mixing
from undim.nets.registry import create_model


@dataclass(frozen=True)
class AdrConfig:
    """The arguments of `undim.nets.add_adr` that say what the network computes; how it starts is not among them."""

    kernel: KernelKind = "pog"
    where: Where = "decoder"
    bottleneck: int | None = None
    """Dm; `None` is the backbone's published value."""
    embedding: int = 64
    kernel_size: int = 1
    reflections: int = 1
    basis: Basis = "householder"
    mixing: Mixing = "softmax"


@dataclass(frozen=True)
class ConvsConfig:
    """The arguments of `undim.nets.replace_convs`."""

    kernel: Literal["dynamic", "pog"] = "dynamic"
    where: str = ".*"
    embedding: int = 64


@dataclass(frozen=True)
class NetworkSpec:
    """A network without its weights."""

    architecture: str
    """A name of `undim.nets.list_models()`."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Constructor arguments that replace the variant's own; values that JSON can hold."""
    adr: AdrConfig | None = None
    convs: ConvsConfig | None = field(default=None, kw_only=True)
    """Which of the network's own convolutions are generated."""

    def build(self, *, identity: bool = False, balanced: bool = False) -> Backbone:
        """The network with random weights.

        Args:
            identity: how ADR starts, see `undim.nets.add_adr`.
            balanced: likewise.

        Raises:
            ModelError: for an unknown architecture or settings that it does not have.
            ShapeError: for sizes of ADR that do not fit.
        """
        try:
            model = create_model(self.architecture, **self.overrides)
            if self.convs is not None:
                replace_convs(model, self.convs.kernel, where=self.convs.where, embedding=self.convs.embedding)
            if self.adr is not None:
                add_adr(model, **dataclasses.asdict(self.adr), identity=identity, balanced=balanced)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, UndimError):
                raise
            raise ModelError(f"{self.architecture} cannot be built with {self.overrides}: {error}") from error
        return model
