"""Which stream is the video, and what becomes of the others: checked by ffprobe."""

import os
from pathlib import Path

import numpy as np
import pytest
from ffmpeg_program import PATTERN, TONE, duration, make, needed, packets, pixels, probe

av = pytest.importorskip("av")

from undim.errors import VideoError  # noqa: E402 - behind the package that it needs
from undim.video.files import enhance_video  # noqa: E402

pytestmark = needed
CHAPTERS = """;FFMETADATA1
title=A night
[CHAPTER]
TIMEBASE=1/1000
START=0
END=300
title=one
[CHAPTER]
TIMEBASE=1/1000
START=300
END=600
title=two
"""


def copy(source, target):
    return enhance_video(source, target, lambda seen, _time: seen, lambda _share: None)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    make(folder / "cover.png", "-f", "lavfi", "-i", "testsrc2=s=300x300:d=0.04", "-frames:v", "1")
    (folder / "chapters.txt").write_text(CHAPTERS)
    (folder / "text.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nhello\n")
    (folder / "font.ttf").write_bytes(bytes(range(256)) * 4)
    maps = ["-map", "0", "-map", "1", "-map", "2", "-map_metadata", "3"]
    inputs = [*PATTERN, *TONE, "-i", folder / "text.srt", "-i", folder / "chapters.txt"]
    codecs = ["-c:v:0", "libx264", "-crf", "10", "-c:a", "aac", "-metadata:s:a:0", "language=eng"]
    make(
        folder / "all.mp4",
        *inputs,
        *("-i", folder / "cover.png", *maps, "-map", "4", *codecs, "-c:s", "mov_text", "-c:v:1", "png"),
        *("-disposition:v:1", "attached_pic", "-timecode", "01:00:00:00"),
    )
    make(
        folder / "all.mkv",
        *inputs,
        *(*maps, "-map", "1", *codecs, "-c:s", "srt", "-metadata:s:a:1", "language=deu", "-disposition:a:0", "0"),
        *("-disposition:a:1", "default+comment", "-disposition:s:0", "forced"),
        *("-attach", folder / "font.ttf", "-metadata:s:t:0", "mimetype=application/x-truetype-font"),
        *("-attach", folder / "cover.png", "-metadata:s:t:1", "mimetype=image/png"),
        *("-metadata:s:t:1", "filename=cover.png"),
    )
    return folder


def told(video):
    """Of each stream: codec, flags that are set, language, name of an attachment."""
    return [
        (
            stream.get("codec_name"),
            sorted(name for name, value in stream["disposition"].items() if value),
            stream.get("tags", {}).get("language"),
            stream.get("tags", {}).get("filename"),
        )
        for stream in video.streams
        if stream["codec_type"] != "data"
    ]


@pytest.mark.parametrize("name", ["all.mp4", "all.mkv"])
def test_covers_attachments_flags_languages_and_chapters_survive(parts, tmp_path, name):
    summary = copy(parts / name, tmp_path / name)
    before, after = probe(parts / name), probe(tmp_path / name)
    assert summary.frames == 15
    assert summary.notes == ()
    assert told(after) == told(before)
    assert [(c["start_time"], c["end_time"], c["tags"]) for c in after.chapters] == [
        (c["start_time"], c["end_time"], c["tags"]) for c in before.chapters
    ]
    assert after.tags["title"] == "A night"
    cover = max(stream["index"] for stream in before.streams if stream.get("width") == 300)
    assert packets(tmp_path / name, cover if name == "all.mkv" else len(after.streams) - 1) == packets(
        parts / name, cover if name == "all.mkv" else len(before.streams) - 1
    )
    if name == "all.mkv":
        make(tmp_path / "none.null", "-dump_attachment:t:0", tmp_path / "font", "-i", tmp_path / name, "-f", "null")
        assert (tmp_path / "font").read_bytes() == (parts / "font.ttf").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "end", "words"),
    [
        ("all.mp4", "mkv", ["subtitle stream 2 (mov_text)"]),
        ("all.mkv", "mp4", ["subtitle stream 2 (subrip)", "attachment stream 4 (font.ttf)"]),
        ("all.mkv", "avi", ["chapters and languages", "cover picture 5 (png)", "font.ttf"]),
        ("all.mp4", "mov", ["cover picture"]),
        ("all.mp4", "webm", ["audio stream 1 (aac)", "cover picture"]),
    ],
)
def test_what_other_containers_do_not_take_is_noted(parts, tmp_path, name, end, words):
    summary = copy(parts / name, tmp_path / f"b.{end}")
    assert len(probe(tmp_path / f"b.{end}").times) == 15
    notes = " ".join(summary.notes)
    assert [word for word in words if word not in notes] == []
    if (name, end) == ("all.mp4", "mkv"):
        assert any(stream[3] == "cover.png" for stream in told(probe(tmp_path / "b.mkv")))


@pytest.mark.slow
def test_the_default_video_is_enhanced_and_another_one_copied(tmp_path):
    words = ["-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=0.6", "-map", "0", "-map", "1", "-c:v", "libx264"]
    source = make(tmp_path / "a.mkv", *PATTERN, *words, "-disposition:v:0", "0", "-disposition:v:1", "default")
    summary = enhance_video(source, tmp_path / "b.mkv", lambda seen, _time: 0 * seen, lambda _share: None)
    assert summary.notes == ("video stream 0 is copied as it is: one video of a file is enhanced",)
    assert packets(tmp_path / "b.mkv", "v:0") == packets(source, "v:0")
    assert probe(tmp_path / "b.mkv", "v:1").stream["width"] == 64


def test_a_cover_alone_is_no_video(parts, tmp_path):
    words = ["-i", parts / "cover.png", "-map", "0", "-map", "1", "-c:a", "aac", "-c:v", "png"]
    make(tmp_path / "a.m4a", *TONE, *words, "-disposition:v:0", "attached_pic")
    with pytest.raises(VideoError, match="no video stream but a cover picture"):
        copy(tmp_path / "a.m4a", tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.slow
def test_quicktime_keys_are_kept(tmp_path):
    keys = {"creationdate": "2020-01-02T03:04:05+0100", "location.ISO6709": "+10.0+020.0/", "make": "Test"}
    words = [word for key, value in keys.items() for word in ("-metadata", f"com.apple.quicktime.{key}={value}")]
    source = make(tmp_path / "a.mov", *PATTERN, "-c:v", "libx264", *words, "-movflags", "use_metadata_tags")
    for suffix in ("mov", "mp4"):
        assert copy(source, tmp_path / f"b.{suffix}").notes == ()
        tags = probe(tmp_path / f"b.{suffix}").tags
        assert {key: tags.get(f"com.apple.quicktime.{key}") for key in keys} == keys


ALPHA = ["-vf", "format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(lt(X,40),0,255)'"]
GIF = ["-vf", f"{ALPHA[1]},split[a][b];[a]palettegen=reserve_transparent=1[p];[b][p]paletteuse"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begin", "words", "end", "form", "decoder"),
    [
        (
            "webm",
            [*ALPHA, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-crf", "10"],
            "webm",
            "yuva420p",
            "libvpx-vp9",
        ),
        ("mov", [*ALPHA, "-c:v", "prores_ks", "-pix_fmt", "yuva444p10le"], "mov", "yuva444p10le", None),
        ("mov", [*ALPHA, "-c:v", "qtrle"], "mov", "argb", None),
        ("gif", GIF, "gif", "rgba", None),
        ("gif", GIF, "webm", "yuva420p", "libvpx-vp9"),
        ("gif", GIF, "mov", "rgba", None),
        ("mov", [*ALPHA, "-c:v", "qtrle"], "mkv", "rgba", None),
        ("mov", [*ALPHA, "-c:v", "qtrle"], "mp4", None, None),
        ("gif", GIF, "mp4", None, None),
    ],
)
def test_transparency_is_kept_or_noted(tmp_path, begin, words, end, form, decoder):
    source, target = make(tmp_path / f"a.{begin}", *PATTERN, *words), tmp_path / f"b.{end}"
    summary = enhance_video(source, target, lambda seen, _time: seen // 2 + 30, lambda _share: None)
    assert any("transparency is lost" in note for note in summary.notes) == (form is None)
    if form is not None:
        decoders = decoder if begin == "webm" else None, decoder
        alphas = [
            pixels(path, "rgba", decoder=one).reshape(-1, 96, 128, 4)[..., 3]
            for path, one in zip((source, target), decoders, strict=True)
        ]
        assert np.abs(alphas[1].astype(int) - alphas[0]).mean() < 2
        assert alphas[0].min() == 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mp4", "mov", "flv", "webm"])
def test_odd_sides_become_420_of_even_sides_with_a_note(tmp_path, suffix):
    words = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=161x97:r=10:d=0.5",
        "-vf",
        "split[a][b];[a]palettegen[p];[b][p]paletteuse",
    ]
    source = make(tmp_path / "a.gif", *words)
    summary = copy(source, tmp_path / f"b.{suffix}")
    made = probe(tmp_path / f"b.{suffix}").stream
    even = suffix != "webm"  # VP9 has odd sides
    assert (made["width"], made["height"]) == ((162, 98) if even else (161, 97))
    assert made["pix_fmt"] == "yuv420p"
    assert any("161 x 97" in note for note in summary.notes) == even
    shown = pixels(tmp_path / f"b.{suffix}").reshape(-1, made["height"], made["width"], 3)[:, :97, :161]
    given = pixels(source).reshape(shown.shape)
    # Fewer pixels of colour blur its edges; its means say whether the matrix is the one that is told.
    assert np.abs(shown.mean((0, 1, 2)) - given.mean((0, 1, 2))).max() < 2
    assert np.median(np.abs(shown.astype(int) - given)) <= 3


@pytest.mark.slow
def test_a_size_that_changes_is_fitted_and_told(tmp_path):
    parts = [
        make(tmp_path / f"{n}.ts", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.6", "-c:v", "libx264", "-crf", "8")
        for n, size in enumerate(("160x96", "128x128"))
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    for suffix in ("ts", "mp4"):
        summary = copy(tmp_path / "a.ts", tmp_path / f"b.{suffix}")
        assert len(summary.notes) == 1
        assert "from 160 x 96 to 128 x 128" in summary.notes[0]
        frames = pixels(tmp_path / f"b.{suffix}", "gray").reshape(-1, 96, 160)
        assert len(frames) == 30
        assert frames[20, :, :14].max() < 24  # black bars beside a square picture
        assert frames[20, :, 40:120].std() > 30


CASES = Path(os.environ.get("UNDIM_DATA", "/nowhere")).parent / "cases"


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason="needs the folder of difficult files beside that of the pictures")
def test_difficult_files_keep_their_frames(tmp_path):
    videos = [
        path for path in sorted(CASES.iterdir()) if path.suffix in (".mp4", ".avi", ".mov", ".mkv", ".ts", ".webm")
    ]
    assert videos
    for path in videos:
        summary = copy(path, tmp_path / path.name)
        assert summary.frames == len(probe(tmp_path / path.name).times) > 1
        assert summary.codec == probe(path).codec


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mpg", "mpeg2video"), ("a.ts", "libx264")])
def test_frames_from_damaged_data_are_told(tmp_path, name, codec):
    path = make(tmp_path / name, "-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2", "-c:v", codec, "-g", "50")
    assert copy(path, tmp_path / "whole.mkv").whole
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    numbers = np.random.default_rng(1)
    for place in numbers.integers(len(content) // 3, 2 * len(content) // 3, 10):
        content[place : place + 20] = numbers.integers(0, 256, 20)
    path.write_bytes(content.tobytes())
    summary = copy(path, tmp_path / "b.mkv")
    assert not summary.whole
    assert any("damaged" in note for note in summary.notes)


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv"])
def test_an_avi_is_as_long_as_its_frames(tmp_path, name):
    path = make(tmp_path / name, "-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=1.5", "-c:v", "libx264")
    copy(path, tmp_path / "b.avi")
    assert duration(tmp_path / "b.avi") == pytest.approx(1.5, abs=0.01)
