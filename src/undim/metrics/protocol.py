"""The named evaluation protocol: what is measured, on which pixels, and how it is averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np

from undim.metrics.quality import Pixels, brightness_error, log_brightness_ratio, psnr, psnr_gt_mean, ssim

PROTOCOL = "undim-1: output clamped to [0, 1] and rounded to 8 bit; RGB; full image; per picture, then the mean"


@dataclass(frozen=True)
class PictureScores:
    """The measures of one picture."""

    name: str
    psnr: float
    """dB."""
    ssim: float
    psnr_gt_mean: float
    """dB after the output is scaled to the reference's mean luma; never a headline figure."""
    log_brightness_ratio: float
    """Natural logarithm of the output's over the reference's mean luma."""


@dataclass(frozen=True)
class Scores:
    """Means over a set of pictures."""

    images: tuple[PictureScores, ...]

    @property
    def psnr(self) -> float:
        """Mean of the pictures' PSNR, dB."""
        return float(np.mean([image.psnr for image in self.images]))

    @property
    def ssim(self) -> float:
        """Mean of the pictures' SSIM."""
        return float(np.mean([image.ssim for image in self.images]))

    @property
    def psnr_gt_mean(self) -> float:
        """Mean of the pictures' PSNR after brightness is matched to the reference's, dB."""
        return float(np.mean([image.psnr_gt_mean for image in self.images]))

    @property
    def brightness_error(self) -> float:
        """See `undim.metrics.quality.brightness_error`."""
        return brightness_error([image.log_brightness_ratio for image in self.images])

    def as_dict(self) -> dict[str, object]:
        """For JSON: the means, the protocol and each picture's measures; an infinite PSNR is null."""
        return {
            "psnr": _finite(self.psnr),
            "ssim": self.ssim,
            "psnr_gt_mean": _finite(self.psnr_gt_mean),
            "brightness_error": self.brightness_error,
            "protocol": PROTOCOL,
            "images": [
                asdict(image) | {"psnr": _finite(image.psnr), "psnr_gt_mean": _finite(image.psnr_gt_mean)}
                for image in self.images
            ],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def score(
    enhance: Callable[[Pixels], Pixels],
    pairs: Iterable[tuple[str, Pixels, Pixels]],
) -> Scores:
    """Enhance dark pictures and measure them against their references.

    Args:
        enhance: H x W x 3 8-bit RGB to the same.
        pairs: (name, dark picture, reference), 8-bit RGB of equal size.

    Raises:
        ShapeError: if an output or a dark picture has not the reference's size.
    """
    return Scores(tuple(measure(name, enhance(low), high) for name, low, high in pairs))


def measure(name: str, output: Pixels, reference: Pixels) -> PictureScores:
    """All measures of one output, H x W x 3 8-bit RGB as its reference.

    Raises:
        ShapeError: if the two differ in size.
    """
    return PictureScores(
        name,
        psnr(output, reference),
        ssim(output, reference),
        psnr_gt_mean(output, reference),
        log_brightness_ratio(output, reference),
    )
