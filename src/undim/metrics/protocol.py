"""The named evaluation protocol: what is measured, on which pixels, and how it is averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from undim.arrays import Bytes
from undim.errors import ShapeError
from undim.metrics.measures import known_measures
from undim.metrics.niqe import niqe
from undim.metrics.quality import (
    brightness_error,
    clipped_share,
    log_brightness_ratio,
    mean_luma,
    psnr,
    psnr_gt_mean,
    ssim,
)

PROTOCOL = "undim-1: output clamped to [0, 1] and rounded to 8 bit; RGB; full image; per picture, then the mean"


@dataclass(frozen=True)
class PictureScores:
    """The measures of one picture; None where there is no reference, no input, or (NIQE) too little to measure."""

    name: str
    psnr: float | None
    """dB; infinite where output and reference are equal."""
    ssim: float | None
    niqe: float | None
    """Of the output; lower is better."""
    psnr_gt_mean: float | None
    """dB after the output is scaled to the reference's mean luma; never a headline figure."""
    log_brightness_ratio: float | None
    """Natural logarithm of the output's over the reference's mean luma."""
    luma_input: float | None
    """Mean luma of the dark picture, 0 to 1."""
    luma_output: float
    """Mean luma of the output, 0 to 1."""
    clipped_growth: float | None
    """`clipped_share` of the output minus that of the dark picture, percent of all pixels."""
    notes: tuple[str, ...] = ()
    """Why a measure is absent or infinite."""
    more: Mapping[str, float | None] = field(default_factory=dict)
    """Those of `undim.metrics.measures`, by key."""


@dataclass(frozen=True)
class Spread:
    """How a measure is distributed over pictures."""

    mean: float
    worst: float
    """The largest."""
    p90: float
    """The 90th percentile, interpolated linearly."""


@dataclass(frozen=True)
class Scores:
    """Means over a set of pictures, each over the pictures that have the measure; None if none has it."""

    images: tuple[PictureScores, ...]

    @property
    def psnr(self) -> float | None:
        """Mean of the pictures' PSNR, dB; infinite if one of them is."""
        return _mean([image.psnr for image in self.images])

    @property
    def ssim(self) -> float | None:
        """Mean of the pictures' SSIM."""
        return _mean([image.ssim for image in self.images])

    @property
    def niqe(self) -> float | None:
        """Mean of the outputs' NIQE."""
        return _mean([image.niqe for image in self.images])

    @property
    def psnr_gt_mean(self) -> float | None:
        """Mean of the pictures' PSNR after brightness is matched to the reference's, dB."""
        return _mean([image.psnr_gt_mean for image in self.images])

    @property
    def brightness_error(self) -> float | None:
        """See `undim.metrics.quality.brightness_error`."""
        ratios = _known([image.log_brightness_ratio for image in self.images])
        return brightness_error(ratios) if ratios else None

    @property
    def luma_input(self) -> float | None:
        """Mean of the dark pictures' mean luma, 0 to 1."""
        return _mean([image.luma_input for image in self.images])

    @property
    def luma_output(self) -> float | None:
        """Mean of the outputs' mean luma, 0 to 1."""
        return _mean([image.luma_output for image in self.images])

    @property
    def clipped_growth(self) -> Spread | None:
        """How much more of the picture is clipped in the output than in the dark picture, percent."""
        values = _known([image.clipped_growth for image in self.images])
        if not values:
            return None
        return Spread(float(np.mean(values)), max(values), float(np.percentile(values, 90)))

    @property
    def more(self) -> dict[str, float | None]:
        """Means of the measures of `undim.metrics.measures`, by key."""
        keys = dict.fromkeys(key for image in self.images for key in image.more)
        return {key: _mean([image.more.get(key) for image in self.images]) for key in keys}

    @property
    def notes(self) -> tuple[str, ...]:
        """The pictures' notes, each with the picture's name."""
        return tuple(f"{image.name}: {note}" for image in self.images for note in image.notes)


def score(
    enhance: Callable[[Bytes], Bytes],
    pairs: Iterable[tuple[str, Bytes, Bytes]],
) -> Scores:
    """Enhance dark pictures and measure them against their references.

    Args:
        enhance: H x W x 3 8-bit RGB to the same.
        pairs: (name, dark picture, reference), 8-bit RGB of equal size.

    Raises:
        ShapeError: if an output or a dark picture does not have the reference's size.
    """
    return Scores(tuple(measure(name, enhance(low), high, low) for name, low, high in pairs))


def measure(name: str, output: Bytes, reference: Bytes | None = None, low: Bytes | None = None) -> PictureScores:
    """All measures of one output for which there is what they need.

    Args:
        name: of the picture.
        output: H x W x 3, 8-bit RGB.
        reference: what it should be, of the same size.
        low: what it was made from.

    Raises:
        ShapeError: if output and reference differ in size, or are too small for SSIM.
    """
    notes: list[str] = []
    natural: float | None = None
    try:
        natural = niqe(output)
    except ShapeError as error:
        notes.append(f"no NIQE ({str(error).rstrip('.')})")
    more: dict[str, float | None] = {}
    for key, one in known_measures().items():
        try:
            more[key] = one.of(output, reference, low)
        except ShapeError as error:
            more[key] = None
            notes.append(f"no {one.title} ({str(error).rstrip('.')})")
    peak = None if reference is None else psnr(output, reference)
    if peak == math.inf:
        notes.append("equal to its reference, so that its PSNR is infinite")
    return PictureScores(
        name=name,
        psnr=peak,
        ssim=None if reference is None else ssim(output, reference),
        niqe=natural,
        psnr_gt_mean=None if reference is None else psnr_gt_mean(output, reference),
        log_brightness_ratio=None if reference is None else log_brightness_ratio(output, reference),
        luma_input=None if low is None else mean_luma(low),
        luma_output=mean_luma(output),
        clipped_growth=None if low is None else clipped_share(output) - clipped_share(low),
        notes=tuple(notes),
        more=more,
    )


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    known = _known(values)
    return float(np.mean(known)) if known else None
