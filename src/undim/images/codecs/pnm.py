"""PNM (Netpbm): PBM, PGM and PPM in text and binary, and PAM, of 1 to 16 bits."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from undim.errors import PictureError
from undim.images.codec import CheckSize, Codec, Stored
from undim.images.picture import Picture, scale, split_channels

_BITMAPS, _TEXTS = (b"P1", b"P4"), (b"P1", b"P2", b"P3")
_COLOURS = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3}
_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*([0-9]+)")
_MOST_HEADER = 1 << 16
_TUPLES = {b"BLACKANDWHITE": 1, b"GRAYSCALE": 1, b"RGB": 3}
_ALPHA = b"_ALPHA"


class Pnm(Codec):
    """PNM files: their largest value may be any from 1 to 65535, and becomes white."""

    name, title, suffixes = "ppm", "PNM", (".ppm", ".pgm", ".pbm", ".pnm", ".pam")

    def sniff(self, header: bytes, suffix: str) -> bool:
        """P and a number."""
        return header[:1] == b"P" and b"1" <= header[1:2] <= b"7" and header[2:3].isspace()

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """The first picture; values of more than 8 bits fill 16."""
        stream.seek(0)
        header = stream.read(_MOST_HEADER)
        kind = header[:2]
        width, height, samples, top, start = _read_pam(header) if kind == b"P7" else _read_header(header)
        check_size((width, height))
        if not 1 <= top <= 65535 or not 1 <= samples <= 4:
            raise PictureError(f"is damaged: it has {samples} samples per pixel with a largest value of {top}")
        stream.seek(start)
        shape = (height, width, samples)
        if kind in _TEXTS:
            values, rest = _read_text(stream.read(), shape, bitmap=kind == b"P1")
        else:
            values, rest = _read_binary(stream, shape, top, bitmap=kind == b"P4")
        if values.max() > top:
            raise PictureError(f"is damaged: it has values of up to {values.max()}, above its largest of {top}")
        if kind in _BITMAPS:
            values = 1 - values  # 1 is black
        pixels, alpha = split_channels(scale(values, top, 255 if top < 256 else 65535))
        lost = ("pictures",) if re.match(rb"\s*P[1-7]\s", rest) else ("trailer",) if rest.strip(b"\0 \r\n\t") else ()
        return Stored(Picture(pixels, alpha, format=self.name), lost=lost)


def _read_header(header: bytes) -> tuple[int, int, int, int, int]:
    """Width, height, samples per pixel, largest value, and where the pixels begin."""
    kind, at, numbers = header[:2], 2, []
    for _ in range(2 if kind in _BITMAPS else 3):
        found = _TOKEN.match(header, at)
        if found is None:
            raise PictureError("is damaged or truncated: its header names no size")
        numbers.append(int(found[1][:10]))
        at = found.end()
    width, height, top = (*numbers, 1) if kind in _BITMAPS else numbers
    return width, height, _COLOURS[kind], top, at + 1


def _read_pam(header: bytes) -> tuple[int, int, int, int, int]:
    head, end, _ = header.partition(b"ENDHDR\n")
    words = [line.split(None, 1) for line in head.splitlines()[1:] if line.strip() and not line.startswith(b"#")]
    facts = {word[0]: word[1].strip() for word in words if len(word) == 2}
    try:
        width, height, samples, top = (int(facts[name][:10]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    except (KeyError, ValueError) as error:
        raise PictureError("is damaged or truncated: its header names no size") from error
    kind = facts.get(b"TUPLTYPE", b"")
    plain = kind.removesuffix(_ALPHA)
    if not end or (kind and _TUPLES.get(plain, 0) + kind.endswith(_ALPHA) != samples):
        raise PictureError(
            f"is a PAM picture of {samples} samples of kind {kind.decode('ascii', 'replace')!r}, not read"
        )
    return width, height, samples, top, len(head) + len(end)


_LONG = 11
"""Digits of numbers that are too large for any picture, whatever follows."""


def _read_text(body: bytes, shape: tuple[int, int, int], *, bitmap: bool) -> tuple[npt.NDArray[Any], bytes]:
    count = shape[0] * shape[1] * shape[2]
    body = re.sub(rb"#[^\r\n]*", b"", body)
    # The digits of a bitmap need no space between them.
    digits = b"".join(body.split())[:count] if bitmap else b""
    words = [] if bitmap else body.split(None, count)[:count]
    if len(digits) + len(words) < count:
        raise PictureError(f"is damaged or truncated: it has {len(digits) + len(words)} of {count} values")
    wrong = re.search(rb"\D", digits) or next(filter(None, (re.search(rb".*\D.*", word) for word in words)), None)
    if wrong is not None:
        raise PictureError(f"is damaged: it has {wrong[0][:16].decode('ascii', 'replace')!r} where a value should be")
    if bitmap:
        return (np.frombuffer(digits, np.uint8) - ord("0")).reshape(shape), b""
    short = [word if len(word) < _LONG else word.lstrip(b"0")[:_LONG] or b"0" for word in words]
    return np.minimum(np.array(short).astype(np.float64), 2**32 - 1).astype(np.uint32).reshape(shape), b""


def _read_binary(
    stream: BinaryIO, shape: tuple[int, int, int], top: int, *, bitmap: bool
) -> tuple[npt.NDArray[Any], bytes]:
    height, width, samples = shape
    row = (width + 7) // 8 if bitmap else width * samples * (1 if top < 256 else 2)
    body = stream.read(row * height)
    if len(body) < row * height:
        raise PictureError(f"is damaged or truncated: its pixels are {len(body)} of {row * height} bytes")
    if bitmap:
        bits = np.unpackbits(np.frombuffer(body, np.uint8).reshape(height, row), axis=1)
        return bits[:, :width, None], stream.read(1 << 16)
    return np.frombuffer(body, np.uint8 if top < 256 else ">u2").reshape(shape), stream.read(1 << 16)
