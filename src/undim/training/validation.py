"""Validation during training: figures over the held-out pictures, and some of them on one sheet to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import nn

from undim.arrays import Bytes
from undim.metrics.networks import network_enhancer, to_tensor
from undim.metrics.quality import brightness_error, log_brightness_ratio, psnr, psnr_gt_mean, ssim
from undim.nets import Backbone
from undim.nets.thumbnail import make_thumbnail

SHEET_PICTURES = 6
SHEET_WIDTH = 240
"""Bytes of one picture on the sheet, if it is not smaller."""
FIGURES = ("psnr", "ssim", "psnr_gt_mean", "brightness_error")


@dataclass(frozen=True)
class Validation:
    """What a validation says."""

    figures: dict[str, float]
    """By the names in `FIGURES`: means in dB, of SSIM and in dB, and the rms of the log ratio of mean luma."""
    sheet: Bytes
    """Rows of dark picture, output and reference, H x W x 3 8-bit RGB."""


def validate(model: nn.Module, pairs: Sequence[tuple[Bytes, Bytes]]) -> Validation:
    """Enhance dark 8-bit pictures and compare with their references, by the headline protocol."""
    enhance = network_enhancer(model)
    shown = set(np.linspace(0, len(pairs) - 1, SHEET_PICTURES).round().astype(int).tolist())
    scores: list[tuple[float, float, float, float]] = []
    rows: list[tuple[Bytes, Bytes, Bytes]] = []
    for index, (low, high) in enumerate(pairs):
        output = enhance(low)
        scores.append(
            (psnr(output, high), ssim(output, high), psnr_gt_mean(output, high), log_brightness_ratio(output, high))
        )
        if index in shown:
            rows.append((low, output, high))
    columns = list(zip(*scores, strict=True))
    figures = [*(float(np.mean(column)) for column in columns[:3]), brightness_error(columns[3])]
    return Validation(dict(zip(FIGURES, figures, strict=True)), make_sheet(rows))


def sees_nothing(model: Backbone, pairs: Sequence[tuple[Bytes, Bytes]]) -> bool:
    """Whether the network makes the same of the whole of all these dark pictures (`Backbone.sees_nothing`)."""
    if not model.sees_whole or not pairs:
        return False
    thumbnails = torch.cat([make_thumbnail(to_tensor(low)) for low, _ in pairs])
    return model.sees_nothing(thumbnails.to(next(model.parameters()).device))


def make_sheet(rows: Sequence[Sequence[Bytes]]) -> Bytes:
    """Pictures of equal size within a row, downsized to `SHEET_WIDTH` and put side by side: 8-bit RGB, white between.

    Args:
        rows: at least one, of H x W x 3 8-bit RGB pictures; rows may differ in size.
    """
    strips = [np.concatenate([_framed(picture) for picture in row], axis=1) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips]
    return np.concatenate(padded)


def _framed(picture: Bytes) -> Bytes:
    height, width = picture.shape[:2]
    target = min(width, SHEET_WIDTH)
    small = Image.fromarray(picture).resize((target, max(1, round(height * target / width))), Image.Resampling.BOX)
    return np.pad(np.asarray(small), ((2, 2), (2, 2), (0, 0)), constant_values=255)
