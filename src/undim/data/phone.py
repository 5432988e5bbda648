"""What a phone does to a picture: noise smeared away, colour noise left, edges sharpened, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from undim.arrays import Bytes, Floats

PROCESSED_SHARE = 0.5
"""Of the pictures that are smeared and sharpened."""
ENCODED_SHARE = 0.6
"""Of the pictures that are encoded as JPEG."""
QUALITIES = (60, 95)
HALVED_SHARE = 0.8
"""Of the JPEG pictures whose colour is stored at half the size (4:2:0)."""
GRAIN = 4
"""Pixels that a grain of colour noise is wide."""


@dataclass(frozen=True)
class Processing:
    """One draw of a phone's processing."""

    smear: float
    """Difference in encoded value that is smoothed away; 0 for none."""
    sharpen: float
    """Share of what a small blur loses that is added once more."""
    chroma: float
    """Standard deviation of the coarse colour noise in the dark, in units of full white."""
    quality: int
    """Of the JPEG file; 0 for none."""
    halved: bool
    """Whether the file stores colour at half the size."""


def draw_processing(rng: np.random.Generator) -> Processing:
    """Draw what a phone does; often nothing but JPEG."""
    processed, encoded = rng.random() < PROCESSED_SHARE, rng.random() < ENCODED_SHARE
    smear, sharpen, chroma = rng.uniform(0, 0.08), rng.uniform(0, 1), 10 ** rng.uniform(-3, -1.7)
    quality, halved = int(rng.integers(QUALITIES[0], QUALITIES[1] + 1)), rng.random() < HALVED_SHARE
    return Processing(
        smear=smear if processed else 0.0,
        sharpen=sharpen if processed else 0.0,
        chroma=chroma if processed else 0.0,
        quality=quality if encoded else 0,
        halved=bool(halved),
    )


def process(encoded: Floats, draw: Processing, rng: np.random.Generator) -> Floats:
    """Do to a picture what `draw` says, in a phone's order.

    Args:
        encoded: H x W x 3 sRGB in [0, 1].
        draw: what is done.
        rng: of the colour noise.

    Returns:
        H x W x 3 sRGB in [0, 1], of 8-bit values.
    """
    seen = np.ascontiguousarray(encoded, np.float32)
    if draw.smear:
        seen = np.asarray(cv2.bilateralFilter(seen, 5, draw.smear, 2.0), np.float32)
    if draw.chroma:
        height, width = seen.shape[:2]
        coarse = rng.standard_normal((-(-height // GRAIN), -(-width // GRAIN), 3), np.float32)
        grain = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        grain -= grain.mean(axis=2, keepdims=True)
        seen = seen + np.float32(draw.chroma) * grain * (1 - seen.max(axis=2, keepdims=True)).clip(0)
    if draw.sharpen:
        seen = seen + np.float32(draw.sharpen) * (seen - cv2.GaussianBlur(seen, (0, 0), 1.0))
    pixels: Bytes = np.rint(seen.clip(0, 1) * 255).astype(np.uint8)
    if draw.quality:
        pixels = encode_jpeg(pixels, draw.quality, halved=draw.halved)
    return pixels.astype(np.float32) / np.float32(255)


def encode_jpeg(picture: Bytes, quality: int, *, halved: bool) -> Bytes:
    """What is left of an H x W x 3 8-bit RGB picture after JPEG of this quality.

    Args:
        picture: H x W x 3 8-bit RGB.
        quality: 0 to 100.
        halved: whether colour is stored at half the size (4:2:0).
    """
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, file = cv2.imencode(".jpg", picture[..., ::-1], settings)
    decoded: Bytes = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
