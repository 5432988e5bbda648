"""Hidden channels: those inside a layer that nothing outside sees, so that each layer can do with a number of its own.

A layer declares which of its convolutions make, pass on and read them. From that follow a network with fewer
(`create_model(name, hidden={"encoder1.0": 8})`), how much each channel matters, and the same weights without some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from undim.errors import ModelError, suggest


@dataclass(frozen=True)
class HiddenConv:
    """How one convolution of a layer touches the hidden channels."""

    path: str
    """Inside the layer."""
    role: Literal["makes", "passes", "reads"]
    """They are its output; both, one by one (depth-wise); its input."""
    times: int = 1
    """How often they lie one after another, as where one half gates the other."""

    @property
    def axis(self) -> int:
        """The axis of the kernel, Cout x Cin/groups x k x k, along which they lie."""
        return 1 if self.role == "reads" else 0


class HiddenLayer(nn.Module):
    """Base of layers with hidden channels."""

    hidden_convs: ClassVar[tuple[HiddenConv, ...]]
    """All convolutions that touch them."""

    @property
    def hidden(self) -> int:
        """How many there are."""
        conv, module = next(self._hidden_convs())
        return module.weight.shape[conv.axis] // conv.times

    def hidden_energy(self) -> Tensor:
        """How much each hidden channel can contribute: the product of its kernels' squared norms, hidden numbers."""
        energy = torch.ones(self.hidden)
        for conv, module in self._hidden_convs():
            kernels = module.weight.detach().float().cpu().movedim(conv.axis, 0).flatten(1)
            energy = energy * kernels.square().sum(1).view(conv.times, -1).sum(0)
        return energy

    @torch.no_grad()
    def keep_hidden(self, channels: Sequence[int]) -> None:
        """Drop all hidden channels but these, in place; the others' weights stay.

        Args:
            channels: their numbers, from 0 to `hidden` - 1, at least one.
        """
        total = self.hidden
        for conv, module in self._hidden_convs():
            kept = torch.tensor([time * total + channel for time in range(conv.times) for channel in channels])
            kept = kept.to(module.weight.device)
            module.weight = nn.Parameter(module.weight.index_select(conv.axis, kept), module.weight.requires_grad)
            if conv.role == "reads":
                module.in_channels = len(kept)
                continue
            if module.bias is not None:
                module.bias = nn.Parameter(module.bias.index_select(0, kept), module.bias.requires_grad)
            module.out_channels = len(kept)
            if conv.role == "passes":
                module.in_channels = module.groups = len(kept)

    def _hidden_convs(self) -> Iterator[tuple[HiddenConv, nn.Conv2d]]:
        for conv in self.hidden_convs:
            module = self.get_submodule(conv.path)
            if not isinstance(module, nn.Conv2d):
                raise ModelError(f"{conv.path} is not a plain convolution any more: its hidden channels cannot change.")
            yield conv, module


def hidden_layers(model: nn.Module) -> dict[str, HiddenLayer]:
    """The layers with hidden channels by their module paths, but for those whose convolutions were replaced."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, HiddenLayer)
        and all(isinstance(module.get_submodule(conv.path), nn.Conv2d) for conv in module.hidden_convs)
    }


@torch.no_grad()
def narrow(model: nn.Module, hidden: Mapping[str, int]) -> None:
    """Give freshly made layers fewer hidden channels, in place, with weights as if they had been made so.

    Args:
        model: with the weights that its constructor drew.
        hidden: module path -> number of hidden channels, from 1 to what the layer has.

    Raises:
        ModelError: for a path that is not such a layer, or a number out of range; the model is then as it was.
    """
    known = hidden_layers(model)
    for name, count in hidden.items():
        if name not in known:
            raise ModelError(f"{name!r} has no hidden channels.{suggest(name, known)} Those that have: {list(known)}.")
        if not isinstance(count, int) or not 1 <= count <= known[name].hidden:
            raise ModelError(f"{name} has {known[name].hidden} hidden channels: 1 to as many can stay. Got {count!r}.")
    for name, count in hidden.items():
        layer = known[name]
        growth = (layer.hidden / count) ** 0.5
        layer.keep_hidden(range(count))
        for conv in layer.hidden_convs:
            if conv.role == "reads":  # the range that convolutions draw from shrinks with the root of what they read
                for parameter in layer.get_submodule(conv.path).parameters(recurse=False):
                    parameter.mul_(growth)
