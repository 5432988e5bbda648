"""Kernels for crops, generated from the whole picture that each crop comes from.

At inference a network sees whole pictures, and generated kernels follow from means over all of one. Training sees
crops, whose means vary more. So the network may first look at a reduced copy of each whole picture, without gradients;
the means that its generators meet there are then told to the run on the crops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from undim.nets.adr import Adr
from undim.nets.backbone import Backbone
from undim.nets.dynamic_conv import GeneratedConv2d

Pooled = tuple[tuple[Tensor, ...], ...]
"""Of each layer with generated kernels, in the order of the module tree: the means it asks for, B x C each."""


def look_at_views(model: Backbone, views: Sequence[Tensor], contexts: Tensor) -> Pooled:
    """What the generators of kernels meet in whole pictures, without gradients.

    Args:
        model: in the mode that it is in.
        views: B of 3 x h x w in [0, 1], the pictures reduced; those of equal size are run together.
        contexts: B x 3 x 64 x 96, their thumbnails, for networks that see the whole picture.
    """
    alike: dict[torch.Size, list[int]] = {}
    for place, view in enumerate(views):
        alike.setdefault(view.shape, []).append(place)
    found: list[Pooled] = []
    for places in alike.values():
        batch = torch.stack([views[place] for place in places]).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), _noting(model) as notes:
            if model.sees_whole:
                model(batch, contexts if len(alike) == 1 else contexts[places])
            else:
                model(batch)
        found.append(tuple(tuple(note.means) for note in notes))
    if len(found) == 1:  # all of one size: no order to restore, and nothing to tell a GPU
        return found[0]
    order = [place for places in alike.values() for place in places]
    back = torch.tensor(order, device=contexts.device).argsort()
    return tuple(
        tuple(torch.cat(parts)[back] for parts in zip(*runs, strict=True)) for runs in zip(*found, strict=True)
    )


@contextmanager
def told(model: Backbone, pooled: Pooled) -> Iterator[None]:
    """Let each generator of kernels take these means instead of its input's own, in one run of as many crops."""
    layers = _layers(model)
    try:
        for layer, means in zip(layers, pooled, strict=True):
            layer.means = _Told(means)
        yield
    finally:
        for layer in layers:
            layer.means = None


class _Note:
    """Notes the means down and leaves them as they are."""

    def __init__(self) -> None:
        self.means: list[Tensor] = []

    def mean(self, own: Tensor, features: Tensor) -> Tensor:
        """`own`, of B x C x H x W features."""
        del features
        self.means.append(own)
        return own


class _Told:
    """Gives means in the order in which they were noted."""

    def __init__(self, means: Sequence[Tensor]) -> None:
        self._left = iter(means)

    def mean(self, own: Tensor, features: Tensor) -> Tensor:
        """The next one, in the type of `own`."""
        del features
        return next(self._left).to(own.dtype)


@contextmanager
def _noting(model: Backbone) -> Iterator[list[_Note]]:
    layers = _layers(model)
    notes = [_Note() for _ in layers]
    try:
        for layer, note in zip(layers, notes, strict=True):
            layer.means = note
        yield notes
    finally:
        for layer in layers:
            layer.means = None


def _layers(model: Backbone) -> list[Adr | GeneratedConv2d]:
    return [part for part in model.modules() if isinstance(part, Adr | GeneratedConv2d)]
