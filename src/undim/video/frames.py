"""Pixels of a video's frames: fields, alpha, other sizes, and pixels put back into frames."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from undim.arrays import Bytes, Pixels
from undim.video.encoders import FULL_RANGE, is_full_by_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPAQUE = 0.998
"""Share of the highest alpha that counts as opaque."""
_UPRIGHT = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
_FINE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP


def to_pixels(frame: VideoFrame, matrix: int, *, deep: bool, alpha: bool) -> Pixels:
    """A frame's pixels, H x W x 3 or, with alpha, x 4, of 8 or 16 bits.

    Args:
        frame: in any format.
        matrix: of its YUV, as `undim.video.colour.matrix_of` tells.
        deep: whether 16 bits are wanted.
        alpha: whether alpha is.
    """
    form = ("rgba64le" if alpha else "rgb48le") if deep else ("rgba" if alpha else "rgb24")
    full = FULL_RANGE if is_full_by_name(frame.format.name) else None
    converted = frame.reformat(format=form, src_colorspace=matrix, src_color_range=full, interpolation=_FINE)
    return cast("Pixels", converted.to_ndarray())


def put_pixels(pixels: Pixels, like: VideoFrame, matrix: int, color_range: int) -> VideoFrame:
    """Put pixels into a frame, which keeps its format and what came with it (captions, marks of fields).

    Args:
        pixels: H x W x 3 or 4, of 8 or 16 bits, of the size of `like`.
        like: gets them.
        matrix: for YUV.
        color_range: for YUV.
    """
    alpha = pixels.shape[2] == 4
    form = ("rgba64le" if alpha else "rgb48le") if pixels.dtype == np.uint16 else ("rgba" if alpha else "rgb24")
    source: Any = np.ascontiguousarray(pixels)
    made = VideoFrame.from_ndarray(source, format=form).reformat(
        format=like.format.name,
        dst_colorspace=matrix,
        dst_color_range=None if like.format.is_rgb else color_range,
        interpolation=_FINE,
    )
    like.make_writable()
    for plane, (target, source_plane) in enumerate(zip(like.planes, made.planes, strict=True)):
        width = min(target.line_size, source_plane.line_size)
        rows = plane_rows(like, plane)
        rows[:, :width] = plane_rows(made, plane)[: len(rows), :width]
    return like


def plane_rows(frame: VideoFrame, plane: int) -> Bytes:
    """The bytes of one plane, its rows down, as a view."""
    view: Any = frame.planes[plane]
    return np.frombuffer(view, np.uint8).reshape(-1, view.line_size)[: view.height]


def is_interlaced(frame: VideoFrame) -> bool:
    """Whether a frame is marked as made of two fields."""
    return bool(frame.interlaced_frame)


def split_fields(frame: VideoFrame) -> tuple[VideoFrame, VideoFrame]:
    """The upper and the lower field as frames of half the height: every other line of every plane."""
    made = []
    for parity in (0, 1):
        field = VideoFrame(frame.width, (frame.height + 1 - parity) // 2, frame.format.name)
        for plane in range(len(frame.planes)):
            lines, target = plane_rows(frame, plane)[parity::2], plane_rows(field, plane)
            rows, width = min(len(lines), len(target)), min(lines.shape[1], target.shape[1])
            target[:rows, :width] = lines[:rows, :width]
            target[rows:] = target[rows - 1]
        field.colorspace, field.color_range = frame.colorspace, frame.color_range
        made.append(field)
    return made[0], made[1]


def weave_fields(upper: VideoFrame, lower: VideoFrame, like: VideoFrame) -> VideoFrame:
    """Two fields as one frame that is otherwise as another one, whose pixels are replaced."""
    like.make_writable()
    for parity, field in enumerate((upper, lower)):
        for plane in range(len(like.planes)):
            lines, source = plane_rows(like, plane)[parity::2], plane_rows(field, plane)
            width = min(lines.shape[1], source.shape[1])
            lines[:, :width] = source[: len(lines), :width]
    return like


def fit(pixels: Pixels, aspect: float, size: tuple[int, int], size_aspect: float) -> Pixels:
    """Pixels scaled into a frame of another size, with black bars where the pictures' shapes differ.

    Args:
        pixels: H x W x 3 or 4.
        aspect: width by height of the picture as it is shown.
        size: width and height of the frame.
        size_aspect: width by height of the frame as it is shown.
    """
    width, height = size
    if aspect > 1.02 * size_aspect:
        height = max(2, round(height * size_aspect / aspect))
    elif size_aspect > 1.02 * aspect:
        width = max(2, round(width * aspect / size_aspect))
    alpha = pixels.shape[2] == 4
    form = ("rgba64le" if alpha else "rgb48le") if pixels.dtype == np.uint16 else ("rgba" if alpha else "rgb24")
    source: Any = np.ascontiguousarray(pixels)
    scaled = VideoFrame.from_ndarray(source, format=form).reformat(width=width, height=height, interpolation=_FINE)
    result = np.zeros((size[1], size[0], pixels.shape[2]), pixels.dtype)
    if alpha:
        result[..., 3] = np.iinfo(pixels.dtype).max
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    result[top : top + height, left : left + width] = scaled.to_ndarray()
    return result


def pad(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Pixels with their last column and row repeated up to a width and height."""
    down, right = size[1] - pixels.shape[0], size[0] - pixels.shape[1]
    return np.pad(pixels, ((0, down), (0, right), (0, 0)), "edge") if down or right else pixels


def find_turn(matrix: tuple[int, ...]) -> tuple[bool, bool, bool] | None:
    """What a display matrix does to a picture: transposed, then mirrored up-down, then left-right.

    None if it does something else: a turn by another angle, a change of size.

    Args:
        matrix: nine numbers as FFmpeg has them, in 65536ths.
    """
    a, b, _, c, d, *_ = (round(number / 65536) if not number % 65536 else 2 for number in matrix)
    if (abs(a), abs(b), abs(c), abs(d)) == (1, 0, 0, 1):
        return False, d < 0, a < 0
    if (abs(a), abs(b), abs(c), abs(d)) == (0, 1, 1, 0):
        return True, b < 0, c < 0
    return None


def turn(pixels: Pixels, how: tuple[bool, bool, bool]) -> Pixels:
    """Pixels, H x W x C, turned as `find_turn` says."""
    if how[0]:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if how[1] else 1, :: -1 if how[2] else 1]


def on_black(pixels: Pixels) -> Pixels:
    """H x W x 4 as it looks on black, H x W x 3."""
    most = np.iinfo(pixels.dtype).max
    return np.rint(pixels[..., :3] * (pixels[..., 3:].astype(np.float32) / most)).astype(pixels.dtype)


class Filter:
    """FFmpeg's filters as a function from frames to frames; they may hold some back.

    Args:
        steps: name and argument of each filter.
        frame: the first one: all that follow have its size and format.
    """

    def __init__(self, steps: tuple[tuple[str, str], ...], frame: VideoFrame) -> None:
        self._graph = Graph()
        base = frame.time_base or Fraction(1, 1000)
        self._first = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=base
        )
        self._link(steps)

    def _link(self, steps: tuple[tuple[str, str], ...]) -> None:
        nodes = [self._first, *(self._graph.add(name, argument) for name, argument in steps)]
        self._graph.link_nodes(*nodes, self._graph.add("buffersink")).configure()

    def __call__(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """The frames that come out when one is put in; None for the end."""
        self._graph.vpush(frame)
        while True:
            try:
                yield self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def in_palette(frame: VideoFrame) -> VideoFrame:
    """A frame of `bgra` in a palette of its own, as GIF has it: 256 colours, one of them transparent."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 100))
    split, colours = graph.add("split"), graph.add("palettegen", "reserve_transparent=1")
    use, sink = graph.add("paletteuse", "dither=sierra2_4a"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(colours, 1, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    graph.vpush(frame)
    graph.vpush(None)
    return graph.vpull()


def is_transparent(pixels: Pixels) -> bool:
    """Whether pixels, H x W x 4, are transparent somewhere, by more than a rounding of their alpha."""
    return bool((pixels[..., 3] < _OPAQUE * np.iinfo(pixels.dtype).max).any())


def side_data(frame: VideoFrame) -> dict[str, bytes]:
    """What came with a frame, by FFmpeg's names."""
    return {each.type.name: bytes(each) for each in cast("Any", frame.side_data)}


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers of a frame's display matrix; None if it has none, or one that does nothing."""
    content = side_data(frame).get("DISPLAYMATRIX")
    if content is None:
        return None
    matrix = struct.unpack("=9i", content[:36])
    return None if matrix == _UPRIGHT else matrix
