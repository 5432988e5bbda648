"""Time stamps of a video: the input's, also where its packets have none, begin late or jump."""

from __future__ import annotations

import heapq
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from undim.video.containers import FINEST_GRID
from undim.video.streams import codec_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_FREE_RUNNING = frozenset(("mpegts", "mpeg", "mpegtsraw", "vob", "dvd", "rtsp", "asf"))
"""FFmpeg's names of formats whose clock begins anywhere and may jump."""
_REORDERED = ("h264", "hevc", "vvc")
"""Codecs for whose frames in AVI FFmpeg guesses a time to be shown at, from the order in which they are stored."""
_JUMP = 10.0
"""Seconds without a packet of a stream that are a jump of the clock."""
_JUMP_BACK = 0.2
"""Seconds by which a packet may come before the end of the one before it."""
_NEAR = 1.0
"""Seconds within which two streams' jumps are the same jump."""


class Clock:
    """Makes the packets of a file with a clock of its own begin at zero and go on after jumps, all streams in step.

    Where the output's clock is as free, the beginning stays as it is, too.

    Args:
        reader: the input.
        output: FFmpeg's name of the output's format.
    """

    def __init__(self, reader: InputContainer, output: str) -> None:
        self._free = bool(_FREE_RUNNING & set(reader.format.name.split(",")))
        begins_anywhere = output in _FREE_RUNNING - {"asf"}
        self._start = Fraction(0) if begins_anywhere else Fraction(reader.start_time or 0, 1_000_000)
        self._late = (
            Fraction(0) if self._free or output != "avi" else Fraction(max(0, reader.start_time or 0), 1_000_000)
        )
        self._offsets: dict[int, Fraction] = {}
        self._ends: dict[int, Fraction] = {}
        """Stream -> where its last packet ended, in seconds of the output."""
        self._last: dict[int, Fraction] = {}
        """Stream -> where its last packet began."""

    def mend(self, packet: Any) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
        """Shift a packet's time stamps; nothing for other files, whose time stamps stay as they are."""
        if not self._free or packet.dts is None:
            return
        base, index = packet.time_base, packet.stream.index
        offset = self._offsets.get(index, -self._start)
        time = packet.dts * base + offset
        expected, last = self._ends.get(index), self._last.get(index)
        if expected is not None and last is not None and packet.stream.type in ("audio", "video"):
            earliest = max(expected - Fraction(_JUMP_BACK), last + base)
            if not earliest <= time <= expected + Fraction(_JUMP):
                expected = max(expected, last + base)
                offset = self._offset_after(packet.dts * base, offset, earliest, expected)
                time = packet.dts * base + offset
        self._offsets[index], self._last[index] = offset, time
        self._ends[index] = time + (packet.duration or 0) * base
        _shift(packet, round(offset / base))

    def begin_at_zero(self, packet: Any) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
        """Shift a packet so that the file begins at zero, where the output tells no beginning."""
        if self._late:
            _shift(packet, -round(self._late / packet.time_base))

    def _offset_after(self, stamp: Fraction, old: Fraction, earliest: Fraction, expected: Fraction) -> Fraction:
        """The offset of a stream that jumped: that of one that has made the same jump, or so that there is no gap."""
        for offset in self._offsets.values():
            if offset != old and earliest <= stamp + offset < expected + Fraction(_NEAR):
                return offset
        return expected - stamp


def _shift(packet: Any, ticks: int) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
    if packet.dts is not None:
        packet.dts += ticks
    if packet.pts is not None:
        packet.pts += ticks


class FrameTimes:
    """Time stamps of decoded frames, rising from one to the next.

    AVI, and raw streams, give packets an order and no time to be shown at. A frame then takes the earliest of the times
    at which packets were decoded that no frame has taken: each packet gives one frame, in another order at most.

    Args:
        reader: the input.
        video: its packets and frames are told in the order in which they come.
        rate: frames a second, where there is no other way to know.
    """

    def __init__(self, reader: InputContainer, video: VideoStream, rate: Fraction) -> None:
        self.base = video.time_base or 1 / rate
        self._step = max(1, round(1 / rate / self.base))
        self._waiting: list[int] = []
        self._last: int | None = None
        self._guessed = reader.format.name == "avi" and codec_of(video) in _REORDERED

    def decoded(self, packet: Any) -> None:  # noqa: ANN401 - PyAV's type of packets is generic
        """Tell of a packet that could be decoded."""
        if packet.size and packet.dts is not None and (packet.pts is None or self._guessed):
            heapq.heappush(self._waiting, packet.dts)

    def of(self, frame: VideoFrame) -> int:
        """A frame's time stamp, in units of `base`."""
        pts = None if self._guessed else frame.pts
        if pts is not None and frame.time_base is not None and frame.time_base != self.base:
            pts = round(pts * frame.time_base / self.base)
        if pts is None and self._waiting:
            pts = heapq.heappop(self._waiting)
        if pts is None:
            pts = 0 if self._last is None else self._last + self._step
        if self._last is not None and pts <= self._last:
            pts = self._last + 1
        self._last = pts
        return pts


def grid_of(video: VideoStream, rate: Fraction) -> Fraction:
    """Frames a second of the grid on which all of a video's time stamps stand, where that is not too fine."""
    base = video.base_rate
    return base if base is not None and rate <= base <= 240 else (rate if base is None else FINEST_GRID)
