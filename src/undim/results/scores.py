"""results.json of `undim evaluate` and `undim score`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from undim.results.document import Document, Number, Record


class ScoredSubject(Record):
    """What was measured with what."""

    model: str | None = None
    outputs: str | None = None
    """Of `undim score`: where the pictures lay that were there already."""
    references: str | None = None
    data: str | None = None
    split: str | None = None
    seed: int | None = None
    """Of the training, as the weights' file notes it."""
    iterations: int | None = None
    """Training steps, as the weights' file notes them."""
    checkpoint: str | None = None
    """The weights' file."""
    checkpoint_sha256: str | None = None
    device: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    weights_of: str | None = None
    """Of a converted public checkpoint: the system whose authors trained the weights, and their licence."""
    notes: tuple[str, ...] = ()


class ClippedGrowth(Record):
    """How many more pixels are clipped in the output than in the dark picture, percent of all."""

    mean: Number
    worst: Number
    p90: Number


class ScoredPicture(Record):
    """The measures of one picture; null where there is no reference, no input, or PSNR is infinite."""

    name: str
    psnr: Number | None = None
    ssim: Number | None = None
    niqe: Number | None = None
    psnr_gt_mean: Number | None = None
    log_brightness_ratio: Number | None = None
    luma_input: Number | None = None
    luma_output: Number | None = None
    clipped_growth: Number | None = None
    more: dict[str, Number | None] = Field(default_factory=dict)
    """Measures that were added to those of the protocol."""
    notes: tuple[str, ...] = ()


class ScoresDocument(Document, ScoredSubject):
    """The scores of a set of pictures: means over the pictures that have the measure, null if none has it."""

    NAME: ClassVar[str] = "scores"
    WRITER: ClassVar[str] = "undim evaluate or undim score"

    psnr: Number | None
    """dB; null if infinite, where an output equals its reference."""
    ssim: Number | None
    niqe: Number | None
    psnr_gt_mean: Number | None = None
    brightness_error: Number | None = None
    luma_input: Number | None = None
    luma_output: Number | None = None
    clipped_growth: ClippedGrowth | None = None
    more: dict[str, Number | None] = Field(default_factory=dict)
    """Means of measures that were added to those of the protocol."""
    protocol: str = ""
    worst: tuple[str, ...] = ()
    """Names of the pictures in worst/."""
    images: tuple[ScoredPicture, ...]
