"""NIQE: how far a picture's local statistics lie from those of pristine pictures, without a reference.

Mittal, Soundararajan and Bovik, "Making a 'Completely Blind' Image Quality Analyzer", IEEE Signal Processing Letters,
2013. The pristine pictures' model is the published one; `niqe_pris_params.txt` says where it is from.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate1d
from scipy.special import gamma

from undim.arrays import Doubles
from undim.errors import ShapeError
from undim.luma import REC601

BLOCK = 96
"""Side of a block at full scale, pixels; half of it at half scale."""
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns to the neighbours that products are taken with."""

_THOUSANDTHS = np.rint(1000 * np.asarray(REC601)).astype(np.int32)
_PRISTINE = Path(__file__).parent / "niqe_pris_params.npz"
_ALPHAS = np.arange(200, 10001) / 1000
"""The shapes that are tried when a distribution is fitted."""
_RATIOS = gamma(2 / _ALPHAS) ** 2 / (gamma(1 / _ALPHAS) * gamma(3 / _ALPHAS))
"""Squared mean of the absolute over mean of the square, for each shape; rises with it."""
_WEIGHTS = np.exp(-0.5 * (np.arange(-3, 4) * 6 / 7) ** 2)
_WEIGHTS /= _WEIGHTS.sum()
"""Gaussian of sigma 7/6 pixels, cut at 7 taps."""


def niqe(picture: npt.NDArray[np.uint8]) -> float:
    """Natural image quality evaluator of an H x W x 3 8-bit RGB picture; lower is better, about 2 to 20.

    Measured on Rec. 601 luma rounded to integers, in whole blocks of 96 x 96 from the top left; what is beyond them is
    left out. Blocks without contrast have no statistics and are left out too.

    Raises:
        ShapeError: if the array is of another kind, or has fewer than two blocks with contrast, as every picture below
            96 x 192 and every constant one.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ShapeError(f"NIQE needs H x W x 3, 8 bit. Got {picture.shape}, {picture.dtype}.")
    height, width = picture.shape[:2]
    rows, columns = height // BLOCK, width // BLOCK
    if rows * columns < 2:
        raise ShapeError(f"NIQE needs two blocks of {BLOCK} x {BLOCK} pixels. Got {height} x {width}.")
    # In integers, since a sum that ends in exactly a half would be rounded by chance.
    thousandths = picture[: rows * BLOCK, : columns * BLOCK].astype(np.int32) @ _THOUSANDTHS
    luma = ((thousandths + 500) // 1000).astype(np.float64)
    features = np.concatenate(
        [
            block_features(split_blocks(normalise(luma), BLOCK)),
            block_features(split_blocks(normalise(halve(luma)), BLOCK // 2)),
        ],
        axis=1,
    )  # (blocks, 36)
    known = np.isfinite(features)
    whole = features[known.all(axis=1)]
    if len(whole) < 2:
        raise ShapeError(f"NIQE needs two blocks with contrast in every scale. Got {len(whole)} of {rows * columns}.")
    pristine_mean, pristine_covariance = _load_pristine()
    # As in the published code: a feature's mean uses every block that has it, the covariance whole blocks only.
    mean = np.where(known, features, 0).sum(axis=0) / known.sum(axis=0)
    covariance = (pristine_covariance + np.cov(whole, rowvar=False)) / 2
    difference = pristine_mean - mean
    return float(np.sqrt(difference @ np.linalg.pinv(covariance) @ difference))


def normalise(luma: Doubles) -> Doubles:
    """Luma minus its local mean, over its local standard deviation plus one (equations 1 to 3)."""

    def smooth(values: Doubles) -> Doubles:
        blurred: Doubles = correlate1d(correlate1d(values, _WEIGHTS, 0, mode="nearest"), _WEIGHTS, 1, mode="nearest")
        return blurred

    mean = smooth(luma)
    deviation = np.sqrt(np.abs(smooth(luma * luma) - mean * mean))
    result: Doubles = (luma - mean) / (deviation + 1)
    return result


def halve(luma: Doubles) -> Doubles:
    """Antialiased bicubic reduction to half of even sides, as MATLAB's imresize; borders are mirrored."""
    distance = np.abs(np.arange(-3.5, 4)) / 2
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1  # Keys' kernel with a = -0.5
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    taps = np.where(distance <= 1, near, far)
    taps /= taps.sum()
    for axis in (0, 1):
        # An even number of taps is centred after its fourth: origin -1 puts it between pixels 2i and 2i + 1.
        luma = correlate1d(luma, taps, axis, mode="reflect", origin=-1)
        luma = luma[::2] if axis == 0 else luma[:, ::2]
    return luma


def split_blocks(values: Doubles, side: int) -> Doubles:
    """H x W, multiples of the side, to blocks x side x side."""
    rows, columns = values.shape[0] // side, values.shape[1] // side
    return values.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def block_features(blocks: Doubles) -> Doubles:
    """The 18 features of each block (equations 4 to 11): blocks x side x side to blocks x 18.

    Two of the coefficients' distribution, and four for each of the products with a neighbour; at a block's edge the
    neighbour is the one on the opposite edge.
    """
    alpha, left, right = fit_aggd(blocks.reshape(len(blocks), -1))
    features = [alpha, (left + right) / 2]
    for shift in SHIFTS:
        product = blocks * np.roll(blocks, shift, axis=(1, 2))
        alpha, left, right = fit_aggd(product.reshape(len(blocks), -1))
        features += [alpha, (right - left) * (gamma(2 / alpha) / gamma(1 / alpha)), left, right]
    return np.stack(features, axis=1)


def fit_aggd(samples: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Fit an asymmetric generalised Gaussian by its moments to each row of samples.

    Lasmar, Stitou and Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis", ICIP 2009.

    Returns:
        Shape (0.2 to 10) and the left and the right scale of each row. NaN where a row has no negative or no positive
        sample.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        negative, positive = np.minimum(samples, 0), np.maximum(samples, 0)
        left = np.sqrt((negative * negative).sum(axis=1) / (samples < 0).sum(axis=1))
        right = np.sqrt((positive * positive).sum(axis=1) / (samples > 0).sum(axis=1))
        skew = left / right
        ratio = np.abs(samples).mean(axis=1) ** 2 / (samples * samples).mean(axis=1)
        target = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    after = np.searchsorted(_RATIOS, target).clip(1, len(_RATIOS) - 1)
    nearest = np.where(target - _RATIOS[after - 1] <= _RATIOS[after] - target, after - 1, after)
    alpha = np.where(np.isnan(target), np.nan, _ALPHAS[nearest])
    scale = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, left * scale, right * scale


@cache
def _load_pristine() -> tuple[Doubles, Doubles]:
    """Mean (36) and covariance (36 x 36) of pristine pictures' features."""
    with np.load(_PRISTINE, allow_pickle=False) as file:
        return file["mu_pris_param"][0], file["cov_pris_param"]
