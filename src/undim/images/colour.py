"""Colour profiles: which pictures a network can take as they are, and how the others come there and back.

The networks were trained on sRGB. What is done with a profile:

- RGB and grey profiles with sRGB's tones (sRGB itself, Display P3) are carried: the pixels are not touched on the way
  in, and no colour is cut off.
- Others (Adobe RGB, ProPhoto, Rec. 2020, linear light, grey gamma 2.2, dot gain) give their tone curve away for sRGB's
  before the network, in 16 bits, and get it back after it. The primaries stay: no colour is cut off here either.
- CMYK is converted to sRGB by its profile and stays RGB.
- A format that holds no profile, or not this one, gets sRGB.

Profiles are laid out as ICC.1:2022 says; colours are converted by LittleCMS, in 16 bits through libvips.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from undim.arrays import Bytes, Pixels
from undim.images import profiles
from undim.images.codecs.libvips import convert_to_srgb
from undim.images.exif import is_adobe_rgb
from undim.images.picture import Metadata, full_scale
from undim.srgb import decode_srgb, encode_srgb

Curve = npt.NDArray[np.float64]
"""Linear light in [0, 1] for 65536 encoded values, evenly spaced from 0 to 1; never falling."""

CARRIED_TONES = 3 / 255
"""How far a profile's tones may be from sRGB's for pictures to be carried.

Gamma 2.2 is 8.6 levels of 255 off, in the shadows: a network takes such a picture for a brighter one.
"""

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


def named_by_exif(metadata: Metadata) -> Metadata:
    """The metadata of RGB pixels with the profile of Adobe RGB, where the file has none and its EXIF names that."""
    if metadata.icc or not is_adobe_rgb(metadata.exif or b""):
        return metadata
    made = profiles.by_chromaticities(profiles.ADOBE_RGB, profiles.ADOBE_RGB_GAMMA, grey=False)
    return replace(metadata, icc=made)


def profile_fits(profile: bytes, *, grey: bool) -> bool:
    """Whether an ICC profile is for grey or RGB pixels: bytes 16 to 19 name the colour model."""
    return profile[16:20] == (b"GRAY" if grey else b"RGB ")


def is_cmyk(profile: bytes) -> bool:
    """Whether an ICC profile is for CMYK pixels."""
    return profile[16:20] == b"CMYK"


@lru_cache(16)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile means the colours of sRGB, up to rounding."""
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(6, 36, 3)
    try:
        return bool(np.abs(_convert_8_bit(cube, profile).astype(int) - cube).max() <= 1)
    except (ImageCms.PyCMSError, OSError):
        return False


@lru_cache(4)
def tone_curves(profile: bytes) -> tuple[Curve, ...] | None:
    """The curves, one per channel, that pictures with this profile must give away for sRGB's; None for none.

    None also for a profile that holds no curves (tables alone), damaged ones, or ones that cannot be reversed.
    """
    names = (b"kTRC",) if profile_fits(profile, grey=True) else (b"rTRC", b"gTRC", b"bTRC")
    try:
        tags = _tags(profile)
        with np.errstate(all="ignore"):  # of damaged numbers
            curves = tuple(_curve(tags[name]) for name in names)
    except (KeyError, IndexError, ValueError, struct.error):
        return None
    if any(not np.isfinite(curve).all() or curve[-1] - curve[0] < 0.5 for curve in curves):
        return None
    if all(np.abs(encode_srgb(np.clip(curve, 0, 1)) - _EVEN).max() <= CARRIED_TONES for curve in curves):
        return None
    return curves


def give_srgb_tones(pixels: Pixels, curves: tuple[Curve, ...]) -> Pixels:
    """Pixels with sRGB's tone curve in place of their own, as uint16."""

    def retone(channel: Pixels, curve: Curve) -> Pixels:
        step = 65535 // full_scale(channel)
        table = np.rint(encode_srgb(np.clip(curve[::step], 0, 1)) * 65535).astype(np.uint16)
        return table[channel]

    return _by_channel(pixels, curves, retone)


def take_srgb_tones(pixels: Pixels, curves: tuple[Curve, ...]) -> Pixels:
    """The reverse of `give_srgb_tones`: uint16 pixels with their own tone curve again."""
    light = decode_srgb(_EVEN)

    def retone(channel: Pixels, curve: Curve) -> Pixels:
        table = np.rint(np.interp(light, curve, _EVEN) * 65535).astype(np.uint16)
        return table[channel]

    return _by_channel(pixels, curves, retone)


def to_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """H x W, H x W x 3 or CMYK pixels that have this profile, as sRGB: H x W x 3, of their type.

    Relative colorimetric with black point compensation; colours that sRGB does not have are cut off.

    Raises:
        ValueError: if the profile cannot be used.
    """
    try:
        return _convert_8_bit(pixels, profile) if pixels.dtype == np.uint8 else convert_to_srgb(pixels, profile)
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError(f"the colour profile cannot be used: {error}") from error


def from_cmyk(inks: Pixels, profile: bytes | None) -> tuple[Pixels, tuple[str, ...]]:
    """RGB pixels of H x W x 4 inks (the largest value is all ink) by the profile, or by a plain formula; and a note."""
    if profile and is_cmyk(profile):
        with suppress(ValueError):
            return to_srgb(inks, profile), ("CMYK was converted to RGB (sRGB) by its colour profile",)
    top = full_scale(inks)
    light = (top - inks[..., :3].astype(np.uint32)) * (top - inks[..., 3:].astype(np.uint32))
    plain = ((light + top // 2) // top).astype(inks.dtype)
    return plain, ("CMYK was converted to RGB without a colour profile",)


_EVEN = np.linspace(0, 1, 65536)


def _convert_8_bit(pixels: Pixels, profile: bytes) -> Bytes:
    mode = {2: "L", 3: "RGB"}.get(pixels.ndim, "RGB") if pixels.shape[2:] != (4,) else "CMYK"
    image = Image.frombytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, target, _INTENT, "RGB", flags=_FLAGS))


def _by_channel(pixels: Pixels, curves: tuple[Curve, ...], retone: Callable[[Pixels, Curve], Pixels]) -> Pixels:
    if pixels.ndim == 2:
        return retone(pixels, curves[0])
    result = np.empty(pixels.shape, np.uint16)
    for channel, curve in enumerate(curves):
        result[..., channel] = retone(pixels[..., channel], curve)
    return result


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(min(count, 100))]
    return {name: profile[start : start + length] for name, start, length in entries}


def _curve(tag: bytes) -> Curve:
    """A curve of type `curv` (sampled, or one gamma) or `para` (a formula), never falling."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        samples = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
        if count <= 1:
            light = _EVEN ** (samples[0] / 256 if count else 1.0)
        else:
            light = np.interp(_EVEN, np.linspace(0, 1, count), samples / 65535)
    elif tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        light = _formula(kind, np.frombuffer(tag, ">i4", (1, 3, 4, 5, 7)[kind], 12) / 65536)
    else:
        raise ValueError("not a curve")
    return np.maximum.accumulate(light.clip(0, 1))


def _formula(kind: int, numbers: npt.NDArray[np.float64]) -> Curve:
    """Parametric curves 0 to 4: Y = (a X + b)^g + e from X = d on, c X + f below."""
    g = numbers[0]
    a, b = numbers[1:3] if kind else (1.0, 0.0)
    c, d, e, f = 0.0, -np.inf, 0.0, 0.0
    if kind in (1, 2):
        d, e = -b / a, numbers[3] if kind == 2 else 0.0
        f = e
    elif kind in (3, 4):
        c, d = numbers[3:5]
        e, f = numbers[5:7] if kind == 4 else (0.0, 0.0)
    power = np.clip(a * _EVEN + b, 0, None) ** g + e
    light: Curve = np.where(d <= _EVEN, power, c * _EVEN + f)
    return light
