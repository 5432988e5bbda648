"""A picture in memory, and its way to and from Pillow's images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from undim.errors import PictureError

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Metadata:
    """What travels with the pixels. Every field is None where the file has none."""

    exif: bytes | None = None
    """From the TIFF header on; its orientation is 1 and it holds no thumbnail."""
    icc: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    """Dots per inch, horizontal and vertical."""


@dataclass(frozen=True)
class Picture:
    """One upright picture of 8 bits per sample, encoded as in its file (usually sRGB)."""

    pixels: Bytes
    """H x W (grey) or H x W x 3 (RGB), uint8."""
    alpha: Bytes | None = None
    """H x W, uint8, 255 opaque; not premultiplied. None where the file has no alpha."""
    metadata: Metadata = field(default_factory=Metadata)
    format: str = "png"
    """Name of the format that it came in: one of `FORMATS`, or one that is written as PNG."""
    lossless: bool = False
    """Whether a WebP file stored it without loss."""
    notes: tuple[str, ...] = ()
    """What of the file is not here, in words for the user."""

    @property
    def grey(self) -> bool:
        """Whether there is one channel besides alpha."""
        return self.pixels.ndim == 2

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def to_image(self) -> Image.Image:
        """A Pillow image of mode L, LA, RGB or RGBA, without metadata."""
        image = Image.fromarray(self.pixels)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        return image


def split_alpha(image: Image.Image) -> tuple[Bytes, Bytes | None]:
    """Pixels (H x W or H x W x 3) and alpha (H x W or None) of a loaded Pillow image of any mode, as uint8.

    1 bit becomes grey; 16-bit grey is scaled by 255/65535 and rounded; a palette becomes grey if all its colours
    are, else RGB; CMYK and YCbCr become RGB by Pillow's formulas; a transparent colour in `info`, an integer for grey
    and three for RGB, becomes alpha. Of 16-bit RGB, and of any 16-bit picture with alpha, Pillow gives only the upper
    8 bits: up to one level below the rounded value.

    Raises:
        PictureError: for floating-point, signed or 32-bit integer and other modes that have no defined range or
            colours.
    """
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):
        return _from_16_bit(image)
    if mode == "P":
        grey = _has_grey_palette(image)
        wanted = ("LA" if grey else "RGBA") if image.has_transparency_data else ("L" if grey else "RGB")
        # Pillow has no way from a palette to LA that keeps the transparency.
        image = image.convert("RGBA" if wanted == "LA" else wanted)
        image = image.convert("LA") if wanted == "LA" else image
    elif _has_transparent_colour(image):
        image = _transparent_colour(image)
    elif mode in ("PA", "RGBa"):
        image = image.convert("RGBA")
    elif mode == "La":
        image = image.convert("LA")
    elif mode == "1":
        image = image.convert("L")
    elif mode in ("CMYK", "YCbCr", "RGBX", "HSV"):
        image = image.convert("RGB")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        kind = {"F": "floating-point", "I": "signed or 32-bit integer", "LAB": "CIELAB"}.get(mode, f"{mode}-mode")
        raise PictureError(f"{kind} pictures are not read; convert it to 8 or 16 bit grey or RGB first")
    pixels = np.asarray(image)
    if image.mode == "LA":
        return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])
    if image.mode == "RGBA":
        return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
    return pixels, None


def scale_to_8_bit(values: npt.NDArray[Any], maximum: int = 65535) -> Bytes:
    """Integers in [0, maximum] to uint8 in [0, 255], rounded to the nearest."""
    wide = values.astype(np.uint32)
    wide *= 255
    wide += maximum // 2
    wide //= maximum
    return np.minimum(wide, 255).astype(np.uint8)


def _from_16_bit(image: Image.Image) -> tuple[Bytes, Bytes | None]:
    values = np.asarray(image)
    key = image.info.get("transparency")
    alpha = None
    if isinstance(key, int):
        alpha = np.where(values == key, np.uint8(0), np.uint8(255))
    return scale_to_8_bit(values), alpha


def _has_transparent_colour(image: Image.Image) -> bool:
    """Whether `info` names one. Anything else under that key, such as a palette's alphas, means nothing here."""
    key = image.info.get("transparency")
    if image.mode == "RGB":
        return isinstance(key, tuple) and len(key) == 3 and all(isinstance(part, int) for part in key)
    return image.mode in ("1", "L") and isinstance(key, int)


def _transparent_colour(image: Image.Image) -> Image.Image:
    key = image.info["transparency"]
    if isinstance(key, tuple) and max(key) > 255:
        # Of 16-bit RGB Pillow keeps the high bytes, of the colour key all 16 bits.
        image = image.copy()
        image.info["transparency"] = tuple(part >> 8 for part in key)
    return image.convert("RGBA" if image.mode == "RGB" else "LA")


def _has_grey_palette(image: Image.Image) -> bool:
    colours = image.getpalette("RGB") or []
    return colours[0::3] == colours[1::3] == colours[2::3]
