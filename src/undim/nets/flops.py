"""Multiply-adds of a network, counted by the rules behind the published figures.

What is counted are the mathematical operators of the network that is trained, not the kernels that happen to run:
batched or fused products count as the products they are, and a frozen POG generator counts as if it were not frozen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.hooks import RemovableHandle

from undim.errors import ModelError
from undim.nets.adr import Adr
from undim.nets.backbone import Backbone, FlopsRule
from undim.nets.dynamic_conv import GeneratedConv2d
from undim.nets.pog import FrozenPogKernel

GIGA = 2**30
"""Published "G" of multiply-adds: the paper divides by 2^30."""


class OperatorCount(TorchFunctionMode):
    """Counts multiply-adds of the operators that run inside the context.

    Convolutions, linear layers and matrix products count their multiply-adds, adaptive average pooling one per input
    element. Normalisation, activations, softmax, resampling and element-wise work count nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._products = FlopCounterMode(display=False)
        self._other = 0

    @property
    def total(self) -> int:
        """Multiply-adds so far."""
        return int(self._products.get_total_flops()) // 2 + self._other

    def add_unfrozen(self, kernel: nn.Module, _inputs: object, _output: object) -> None:
        """Forward hook of a frozen POG generator: the product M1 n_i that the trained network computes each time."""
        if isinstance(kernel, FrozenPogKernel):
            self._other += kernel.weights * kernel.m1.weight.numel()

    def __enter__(self) -> OperatorCount:
        self._products.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]  # untyped in torch
        return self

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]  # untyped in torch
        self._products.__exit__(*exception)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        # Seen here and not below: pooling to one pixel runs as a mean.
        if func is F.adaptive_avg_pool2d:
            self._other += args[0].numel()
        return func(*args, **(kwargs or {}))


def _dense(layer: nn.Conv2d | nn.ConvTranspose2d, _inputs: Tensor, output: Tensor) -> int:
    return output.numel() * (layer.in_channels // layer.groups) * math.prod(layer.kernel_size)


LAYER_RULES: dict[FlopsRule, dict[type[nn.Module], Callable[[Any, Tensor, Tensor], int]]] = {
    # Beside the operators. Only `nn.LayerNorm` itself: Restormer's and CIDNet's own normalisations count nothing.
    "fvcore": {
        nn.LayerNorm: lambda layer, inputs, _: inputs.numel() * (5 if layer.elementwise_affine else 4),
        nn.UpsamplingBilinear2d: lambda _layer, _inputs, output: 4 * output.numel(),
    },
    # Instead of the operators: functional calls, among them the products of attention, count nothing, and transposed
    # convolutions stride^2 times what they compute.
    "thop": {
        nn.Conv2d: _dense,
        nn.ConvTranspose2d: _dense,
        nn.Linear: lambda layer, _, output: output.numel() * layer.in_features,
        nn.LayerNorm: lambda layer, inputs, _: inputs.numel() * (4 if layer.elementwise_affine else 2),
        nn.PReLU: lambda _layer, inputs, _: inputs.numel(),
        nn.UpsamplingBilinear2d: lambda _layer, _inputs, output: 11 * output.numel(),
    },
}
"""What each rule counts for a layer, from its input and output (fvcore 0.1.5, thop 0.1.1)."""


def count_flops(model: nn.Module, size: int = 256, rule: FlopsRule = "fvcore") -> int:
    """Count the multiply-adds of one 1 x 3 x size x size picture. Divide by `GIGA` for the paper's G.

    Nothing is computed: parameters and picture are replaced by shapes.

    Args:
        model: a backbone or any network that maps N x 3 x H x W.
        size: height and width in pixels.
        rule: "fvcore" counts the operators whose results are read (see `OperatorCount`), and a few layers of
            `LAYER_RULES`; "thop" counts layers by `LAYER_RULES` and, as it knows no generated kernels, the operators
            inside ADR and generated convolutions. A backbone's `flops_rule` says which its published figure follows.

    Raises:
        ModelError: for another rule.

    Examples:
        >>> from undim.nets import count_flops, create_model
        >>> model = create_model("candela_tiny")
        >>> count_flops(model, 32) < count_flops(model, 64)  # multiply-adds of one picture of 64 x 64
        True
    """
    if rule not in LAYER_RULES:
        raise ModelError(f"The counting rule must be 'fvcore' or 'thop'. Got {rule!r}.")
    operators = OperatorCount()
    layers = LAYER_RULES[rule]
    counted = 0

    def count_layer(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        counted += layers[type(layer)](layer, inputs[0], output)

    def count_operators(module: nn.Module, sign: int) -> list[RemovableHandle]:
        def start(_module: nn.Module, _inputs: object) -> None:
            nonlocal counted
            counted -= sign * operators.total

        def end(_module: nn.Module, _inputs: object, _output: object) -> None:
            nonlocal counted
            counted += sign * operators.total

        return [module.register_forward_pre_hook(start), module.register_forward_hook(end)]

    tensors = itertools.chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    )
    shapes = {name: tensor.detach().to("meta") for name, tensor in tensors}
    handles: list[RemovableHandle] = []
    apart: list[nn.Module]
    try:
        if rule == "thop":
            apart = [module for module in model.modules() if isinstance(module, Adr | GeneratedConv2d)]
            for module in apart:
                handles += count_operators(module, 1)
        else:
            apart = [model.get_submodule(name) for name in model.unread] if isinstance(model, Backbone) else []
            handles += count_operators(model, 1)
            for module in apart:
                handles += count_operators(module, -1)
        inside = {inner for module in apart for inner in module.modules()}
        for module in model.modules():
            if type(module) in layers and module not in inside:
                handles.append(module.register_forward_hook(count_layer))
            if isinstance(module, FrozenPogKernel):
                handles.append(module.register_forward_hook(operators.add_unfrozen))
        with torch.no_grad(), operators:
            torch.func.functional_call(model, shapes, torch.empty(1, 3, size, size, device="meta"), tie_weights=False)
    finally:
        for handle in handles:
            handle.remove()
    return counted
