"""A picture in memory, and its way to and from Pillow's images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from undim.arrays import Bytes, Pixels
from undim.errors import PictureError
from undim.images.ifd import Directory


@dataclass(frozen=True)
class Metadata:
    """What travels with the pixels, as it stands in the file. A field is None or empty where the file has none.

    Which format takes which field, and what is said where one is lost, stands in `undim.images.carried`.

    Examples:
        >>> from undim.images import Metadata
        >>> Metadata(comments=(b"a night in June",)).comments
        (b'a night in June',)
    """

    exif: bytes | None = None
    """From the TIFF header on; its orientation is 1 and it holds no thumbnail."""
    icc: bytes | None = None
    """The colour profile of the file, fitting the pixels' one or three channels."""
    xmp: bytes | None = None
    """The packet, which promises nothing that is not kept."""
    dpi: tuple[float, float] | None = None
    """Dots per inch, horizontal and vertical."""
    xmp_extension: tuple[bytes, ...] = ()
    """The second part of the XMP as JPEG's segments hold it, each behind the name of its kind."""
    photoshop: bytes = b""
    """Photoshop's image resources, IPTC among them, without previews."""
    text: tuple[tuple[bytes, bytes], ...] = ()
    """PNG's text chunks but for XMP: names and contents."""
    comments: tuple[bytes, ...] = ()
    """Comments of a JPEG or GIF file."""
    segments: tuple[tuple[int, bytes], ...] = ()
    """JPEG's application segments of other kinds: markers and contents."""
    geography: Directory | None = None
    """GeoTIFF's tags."""
    tags: Directory | None = None
    """TIFF's tags of other kinds that do not describe how the pixels are stored."""
    colour_chunks: tuple[tuple[bytes, bytes], ...] = ()
    """The PNG chunks that `icc` was made of, or that name sRGB: names and contents."""
    aspect: tuple[float, float] | None = None
    """Resolution without a unit, horizontal and vertical, of pixels that are not square."""
    chunks: tuple[tuple[bytes, bytes, bool], ...] = ()
    """PNG's chunks of other kinds that are still true: names, contents, and whether they stand behind the pixels."""


@dataclass(frozen=True)
class Picture:
    """One upright picture as a network takes it: grey or RGB, encoded with sRGB's tones or nearly so.

    Examples:
        >>> import numpy as np
        >>> from undim.images import Metadata, Picture
        >>> Picture(np.zeros((2, 3, 3), np.uint8), None, Metadata(), "png").size  # width, height
        (3, 2)
    """

    pixels: Pixels
    """H x W (grey) or H x W x 3 (RGB), uint8 or uint16, up to 255 or 65535."""
    alpha: Pixels | None = None
    """H x W of the type of `pixels`, opaque at its largest value; not premultiplied. None where there is none."""
    metadata: Metadata = field(default_factory=Metadata)
    format: str = "png"
    """Name of the format that it came in: one of `FORMATS`, or one that is written as PNG."""
    lossless: bool = False
    """Whether a WebP file stored it without loss."""
    notes: tuple[str, ...] = ()
    """What of the file is not here, in words for the user."""
    toned: bool = False
    """Whether the pixels have sRGB's tone curve in place of that of `metadata.icc`, which has them back in the file."""
    bits: int | None = None
    """Bits per sample of the file, 8 to 16, where they are not those of `pixels`."""

    @property
    def grey(self) -> bool:
        """Whether there is one channel besides alpha."""
        return self.pixels.ndim == 2

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def depth(self) -> int:
        """Bits per sample that a file of it is to have: 8 or 16."""
        return 8 if self.exact_bits <= 8 else 16

    @property
    def exact_bits(self) -> int:
        """Bits per sample of the file that it came in."""
        return self.bits or 8 * self.pixels.itemsize

    def to_image(self) -> Image.Image:
        """A Pillow image without metadata: of mode L, LA, RGB or RGBA, or I;16 for grey of 16 bits without alpha.

        Pillow has no mode for other pictures of 16 bits: they are rounded to 8.
        """
        if self.pixels.dtype == np.uint16 and self.grey and self.alpha is None:
            return Image.fromarray(self.pixels)
        image = Image.fromarray(to_8_bit(self.pixels))
        if self.alpha is not None:
            image.putalpha(Image.fromarray(to_8_bit(self.alpha)))
        return image


def whole_aspect(aspect: tuple[float, float], most: int) -> tuple[int, int]:
    """The two as integers of 1 to `most` in the same ratio; they themselves, if they are such integers."""
    across, down = aspect
    if not (across.is_integer() and down.is_integer() and max(aspect) <= most):
        across, down = (max(1.0, value * most / max(aspect)) for value in aspect)
    return round(across), round(down)


def full_scale(pixels: npt.NDArray[Any]) -> int:
    """The value of white: 255 or 65535."""
    return int(np.iinfo(pixels.dtype).max)


def scale(values: npt.NDArray[Any], maximum: int, target: int) -> Pixels:
    """Integers in [0, maximum] to [0, target], rounded to the nearest; uint8 for a target of 255, else uint16."""
    wide = values.astype(np.uint32)
    wide *= target
    wide += maximum // 2
    wide //= maximum
    return np.minimum(wide, target).astype(np.uint8 if target == 255 else np.uint16)


def divide_by_alpha(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Colours that were multiplied by alpha, divided by it again and rounded; where alpha is 0 they stay."""
    share = alpha.astype(np.uint64) if pixels.ndim == 2 else alpha.astype(np.uint64)[..., None]
    whole = pixels.astype(np.uint64) * np.uint64(full_scale(pixels))
    divided = np.minimum((whole + share // 2) // np.maximum(share, 1), full_scale(pixels))
    return np.where(share > 0, divided, pixels).astype(pixels.dtype)


def to_8_bit(pixels: Pixels) -> Bytes:
    """As uint8; 16 bits are rounded to the nearest."""
    return pixels if pixels.dtype == np.uint8 else scale(pixels, 65535, 255)  # type: ignore[return-value]


def to_16_bit(pixels: Pixels) -> Pixels:
    """As uint16; 8 bits are scaled."""
    return pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * np.uint16(257)


def to_rgb(pixels: Pixels) -> Pixels:
    """As H x W x 3; grey as three equal channels."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def split_alpha(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """Pixels (H x W or H x W x 3) and alpha (H x W or None) of a loaded Pillow image of any mode.

    They are uint8, or uint16 for 16-bit grey. 1 bit becomes grey; a palette becomes grey if all its colours are, else
    RGB; CMYK and YCbCr become RGB by Pillow's formulas; a transparent colour in `info`, an integer for grey and three
    for RGB, becomes alpha. Of 16-bit RGB, and of any 16-bit picture with alpha, Pillow gives only the upper 8 bits;
    `read_picture` has such files decoded elsewhere.

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
    return split_channels(pixels) if image.mode in ("LA", "RGBA") else (pixels, None)


def split_channels(samples: Pixels) -> tuple[Pixels, Pixels | None]:
    """Pixels and alpha of H x W x C samples: grey, grey and alpha, RGB, or RGB and alpha."""
    colours = samples.shape[2] - (samples.shape[2] + 1) % 2
    pixels = np.ascontiguousarray(samples[..., 0] if colours == 1 else samples[..., :3])
    return pixels, np.ascontiguousarray(samples[..., -1]) if samples.shape[2] != colours else None


def join_channels(pixels: Pixels, alpha: Pixels | None) -> Pixels:
    """H x W x C samples of pixels and alpha: the reverse of `split_channels`."""
    samples = pixels if pixels.ndim == 3 else pixels[..., None]
    return samples if alpha is None else np.concatenate((samples, alpha[..., None]), axis=2)


def _from_16_bit(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    values = np.asarray(image)
    key = image.info.get("transparency")
    alpha = None
    if isinstance(key, int):
        alpha = np.where(values == key, np.uint16(0), np.uint16(65535))
    return np.minimum(values, 65535).astype(np.uint16), alpha


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
