"""Multiply-adds of a network, counted by the rules behind the published figures.

What is counted are the mathematical operators of the network that is trained, not the kernels that happen to run:
batched or fused products count as the products they are, and a frozen POG generator counts as if it were not frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from undim.errors import ModelError
from undim.nets.adr import Adr
from undim.nets.backbone import FlopsRule
from undim.nets.dynamic_conv import GeneratedConv2d
from undim.nets.pog import FrozenPogKernel

GIGA = 2**30
"""Published "G" of multiply-adds: the paper divides by 2^30."""


class OperatorCount(TorchFunctionMode):
    """Counts multiply-adds of what runs inside the context: the rule "fvcore".

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
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:  # noqa: ANN401 - as the base class has it
        super().__exit__(*exception)
        self._products.__exit__(*exception)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401, ARG002 - as the base class has it
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - as the base class has it
        # Seen here and not below: pooling to one pixel runs as a mean.
        if func is F.adaptive_avg_pool2d:
            self._other += args[0].numel()
        return func(*args, **(kwargs or {}))


def _conv(layer: nn.Module, _inputs: Tensor, output: Tensor) -> int:
    # Transposed convolutions count in_channels k^2 for each *output* element too, stride^2 times what they compute.
    channels, *kernel = layer.in_channels // layer.groups, *layer.kernel_size  # type: ignore[operator,misc]  # a convolution
    return output.numel() * channels * kernel[0] * kernel[1]


MODULE_RULES: dict[type[nn.Module], Callable[[Any, Tensor, Tensor], int]] = {
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _conv,
    nn.Linear: lambda layer, _, output: output.numel() * layer.in_features,
    nn.LayerNorm: lambda layer, inputs, _: inputs.numel() * (4 if layer.elementwise_affine else 2),
    nn.PReLU: lambda _layer, inputs, _: inputs.numel(),
    nn.UpsamplingBilinear2d: lambda _layer, _inputs, output: 11 * output.numel(),
}
"""The rule "thop" (thop 0.1.1): what each module type counts, from its input and output. Functional calls, among them
the matrix products of attention, count nothing."""


def count_flops(model: nn.Module, size: int = 256, rule: FlopsRule = "fvcore") -> int:
    """Count the multiply-adds of one 1 x 3 x size x size picture. Divide by `GIGA` for the paper's G.

    Nothing is computed: parameters and picture are replaced by shapes.

    Args:
        model: a backbone or any network that maps N x 3 x H x W.
        size: height and width in pixels.
        rule: "fvcore" counts operators (see `OperatorCount`); "thop" counts modules (see `MODULE_RULES`) and, as thop
            knows no generated kernels, the operators inside ADR and generated convolutions. A backbone's `flops_rule`
            says which of them its published figure follows.

    Raises:
        ModelError: for another rule.
    """
    if rule not in ("fvcore", "thop"):
        raise ModelError(f"The counting rule must be 'fvcore' or 'thop'. Got {rule!r}.")
    operators = OperatorCount()
    counted = 0

    def count_module(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        counted += MODULE_RULES[type(layer)](layer, inputs[0], output)

    def start_generated(_layer: nn.Module, _inputs: object) -> None:
        nonlocal counted
        counted -= operators.total

    def end_generated(_layer: nn.Module, _inputs: object, _output: object) -> None:
        nonlocal counted
        counted += operators.total

    generated = [module for module in model.modules() if isinstance(module, Adr | GeneratedConv2d)]
    inside = {inner for module in generated for inner in module.modules()}
    handles = [
        module.register_forward_hook(operators.add_unfrozen)
        for module in model.modules()
        if isinstance(module, FrozenPogKernel)
    ]
    if rule == "thop":
        handles += [
            module.register_forward_hook(count_module)
            for module in model.modules()
            if type(module) in MODULE_RULES and module not in inside
        ]
        for module in generated:
            handles.append(module.register_forward_pre_hook(start_generated))
            handles.append(module.register_forward_hook(end_generated))
    shapes = {
        name: tensor.detach().to("meta")
        for tensors in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
        for name, tensor in tensors
    }
    try:
        with torch.no_grad(), operators:
            torch.func.functional_call(model, shapes, torch.empty(1, 3, size, size, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return counted if rule == "thop" else operators.total
