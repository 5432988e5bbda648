"""`undim video`: one line about what went wrong, and nothing left over."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from undim.cli.main import main

av = pytest.importorskip("av")


def make_video(name, frames, rate):
    """A dark, lossless video of noise."""
    with av.open(name, "w") as out:
        stream = out.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0"
        for index in range(frames):
            pixels = np.random.default_rng(index).integers(0, 40, (64, 96, 3), dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))


@pytest.fixture
def undim(tmp_path, monkeypatch, capfd):
    """Run `undim video` in an empty folder with a dark video `night.mkv`; returns (status, stderr lines)."""
    monkeypatch.chdir(tmp_path)
    make_video("night.mkv", frames=6, rate=25)

    def run(*words):
        status = main(["video", *words])
        return status, capfd.readouterr().err.splitlines()

    return run


def frames(path):
    with av.open(path) as source:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]).astype(float)


def test_a_dark_video_becomes_bright(undim):
    assert undim("night.mkv", "-o", "day.mkv", "--model", "tiny") == (0, ["undim: 6 frames, 0 cuts"])
    before, after = frames("night.mkv"), frames("day.mkv")
    assert after.shape == before.shape
    assert after.mean() > 2.5 * before.mean()
    assert undim("night.mkv", "-o", "same.mkv", "--model", "tiny", "--strength", "0")[0] == 0
    np.testing.assert_array_equal(frames("same.mkv"), before)  # ffv1 is lossless


def test_colons_in_relative_names_are_no_protocols(undim):
    Path("night.mkv").rename("night:1.mkv")
    assert undim("night:1.mkv", "-o", "day:1.mkv", "--model", "tiny") == (0, ["undim: 6 frames, 0 cuts"])
    assert len(frames(Path("day:1.mkv").absolute())) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.mkv", "-o", "day.mkv"], "is not a file"),
        (["night.mkv", "-o", "other.mkv"], "exists"),
        (["night.mkv", "-o", "night.mkv"], "is the input itself"),
        (["night.mkv", "-o", "night.mkv", "--overwrite"], "is the input itself"),
        (["night.mkv", "-o", "day.txt"], "is not a kind of video that is written"),
        (
            ["night.mkv", "-o", "day.mkv", "--strength", "2"],
            "strength is 2.0; allowed: 0 (the input) to 1 (fully enhanced) (--strength)",
        ),
        (["night.mkv", "-o", "no/day.mkv"], "no/day.mkv: there is no folder no: make it first"),
        (["text.mkv", "-o", "day.mkv"], "cannot be read as a video"),
    ],
)
def test_wrong_use_is_one_line(undim, words, message):
    Path("text.mkv").write_text("hello")
    Path("other.mkv").write_text("other")
    content = Path("night.mkv").read_bytes()
    status, err = undim(*words)
    assert status == 2
    assert len(err) == 1
    assert message in err[0]
    assert Path("night.mkv").read_bytes() == content
    assert sorted(path.name for path in Path().iterdir()) == ["night.mkv", "other.mkv", "text.mkv"]
    assert Path("other.mkv").read_text() == "other"


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)])
def test_stopped_while_it_writes_there_is_no_file_of_that_name(tmp_path, name, status, turn):
    # Three times: a signal amid a write was lost every other time when PyAV wrote to a Python file.
    source, target = tmp_path / "night.mkv", tmp_path / "day.mkv"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "bgr0"
        for index in range(60):
            pixels = np.random.default_rng(index).integers(0, 40, (240, 320, 3), dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
    words = [sys.executable, "-m", "undim", "video", str(source), "-o", str(target), "--model", "tiny"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not any(draft.stat().st_size for draft in tmp_path.glob(".undim-*.tmp")):
            time.sleep(0.001)
        process.send_signal(getattr(signal, name))
        _, told = process.communicate()
    assert process.returncode == status
    assert not target.exists()
    if name != "SIGKILL":
        assert told.splitlines()[-1] == "undim: stopped"  # behind lines of progress, on a slow machine
        assert not list(tmp_path.glob(".undim-*"))


def test_a_video_that_is_cut_off_is_written_and_said(undim):
    make_video("long.mkv", frames=12, rate=5)
    content = Path("long.mkv").read_bytes()
    Path("long.mkv").write_bytes(content[: len(content) // 2])
    status, err = undim("long.mkv", "-o", "day.mkv", "--model", "tiny")
    assert status == 1
    assert err[0].startswith("undim: note: long.mkv: is cut off: it ends 1.")
    assert 3 <= len(frames("day.mkv")) <= 7


def test_a_folder_of_videos(undim, capfd):
    make_video("in.avi", frames=3, rate=25)
    Path("in/sub").mkdir(parents=True)
    Path("night.mkv").rename("in/night.mkv")
    Path("in.avi").rename("in/sub/b.avi")
    Path("in/._night.mkv").write_bytes(b"\0\5\x16\7")
    Path("in/broken.mp4").write_text("hello")
    status, err = undim("in", "-o", "out", "--model", "tiny", "--strength", "0")
    assert status == 1
    assert err == [
        "undim: failed: in/broken.mp4: cannot be read as a video: Invalid data found when processing input.",
        "undim: 2 done, 0 skipped, 1 failed",
    ]
    assert sorted(path.as_posix() for path in Path("out").rglob("*.*")) == ["out/night.mkv", "out/sub/b.avi"]
    np.testing.assert_array_equal(frames("out/night.mkv"), frames("in/night.mkv"))
    Path("in/broken.mp4").unlink()
    status, err = undim("in", "-o", "out", "--model", "tiny")
    assert (status, err) == (0, ["undim: 0 done, 2 skipped (their outputs exist; --overwrite replaces them), 0 failed"])


def test_the_outcome_as_json(undim, capfd):
    Path("broken.mkv").write_text("hello")
    assert main(["video", "night.mkv", "broken.mkv", "-o", "out/", "--model", "tiny", "--json"]) == 1
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert {key: told[key] for key in ("done", "skipped", "failed")} == {"done": 1, "skipped": 0, "failed": 1}
    assert [(one["input"], one["status"], one["frames"], one["notes"]) for one in told["files"]] == [
        ("night.mkv", "done", 6, []),
        ("broken.mkv", "failed", 0, []),
    ]
    assert "cannot be read as a video" in told["files"][1]["reason"]
    assert err.count("\n") == 1
    assert main(["video", "broken.mkv", "-o", "day.mkv", "--model", "tiny", "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["failed"] == 1


def test_notes_and_progress_are_plain_lines(undim, monkeypatch):
    monkeypatch.setattr("undim.cli.video.TOLD_EVERY", 0)
    status, err = undim("night.mkv", "-o", "day.webm", "--model", "tiny")
    assert status == 0
    assert re.fullmatch(r"undim: night.mkv: \d+%(, \d+ (s|min|h) left)?", err[0])
    note = (
        "undim: note: night.mkv: its codec was FFV1 and is now VP9, which loses a little: files of this kind do not"
        " take it, or hardly any player shows it in them"
    )
    assert err[-2:] == [note, "undim: 6 frames, 0 cuts"]


def test_encoders_keep_their_chatter_to_themselves(undim):
    with av.open("a.mkv", "w") as out:
        stream = out.add_stream("libsvtav1", rate=25, options={"preset": "12"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for level in range(4):
            pixels = np.full((64, 96, 3), 40 + level, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
    undim("--help")  # what the encoder said while the video was made is not ours
    assert undim("a.mkv", "-o", "b.mkv", "--model", "tiny") == (0, ["undim: 4 frames, 0 cuts"])
