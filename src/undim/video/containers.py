"""Kinds of video files that are written, and what each of them can hold."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from undim.errors import VideoError

if TYPE_CHECKING:
    from av.container import OutputContainer


@dataclass(frozen=True)
class Container:
    """What files of one kind can hold."""

    format: str
    """FFmpeg's name of what writes it."""
    options: dict[str, str] = field(default_factory=dict)
    """Of what writes it."""
    untold: frozenset[str] = frozenset()
    """Codecs that it takes though FFmpeg does not say so."""
    refused: frozenset[str] = frozenset()
    """Codecs that it does not take though FFmpeg says so."""
    edits: bool = False
    """Whether it has edit lists, which cut away what comes before the start."""
    turns: bool = False
    """Whether it has a display matrix: how players turn and mirror the pictures."""
    reorders: bool = True
    """Whether it has time stamps for frames that are stored in another order than they are shown in (B-frames)."""
    fields: bool = False
    """Whether its header tells the order of fields, for codecs that do not."""
    covers: Literal["none", "track", "attachment"] = "none"
    """How it holds a cover picture."""
    attachments: bool = False
    """Whether it holds files, such as fonts."""
    chapters: bool = False
    """Whether it holds chapters."""
    tracks: bool = False
    """Whether it tells languages and flags of tracks."""
    keeps: bool = False
    """Whether it serves for keeping and cutting rather than for players: what has no loss gets none."""
    keys: bool = False
    """Whether it holds Apple's own keys of metadata, if it is told to."""
    tagged: frozenset[str] = frozenset()
    """Codecs whose four-letter tag is chosen here; see `TAGS`."""
    bare_aac: bool = False
    """Whether AAC has to be told apart from its frames here, since what writes it leaves the headers in them (ADTS)."""
    steady: bool = False
    """Whether its frames stand on a grid of time, with gaps where there is none."""


TAGS = {"hevc": "hvc1"}
"""Codec -> the tag that Apple's players, too, take; FFmpeg's own choice is `hev1`."""
FINEST_GRID = Fraction(1000)
"""Frames a second: the finest grid that is written."""

_TS = frozenset(
    (
        "libx264",
        "libx265",
        "h264",
        "hevc",
        "aac",
        "mp2",
        "mp3",
        "ac3",
        "eac3",
        "mpeg2video",
        "mpeg1video",
        "dvb_subtitle",
    )
)
_PS = frozenset(("mpeg1video", "mpeg2video", "h264", "libx264", "mp2", "mp3", "ac3", "pcm_dvd"))
_OWN_FLAGS = {"default_mode": "passthrough"}  # else the muxer makes a track default where none is

_ISO = Container("mp4", edits=True, chapters=True, tracks=True, turns=True)
_MP4 = replace(_ISO, fields=True, covers="track", keys=True, tagged=frozenset(TAGS))
_MOV = replace(_MP4, format="mov", covers="none", keeps=True)
_WEBM = Container("webm", _OWN_FLAGS, chapters=True, tracks=True, turns=True, fields=True)
_MKV = replace(
    _WEBM, format="matroska", refused=frozenset(("rawvideo",)), covers="attachment", attachments=True, keeps=True
)
_MPEG_TS = Container("mpegts", untold=_TS, tracks=True)
_MPEG_PS = Container("mpeg", untold=_PS)
_ASF = Container("asf", reorders=False, bare_aac=True, chapters=True, tracks=True)

CONTAINERS: dict[str, Container] = {
    "mp4": _MP4,
    "m4v": _MP4,
    "mov": _MOV,
    "qt": _MOV,
    "3gp": replace(_ISO, format="3gp"),
    "mkv": _MKV,
    "webm": _WEBM,
    # The muxer would move all streams, to a grid too coarse for it, where sound begins before zero.
    "avi": Container("avi", {"avoid_negative_ts": "disabled"}, reorders=False, bare_aac=True, keeps=True, steady=True),
    "ts": _MPEG_TS,
    "mts": _MPEG_TS,
    "m2ts": replace(_MPEG_TS, options={"mpegts_m2ts_mode": "1"}),
    "mpg": _MPEG_PS,
    "mpeg": _MPEG_PS,
    "wmv": _ASF,
    "asf": _ASF,
    "flv": Container("flv"),
    "nut": Container("nut", chapters=True, tracks=True, keeps=True),
    "gif": Container("gif", {"loop": "0"}),
    "apng": Container("apng", {"plays": "0"}),
    "webp": Container("webp", {"loop": "0"}),
}
"""Suffix -> what is written under it."""
ELSE = "mkv"
"""The suffix for outputs of inputs whose own kind is not written; it takes nearly every codec."""
READ_ONLY = (
    "3g2",
    "amv",
    "divx",
    "dv",
    "f4v",
    "h264",
    "h265",
    "hevc",
    "ivf",
    "m2v",
    "mj2",
    "mxf",
    "ogm",
    "ogv",
    "rm",
    "rmvb",
    "vob",
)
"""More suffixes of videos that are read; `enhance_video` reads any file that FFmpeg knows."""
STILLS = ("gif", "webp")
"""Suffixes that mostly hold pictures: in a folder they are not taken for videos."""


def find_container(path: PurePath) -> Container:
    """What is written under a name.

    Raises:
        VideoError: if its suffix is not that of a video that is written.
    """
    container = CONTAINERS.get(path.suffix[1:].lower())
    if container is None:
        suffixes = ", ".join(f".{suffix}" for suffix in CONTAINERS)
        kind = path.suffix or "a name without suffix"
        raise VideoError(f"{path}: {kind} is not a kind of video that is written: {suffixes}.")
    return container


def has_video_suffix(name: str) -> bool:
    """Whether a file in a folder counts as a video."""
    suffix = PurePath(name).suffix[1:].lower()
    return suffix not in STILLS and (suffix in CONTAINERS or suffix in READ_ONLY)


def taken_codecs(container: Container, writer: OutputContainer) -> AbstractSet[str]:
    """Names of the codecs and encoders that a container takes."""
    return (writer.supported_codecs | container.untold) - container.refused
