"""Frames are changed and everything else is copied; read again by FFmpeg's decoders with none of our code."""

from fractions import Fraction

import numpy as np
import pytest

from undim.errors import VideoError

av = pytest.importorskip("av")
files = pytest.importorskip("undim.video.files")

from undim.video import containers  # noqa: E402 - behind the package that it may lack


def make_video(path, codec="libx264", form="yuv420p", frames=12, sound=True, times=None, metadata=None, samples=7680):
    """64 x 48, 25 frames a second: a grey ramp that moves, and a tone."""
    with av.open(str(path), "w") as out:
        out.metadata.update(metadata or {})
        video = out.add_stream(codec, rate=25, options={"crf": "10"} if "x26" in codec else {})
        video.width, video.height, video.pix_fmt = 64, 48, form
        video.codec_context.time_base = Fraction(1, 100)
        audio = out.add_stream("aac", rate=16000) if sound else None
        for index in range(frames):
            ramp = np.roll(np.linspace(20, 80, 64), 3 * index).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.broadcast_to(ramp[None, :, None], (48, 64, 3)).copy(), format="rgb24")
            frame = frame.reformat(format=form)
            frame.pts, frame.time_base = (times or range(0, 4 * frames, 4))[index], Fraction(1, 100)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            tone = (8000 * np.sin(np.arange(samples) / 5)).astype(np.int16)[None]
            block = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            block.sample_rate = 16000
            out.mux(audio.encode(block))
            out.mux(audio.encode(None))


def read(path, kind="rgb24"):
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        facts = (video.codec_context.codec.canonical_name, video.codec_context.pix_fmt)
        frames = [(frame.time, frame.to_ndarray(format=kind)) for frame in source.decode(video)]
        return facts, [time for time, _ in frames], np.stack([pixels for _, pixels in frames])


def packets(path, kind):
    with av.open(str(path)) as source:
        streams = [stream for stream in source.streams if stream.type == kind]
        return [bytes(packet) for stream in streams for packet in source.demux(stream) if packet.size]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


NO_AAC = ("webm", "gif", "apng", "webp", "mpg", "mpeg")


def brighten(pixels, _time):
    return pixels + np.asarray(60, pixels.dtype) * (257 if pixels.dtype == np.uint16 else 1)


@pytest.mark.parametrize(
    ("name", "codec", "form"),
    [("a.mp4", "libx264", "yuv420p"), ("a.mkv", "libx265", "yuv420p10le"), ("a.webm", "libvpx-vp9", "yuv420p")],
)
def test_frames_are_changed_and_codec_times_and_sound_are_kept(tmp_path, name, codec, form):
    times = [0, 4, 8, 12, 16, 30, 34, 38, 42, 46, 50, 54]  # with a gap
    sound = not name.endswith("webm")  # which does not take AAC
    make_video(tmp_path / name, codec, form, sound=sound, times=times)
    shares = []
    summary = files.enhance_video(tmp_path / name, tmp_path / f"out_{name}", brighten, shares.append)
    assert (summary.frames, summary.damaged, summary.notes) == (12, 0, ())
    before, after = read(tmp_path / name), read(tmp_path / f"out_{name}")
    assert after[0] == before[0]
    assert after[1] == pytest.approx(before[1], abs=0.0015)
    difference = after[2].astype(int) - before[2]
    assert abs(difference.mean() - 60) < 1.5
    assert difference.std() < 5
    assert packets(tmp_path / f"out_{name}", "audio") == packets(tmp_path / name, "audio")
    assert bool(packets(tmp_path / name, "audio")) == sound
    assert 0.8 < shares[-1] <= 1
    assert shares == sorted(shares)
    assert names(tmp_path) == sorted([name, f"out_{name}"])


def test_ten_bits_stay_ten_bits(tmp_path):
    make_video(tmp_path / "a.mkv", "libx265", "yuv420p10le", sound=False)
    kinds = set()

    def noted(pixels, _time):
        kinds.add(pixels.dtype)
        return pixels

    files.enhance_video(tmp_path / "a.mkv", tmp_path / "b.mkv", noted, lambda _share: None)
    assert kinds == {np.dtype(np.uint16)}
    before, after = (read(tmp_path / name, "rgb48le")[2].astype(int) for name in ("a.mkv", "b.mkv"))
    assert np.abs(after - before).mean() < 65535 * 0.004


def test_metadata_and_chapters_are_kept(tmp_path):
    make_video(tmp_path / "a.mkv", metadata={"title": "A night"})
    files.enhance_video(tmp_path / "a.mkv", tmp_path / "b.mkv", brighten, lambda _share: None)
    with av.open(str(tmp_path / "b.mkv")) as made:
        assert made.metadata["title"] == "A night"


def test_what_a_container_does_not_take_is_named_and_another_codec_taken(tmp_path):
    make_video(tmp_path / "a.mp4")
    summary = files.enhance_video(tmp_path / "a.mp4", tmp_path / "b.webm", brighten, lambda _share: None)
    told = [
        (
            "its codec was H.264 and is now VP9, which loses a little: "
            "files of this kind do not take it, or hardly any player shows it in them"
        ),
        "not copied, since files of this kind do not take it: audio stream 1 (aac)",
    ]
    assert list(summary.notes) == told
    assert read(tmp_path / "b.webm")[0][0] == "vp9"


@pytest.mark.parametrize(
    "suffix", sorted(containers.CONTAINERS.keys() - {"webp"})
)  # animations, which FFmpeg does not read, have a test of their own
def test_every_container_that_is_offered_is_written(tmp_path, suffix):
    make_video(tmp_path / "a.mkv")
    summary = files.enhance_video(tmp_path / "a.mkv", tmp_path / f"b.{suffix}", brighten, lambda _share: None)
    assert summary.frames == 12
    before, after = read(tmp_path / "a.mkv"), read(tmp_path / f"b.{suffix}")
    assert after[2].shape == before[2].shape
    assert abs((after[2].astype(int) - before[2]).mean() - 60) < 2
    assert bool(packets(tmp_path / f"b.{suffix}", "audio")) == (suffix not in NO_AAC)


@pytest.mark.parametrize("size", [(65, 48), (64, 47), (63, 47)])
def test_odd_sides_stay_or_are_padded_for_players(tmp_path, size):
    frames = np.full((3, size[1], size[0], 3), 90, np.uint8)
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = *size, "bgr0"
        for pixels in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(video.encode(None))
    even = (size[1] + size[1] % 2, size[0] + size[0] % 2)
    for name, shape in (("b.mp4", even), ("b.mkv", size[::-1])):
        summary = files.enhance_video(tmp_path / "a.mkv", tmp_path / name, brighten, lambda _share: None)
        made = read(tmp_path / name)[2]
        assert made.shape == (3, *shape, 3)
        assert abs(made.astype(int) - 150).max() <= 3
        assert any("players want even sides" in note for note in summary.notes) == (name == "b.mp4")


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_video_that_is_cut_off_says_by_how_much(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    make_video(path, frames=100, sound=False)
    whole = files.enhance_video(path, tmp_path / "whole.mkv", brighten, lambda _share: None)
    assert (whole.frames, whole.missing) == (100, 0)
    if suffix == "mp4":  # the index to the front, as for streaming
        with (
            av.open(str(path)) as source,
            av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as out,
        ):
            stream = out.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
        path = tmp_path / "b.mp4"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    summary = files.enhance_video(path, tmp_path / "cut.mkv", brighten, lambda _share: None)
    assert 20 < summary.frames < 90
    assert summary.missing == pytest.approx(4 - summary.frames / 25, abs=0.2)


def test_whole_videos_are_not_called_cut_off(tmp_path):
    make_video(tmp_path / "late.mkv", times=range(200, 248, 4), sound=False)  # begins at two seconds
    assert files.enhance_video(tmp_path / "late.mkv", tmp_path / "a.mkv", brighten, lambda _share: None).missing == 0
    make_video(tmp_path / "short.mkv", frames=2, samples=32000)  # its sound lasts two seconds, and is left out
    summary = files.enhance_video(tmp_path / "short.mkv", tmp_path / "b.webm", brighten, lambda _share: None)
    assert (summary.frames, summary.missing) == (2, 0)
    assert any("audio stream 1" in note for note in summary.notes)


def test_avi_has_an_order_of_frames_and_no_time_stamps(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"bf": "2", "b-adapt": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for level in range(20, 140, 10):
            pixels = np.full((48, 64, 3), level, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(video.encode(None))
    for name in ("b.mkv", "b.avi"):
        summary = files.enhance_video(tmp_path / "a.avi", tmp_path / name, brighten, lambda _share: None)
        assert summary.frames == 12
        levels = read(tmp_path / name)[2].mean((1, 2, 3))
        assert levels == pytest.approx(np.arange(80, 200, 10), abs=3)
    assert np.diff(read(tmp_path / "b.mkv")[1]) == pytest.approx(np.full(11, 0.04), abs=0.002)


def test_a_run_that_breaks_off_leaves_what_was_there(tmp_path):
    make_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"before")

    def broken(pixels, time):
        if time > 0.2:
            raise KeyboardInterrupt
        return pixels

    with pytest.raises(KeyboardInterrupt):
        files.enhance_video(tmp_path / "a.mp4", tmp_path / "b.mp4", broken, lambda _share: None)
    assert (tmp_path / "b.mp4").read_bytes() == b"before"
    assert names(tmp_path) == ["a.mp4", "b.mp4"]


def test_a_damaged_middle_costs_its_frames_only(tmp_path):
    make_video(tmp_path / "a.mkv", frames=60)
    content = bytearray((tmp_path / "a.mkv").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    (tmp_path / "a.mkv").write_bytes(content)
    summary = files.enhance_video(tmp_path / "a.mkv", tmp_path / "b.mkv", brighten, lambda _share: None)
    assert summary.frames == len(read(tmp_path / "b.mkv")[1])
    assert summary.frames > 20


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        (b"no video at all", "b.mp4", "cannot be read as a video"),
        (b"", "b.mp4", "cannot be read as a video"),
        (None, "b.docx", "is not a kind of video that is written"),
    ],
)
def test_bad_input_is_told(tmp_path, content, target, message):
    source = tmp_path / "a.mp4"
    if content is None:
        make_video(source, sound=False)
    else:
        source.write_bytes(content)
    with pytest.raises(VideoError, match=message):
        files.enhance_video(source, tmp_path / target, brighten, lambda _share: None)
    assert names(tmp_path) == ["a.mp4"]


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as out:
        audio = out.add_stream("aac", rate=16000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        block.sample_rate = 16000
        out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    with pytest.raises(VideoError, match="has no video stream"):
        files.enhance_video(tmp_path / "a.m4a", tmp_path / "b.mp4", brighten, lambda _share: None)
