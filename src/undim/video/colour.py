"""Between a video's colours and what the network knows: sRGB's curve, values from 0 to 1.

A video's YUV is turned into RGB by its own matrix and range. Where its transfer curve is near sRGB's (BT.709, BT.601,
gamma 2.2, BT.2020 without HDR), its values go to the network as they are. Those of PQ, HLG and linear light are sent
through a curve: the range that an SDR picture has, up to the white of paper at 203 cd/m2 (ITU-R BT.2408), becomes
sRGB's, and what is brighter shares the values above. The result is sent back through the inverse of that curve.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from undim.arrays import Doubles, Pixels
from undim.errors import VideoError
from undim.srgb import encode_srgb
from undim.video.frames import side_data

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

BT2020 = 9
"""FFmpeg's number of the primaries of BT.2020."""
PQ, HLG = 16, 18
"""FFmpeg's numbers of the transfer curves of HDR."""
PAPER_WHITE = 203.0
"""cd/m2: what white paper has in an HDR picture (BT.2408)."""
_LINEAR = 8
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""FFmpeg's numbers of the matrices that its converter knows -> the converter's numbers."""
_RGB, _UNKNOWN, _RESERVED = 0, 2, 3
_BT709, _BT601 = 1, 5
_HD = 720
"""Lines from which a video that does not name its matrix has that of HD."""
_KNEE = 0.8
"""Share of paper white up to which the curve is sRGB's."""
_KNEE_VALUE = 0.85
"""The value that is given to the knee."""
_LEAST_SLOPE = 0.05
"""Of the curve: below, neighbouring values of a deep video would become one."""


@dataclass(frozen=True)
class Tone:
    """A transfer curve as two tables of 65536 values: to sRGB's and back."""

    name: str
    there: npt.NDArray[np.uint16]
    back: npt.NDArray[np.uint16]

    def to_network(self, pixels: Pixels) -> Pixels:
        """Pixels of 16 bits, as coded in the video, as the network is to see them."""
        return self.there[pixels]

    def to_video(self, pixels: Pixels) -> Pixels:
        """Pixels of 16 bits, as the network gives them, as the video codes them."""
        return self.back[pixels]


def matrix_of(frame: VideoFrame) -> int:
    """Number of the YUV matrix of a frame, for FFmpeg's converter.

    Raises:
        VideoError: if it is none of those that the converter knows.
    """
    told = int(frame.colorspace)
    if frame.format.is_rgb or told in (_RGB, _UNKNOWN, _RESERVED):
        return _BT709 if frame.height >= _HD or frame.format.is_rgb else _BT601
    if told not in _MATRICES:
        raise VideoError(f"codes its colours by a matrix that is not read (FFmpeg's number {told})")
    return _MATRICES[told]


@cache
def find_tone(transfer: int) -> Tone | None:
    """The curve of a video whose transfer has that number in FFmpeg; None where it is near sRGB's."""
    return _make_tone(*_TRANSFERS[transfer]) if transfer in _TRANSFERS else None


def describe_colours(frame: VideoFrame) -> str | None:
    """A note on what is done with colours that are not the network's; None where they are near."""
    tone, wide = find_tone(int(frame.color_trc)), int(frame.color_primaries) == BT2020
    if tone is not None:
        hdr = "HDR " if int(frame.color_trc) in (PQ, HLG) else ""
        primaries = ", its wide primaries (BT.2020) kept as they are" if wide else ""
        return (
            f"is {hdr}video ({tone.name}): enhanced on sRGB's curve with the brightest parts compressed, and written"
            f" back as {tone.name}{primaries}"
        )
    if wide:
        return "has BT.2020's wide primaries: the network, which knows sRGB's, sees its colours paler; they are kept"
    return None


def _pq(signal: Doubles) -> Doubles:
    """cd/m2 of PQ's signal from 0 to 1: SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    light: Doubles = 10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return light


def _hlg(signal: Doubles) -> Doubles:
    """Scene light, 0 to 1, of HLG's signal from 0 to 1: ITU-R BT.2100."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    light: Doubles = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return light


def _make_tone(name: str, light_of: Callable[[Doubles], Doubles], white: float) -> Tone:
    signal = np.linspace(0, 1, 65536)
    light = light_of(signal) / white
    low = encode_srgb(np.minimum(light, _KNEE))
    top = max(float(light[-1]), _KNEE)
    scale = _KNEE_VALUE / float(encode_srgb(np.array(_KNEE))) if top > 1 else 1.0
    high = np.log(np.maximum(light, _KNEE) / _KNEE) / max(np.log(top / _KNEE), 1e-9) if top > 1 else 0 * light
    value = scale * low + (1 - _KNEE_VALUE) * high if top > 1 else encode_srgb(light)
    steps = np.maximum(np.diff(value, prepend=0.0), _LEAST_SLOPE / 65535)
    steps[0] = 0
    value = np.cumsum(steps)
    value /= value[-1]
    there = np.rint(65535 * value).astype(np.uint16)
    back = np.rint(65535 * np.interp(signal, value, signal)).astype(np.uint16)
    return Tone(name, there, back)


_TRANSFERS: dict[int, tuple[str, Callable[[Doubles], Doubles], float]] = {
    PQ: ("PQ", _pq, PAPER_WHITE),
    HLG: ("HLG", _hlg, float(_hlg(np.array(0.75)))),
    _LINEAR: ("linear light", lambda signal: signal, 1.0),
}
"""FFmpeg's number -> name, light of the signal, and the light that is white."""


@dataclass(frozen=True)
class Mastering:
    """What an HDR video was mastered on, and how bright it gets: SMPTE ST 2086 and CTA-861.3."""

    primaries: tuple[tuple[float, float], ...] = ()
    """x and y of red, green, blue and white; empty if not told."""
    luminance: tuple[float, float] | None = None
    """The display's lowest and highest, cd/m2."""
    light: tuple[int, int] | None = None
    """The brightest pixel and the brightest frame's mean, cd/m2."""


def read_mastering(frame: VideoFrame) -> Mastering:
    """What a frame tells of it."""
    data = side_data(frame)
    primaries: tuple[tuple[float, float], ...] = ()
    luminance = light = None
    if "MASTERING_DISPLAY_METADATA" in data:
        numbers = struct.unpack("=22i", data["MASTERING_DISPLAY_METADATA"][:88])  # FFmpeg's AVMasteringDisplayMetadata
        ratios = [up / (down or 1) for up, down in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
        if numbers[20]:
            primaries = tuple(zip(ratios[0:8:2], ratios[1:8:2], strict=True))
        if numbers[21]:
            luminance = ratios[8], ratios[9]
    if "CONTENT_LIGHT_LEVEL" in data:
        light = struct.unpack("=2I", data["CONTENT_LIGHT_LEVEL"][:8])
    return Mastering(primaries, luminance, light)


def mastering_options(mastering: Mastering, option: str) -> list[str]:
    """It as parts of an encoder's option: x264's and x265's in their units, SVT-AV1's in plain numbers."""
    plain = option == "svtav1-params"
    names = {
        "x264-params": ("mastering-display", "cll"),
        "x265-params": ("master-display", "max-cll"),
        "svtav1-params": ("mastering-display", "content-light"),
    }[option]

    def number(value: float, unit: int) -> str:
        return f"{value:.6g}" if plain else str(round(value * unit))

    parts = []
    if mastering.primaries and mastering.luminance:
        red, green, blue, white = (f"({number(x, 50000)},{number(y, 50000)})" for x, y in mastering.primaries)
        low, high = (number(value, 10000) for value in mastering.luminance)
        parts.append(f"{names[0]}=G{green}B{blue}R{red}WP{white}L({high},{low})")
    if mastering.light:
        parts.append(f"{names[1]}={mastering.light[0]},{mastering.light[1]}")
    return parts
