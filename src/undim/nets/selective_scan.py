"""The selective scan of state space models, in bounded memory and without an extension in C.

Paper: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, equation 2 and section 3.3.

The sequence is cut into K chunks of c steps. All chunks advance together, so that c steps of Python do the work of
K c, and only their states are held. What a chunk starts with is known once its forerunners have run from zero, as a
state decays over a chunk by exp(A sum of its steps), which needs no product of decays. So two passes of c steps, and a
third and a fourth for the gradients, with the states of one stretch of chunks held at a time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

STRETCH_STATES = 2**22
"""Most numbers that the states of one stretch hold in the backward pass: 16 MB of float32, for each of a few."""
CHUNK = 64
"""Most steps of a chunk: the loops in Python are so long, whatever the sequence."""


def selective_scan(inputs: Tensor, steps: Tensor, decay: Tensor, to_state: Tensor, from_state: Tensor) -> Tensor:
    """Run h_t = exp(d_t A) h_(t-1) + d_t u_t B_t, y_t = C_t h_t along a sequence, h_0 being zero.

    G groups (directions) of D channels run beside each other; each channel has a state of n numbers.

    Args:
        inputs: u, B x G x D x L.
        steps: d, of the same shape, not negative.
        decay: A, G x D x n, negative.
        to_state: B, B x G x n x L.
        from_state: C, B x G x n x L.

    Returns:
        y, B x G x D x L. With CUDA tensors in float32 the kernel of `mamba_ssm` is used where it is installed.
    """
    if inputs.is_meta:  # for counting: the scan holds no products that the published figures count
        return torch.empty_like(inputs)
    kernel = _find_kernel() if inputs.is_cuda and inputs.dtype == torch.float32 else None
    if kernel is not None:
        return _by_kernel(kernel, inputs, steps, decay, to_state, from_state)
    scanned: Tensor = _Scan.apply(inputs, steps, decay, to_state, from_state)  # type: ignore[no-untyped-call]  # of torch
    return scanned


@cache
def _find_kernel() -> Callable[..., Tensor] | None:
    """`mamba_ssm`'s scan, if it is there and fits this PyTorch."""
    try:
        module = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    except ImportError:
        return None
    kernel: Callable[..., Tensor] = module.selective_scan_fn
    return kernel


def _by_kernel(
    kernel: Callable[..., Tensor], inputs: Tensor, steps: Tensor, decay: Tensor, to_state: Tensor, from_state: Tensor
) -> Tensor:
    """The kernel takes groups and channels as one axis."""
    flat = kernel(
        inputs.flatten(1, 2).contiguous(),
        steps.flatten(1, 2).contiguous(),
        decay.flatten(0, 1).contiguous(),
        to_state.contiguous(),
        from_state.contiguous(),
    )
    return flat.view_as(inputs)


@dataclass
class _Stretch:
    """Some chunks of a sequence: K of c steps for each of B pictures, M = B K beside each other.

    Steps come first and chunks last, where the arithmetic runs fastest: inputs and steps c x G x 1 x D x M, B and C
    c x G x n x 1 x M. States are G x n x D x M, A is G x n x D x 1.
    """

    decay: Tensor
    """A."""
    start: Tensor
    """The state that the stretch begins with, G x n x D x B."""
    inputs: Tensor
    steps: Tensor
    to_state: Tensor
    from_state: Tensor

    @cached_property
    def kept(self) -> tuple[Tensor, ...]:
        """What is left of a state after each of the c steps, G x n x D x M: the dearest part, so it is made once."""
        return (self.steps * self.decay).exp_().unbind()

    @cached_property
    def driven(self) -> tuple[Tensor, ...]:
        """What drives the state in each of the c steps, d u, G x 1 x D x M."""
        return (self.steps * self.inputs).unbind()

    @cached_property
    def decays(self) -> Tensor:
        """What is left of a state after each chunk: G x n x D x M."""
        return torch.exp(self.steps.sum(0) * self.decay)

    def advance(self, state: Tensor, step: int) -> Tensor:
        """The states G x n x D x M one step later."""
        return (self.kept[step] * state).addcmul_(self.driven[step], self.to_state[step])

    def starts(self) -> tuple[Tensor, Tensor]:
        """The states that the chunks begin with, G x n x D x M, and those after the last of them, G x n x D x B."""
        ends = torch.zeros_like(self.decays)
        for kept, driven, to_state in zip(self.kept, self.driven, self.to_state, strict=True):
            ends.mul_(kept).addcmul_(driven, to_state)
        return _chain(self.start, self.decays, ends)


def _chain(first: Tensor, decays: Tensor, ends: Tensor, *, backwards: bool = False) -> tuple[Tensor, Tensor]:
    """Hand states on from chunk to chunk, G x n x D x B: what each begins with, and what is left after the last."""
    pictures = first.shape[-1]
    kept, added = (part.unflatten(-1, (pictures, -1)).unbind(-1) for part in (decays, ends))
    order = range(len(kept))
    state, starts = first, [first] * len(kept)
    for place in reversed(order) if backwards else order:
        starts[place] = state
        state = torch.addcmul(added[place], kept[place], state)
    return torch.stack(starts, dim=-1).flatten(-2), state


class _Layout:
    """How sequences of L steps are cut into stretches of chunks."""

    def __init__(self, length: int, states: int) -> None:
        self.length = length
        self.chunk = min(CHUNK, max(1, round(length**0.5)))
        self.chunks = max(1, min(-(-length // self.chunk), STRETCH_STATES // max(states * self.chunk, 1)))

    def cut(self, channels: list[Tensor], states: list[Tensor]) -> Iterator[tuple[int, int, list[Tensor]]]:
        """Stretch by stretch: its first and last step, and the parts of all sequences.

        Args:
            channels: sequences B x G x D x L.
            states: sequences B x G x n x L.
        """
        stretch = self.chunk * self.chunks
        for begin in range(0, self.length, stretch):
            end = min(begin + stretch, self.length)
            parts = [self._fold(sequence[..., begin:end]).unsqueeze(2) for sequence in channels]
            parts += [self._fold(sequence[..., begin:end]).unsqueeze(3) for sequence in states]
            yield begin, end, parts

    def _fold(self, part: Tensor) -> Tensor:
        """B x G x D x (K c) as c x G x D x (B K), filled with zeros: a step of no length changes no state."""
        padded = F.pad(part, (0, -part.shape[-1] % self.chunk)).unflatten(-1, (-1, self.chunk))
        folded: Tensor = padded.permute(4, 1, 2, 0, 3).flatten(-2).contiguous()  # of one picture, flatten gives a view
        return folded

    def unfold(self, folded: Tensor, batch: int, length: int) -> Tensor:
        """The way back, without what was filled."""
        chunks = folded.unflatten(-1, (batch, -1))  # (c, G, D, B, K)
        sequence: Tensor = chunks.permute(3, 1, 2, 4, 0).flatten(-2)[..., :length]
        return sequence


class _Scan(torch.autograd.Function):
    """The scan and its gradients; see the head of the file."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own context, which takes any attribute
        inputs: Tensor,
        steps: Tensor,
        decay: Tensor,
        to_state: Tensor,
        from_state: Tensor,
    ) -> Tensor:
        batch = inputs.shape[0]
        layout = _Layout(inputs.shape[-1], batch * decay.numel())
        rate = decay.transpose(1, 2).unsqueeze(-1).contiguous()  # (G, n, D, 1)
        state = rate.new_zeros((*rate.shape[:-1], batch))
        starts = []
        outputs = torch.empty_like(inputs)
        for begin, end, parts in layout.cut([inputs, steps], [to_state, from_state]):
            starts.append(state)
            stretch = _Stretch(rate, state, *parts)
            states, state = stretch.starts()
            seen = []
            for step in range(len(stretch.steps)):
                states = stretch.advance(states, step)
                seen.append((states * stretch.from_state[step]).sum(1))
            outputs[..., begin:end] = layout.unfold(torch.stack(seen), batch, end - begin)
        ctx.layout = layout
        ctx.save_for_backward(inputs, steps, rate, to_state, from_state, *starts)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401 - see forward
        inputs, steps, rate, to_state, from_state, *starts = ctx.saved_tensors
        layout: _Layout = ctx.layout
        batch = inputs.shape[0]
        found = [torch.empty_like(part) for part in (inputs, steps, to_state, from_state)]
        of_rate = torch.zeros_like(rate)
        later = torch.zeros_like(starts[0])  # gradient of the states after the stretch
        cuts = list(layout.cut([inputs, steps, gradient], [to_state, from_state]))
        for start, (begin, end, parts) in zip(reversed(starts), reversed(cuts), strict=True):
            wanted = parts.pop(2)
            later, of_rate_here, gradients = _gradients(_Stretch(rate, start, *parts), wanted, later)
            of_rate += of_rate_here
            for whole, part in zip(found, gradients, strict=True):
                whole[..., begin:end] = layout.unfold(part, batch, end - begin)
        return found[0], found[1], of_rate.squeeze(-1).transpose(1, 2), found[2], found[3]


def _gradients(stretch: _Stretch, wanted: Tensor, later: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Back through one stretch.

    Args:
        stretch: as in the forward pass.
        wanted: the gradient of its outputs, c x G x 1 x D x M.
        later: the gradient of the states after it, G x n x D x B.

    Returns:
        The gradients of the states before it, of A, and of its inputs, steps, B and C as they are unfolded.
    """
    count, decay = len(stretch.steps), stretch.decay
    before = [stretch.starts()[0]]
    for step in range(count):
        before.append(stretch.advance(before[-1], step))
    # Backwards a chunk hands on the gradient of the state before it: first from zero, then from what it really gets.
    passed = torch.zeros_like(before[0])
    for step in reversed(range(count)):
        passed.addcmul_(wanted[step], stretch.from_state[step]).mul_(stretch.kept[step])
    arriving, first = _chain(later, stretch.decays, passed, backwards=True)
    of_decay = torch.zeros_like(decay)
    rows: list[tuple[Tensor, ...]] = []
    for step in reversed(range(count)):
        length, driven = stretch.steps[step], stretch.inputs[step]
        arriving = torch.addcmul(arriving, wanted[step], stretch.from_state[step])
        of_from = (wanted[step] * before[step + 1]).sum(2)
        of_to = (stretch.driven[step] * arriving).sum(2)
        of_product = (arriving * stretch.to_state[step]).sum(1)
        arriving = stretch.kept[step] * arriving
        through = arriving * before[step]  # the gradient of the exponent
        of_decay += (through * length).sum(-1, keepdim=True)
        of_length = of_product * driven[:, 0] + (through * decay).sum(1)
        rows.append((of_product * length[:, 0], of_length, of_to, of_from))
    return first, of_decay, tuple(torch.stack(row) for row in zip(*reversed(rows), strict=True))
