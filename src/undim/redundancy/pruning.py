"""What other tasks do about redundancy, as baselines (table 5): pruning and quantisation without fine-tuning.

PC: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015.
IENNP: Li et al., "Pruning Filters for Efficient ConvNets", 2017.
FPGM: He et al., "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration", 2019.
ZeroQ: Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", 2020. It distils the statistics of batch
normalisation into pictures to calibrate with, which restoration networks do not have: here each activation is scaled by
the extremes that it has in the picture itself, so that nothing is calibrated at all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.nn.utils import prune

from undim.arrays import Bytes
from undim.errors import ModelError, UsageError
from undim.nets.dynamic_conv import DynamicKernel
from undim.nets.pog import FrozenPogKernel, PogKernel

_Weighted = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def prune_magnitude(model: nn.Module, fraction: float) -> nn.Module:
    """Copy a network and zero, in every layer, the fraction of its connections with the smallest magnitude (Han 2015).

    The masks are those of `torch.nn.utils.prune`: they survive a reset. Biases and bare parameters are not connections.

    Raises:
        UsageError: for a fraction outside of 0 to 1.
        ModelError: if there is nothing to prune.

    Examples:
        >>> from torch import nn
        >>> from undim.redundancy import prune_magnitude
        >>> pruned = prune_magnitude(nn.Conv2d(8, 8, 3), fraction=0.25)
        >>> int((pruned.weight == 0).sum())  # of 576
        144
    """
    _check(fraction)
    pruned = _copied(model)
    for module in _weighted(pruned):
        prune.l1_unstructured(module, "weight", fraction)
    return pruned


def prune_filters_l1(model: nn.Module, fraction: float = 0.1) -> nn.Module:
    """Copy a network and zero, in every layer, the fraction of its filters with the smallest L1 norm (Li 2017).

    A filter goes with its bias. Layers inside kernel generators have no filters: they stay.

    Raises:
        UsageError, ModelError: as `prune_magnitude`.

    Examples:
        >>> from torch import nn
        >>> from undim.redundancy import prune_filters_l1
        >>> pruned = prune_filters_l1(nn.Conv2d(4, 8, 3), fraction=0.25)
        >>> int((pruned.weight.abs().sum((1, 2, 3)) == 0).sum())  # filters
        2
    """
    return _prune_filters(model, fraction, lambda filters: filters.abs().sum(dim=1))


def prune_filters_median(model: nn.Module, fraction: float = 0.1) -> nn.Module:
    """Copy a network and zero, in every layer, the fraction of its filters nearest to all others (He 2019).

    Those have the smallest sum of Euclidean distances to the other filters, as the geometric median has.

    Raises:
        UsageError, ModelError: as `prune_magnitude`.

    Examples:
        >>> from torch import nn
        >>> from undim.redundancy import prune_filters_median
        >>> pruned = prune_filters_median(nn.Conv2d(4, 8, 3), fraction=0.25)
        >>> int((pruned.weight.abs().sum((1, 2, 3)) == 0).sum())  # filters
        2
    """
    return _prune_filters(model, fraction, lambda filters: torch.cdist(filters, filters).sum(dim=1))


def quantise(model: nn.Module, bits: int) -> nn.Module:
    """Copy a network and round its weights and activations to a number of bits, without any data.

    Weights: symmetric, a scale for each output channel. Inputs of convolutions and linear layers: from the smallest to
    the largest value of each picture, at the time. All is computed in floats that hold the rounded values. A weight
    that a reset draws is not rounded.

    Raises:
        UsageError: for bits outside of 2 to 16.
        ModelError: if there is nothing to quantise.

    Examples:
        >>> from torch import nn
        >>> from undim.redundancy import quantise
        >>> layer = quantise(nn.Conv2d(1, 1, 9), bits=2)
        >>> len(layer.weight.unique()) <= 4
        True
    """
    if not 2 <= bits <= 16:
        raise UsageError(f"Quantisation takes 2 to 16 bits. Got {bits}.")
    quantised = _copied(model)
    with torch.no_grad():
        for module in _weighted(quantised):
            filters = _filters(module)
            scale = filters.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / (2 ** (bits - 1) - 1)
            _set_filters(module, (filters / scale).round() * scale)
            module.register_forward_pre_hook(partial(_round_input, bits))
    return quantised


BASELINES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "PC-0.1": partial(prune_magnitude, fraction=0.1),
    "PC-0.2": partial(prune_magnitude, fraction=0.2),
    "PC-0.3": partial(prune_magnitude, fraction=0.3),
    "IENNP": prune_filters_l1,
    "FPGM": prune_filters_median,
    "8 bit": partial(quantise, bits=8),
    "6 bit": partial(quantise, bits=6),
    "4 bit": partial(quantise, bits=4),
}
"""The rows of table 5; where the paper has ZeroQ there are three widths of data-free quantisation."""


def chroma_error(output: Bytes, reference: Bytes) -> float:
    """Mean over pixels of the distance in the a*b* plane of CIE Lab (D65) between H x W x 3 8-bit RGB pictures.

    Examples:
        >>> import numpy as np
        >>> from undim.redundancy import chroma_error
        >>> grey = np.full((4, 4, 3), 90, np.uint8)
        >>> float(chroma_error(grey, grey))
        0.0
    """
    one, other = (rgb2lab(picture)[..., 1:] for picture in (output, reference))
    return float(np.sqrt(np.square(one - other).sum(axis=-1)).mean())


def _prune_filters(model: nn.Module, fraction: float, importance: Callable[[Tensor], Tensor]) -> nn.Module:
    _check(fraction)
    pruned = _copied(model)
    generators = [
        module for module in pruned.modules() if isinstance(module, PogKernel | FrozenPogKernel | DynamicKernel)
    ]
    inside = {inner for generator in generators for inner in generator.modules()}
    for module in _weighted(pruned):
        filters = _filters(module)
        count = round(fraction * filters.shape[0])
        if module in inside or count == 0:
            continue
        with torch.no_grad():
            weakest = importance(filters).argsort()[:count]
            keep = torch.ones(filters.shape[0], device=filters.device)
            keep[weakest] = 0
        mask = torch.ones_like(_outputs_first(module)) * keep.view(-1, *[1] * (module.weight.ndim - 1))
        prune.custom_from_mask(module, "weight", _outputs_back(module, mask))
        if module.bias is not None:
            prune.custom_from_mask(module, "bias", keep)
    return pruned


def _weighted(model: nn.Module) -> Iterator[_Weighted]:
    """The convolutions and linear layers."""
    found = [module for module in model.modules() if isinstance(module, _Weighted)]
    if not found:
        raise ModelError(f"{type(model).__name__} has no convolution and no linear layer.")
    for module in found:
        if not prune.is_pruned(module):
            yield module


def _copied(model: nn.Module) -> nn.Module:
    # Without gradients: what masks compute is then no part of a graph, and the copy can be copied again.
    return copy.deepcopy(model).eval().requires_grad_(requires_grad=False)


def _outputs_first(module: _Weighted) -> Tensor:
    return module.weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else module.weight


def _outputs_back(module: _Weighted, weight: Tensor) -> Tensor:
    return weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else weight


def _filters(module: _Weighted) -> Tensor:
    """One row for each output channel."""
    return _outputs_first(module).detach().flatten(1)


def _set_filters(module: _Weighted, filters: Tensor) -> None:
    target = _outputs_first(module)
    target.copy_(filters.view_as(target) if target.is_contiguous() else filters.reshape(target.shape))


def _round_input(bits: int, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    values, *others = inputs
    rest = tuple(range(1, values.ndim))
    low, high = values.amin(rest, keepdim=True), values.amax(rest, keepdim=True)
    scale = (high - low).clamp_min(1e-30) / (2**bits - 1)
    return ((values - low) / scale).round() * scale + low, *others


def _check(fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise UsageError(f"The fraction to prune must be from 0 to below 1. Got {fraction}.")
