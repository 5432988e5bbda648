"""FFmpeg's own programs: they make the tests' videos and look at what was written, with none of our code.

Where they are not installed, the tests that need them are skipped.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass, field

import numpy as np
import pytest

needed = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="needs the programs ffmpeg and ffprobe"
)

PATTERN = ["-f", "lavfi", "-i", "testsrc2=s=128x96:r=25:d=0.6"]
"""15 frames with motion, sharp edges and full colours."""
TONE = ["-f", "lavfi", "-i", "sine=d=0.6"]


def make(path, *words):
    """Run `ffmpeg WORDS path`."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words), str(path)], check=True, stdin=subprocess.DEVNULL)
    return path


@dataclass
class Video:
    """What ffprobe says of the first video stream."""

    stream: dict = field(repr=False)
    times: list
    marks: set
    """Pairs of whether frames are interlaced, and whether the top field comes first."""
    frame_data: dict
    """Side data of the first frame, by its type."""
    tags: dict
    streams: list = field(repr=False)
    chapters: list = field(repr=False)

    @property
    def codec(self):
        return self.stream["codec_name"]

    @property
    def matrix(self):
        return next((d["displaymatrix"] for d in self.stream.get("side_data_list", []) if "displaymatrix" in d), None)


def probe(path, video="v:0"):
    found = _ask(path, "-show_streams", "-show_format", "-show_chapters")
    shown = _ask(path, "-select_streams", video, "-show_frames")["frames"]
    first = shown[0] if shown else {}
    selected = _ask(path, "-select_streams", video, "-show_streams")["streams"][0]
    return Video(
        selected,
        [float(frame.get("pts_time", frame.get("best_effort_timestamp_time", "nan"))) for frame in shown],
        {(bool(frame["interlaced_frame"]), bool(frame["top_field_first"])) for frame in shown},
        {data["side_data_type"]: data for data in first.get("side_data_list", [])},
        found["format"].get("tags", {}),
        found["streams"],
        found.get("chapters", []),
    )


def _ask(path, *words):
    done = subprocess.run(["ffprobe", "-v", "error", *words, "-of", "json", str(path)], capture_output=True, check=True)
    return json.loads(done.stdout)


def duration(path):
    """Seconds that the container tells."""
    return float(_ask(path, "-show_format")["format"]["duration"])


def packet_times(path, stream):
    """When a stream's packets begin, in seconds."""
    listed = _ask(path, "-select_streams", stream, "-show_packets")["packets"]
    return [float(packet.get("pts_time", packet.get("dts_time"))) for packet in listed]


def pixels(path, form="rgb24", *, turned=False, decoder=None):
    """All frames' bytes (or words, for deep formats) as ffmpeg decodes them, one row each."""
    words = ["-v", "error", *([] if turned else ["-noautorotate"]), *(["-c:v", decoder] if decoder else [])]
    count = len(probe(path).times)
    words += ["-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", form, "-"]
    done = subprocess.run(["ffmpeg", *words], capture_output=True, check=True)
    deep = any(depth in form for depth in ("10", "12", "16", "48", "64"))
    return np.frombuffer(done.stdout, "<u2" if deep else np.uint8).reshape(count, -1)


def packets(path, stream):
    """MD5 of a stream's packets."""
    words = [
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        f"0:{stream}",
        "-c",
        "copy",
        "-f",
        "streamhash",
        "-hash",
        "md5",
        "-",
    ]
    return subprocess.run(["ffmpeg", *words], capture_output=True, check=True, text=True).stdout.split("=")[-1].strip()


def psnr(before, after, most):
    """In dB, of each frame; at most 120."""
    error = ((before.astype(float) - after) ** 2).mean(1)
    return 10 * np.log10(most**2 / np.maximum(error, most**2 * 1e-12))
