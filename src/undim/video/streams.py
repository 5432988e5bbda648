"""Which stream of a file is the video, and the other streams, which are copied as they are."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import av
from av.bitstream import BitStreamFilterContext
from av.stream import AttachmentStream, Disposition

from undim.errors import VideoError
from undim.video.containers import TAGS, Container

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

_COVER = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
_PART = Disposition.dependent | Disposition.multilayer
_TITLES = "bin_data"
"""FFmpeg's name of a stream of text, such as titles of chapters."""
_CONFIG = "new_extradata"
"""PyAV's name of what a decoder has to know first, where it comes with a packet."""
_OF_THE_OLD_STREAM = ("encoder", "duration", "bps", "number_of_bytes", "number_of_frames", "_statistics_")
"""Beginnings of metadata, in small letters, that describe the stream that was read."""
_CHOSEN = Disposition.forced | Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.comment
"""Flags by which players choose among tracks."""
_COVER_NAMES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}


def choose_video(reader: InputContainer) -> VideoStream:
    """The stream that is the video: no cover and no still picture; the default one, or else the largest.

    Raises:
        VideoError: if there is none, or it cannot be decoded.
    """
    moving = [stream for stream in reader.streams.video if not stream.disposition & (_COVER | _PART)]
    known = [stream for stream in moving if stream.codec_context is not None]
    if not known:
        if moving:
            raise VideoError("has a video stream of a codec that is not known here")
        pictures = " but a cover picture" if reader.streams.video else ""
        raise VideoError(f"has no video stream{pictures}")

    def worth(stream: VideoStream) -> tuple[bool, bool, int]:
        default = bool(stream.disposition & Disposition.default)
        return stream.frames != 1, default, stream.width * stream.height

    return max(known, key=worth)


def kept_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """A video stream's metadata without what describes the stream that was read."""
    return {key: value for key, value in metadata.items() if not key.lower().startswith(_OF_THE_OLD_STREAM)}


def codec_of(stream: Stream) -> str:
    """FFmpeg's name of what a stream holds, not of its decoder; empty for none."""
    return "" if stream.codec_context is None else str(stream.codec_context.codec.canonical_name)


@dataclass
class Others:
    """The streams beside the video: their packets are passed on."""

    copied: dict[int, Stream] = field(default_factory=dict)
    """Number of a stream of the input -> that of the output."""
    filters: dict[int, BitStreamFilterContext] = field(default_factory=dict)
    """Number of a stream of the input -> what its packets go through."""
    covers: list[int] = field(default_factory=list)
    """Numbers of cover pictures that become attachments."""
    notes: list[str] = field(default_factory=list)
    """What is not copied, or not as one would think."""
    lasting: bool = False
    """Whether a stream is left out that may last longer than the video."""


def copy_others(
    reader: InputContainer,
    writer: OutputContainer,
    video: VideoStream,
    container: Container,
    taken: AbstractSet[str],
    add_video: Callable[[], None],
) -> Others:
    """Make a stream in the output for each that can be copied, in the order of the input.

    Args:
        reader: the input.
        writer: the output.
        video: the stream that is enhanced.
        container: the kind of the output.
        taken: names of the codecs that it takes.
        add_video: called when the video's turn comes.
    """
    others = Others()
    left_out: list[str] = []
    for stream in reader.streams:
        if stream.index == video.index:
            add_video()
            continue
        if isinstance(stream, AttachmentStream):
            done = container.attachments and _attach(stream, writer)
        elif stream.type == "video" and stream.disposition & _COVER:
            done = _copy_cover(stream, writer, container, taken, others)
        elif (
            stream.type in ("audio", "subtitle", "video")
            and codec_of(stream) in taken
            and (made := _copy(reader, stream, writer, container, others)) is not None
        ):
            others.copied[stream.index] = made
            done = True
            if stream.type == "video":
                others.notes.append(f"video stream {stream.index} is copied as it is: one video of a file is enhanced")
        else:
            done = stream.type == "data" and _is_made_anew(reader, stream)
        if not done:
            left_out.append(_describe(stream))
            others.lasting |= stream.type != "attachment" and not stream.disposition & _COVER
    others.notes += _lost_marks(reader, video, container)
    if left_out:
        others.notes.append(f"not copied, since files of this kind do not take it: {', '.join(left_out)}")
    return others


def _lost_marks(reader: InputContainer, video: VideoStream, container: Container) -> list[str]:
    lost = []
    if reader.chapters() and not container.chapters:
        lost.append("chapters")
    tracks = [stream for stream in reader.streams if stream.type in ("audio", "subtitle")]
    flagged = any(stream.disposition & _CHOSEN for stream in tracks if stream.index != video.index)
    if not container.tracks and (flagged or any(stream.language not in (None, "und") for stream in tracks)):
        lost.append("languages and flags of tracks")
    return [f"files of this kind have no place for its {' and '.join(lost)}: they are not kept"] if lost else []


def _copy(
    reader: InputContainer, stream: Stream, writer: OutputContainer, container: Container, others: Others
) -> Stream | None:
    """A stream of the output for one of the input; none if files of this kind refuse it."""
    config = _config_within(reader, stream) if container.bare_aac and codec_of(stream) == "aac" else None
    if stream.type == "audio" and not _is_taken(stream, container, config):
        return None
    made = _add(stream, writer, container, config)
    if config is not None:
        others.filters[stream.index] = BitStreamFilterContext("aac_adtstoasc", stream)
    made.metadata.update(stream.metadata)
    made.disposition = stream.disposition
    return made


def _add(stream: Stream, writer: OutputContainer, container: Container, config: bytes | None) -> Stream:
    made = writer.add_stream_from_template(stream, opaque=True)
    if codec_of(stream) in container.tagged:
        made.codec_context.codec_tag = TAGS[codec_of(stream)]
    if config is not None:
        made.codec_context.extradata = config
    return made


def _is_taken(stream: Stream, container: Container, config: bytes | None) -> bool:
    """Whether what writes files of this kind takes a stream; tried on one that is thrown away."""
    trial = av.open(io.BytesIO(), "w", format=container.format)
    try:
        _add(stream, trial, container, config)
        trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    finally:
        with contextlib.suppress(av.error.FFmpegError):  # a file without a frame
            trial.close()
    return True


def _config_within(reader: InputContainer, stream: Stream) -> bytes | None:
    """AudioSpecificConfig (ISO/IEC 14496-3) from the first header that stands in AAC's frames, if one does (ADTS)."""
    if stream.codec_context.extradata:
        return None
    with av.open(reader.name, metadata_errors="replace") as again:
        packet = next((one for one in again.demux(again.streams[stream.index]) if one.size), None)
        if packet is None or bytes(packet)[0] != 0xFF or bytes(packet)[1] & 0xF6 != 0xF0:
            return None
        told = BitStreamFilterContext("aac_adtstoasc", again.streams[stream.index]).filter(packet)
        return next((bytes(data) for one in told for data in one.iter_sidedata() if data.data_type == _CONFIG), None)


def _copy_cover(
    stream: Stream, writer: OutputContainer, container: Container, taken: AbstractSet[str], others: Others
) -> bool:
    codec = codec_of(stream)
    if container.covers == "track" and codec in taken and stream.disposition & Disposition.attached_pic:
        others.copied[stream.index] = made = _add(stream, writer, container, None)
        made.metadata.update(stream.metadata)
        made.disposition = stream.disposition
        return True
    if container.covers == "attachment" and codec in _COVER_NAMES:
        others.covers.append(stream.index)
        return True
    return False


def attach_cover(packet: Any, stream: Stream, writer: OutputContainer) -> None:  # noqa: ANN401 - PyAV's is generic
    """Put a cover picture into the output as a file, which is how Matroska holds it."""
    name, kind = _COVER_NAMES[codec_of(stream)]
    writer.add_attachment(stream.metadata.get("filename", name), stream.metadata.get("mimetype", kind), bytes(packet))


def _attach(stream: AttachmentStream, writer: OutputContainer) -> bool:
    name = stream.metadata.get("filename", f"attachment{stream.index}")
    made = writer.add_attachment(name, stream.mimetype or "application/octet-stream", stream.data)
    made.metadata.update(stream.metadata)
    return True


def _is_made_anew(reader: InputContainer, stream: Stream) -> bool:
    """Whether a data stream is one that the muxer makes itself: of time codes, or of chapters' titles."""
    return "timecode" in stream.metadata or (stream.name == _TITLES and bool(reader.chapters()))


def _describe(stream: Stream) -> str:
    kind = "cover picture" if stream.disposition & _COVER else f"{stream.type} stream"
    codec = codec_of(stream)
    name = stream.metadata.get("filename") if stream.type == "attachment" else codec
    return f"{kind} {stream.index}{f' ({name})' if name else ''}"
