"""Measures of one picture, most against its reference, by the protocol that published tables use."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from skimage import metrics  # whose measures load with the first call: they take SciPy's statistics along

from undim.arrays import Bytes, Doubles
from undim.errors import ShapeError
from undim.luma import REC601


def psnr(output: Bytes, reference: Bytes) -> float:
    """Peak signal-to-noise ratio in dB of H x W x 3 8-bit RGB pictures, over the full image; infinite if equal."""
    _check(output, reference)
    if np.array_equal(output, reference):
        return math.inf
    return float(metrics.peak_signal_noise_ratio(reference, output, data_range=255))


def ssim(output: Bytes, reference: Bytes) -> float:
    """Structural similarity: Gaussian 11 x 11 of sigma 1.5, K1 0.01, K2 0.03, per channel, then the mean.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.

    Raises:
        ShapeError: if the shapes differ, are not H x W x 3, or a side is below 11 pixels.
    """
    _check(output, reference)
    if min(reference.shape[:2]) < 11:
        raise ShapeError(f"SSIM needs at least 11 x 11 pixels. Got {reference.shape[0]} x {reference.shape[1]}.")
    return float(
        metrics.structural_similarity(
            output,
            reference,
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


CLIPPED = 250
"""A pixel with a channel of at least this has lost what was there, for all that viewers can tell."""


def clipped_share(picture: Bytes) -> float:
    """Percentage of an H x W x 3 8-bit RGB picture's pixels that have any channel at `CLIPPED` or above."""
    return 100 * float((picture >= CLIPPED).any(axis=2).mean())


def mean_luma(picture: Bytes) -> float:
    """Mean Rec. 601 luma of an H x W x 3 8-bit RGB picture, in [0, 1]."""
    return float((picture.reshape(-1, 3).mean(axis=0) / 255) @ REC601)


def log_brightness_ratio(output: Bytes, reference: Bytes) -> float:
    """Natural logarithm of the output's over the reference's mean luma; black counts as 1/510 (half a grey level)."""
    _check(output, reference)
    floor = 0.5 / 255
    return math.log(max(mean_luma(output), floor) / max(mean_luma(reference), floor))


def brightness_error(log_ratios: Sequence[float]) -> float:
    """Root of the mean square of pictures' log brightness ratios: how much of a PSNR gain is mere brightness."""
    return math.sqrt(float(np.mean(np.square(log_ratios))))


def psnr_gt_mean(output: Bytes, reference: Bytes) -> float:
    """PSNR in dB after the output is scaled to the reference's mean luma and clipped. Never a headline figure."""
    _check(output, reference)
    scale = math.exp(-log_brightness_ratio(output, reference))
    scaled: Doubles = np.clip(output / 255.0 * scale, 0, 1)
    if np.array_equal(scaled, reference / 255.0):
        return math.inf
    return float(metrics.peak_signal_noise_ratio(reference / 255.0, scaled, data_range=1.0))


def _check(output: Bytes, reference: Bytes) -> None:
    for what, picture in (("output", output), ("reference", reference)):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ShapeError(f"The {what} must be H x W x 3, 8 bit. Got {picture.shape}, {picture.dtype}.")
    if output.shape != reference.shape:
        raise ShapeError(f"Output and reference differ in size: {output.shape[:2]} and {reference.shape[:2]}.")
