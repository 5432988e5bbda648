"""Video files in and out, by FFmpeg's libraries (PyAV): frames changed, everything else copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.codec.context import CodecContext

from undim.atomic import replacing
from undim.errors import VideoError
from undim.video import frames
from undim.video.containers import Container, find_container, taken_codecs
from undim.video.encoders import codec_name
from undim.video.output import Enhance, Output, Source, is_of_the_system, mux, open_output, refusal, seconds
from undim.video.streams import Others, attach_cover, choose_video, codec_of, copy_others
from undim.video.times import Clock, FrameTimes

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["Enhance", "Summary", "enhance_video"]

LASTING = ("mov", "matroska", "avi", "asf", "flv", "nut")
"""Containers whose header says how long they last; that of others is a guess."""
CUT_OFF = 0.5
"""Seconds by which a video that is whole may end before the time that its header says."""
_TICK = 0.001
"""Seconds: the unit of Matroska's time stamps, by which sound before the start may seem to last beyond it."""
PRIMING = 0.05
"""Seconds of sound before the start that its decoder needs."""
_ALPHA_DECODERS = {"vp9": "libvpx-vp9", "vp8": "libvpx"}
"""Codec -> the decoder that gives its alpha; FFmpeg's own gives none."""
_TOLD_CHANGES = 3
"""Changes of the size that are told one by one."""
_LOST_DATA = {
    "DOVI_METADATA": "Dolby Vision's",
    "DOVI_RPU_BUFFER": "Dolby Vision's",
    "DYNAMIC_HDR_PLUS": "HDR10+'s",
    "DYNAMIC_HDR_VIVID": "HDR Vivid's",
    "SPHERICAL": "a panorama's",
    "STEREO3D": "stereoscopic",
}
"""What comes with frames and is not written -> whose marks they are."""


@dataclass(frozen=True)
class Summary:
    """What became of a video."""

    frames: int
    damaged: int
    """Packets that could not be decoded and were left out, and frames that were made from damaged ones."""
    codec: str
    """FFmpeg's name of the codec that was written."""
    notes: tuple[str, ...] = ()
    """What was not kept, or not as one would think, in words."""
    missing: float = 0.0
    """Seconds between the end of what could be read and the end that the header tells; 0 for a whole file."""

    @property
    def whole(self) -> bool:
        """Whether all of the input could be read."""
        return not self.damaged and not self.missing


def enhance_video(source: Path, target: Path, enhance: Enhance, advance: Callable[[float], None]) -> Summary:
    """Write a video whose frames are enhanced, one after the other; memory does not grow with its length.

    Sound, subtitles, attachments, covers, chapters, metadata, flags of tracks, time stamps, display matrix and colour
    tags are copied. The codec is the input's where FFmpeg can encode it and the container takes it. Interlaced frames
    are enhanced field by field. A frame that `enhance` returns unchanged is encoded as it was decoded. What cannot be
    kept is told in the summary's notes. The file appears whole or not at all.

    Args:
        source: anything that FFmpeg reads.
        target: its suffix tells the container.
        enhance: called for every frame, or twice for its two fields, in the order of time.
        advance: called after every frame with the share of the video that is done, 0 to 1.

    Raises:
        VideoError: if the source is not a video, is damaged from the start, or the target's container is unknown.
        OSError: if the target cannot be written.
    """
    container = find_container(target)
    try:
        # Absolute: FFmpeg takes what stands before a colon in a relative path for a protocol.
        with av.open(str(source.absolute()), metadata_errors="replace") as reader:
            choose_video(reader)
            options = dict(container.options)
            if container.keys and any(key.startswith("com.") for key in reader.metadata):
                options["movflags"] = "use_metadata_tags"
            # By its path: PyAV loses a Ctrl-C, and the bytes with it, that comes while FFmpeg writes to a Python file.
            with (
                replacing(target) as draft,
                av.open(
                    str(Path(draft.name).absolute()), "w", format=container.format, container_options=options
                ) as writer,
            ):
                return _Copy(reader, writer, container, enhance, advance).run()
    except VideoError as error:
        raise VideoError(f"{source}: {error}.") from error
    except av.error.FFmpegError as error:
        if is_of_the_system(error):
            raise
        raise VideoError(f"{source} cannot be read as a video: {error.strerror}.") from error


class _Copy:
    """One video on its way through."""

    def __init__(
        self,
        reader: InputContainer,
        writer: OutputContainer,
        container: Container,
        enhance: Enhance,
        advance: Callable[[float], None],
    ) -> None:
        self._reader, self._writer, self._container = reader, writer, container
        self._enhance, self._advance = enhance, advance
        video = choose_video(reader)
        self._decoder = _open_decoder(video)
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        self._clock, self._times = Clock(reader, container.format), FrameTimes(reader, video, rate)
        self._source = Source(video, rate, self._times.base)
        self._output: Output | None = None
        self._deinterlacer: frames.Filter | None = None
        self._others = Others()
        self._waiting: list[Any] = []
        """Packets of other streams that came before the first frame, when the streams' headers are not written yet."""
        self._left_out = 0
        """Packets that could not be decoded."""
        self._smeared = 0
        """Frames that the decoder could not make as they were."""
        self._seen, self._sound = _Seen(), _Sound()
        self._order: dict[int, int] = {}
        """Stream -> time stamp of its last packet."""
        self._first = 0.0
        """Seconds: of the first frame."""
        self._end = 0.0
        """Seconds: of the last packet of any stream."""

    def run(self) -> Summary:
        self._writer.metadata.update(self._reader.metadata)
        if chapters := self._reader.chapters():
            self._writer.set_chapters(chapters)
        for packet in self._reader.demux():
            self._clock.mend(packet)
            if packet.pts is not None and packet.time_base is not None:
                self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            self._clock.begin_at_zero(packet)
            if packet.stream.index != self._source.video.index:
                self._pass_on(packet)
                continue
            for frame in self._decode(packet):
                self._take(frame)
        output = self._output
        if output is None:
            raise VideoError("has no frame that can be decoded")
        if self._deinterlacer is not None:
            for frame in self._deinterlacer(None):
                self._write(output, frame)
        output.finish()
        try:
            self._writer.close()
        except av.error.FFmpegError as error:
            if is_of_the_system(error):
                raise
            raise refusal(error) from error
        missing = self._missing()
        notes = (*output.notes, *self._others.notes, *_alpha_notes(output), *self._seen.notes())
        notes += (*self._sound.notes(), *self._damage(missing))
        return Summary(output.frames, self._left_out + self._smeared, output.choice.codec, notes, missing)

    def _decode(self, packet: Any) -> list[VideoFrame]:  # noqa: ANN401 - PyAV's type of packets is generic
        packet.is_corrupt = False  # where files were joined, TS marks sound ones: the decoder is to say
        try:
            decoded: list[VideoFrame] = self._decoder.decode(packet)
        except av.error.InvalidDataError:
            self._left_out += 1
            return []
        except av.error.EOFError:
            return []
        self._times.decoded(packet)
        self._smeared += sum(frame.is_corrupt for frame in decoded)
        return decoded

    def _pass_on(self, packet: Any) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
        if packet.dts is None and not packet.size:  # the last, empty one
            return
        if self._output is None:
            self._waiting.append(packet)
            return
        stream = self._others.copied.get(packet.stream.index)
        if stream is not None and not self._is_cut_away(packet):
            if packet.dts is None and packet.stream.type != "video":  # whose frames may be in another order
                packet.dts = packet.pts
            if self._container.steady and packet.stream.type == "audio":
                self._sound.hear(packet)
            self._mend_order(packet)
            index = packet.stream.index
            for one in self._others.filters[index].filter(packet) if index in self._others.filters else (packet,):
                one.stream = stream
                mux(self._writer, one)

    def _mend_order(self, packet: Any) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
        """Let a stream's packets rise in time: what writes them would refuse the whole file."""
        last, index = self._order.get(packet.stream.index), packet.stream.index
        if packet.dts is None:
            return
        if last is not None and packet.dts <= last:
            packet.dts = last + 1
            if packet.pts is not None:
                packet.pts = max(packet.pts, packet.dts)
        self._order[index] = packet.dts

    def _is_cut_away(self, packet: Any) -> bool:  # noqa: ANN401 - PyAV's type of packets is generic
        """Whether the edit list of its file, which other containers do not have, cuts a packet away."""
        if self._container.edits or packet.pts is None:
            return False
        end = (packet.pts + (packet.duration or 0)) * packet.time_base
        if self._container.steady:  # where sound has no time, so what comes before the start would be heard after it
            return bool(packet.stream.type == "audio" and packet.pts < 0 and end <= _TICK)
        return bool(packet.is_discard and end <= -PRIMING)

    def _take(self, frame: VideoFrame) -> None:
        """A frame from the decoder."""
        frame.pts, frame.time_base = self._times.of(frame), self._times.base
        output = self._output or self._begin(frame)
        if self._deinterlacer is None or (frame.width, frame.height) != output.size:
            self._write(output, frame)
        else:
            for one in self._deinterlacer(frame):
                self._write(output, one)

    def _begin(self, frame: VideoFrame) -> Output:
        """Make the output's streams, in the order of the input's, now that all is known of the video's frames."""
        taken = taken_codecs(self._container, self._writer)
        made: list[Output] = []

        def add_video() -> None:
            made.append(open_output(self._source, frame, self._writer, self._container, taken))

        self._others = copy_others(self._reader, self._writer, self._source.video, self._container, taken, add_video)
        for packet in self._waiting:
            if packet.stream.index in self._others.covers:
                attach_cover(packet, packet.stream, self._writer)
        self._output, self._first = made[0], seconds(frame)
        for packet in self._waiting:
            self._pass_on(packet)
        self._waiting.clear()
        if self._source.is_interlaced(frame) and not self._output.fields:
            self._deinterlacer = frames.Filter((("bwdif", "mode=send_frame:deint=all"),), frame)
        return self._output

    def _write(self, output: Output, frame: VideoFrame) -> None:
        time = seconds(frame)
        self._seen.look(frame, time, kept_fields=output.fields or self._deinterlacer is not None)
        output.write(frame, self._enhance)
        if total := self._source.video.frames:
            self._advance(min(1.0, output.frames / total))
        else:
            length = (self._reader.duration or 0) / av.time_base
            self._advance(max(0.0, min(1.0, (time - self._first) / length)) if length else 0.0)

    def _missing(self) -> float:
        length, kind = self._reader.duration, set(self._reader.format.name.split(","))
        if not length or not kind & set(LASTING) or self._others.lasting:
            return 0.0
        start = (self._reader.start_time or 0) if "mov" in kind else 0  # others tell the end, not the length
        missing = (length + start) / av.time_base - self._end
        return missing if missing > CUT_OFF else 0.0

    def _damage(self, missing: float) -> list[str]:
        notes = []
        if self._left_out:
            are = (
                "1 packet is damaged and was"
                if self._left_out == 1
                else f"{self._left_out} packets are damaged and were"
            )
            notes.append(f"{are} left out")
        if self._smeared:
            come = "1 frame comes" if self._smeared == 1 else f"{self._smeared} frames come"
            notes.append(f"{come} from damaged data: these, and those that build on them, are not as they were")
        if missing:
            notes.append(
                f"is cut off: it ends {missing:.1f} s before the time that its header says; what is there was written"
            )
        return notes


class _Sound:
    """How far sound comes too early in containers that play it from the start to the end without a pause."""

    def __init__(self) -> None:
        self._ends: dict[int, float] = {}
        self._early: dict[int, float] = {}

    def hear(self, packet: Any) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
        if packet.pts is None:
            return
        index, time = packet.stream.index, float(packet.pts * packet.time_base)
        gap = time - self._ends.get(index, 0.0)
        if gap > PRIMING:
            self._early[index] = self._early.get(index, 0.0) + gap
        self._ends[index] = time + float((packet.duration or 0) * packet.time_base)

    def notes(self) -> list[str]:
        if not self._early:
            return []
        most = max(self._early.values())
        note = (
            f"its sound comes up to {most:.2f} s too early: it begins late or pauses, which files of this kind cannot"
            " tell; give the output another suffix, such as .mkv"
        )
        return [note]


class _Seen:
    """What is noticed of the frames as they go by."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._changes: list[str] = []
        self._lost: set[str] = set()
        self._combed = False

    def look(self, frame: VideoFrame, time: float, *, kept_fields: bool) -> None:
        size = (frame.width, frame.height)
        if self._size not in (None, size):
            before, after = (f"{width} x {height}" for width, height in (self._size or size, size))
            self._changes.append(f"at {time:.2f} s from {before} to {after}")
        self._size = size
        self._lost.update(_LOST_DATA[name] for name in frames.side_data(frame).keys() & _LOST_DATA.keys())
        self._combed |= frames.is_interlaced(frame) and not kept_fields

    def notes(self) -> list[str]:
        notes = []
        if self._changes:
            told, more = "; ".join(self._changes[:_TOLD_CHANGES]), len(self._changes) - _TOLD_CHANGES
            rest = f"; and {more} more times" if more > 0 else ""
            notes.append(f"its size changes {told}{rest}: all frames are fitted to the first size")
        if self._lost:
            notes.append(f"{' and '.join(sorted(self._lost))} marks are not kept")
        if self._combed:
            notes.append("some of its frames are interlaced, though it does not begin so: they stay as they are")
        return notes


def _alpha_notes(output: Output) -> list[str]:
    if output.lost_alpha:
        name = codec_name(output.choice.codec)
        return [f"its transparency is lost, since {name} has none here: it is shown on black"]
    return []


def _open_decoder(video: VideoStream) -> Any:  # noqa: ANN401 - PyAV's decode gives frames of any kind to its checker
    """What decodes the video, with its alpha if it has one."""
    name = _ALPHA_DECODERS.get(codec_of(video), "")
    marks = {key.lower(): value for key, value in video.metadata.items()}
    if marks.get("alpha_mode") == "1" and name in av.codecs_available:
        return CodecContext.create(name, "r")
    video.thread_type = "AUTO"
    return video.codec_context
