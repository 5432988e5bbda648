"""A network made for tiles: what it takes from the whole picture is an output, and an input that tiles are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from undim.contract import CELL, CROPS, OWN
from undim.errors import ModelError
from undim.nets.backbone import Backbone, QkvAttention
from undim.nets.dynamic_conv import GeneratedConv2d
from undim.nets.scene_memory import BrightnessPin
from undim.nets.thumbnail import make_thumbnail
from undim.nets.whole_picture import WholeStatistics

PROBE = 64
"""Side of the picture that shows how large the features of each layer are."""


def can_tile(model: Backbone) -> bool:
    """Whether `TileNetwork` takes the network: all it takes from the whole picture, tiles can be told."""
    attentions = [module for module in model.modules() if isinstance(module, QkvAttention)]
    own_kernels = any(isinstance(module, GeneratedConv2d) for module in model.modules())
    fits = model.local and CELL % model.multiple_of == 0
    return fits and all(module.asks_whole for module in attentions) and not own_kernels


class TileNetwork(nn.Module):
    """A backbone whose statistics of the whole picture can be taken from crops, and given to tiles.

    Args:
        model: any backbone that `can_tile`; it is put into evaluation mode and used, not copied. It must not run
            elsewhere at the same time: during a run its layers hold what they are told.

    Attributes:
        statistics: K, how many numbers the layers take from the whole picture.

    Raises:
        ModelError: for a backbone that takes something else from the whole picture.
    """

    def __init__(self, model: Backbone) -> None:
        super().__init__()
        if not can_tile(model):
            raise ModelError(f"Tiles of a picture cannot agree in this {type(model).__name__}.")
        self.model = model.eval()
        self._sites = [part for part in model.modules() if isinstance(part, QkvAttention | BrightnessPin)]
        self._scales: list[int] = [1] * len(self._sites)
        self._counts: list[int] = [0] * len(self._sites)
        self._probe()
        self.statistics = sum(self._counts)

    def forward(
        self,
        image: Tensor,
        source: Tensor,
        rows: Tensor,
        columns: Tensor,
        weights: Tensor,
        thumbnail: Tensor,
        given: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Enhance pictures, or crops or tiles of one picture.

        Args:
            image: N x 3 x H x W RGB, values in [0, 1].
            source: a whole number: `OWN` for pictures, `CROPS` or `GIVEN` for parts of one picture.
            rows: the rows that count for the statistics, in cells of 8 pixels; neighbours where the network is a file,
                which goes from the first to the last.
            columns: likewise.
            weights: how much each of the N counts, summing to one.
            thumbnail: 1 x 3 x 64 x 96 of the whole picture, for `CROPS` and `GIVEN`.
            given: 1 x K statistics, for `GIVEN`.

        Returns:
            N x 3 x H x W, not clamped, and the statistics of what counts, 1 x K. With `CROPS` these are what the layers
            used; with `GIVEN` they are what these parts have where the layers use what is given.
        """
        if not self._sites:  # a network of convolutions takes nothing from the whole picture
            return self.model(image), image.new_zeros(1, 0)
        parts = given.split(self._counts, dim=1)
        wholes = [
            WholeStatistics(source, _pixels(rows, scale), _pixels(columns, scale), weights, part)
            for scale, part in zip(self._scales, parts, strict=True)
        ]
        with _told(self._sites, wholes):
            if self.model.sees_whole:
                enhanced = self.model(image, torch.where(source == OWN, make_thumbnail(image), thumbnail))
            else:
                enhanced = self.model(image)
        return enhanced, torch.cat([found for whole in wholes for found in whole.found], 1)

    @torch.no_grad()
    def _probe(self) -> None:
        """Find out how small each layer's features are and how many statistics it takes."""
        image = next(self.model.parameters()).new_zeros(1, 3, PROBE, PROBE)
        cell = torch.zeros(1, dtype=torch.int64)
        wholes = [WholeStatistics(torch.tensor(CROPS), cell, cell, image.new_ones(1)) for _ in self._sites]

        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            index = next(index for index, site in enumerate(self._sites) if site is module)
            self._scales[index] = inputs[0].shape[-1] * CELL // PROBE

        with ExitStack() as hooks, _told(self._sites, wholes):
            for site in self._sites:
                hooks.callback(site.register_forward_pre_hook(look).remove)
            self.model(image)
        self._counts = [sum(found.shape[1] for found in whole.found) for whole in wholes]


@contextmanager
def _told(sites: Sequence[QkvAttention | BrightnessPin], wholes: Sequence[WholeStatistics]) -> Iterator[None]:
    """Let each layer take its statistics from these in one run, and from its own input again after it, however it ends.

    A run may end anywhere: memory can run out in any layer, and a stop raises in one.
    """
    try:
        for site, whole in zip(sites, wholes, strict=True):
            site.whole = whole
        yield
    finally:
        for site in sites:
            site.whole = None


def _pixels(cells: Tensor, scale: int) -> Tensor:
    """Indices of the `scale` features that each cell holds along one axis."""
    return (cells.unsqueeze(1) * scale + torch.arange(scale, device=cells.device)).flatten()
