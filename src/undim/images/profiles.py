"""ICC profiles made of numbers: of the chromaticities and curves that files name in place of a profile.

PNG has them in `gAMA`, `cHRM` and `cICP` (PNG, third edition, 11.3.2), BMP in its version 4 header, AVIF and HEIC as
numbers of H.273. Made profiles are matrices and one curve, as ICC.1:2022 lays them out, adapted to D50 by Bradford's
matrix.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
"""CIE x and y."""
Chromaticities = tuple[Point, Point, Point, Point]
"""Of white, red, green and blue."""

D65 = (0.3127, 0.3290)
SRGB: Chromaticities = (D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE_RGB: Chromaticities = (D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
ADOBE_RGB_GAMMA = 563 / 256
_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB,
    4: ((0.310, 0.316), (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: (D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: (D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: (D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: (D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: (D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: (D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
"""Chromaticities by their numbers in H.273."""
_GAMMAS: dict[int, float | None] = {
    **dict.fromkeys((1, 2, 6, 13, 14, 15)),
    4: 2.2,
    5: 2.8,
    8: 1.0,
}
"""Exponents by the numbers of transfer characteristics; None for those that viewers show as sRGB."""
UNNAMED = 2
"""The number for "unspecified"."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])
_CLOSE = 0.002
"""How far chromaticities may be from sRGB's to count as them: they are rounded to two to five digits."""


def by_numbers(primaries: int, transfer: int, *, grey: bool) -> bytes | None:
    """The profile of colours named by two numbers of H.273; None for sRGB's, or what viewers take for them.

    Raises:
        ValueError: for colours that no profile of a matrix and a curve describes, HDR among them.
    """
    if primaries in (1, UNNAMED) and transfer in _GAMMAS and _GAMMAS[transfer] is None:
        return None
    if transfer not in _GAMMAS or primaries not in (*_PRIMARIES, UNNAMED):
        raise ValueError("HDR" if transfer in (16, 18) else "unknown")
    return by_chromaticities(_PRIMARIES.get(primaries, SRGB), _GAMMAS[transfer], grey=grey)


def note_on_numbers(kind: str) -> str:
    """The note on colours that `by_numbers` has no profile for: `kind` is what its error says."""
    named = "HDR" if kind == "HDR" else "of an unknown kind"
    return f"its colours, {named} by numbers in place of a profile, were taken for sRGB"


def are_srgb(points: Chromaticities) -> bool:
    """Whether white and primaries are sRGB's, up to rounding."""
    return bool(np.abs(np.subtract(points, SRGB)).max() <= _CLOSE)


@lru_cache(16)
def by_chromaticities(points: Chromaticities, gamma: float | None, *, grey: bool) -> bytes:
    """A profile of these primaries and light = value ** gamma; None for sRGB's curve.

    Raises:
        ValueError: if the points are not those of a triangle around white.
    """
    if gamma is None:
        curve = b"para" + struct.pack(">IHH", 0, 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    else:
        curve = b"para" + struct.pack(">IHH", 0, 0, 0) + _fixed(gamma)
    text = "Colours named by numbers"
    words = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 2 * len(text), 28) + text.encode("utf-16-be")
    tags = {b"desc": words, b"cprt": words, b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _to_d50(points).T, strict=True):
            tags[name] = b"XYZ \0\0\0\0" + _fixed(*column)
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(b"GRAY" if grey else b"RGB ", tags)


def _to_d50(points: Chromaticities) -> npt.NDArray[np.float64]:
    """The matrix from linear RGB to XYZ under D50; its columns are the primaries."""
    if not np.isfinite(points).all() or min(y for _, y in points) <= 0 or np.abs(points).max() > 2:
        raise ValueError("not chromaticities")
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in points])
    white, primaries = xyz[0], xyz[1:].T
    if abs(np.linalg.det(primaries)) < 1e-6:
        raise ValueError("the primaries lie on a line")
    scaled = primaries * np.linalg.solve(primaries, white)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    matrix: npt.NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ scaled
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > 4 or matrix[1].min() < 0:
        raise ValueError("white lies outside the primaries")
    return matrix


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _profile(model: bytes, tags: dict[bytes, bytes]) -> bytes:
    start, table, body = 132 + 12 * len(tags), b"", b""
    places: dict[bytes, int] = {}
    for name, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, places[content], len(content))
    head = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(body), bytes(4), 0x04300000, b"mntr", model, b"XYZ ", bytes(12), b"acsp"
    )
    head = head.ljust(68, b"\0") + _fixed(*_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
