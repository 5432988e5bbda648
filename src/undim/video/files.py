"""Video files in and out, by FFmpeg's libraries (PyAV): frames changed, everything else copied."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np

from undim.arrays import Pixels
from undim.atomic import replacing
from undim.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"crf": "18", "preset": "medium"}),
    "hevc": ("libx265", {"crf": "20", "preset": "medium", "x265-params": "log-level=error"}),
    "vp9": ("libvpx-vp9", {"crf": "24", "b:v": "0", "row-mt": "1"}),
    "vp8": ("libvpx", {"crf": "8", "b:v": "8M"}),
    "av1": ("libsvtav1", {"crf": "25", "preset": "8"}),
    "ffv1": ("ffv1", {}),
    "mpeg4": ("mpeg4", {"qscale": "3"}),
    "mjpeg": ("mjpeg", {"qscale": "3"}),
    "prores": ("prores_ks", {}),
}
"""Codec of the input -> encoder and its settings: nothing is seen to be lost."""
FALLBACKS = ("h264", "vp9", "mpeg4", "mjpeg")
"""For other codecs, and where the container does not take the input's: the first that it takes."""
CONTAINERS = {
    **{suffix: suffix for suffix in ("mp4", "mov", "webm", "avi", "nut", "flv", "3gp")},
    "m4v": "mp4",
    "mkv": "matroska",
    "ts": "mpegts",
    "m2ts": "mpegts",
    "wmv": "asf",
}
"""Suffix -> FFmpeg's name of the container that is written."""
UNTOLD = {"mpegts": frozenset(("libx264", "libx265", "h264", "hevc", "aac", "mp2", "mp3", "ac3", "eac3"))}
"""Codecs that a container takes though FFmpeg does not say so."""
EVEN = ("libx264", "libx265")
"""Encoders that take no odd sides where colours have fewer pixels than brightness."""
LASTING = ("mov", "matroska", "avi", "asf", "flv", "nut")
"""Containers whose header says how long they last; that of others is a guess."""
CUT_OFF = 0.5
"""Seconds by which a video that is whole may end before the time that its header says."""
_STANDARD_MATRICES = (1, 4, 5, 7, 9)
"""Numbers of the YUV matrices that can be told to FFmpeg's converter."""
_OF_THE_SYSTEM = (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOSPC, errno.EPERM, errno.EIO)

Enhance = Callable[[Pixels, float], Pixels]
"""Frame, H x W x 3 of 8 or 16 bits, and its time in seconds -> the enhanced frame."""


@dataclass(frozen=True)
class Summary:
    """What became of a video."""

    frames: int
    damaged: int
    """Packets that could not be decoded and were left out."""
    left_out: tuple[str, ...]
    """Streams that the container cannot hold, in words."""
    missing: float = 0.0
    """Seconds between the end of what could be read and the end that the header tells; 0 for a whole file."""


def enhance_video(source: Path, target: Path, enhance: Enhance, advance: Callable[[float], None]) -> Summary:
    """Write a video whose frames are enhanced, one after the other; memory does not grow with its length.

    Sound, subtitles, chapters, metadata, time stamps, rotation and colour tags are copied. The codec is the input's
    where FFmpeg can encode it and the container takes it. The file appears whole or not at all.

    Args:
        source: anything that FFmpeg reads.
        target: its suffix tells the container.
        enhance: called for every frame in the order of time.
        advance: called after every frame with the share of the video that is done, 0 to 1.

    Raises:
        VideoError: if the source is no video, is damaged from the start, or the target's container is unknown.
        OSError: if the target cannot be written.
    """
    container = CONTAINERS.get(target.suffix[1:].lower())
    if container is None:
        suffixes = ", ".join(f".{suffix}" for suffix in CONTAINERS)
        raise VideoError(
            f"{target}: {target.suffix or 'a name without suffix'} is no video that is written: {suffixes}."
        )
    try:
        # Absolute: FFmpeg takes what stands before a colon in a relative path for a protocol.
        with av.open(str(source.absolute()), metadata_errors="replace") as reader:
            if not reader.streams.video:
                raise VideoError("has no video stream")
            # By its path: PyAV loses a Ctrl-C, and the bytes with it, that comes while FFmpeg writes to a Python file.
            with replacing(target) as draft, av.open(str(Path(draft.name).absolute()), "w", format=container) as writer:
                return _Copy(reader, writer, enhance, advance).run()
    except VideoError as error:
        raise VideoError(f"{source}: {error}.") from error
    except av.error.FFmpegError as error:
        if _is_of_the_system(error):
            raise
        raise VideoError(f"{source} cannot be read as a video: {error.strerror}.") from error


class _Copy:
    """One video on its way through."""

    def __init__(
        self,
        reader: InputContainer,
        writer: OutputContainer,
        enhance: Enhance,
        advance: Callable[[float], None],
    ) -> None:
        self._reader, self._writer = reader, writer
        self._enhance, self._advance = enhance, advance
        self._video = max(reader.streams.video, key=lambda stream: stream.width * stream.height)
        self._video.thread_type = "AUTO"
        self._rate = self._video.average_rate or self._video.guessed_rate or Fraction(25)
        self._out: VideoStream | None = None
        self._waiting: list[Any] = []
        """Packets of other streams that came before the first frame, when the streams' headers are not written yet."""
        self._copied, self._left_out = self._copy_streams()
        self._frames = self._damaged = 0
        self._end = 0.0
        """Seconds: of the last packet of any stream."""

    def run(self) -> Summary:
        self._writer.metadata.update(self._reader.metadata)
        if chapters := self._reader.chapters():
            self._writer.set_chapters(chapters)
        wanted = [stream for stream in self._reader.streams if stream is self._video or stream.index in self._copied]
        for packet in self._reader.demux(wanted):
            if packet.pts is not None and packet.time_base is not None:
                self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != self._video.index:
                self._pass_on(packet)
                continue
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self._damaged += 1
                continue
            for frame in frames:
                self._convert(cast("VideoFrame", frame))
        if self._out is None:
            raise VideoError("has no frame that can be decoded")
        self._encode(None)
        return Summary(self._frames, self._damaged, tuple(self._left_out), self._missing())

    def _missing(self) -> float:
        length, kind = self._reader.duration, set(self._reader.format.name.split(","))
        if not length or not kind & set(LASTING) or self._left_out:  # what is left out may last longer
            return 0.0
        start = (self._reader.start_time or 0) if "mov" in kind else 0  # others tell the end, not the length
        missing = (length + start) / av.time_base - self._end
        return missing if missing > CUT_OFF else 0.0

    def _copy_streams(self) -> tuple[dict[int, Stream], list[str]]:
        """Streams of the output by the number of those that are copied, and what the container does not take."""
        copied: dict[int, Stream] = {}
        left_out = []
        for stream in self._reader.streams:
            if stream.index == self._video.index:
                continue
            if stream.type in ("audio", "subtitle") and _codec(stream) in _taken(self._writer):
                copied[stream.index] = self._writer.add_stream_from_template(stream)
                copied[stream.index].metadata.update(stream.metadata)
            else:
                left_out.append(f"{stream.type} stream {stream.index}")
        return copied, left_out

    def _pass_on(self, packet: Any) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
        if packet.dts is None:  # the last, empty one
            return
        if self._out is None:
            self._waiting.append(packet)
            return
        packet.stream = self._copied[packet.stream.index]
        self._writer.mux(packet)

    def _convert(self, frame: VideoFrame) -> None:
        form = "rgb48le" if _is_deep(frame) else "rgb24"
        matrix = int(frame.colorspace) if int(frame.colorspace) in _STANDARD_MATRICES else None
        pixels = cast("Pixels", frame.reformat(format=form, src_colorspace=matrix).to_ndarray())
        made: Any = self._enhance(pixels, float(frame.time or 0))
        if self._out is None:
            self._out = self._add_video(frame)
            for packet in self._waiting:
                self._pass_on(packet)
            self._waiting.clear()
        result = av.VideoFrame.from_ndarray(np.ascontiguousarray(made), format=form)
        result = result.reformat(
            format=self._out.codec_context.pix_fmt, dst_colorspace=matrix, dst_color_range=frame.color_range
        )
        result.pts, result.time_base = self._when(frame)
        self._encode(result)
        self._frames += 1
        self._advance(self._share(frame))

    def _when(self, frame: VideoFrame) -> tuple[int | None, Fraction | None]:
        """Time stamp of a frame and its unit: AVI has a constant rate and no time stamps, only an order."""
        if self._reader.format.name == "avi":
            return self._frames + self._damaged, 1 / self._rate
        return frame.pts, frame.time_base

    def _encode(self, frame: VideoFrame | None) -> None:
        if self._out is None:
            return
        try:
            self._writer.mux(self._out.encode(frame))
        except av.error.FFmpegError as error:
            if _is_of_the_system(error):
                raise
            name = self._out.codec_context.codec.name
            raise VideoError(
                f"cannot be encoded by {name} as {self._out.width} x {self._out.height},"
                f" {self._out.codec_context.pix_fmt}: {error.strerror}; take another suffix, such as .mkv"
            ) from error

    def _share(self, frame: VideoFrame) -> float:
        if self._video.frames:
            return min(1.0, self._frames / self._video.frames)
        length = self._reader.duration
        return min(1.0, float(frame.time or 0) * av.time_base / length) if length else 0.0

    def _add_video(self, frame: VideoFrame) -> VideoStream:
        encoder, options = _encoder(_codec(self._video), self._writer)
        out = cast("VideoStream", self._writer.add_stream(encoder, rate=self._rate, options=options))
        context = out.codec_context
        out.width, out.height = frame.width, frame.height
        forms = [form.name for form in av.Codec(encoder, "w").video_formats or ()]
        context.pix_fmt = _pixel_format(frame, forms, even=encoder in EVEN)
        context.time_base = self._when(frame)[1] or 1 / self._rate
        if self._video.sample_aspect_ratio:
            context.sample_aspect_ratio = self._video.sample_aspect_ratio
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        out.metadata.update({key: value for key, value in self._video.metadata.items() if key.lower() != "encoder"})
        if frame.rotation:
            out.set_display_rotation(frame.rotation)
        return out


def _is_of_the_system(error: Exception) -> bool:
    """Whether it is about a file or a disk, and not about what is in a video."""
    return isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM


def _encoder(codec: str, writer: OutputContainer) -> tuple[str, dict[str, str]]:
    """Name and settings of the encoder for a video of that codec."""
    for name in (codec, *FALLBACKS):
        encoder, options = ENCODERS.get(name, ("", {}))
        if encoder in av.codecs_available and encoder in _taken(writer):
            return encoder, options
    raise VideoError(f"{writer.format.name} files take none of the codecs that can be written here; take .mkv")


def _taken(writer: OutputContainer) -> AbstractSet[str]:
    """Names of codecs and encoders that a container takes."""
    return writer.supported_codecs | UNTOLD.get(writer.format.name, frozenset())


def _codec(stream: Stream) -> str:
    """FFmpeg's name of what a stream holds, not of its decoder; empty for none."""
    return "" if stream.codec_context is None else str(stream.codec_context.codec.canonical_name)


def _pixel_format(frame: VideoFrame, formats: Sequence[str], *, even: bool) -> str:
    """The one of an encoder's pixel formats that loses least; 4:2:0 where players need it.

    Args:
        frame: of the input.
        formats: that the encoder takes; empty: any.
        even: whether it needs even sides where colours have fewer pixels than brightness.
    """
    if even and (frame.width % 2 or frame.height % 2):
        full = ("yuv444p10le", "yuv444p") if _is_deep(frame) else ("yuv444p",)
        return next((name for name in full if name in formats), formats[0])
    if frame.format.name in formats or not formats:
        return str(frame.format.name)
    deep = ("yuv420p10le", "yuv422p10le") if _is_deep(frame) else ()
    return next((name for name in (*deep, "yuv420p", "yuvj420p") if name in formats), formats[0])


def _is_deep(frame: VideoFrame) -> bool:
    return any(component.bits > 8 for component in frame.format.components)
