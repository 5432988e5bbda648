"""The whole picture at a fixed small size, by exact area averaging."""

from __future__ import annotations

import torch
from torch import Tensor

from undim.nets.full_precision import without_autocast

THUMBNAIL = (64, 96)
"""Height and width in pixels of what networks that see the whole picture get; a portrait is squeezed, not turned."""


def area_matrix(length: int | Tensor, cells: int, like: Tensor) -> Tensor:
    """Exact box averaging of `length` samples into `cells` cells, as a cells x length matrix with rows summing to one.

    Entry (i, j) is the part of cell i, which spans [i, i+1) length/cells, that sample j, which spans [j, j+1), covers.
    """
    step = length / cells
    starts = torch.arange(cells, device=like.device, dtype=torch.float32).unsqueeze(1) * step
    samples = torch.arange(length, device=like.device, dtype=torch.float32).unsqueeze(0)  # type: ignore[arg-type]
    overlap = torch.minimum(starts + step, samples + 1) - torch.maximum(starts, samples)
    return (overlap.clamp_min(0) / step).to(like.dtype)


def make_thumbnail(image: Tensor, size: tuple[int, int] = THUMBNAIL) -> Tensor:
    """Box-average a picture: N x C x H x W to N x C x h x w, any H and W, enlarging included.

    Each output pixel is the exact mean of the area it covers, so the thumbnail's mean is the picture's. Autocasting
    does not act here: the exposure that follows from this mean scales everything.
    """
    with without_autocast(image):
        rows = area_matrix(image.shape[-2], size[0], image)
        columns = area_matrix(image.shape[-1], size[1], image)
        return rows @ image @ columns.t()
