"""The stream that is written: how it is encoded, which marks it carries, and how frames become its frames."""

from __future__ import annotations

import errno
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.codec.context import Flags
from av.video.format import VideoFormat

from undim.arrays import Pixels
from undim.errors import VideoError
from undim.video import colour, frames
from undim.video.containers import TAGS, Container
from undim.video.encoders import (
    ENCODERS,
    FULL_RANGE,
    Choice,
    Form,
    can_open,
    choose_encoder,
    codec_name,
    has_alpha,
    is_deep,
    is_full_by_name,
    prepare,
)
from undim.video.streams import codec_of, kept_metadata
from undim.video.times import grid_of

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

PROGRESSIVE = 1
"""FFmpeg's number of the order of fields that are none."""
FIELD_ORDERS = {2: "top field first", 3: "bottom field first", 4: "top field first", 5: "bottom field first"}
"""FFmpeg's numbers of the orders of fields, as its programs write them."""
_BOTTOM_FIRST = (3, 5)
_UNKNOWN_LEVEL = -99
_BT601_CODERS = frozenset(
    ("mpeg4", "mjpeg", "vp8", "mpeg1video", "wmv1", "wmv2", "msmpeg4v3", "msmpeg4v2", "flv1", "webp")
)
"""Codecs that do not say how they code colours: players take BT.601."""
_BT601, _BT709, _UNTOLD = 5, 1, 2
_LIMITED = 1
_OF_THE_SYSTEM = (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOSPC, errno.EPERM, errno.EIO)
_PALETTE = "pal8"
_BEFORE_PALETTE = "bgra"

Enhance = Callable[[Pixels, float], Pixels]
"""Frame or field, H x W x 3 of 8 or 16 bits, and its time in seconds -> the enhanced one."""


@dataclass(frozen=True)
class Source:
    """What is known of the video before its first frame."""

    video: VideoStream
    rate: Fraction
    """Frames a second, about."""
    base: Fraction
    """Seconds: the unit of its time stamps."""

    @property
    def codec(self) -> str:
        """FFmpeg's name of its codec."""
        return codec_of(self.video)

    @property
    def field_order(self) -> int:
        """FFmpeg's number of it."""
        return int(self.video.codec_context.field_order)

    def is_interlaced(self, frame: VideoFrame) -> bool:
        """Whether the video whose first frame this is has fields."""
        return frames.is_interlaced(frame) or self.field_order in FIELD_ORDERS


@dataclass
class Output:
    """The stream that is written. Made by `open_output` when the first frame is there."""

    source: Source
    writer: OutputContainer
    stream: VideoStream
    choice: Choice
    size: tuple[int, int]
    """Width and height of the first frame: others are fitted to it."""
    aspect: float
    """Width by height of one of its pixels."""
    tone: colour.Tone | None
    matrix: int
    """Of YUV, as FFmpeg's converter numbers it."""
    color_range: int
    """Of YUV, as FFmpeg numbers it."""
    turn: tuple[bool, bool, bool] | None
    """What is done to the pixels where the container has no display matrix."""
    fields: bool
    """Whether it is interlaced."""
    grid: Fraction | None
    """Frames a second, where the container has no time stamps but a grid."""
    notes: list[str] = field(default_factory=list)
    frames: int = 0
    """How many were written."""
    lost_alpha: bool = False
    """Whether a frame was transparent and is no longer."""
    _stamps: dict[int, int] = field(default_factory=dict)
    """Number of a frame that is in the encoder -> its time stamp, where this is not told to the encoder."""
    _phase: Fraction | None = None
    """Seconds: where the grid begins; the beginning of a first frame that comes within one frame of zero."""
    _written: bool = False
    """Whether a packet is."""
    _last: int | None = None
    """Place on the grid of the last frame."""

    @property
    def has_alpha(self) -> bool:
        """Whether its frames may be transparent."""
        return has_alpha(VideoFormat(self.choice.pixel_format))

    def write(self, frame: VideoFrame, enhance: Enhance) -> None:
        """Enhance and encode one frame, whose time stamp is that of the output.

        Raises:
            VideoError: if it cannot be encoded, or its colours are not read.
        """
        time = seconds(frame)
        if self.fields and frames.is_interlaced(frame):
            made = self._both_fields(frame, enhance, time)
        else:
            made = self._picture(frame, self.choice.size, self.size, enhance, time)
        made.pict_type = 0  # the input's would be forced on the encoder
        if self.choice.pixel_format == _PALETTE:
            made = frames.in_palette(made)
        keeps = self.grid is None and not self.choice.encoder.counts  # else one step of the grid, in its units
        duration = frame.duration if keeps else 0
        made.pts, made.time_base = self._stamp(frame)
        made.duration = duration
        self._encode(made)
        self.frames += 1

    def finish(self) -> None:
        """Encode what the encoder holds back."""
        self._encode(None)

    def _both_fields(self, frame: VideoFrame, enhance: Enhance, time: float) -> VideoFrame:
        (width, height), (first_width, first_height) = self.choice.size, self.size
        upper, lower = (
            self._picture(
                half, (width, _lines(height, parity)), (first_width, _lines(first_height, parity)), enhance, time
            )
            for parity, half in enumerate(frames.split_fields(frame))
        )
        return frames.weave_fields(upper, lower, self._like(frame, self.choice.size))

    def _picture(
        self, frame: VideoFrame, size: tuple[int, int], fitted: tuple[int, int], enhance: Enhance, time: float
    ) -> VideoFrame:
        """A frame or field of the output, of that size; its content is fitted to the size of the first one."""
        alpha, matrix = has_alpha(frame.format), colour.matrix_of(frame)
        pixels = frames.to_pixels(frame, matrix, deep=is_deep(frame.format) or self.tone is not None, alpha=alpha)
        colours = pixels[..., :3]
        flattened = alpha and not self.has_alpha and frames.is_transparent(pixels)
        if flattened:
            self.lost_alpha = True
            colours = frames.on_black(pixels)
        seen = np.ascontiguousarray(self.tone.to_network(colours) if self.tone else colours)
        made = enhance(seen, time)
        whole = size == fitted == (frame.width, frame.height) and self.turn is None and not flattened
        if whole and np.array_equal(made, seen):
            return self._unchanged(frame, matrix)
        if self.tone:
            made = self.tone.to_video(made)
        if self.has_alpha:
            opaque = np.full((*made.shape[:2], 1), np.iinfo(made.dtype).max, made.dtype)
            made = np.concatenate([made, pixels[..., 3:] if alpha else opaque], 2)
        if fitted != (frame.width, frame.height):
            made = frames.fit(made, self._shape(frame), fitted, self.size[0] / self.size[1] * self.aspect)
        if self.turn is not None:
            made = frames.turn(made, self.turn)
        return frames.put_pixels(frames.pad(made, size), self._like(frame, size), self.matrix, self.color_range)

    def _unchanged(self, frame: VideoFrame, matrix: int) -> VideoFrame:
        """A frame as it was decoded, in the output's format: what is not changed loses nothing on the way."""
        return frame.reformat(
            format=self._format,
            src_colorspace=matrix,
            dst_colorspace=self.matrix,
            src_color_range=FULL_RANGE if is_full_by_name(frame.format.name) else None,
            dst_color_range=self.color_range or None,
        )

    def _shape(self, frame: VideoFrame) -> float:
        """Width by height of a frame of another size than the first one, as it is shown."""
        ratio = self.source.video.codec_context.sample_aspect_ratio
        whole_height = frame.height * (2 if self.fields and frame.height < self.size[1] * 0.75 else 1)
        return frame.width * float(ratio or 1) / whole_height

    def _like(self, frame: VideoFrame, size: tuple[int, int]) -> VideoFrame:
        """A frame of that size with what came with another one, such as captions; its pixels are to be replaced."""
        return frame.reformat(width=size[0], height=size[1], format=self._format)

    @property
    def _format(self) -> str:
        form = self.choice.pixel_format
        return _BEFORE_PALETTE if form == _PALETTE else form

    def _stamp(self, frame: VideoFrame) -> tuple[int, Fraction]:
        """A frame's time stamp for the encoder, and its unit."""
        base = self.source.base
        pts = round((frame.pts or 0) * (frame.time_base or base) / base)
        if self.grid is not None:
            if self._phase is None:
                self._phase = pts * base if 0 <= pts * base < 1 / self.source.rate else Fraction(0)
            pts, base = round((pts * base - self._phase) * self.grid), 1 / self.grid
            if self._last is not None and pts <= self._last:
                pts = self._last + 1
            self._last = pts
        if self.choice.encoder.counts:
            self._stamps[self.frames] = pts
            return self.frames, self.stream.codec_context.time_base
        return pts, base

    def _encode(self, frame: VideoFrame | None) -> None:
        try:
            for packet in self.stream.encode(frame):
                self._mux(packet)
        except av.error.FFmpegError as error:
            if is_of_the_system(error):
                raise
            width, height = self.choice.size
            raise VideoError(
                f"cannot be encoded by {self.choice.encoder.name} as {width} x {height}, {self.choice.pixel_format}:"
                f" {error.strerror}; take another suffix, such as .mkv"
            ) from error

    def _mux(self, packet: Packet[VideoStream]) -> None:
        if self.choice.encoder.counts and packet.pts is not None:
            packet.pts = packet.dts = self._stamps.pop(packet.pts)
            packet.time_base = 1 / self.grid if self.grid else self.source.base
            packet.duration = 0
        if self.grid is not None and not self._written and (packet.dts or 0) > 0:
            self._hold_back(packet)
        self._written = True
        mux(self.writer, packet)

    def _hold_back(self, first: Packet[VideoStream]) -> None:
        """Begin with an empty frame, as grids mark gaps: the first frame would else stand at the beginning."""
        empty = cast("Packet[VideoStream]", av.Packet(b""))
        empty.stream, empty.time_base, empty.pts, empty.dts = self.stream, first.time_base, 0, 0
        mux(self.writer, empty)


def is_of_the_system(error: Exception) -> bool:
    """Whether it is about a file or a disk, and not about what is in a video."""
    return isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM


def mux(writer: OutputContainer, packet: Any) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
    """Write a packet.

    Raises:
        VideoError: if files of this kind do not take it so.
    """
    try:
        writer.mux(packet)
    except av.error.FFmpegError as error:
        if is_of_the_system(error):
            raise
        raise refusal(error) from error


def refusal(error: Exception) -> VideoError:
    """What to say when a file of the output's kind cannot be written, which is not the input's fault."""
    reason = getattr(error, "strerror", None) or error
    return VideoError(
        f"cannot be written as a file of this kind ({reason}); give the output another suffix, such as .mkv"
    )


def seconds(frame: VideoFrame) -> float:
    """A frame's time."""
    return float((frame.pts or 0) * (frame.time_base or 0))


def open_output(
    source: Source, frame: VideoFrame, writer: OutputContainer, container: Container, taken: AbstractSet[str]
) -> Output:
    """Choose an encoder and add its stream to the output.

    Args:
        source: the input.
        frame: its first one.
        writer: gets the stream.
        container: the kind of the output.
        taken: names of the codecs that it takes.

    Raises:
        VideoError: if nothing encodes such frames for this container, or their colours are not read.
    """
    notes: list[str] = []
    matrix = frames.display_matrix(frame)
    turn = None if matrix is None or container.turns else frames.find_turn(matrix)
    grid = grid_of(source.video, source.rate) if container.steady else None
    base = 1 / grid if grid else source.base
    form = _form_of(source, frame, sideways=bool(turn and turn[0]))
    choice = choose_encoder(
        form, taken - container.refused, lambda one: can_open(one, source.rate, base), keeps=container.keeps
    )
    interlaced = source.is_interlaced(frame)
    keeps = choice.encoder.fields == "coded" or (choice.encoder.fields == "told" and container.fields)
    fields = interlaced and keeps and turn is None
    mastering = colour.read_mastering(frame)
    stream = _new_stream(source, writer, choice, mastering)
    context = stream.codec_context
    prepare(context, choice, source.rate, base, _more_options(source, container, choice, mastering, fields=fields))
    stream.time_base = base
    aspect = source.video.sample_aspect_ratio
    if aspect:
        context.sample_aspect_ratio = 1 / aspect if turn and turn[0] else aspect
    if choice.codec in container.tagged:
        context.codec_tag = TAGS[choice.codec]
    context.field_order = source.field_order if fields else PROGRESSIVE
    color_range = _set_colours(context, frame, choice)
    stream.metadata.update(kept_metadata(source.video.metadata))
    stream.disposition = source.video.disposition
    if matrix is not None and container.turns:
        stream.set_display_matrix(matrix)
    elif matrix is not None:
        notes.append(_TURNED if turn is not None else _NOT_TURNED)
    notes += _format_notes(source, frame, choice)
    if interlaced:
        notes.append(_field_note(source, kept=fields))
    notes += filter(None, [colour.describe_colours(frame)])
    return Output(
        source,
        writer,
        stream,
        choice,
        (frame.width, frame.height),
        float(aspect or 1),
        colour.find_tone(int(frame.color_trc)),
        _matrix_of_output(frame, choice),
        color_range,
        turn,
        fields,
        grid,
        notes,
    )


_TURNED = "its pictures are turned for good, since files of this kind cannot tell players to turn them"
_NOT_TURNED = "players are no longer told how to turn it: files of this kind cannot do that"


def _lines(height: int, parity: int) -> int:
    """Lines of the upper (0) or lower (1) field."""
    return (height + 1 - parity) // 2


def _form_of(source: Source, frame: VideoFrame, *, sideways: bool) -> Form:
    alpha = has_alpha(frame.format)
    transparent = alpha and frames.is_transparent(frames.to_pixels(frame, _BT709, deep=False, alpha=True))
    width, height = (frame.height, frame.width) if sideways else (frame.width, frame.height)
    return Form(source.codec, frame.format, alpha, transparent, width, height, source.rate)


def _new_stream(source: Source, writer: OutputContainer, choice: Choice, mastering: colour.Mastering) -> VideoStream:
    """A stream for the encoder; where there is mastering data, one with all that the container told of the input's."""
    if mastering != colour.Mastering() and choice.codec == source.codec:
        try:
            same = av.Codec(source.video.codec_context.codec.name, "w").name == choice.encoder.name
        except UnknownCodecError:
            same = False
        if same:
            made = writer.add_stream_from_template(source.video, opaque=False)
            context: Any = made.codec_context
            context.extradata, context.bit_rate, context.level = None, 0, _UNKNOWN_LEVEL  # they are of the input
            context.flags = Flags.global_header if writer.format.name in _GLOBAL_HEADERS else 0
            return made
    return cast("VideoStream", writer.add_stream(choice.encoder.name, rate=source.rate))


_GLOBAL_HEADERS = ("mp4", "mov", "3gp", "matroska", "webm", "flv", "nut", "asf")
"""FFmpeg's names of the containers that want the encoder's header apart from its frames."""


def _more_options(
    source: Source, container: Container, choice: Choice, mastering: colour.Mastering, *, fields: bool
) -> list[tuple[str, str]]:
    coded = fields and choice.encoder.fields == "coded"
    more = [("flags", "+ildct+ilme" if coded else "+frame_duration")]
    if coded and choice.encoder.bottom_first and source.field_order in _BOTTOM_FIRST:
        more.append(choice.encoder.bottom_first)
    if not container.reorders:
        more += choice.encoder.in_order.items()
    option = choice.encoder.mastering
    if option is not None:
        more += [(option, part) for part in colour.mastering_options(mastering, option)]
    return more


def _is_rgb(form: VideoFormat) -> bool:
    return bool(form.is_rgb or form.has_palette)


def _set_colours(context: VideoCodecContext, frame: VideoFrame, choice: Choice) -> int:
    """Copy the colour tags; returns the range of the output's YUV, as FFmpeg's number."""
    context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
    if _is_rgb(VideoFormat(choice.pixel_format)):
        if _is_rgb(frame.format):
            context.colorspace, context.color_range = frame.colorspace, frame.color_range
        else:
            context.colorspace = _UNTOLD
        return 0
    if _is_rgb(frame.format):
        color_range = FULL_RANGE if choice.encoder.full_range else _LIMITED
        context.colorspace = _UNTOLD if choice.codec in _BT601_CODERS else _BT709
    else:
        full = choice.encoder.full_range or is_full_by_name(frame.format.name)
        color_range = FULL_RANGE if full else int(frame.color_range)
        context.colorspace = frame.colorspace
    context.color_range = color_range
    return color_range


def _matrix_of_output(frame: VideoFrame, choice: Choice) -> int:
    """Number of the output's YUV matrix for FFmpeg's converter: the input's, or what players take if it has none."""
    from_rgb = _is_rgb(frame.format) and not _is_rgb(VideoFormat(choice.pixel_format))
    return _BT601 if from_rgb and choice.codec in _BT601_CODERS else colour.matrix_of(frame)


def _format_notes(source: Source, frame: VideoFrame, choice: Choice) -> list[str]:
    notes = []
    shallower = is_deep(frame.format) and not is_deep(VideoFormat(choice.pixel_format))
    if choice.codec != source.codec:
        reason = "files of this kind do not take it, or hardly any player shows it in them"
        if source.codec not in ENCODERS:
            reason = "it cannot be encoded here"
        loss = "" if choice.encoder.lossless else ", which loses a little"
        depth = ", in 8 bits" if shallower else ""
        notes.append(
            f"its codec was {codec_name(source.codec)} and is now {codec_name(choice.codec)}{loss}{depth}: {reason}"
        )
    elif shallower:
        notes.append(f"its more than 8 bits are 8 now: {codec_name(choice.codec)} is encoded in no more here")
    if choice.size not in ((frame.width, frame.height), (frame.height, frame.width)):
        notes.append(
            f"its {frame.width} x {frame.height} pixels are now {choice.size[0]} x {choice.size[1]}: players want even"
            " sides, so the last column or row is there twice"
        )
    return notes


def _field_note(source: Source, *, kept: bool) -> str:
    order = FIELD_ORDERS.get(source.field_order)
    named = f"is interlaced ({order})" if order else "is interlaced"
    if kept:
        return f"{named}: its fields were enhanced apart, and it stays interlaced"
    return f"{named} and was deinterlaced: what is written cannot tell players of fields"
