"""Codecs, containers, pixel formats, frame timing, display matrices, colours and fields, made and looked at by FFmpeg.

At strength 0, where frames are handed on as they are: what is written must look and be timed as the input.
"""

import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest
from ffmpeg_program import PATTERN, TONE, make, needed, packet_times, packets, pixels, probe, psnr

av = pytest.importorskip("av")

from undim.errors import VideoError  # noqa: E402 - behind the package that the next ones need
from undim.video import containers, files  # noqa: E402
from undim.video.files import enhance_video  # noqa: E402

pytestmark = needed


def copy(source, target):
    """Enhance without a change."""
    return enhance_video(source, target, lambda seen, _time: seen, lambda _share: None)


@dataclass(frozen=True)
class Codec:
    """How FFmpeg writes it, in what, and how like the input the copy has to be, to the last frame."""

    words: str
    suffixes: str
    formats: str
    least: float
    """dB."""


LOSSLESS = 119
CODECS = [
    Codec("libx264 -crf 12", "mp4 mov mkv ts avi flv", "yuv420p yuv444p yuv420p10le yuvj420p", 38),
    Codec("libx265 -crf 12 -x265-params log-level=none", "mp4 mov mkv ts", "yuv420p yuv422p10le", 36),
    Codec("libvpx-vp9 -crf 10 -b:v 0 -cpu-used 4", "webm mkv mp4", "yuv420p yuv444p", 38),
    Codec("libvpx -b:v 4M", "webm mkv", "yuv420p", 40),
    Codec("libsvtav1 -crf 20", "mp4 webm mkv", "yuv420p yuv420p10le", 36),
    Codec("mpeg4 -q:v 3", "mp4 avi mkv mov", "yuv420p", 44),
    Codec("mpeg2video -q:v 3", "ts mpg mkv mp4", "yuv420p yuv422p", 44),
    Codec("mpeg1video -q:v 3", "mpg", "yuv420p", 44),
    Codec("mjpeg -q:v 3", "avi mov mkv", "yuvj420p yuvj422p yuvj444p", 44),
    Codec("wmv2 -q:v 3", "wmv avi", "yuv420p", 43),
    Codec("flv -q:v 3", "flv", "yuv420p", 43),
    Codec("prores_ks", "mov mkv", "yuv422p10le yuv444p10le yuva444p10le", 40),
    Codec("dnxhd -profile:v dnxhr_hq -s 256x128", "mov", "yuv422p", 42),
    Codec("ffv1", "mkv avi nut", "yuv420p yuv422p10le yuva444p bgr0 gbrp10le", LOSSLESS),
    Codec("utvideo", "avi", "yuv420p yuv422p gbrp gbrap", LOSSLESS),
    Codec("huffyuv", "avi", "yuv422p bgra rgb24", LOSSLESS),
    Codec("ffvhuff", "avi", "yuv420p yuv444p10le", LOSSLESS),
    Codec("magicyuv", "avi", "gbrp yuv420p", LOSSLESS),
    Codec("qtrle", "mov", "rgb24 argb", LOSSLESS),
    Codec("png", "mov", "rgb24 rgba", LOSSLESS),
    Codec("rawvideo", "avi nut", "bgr24 yuv420p", LOSSLESS),
    Codec("apng -plays 0", "apng", "rgb24 rgba", LOSSLESS),
]
QUICK = {("utvideo", "avi", "gbrp")}


def cells():
    for codec in CODECS:
        for suffix in codec.suffixes.split():
            for form in codec.formats.split():
                quick = (codec.words, suffix, form) in QUICK
                mark = [] if quick else [pytest.mark.slow]
                yield pytest.param(codec, suffix, form, marks=mark, id=f"{codec.words.split()[0]}-{suffix}-{form}")


@pytest.mark.parametrize(("codec", "suffix", "form"), list(cells()))
def test_codec_container_and_pixel_format_are_kept_and_every_frame_is_like_the_input(tmp_path, codec, suffix, form):
    name, *more = codec.words.split()
    if suffix == "avi" and name == "libx264":
        more += ["-bf", "0"]  # AVI cannot tell when frames are shown that are stored in another order
    source = make(tmp_path / f"a.{suffix}", *PATTERN, "-c:v", name, *more, "-pix_fmt", form)
    target = tmp_path / f"b.{suffix}"
    summary = copy(source, target)
    before, after = probe(source), probe(target)
    assert summary.notes == ()
    assert summary.frames == len(before.times) == len(after.times)
    same = ("codec_name", "width", "height", "pix_fmt", "color_range", "field_order")
    if (name == "prores_ks" and "yuva" in form) or name == "rawvideo":
        same = same[:3]
    expected = {key: before.stream.get(key) for key in same}
    if name == "libvpx":  # its decoders take a range that is not named for limited, so it is named rightly
        assert expected["color_range"] in (None, "tv")
        expected["color_range"] = "tv"
    assert {key: after.stream.get(key) for key in same} == expected
    # Frames that were shown in another order than stored have no time of their own in AVI.
    first = (before.times[0], after.times[0]) if suffix in ("avi", "ts") else (0, 0)
    relative = [np.array(video.times) - begin for video, begin in zip((before, after), first, strict=True)]
    assert np.abs(relative[1] - relative[0]).max() <= 0.0011
    shown = before.stream["pix_fmt"]
    most = 4095 if "12" in shown else 1023 if "10" in shown else 255
    quality = psnr(pixels(source, shown), pixels(target, shown), most)
    assert quality.min() >= codec.least
    # Beside the first frame, which some encoders write nearly without loss.
    assert quality[-1] >= quality[1:].max() - 12 or codec.least == LOSSLESS


@pytest.mark.parametrize(
    "name", ["mpeg4", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mpeg2video", "mjpeg"))]
)
def test_the_last_frame_is_as_good_as_from_ffmpeg_at_the_same_quantiser(tmp_path, name):
    words = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=0.6", "-vf", "noise=alls=20:allf=t", "-q:v", "2"]
    source = make(tmp_path / "a.mkv", *words, "-c:v", name, *(["-pix_fmt", "yuvj420p"] if name == "mjpeg" else []))
    own = make(tmp_path / "own.mkv", "-i", source, "-c:v", name, "-q:v", "2")
    copy(source, tmp_path / "b.mkv")
    input_, theirs, ours = (pixels(path, "yuv420p") for path in (source, own, tmp_path / "b.mkv"))
    assert psnr(input_, ours, 255)[-1] >= psnr(input_, theirs, 255)[-1] - 0.5
    assert (tmp_path / "b.mkv").stat().st_size > 0.5 * source.stat().st_size


def sound(path):
    """What is heard, as ffmpeg decodes it."""
    words = ["-v", "error", "-i", str(path), "-map", "0:a:0", "-f", "s16le", "-"]
    return np.frombuffer(subprocess.run(["ffmpeg", *words], capture_output=True, check=True).stdout, "<i2")


TIMINGS = {
    "even": PATTERN + TONE,
    "variable": [
        *PATTERN,
        *TONE,
        *("-vf", "select='not(mod(n,3))',settb=1/1000,setpts=N*N*20", "-fps_mode", "vfr", "-enc_time_base", "1/1000"),
    ],
    "late picture": ["-itsoffset", "0.5", *PATTERN, *TONE],
    "late sound": [*PATTERN, "-itsoffset", "0.5", *TONE],
}


@pytest.mark.parametrize(
    ("timing", "begin", "end"),
    [
        pytest.param(
            timing, begin, end, marks=[] if (timing, begin, end) == ("variable", "mkv", "mp4") else [pytest.mark.slow]
        )
        for timing in TIMINGS
        for begin in ("mp4", "mkv", "ts")
        for end in ("mp4", "mkv", "avi", "ts", "mov")
    ],
)
def test_times_are_the_inputs_and_the_sound_is_in_step(tmp_path, timing, begin, end):
    source = make(tmp_path / f"a.{begin}", *TIMINGS[timing], "-c:v", "libx264", "-c:a", "aac")
    target = tmp_path / f"b.{end}"
    summary = copy(source, target)
    before, after = probe(source), probe(target)
    assert len(after.times) == len(before.times)
    grid = 0.021 if end == "avi" and timing == "variable" else 0.0011
    steps = [np.array(video.times) - video.times[0] for video in (before, after)]
    assert np.abs(steps[1] - steps[0]).max() <= grid
    assert [stream["codec_type"] for stream in after.streams] == ["video", "audio"]
    if end == "avi":  # which has no time for the first sound
        late = before.times[0] - float(before.streams[1]["start_time"])
        assert after.times[0] == pytest.approx(late if late > 0.1 else 0, abs=0.041)
        assert any("too early" in note for note in summary.notes) == (timing == "late sound")
        # The first two packets may differ: what an edit list cuts away is no longer decoded ahead of them.
        apart = sound(target)[2048:20000].astype(float) - sound(source)[2048:20000]
        assert np.abs(apart).max() <= 8  # of 4096; and so do the random numbers that fill bands of noise
    else:
        starts = [
            [float(s["start_time"]) for s in video.streams if s["codec_type"] in ("video", "audio")]
            for video in (before, after)
        ]
        assert starts[1][1] - starts[1][0] == pytest.approx(starts[0][1] - starts[0][0], abs=0.025)
    if begin != "ts" and end == begin:
        assert after.times[0] == pytest.approx(before.times[0], abs=0.0011)
        assert packets(target, "a:0") == packets(source, "a:0")


@pytest.mark.parametrize(
    "end", ["avi", pytest.param("mp4", marks=pytest.mark.slow), pytest.param("mkv", marks=pytest.mark.slow)]
)
def test_dropped_frames_of_avi_stay_gaps(tmp_path, end):
    words = ["-vf", "select='not(between(mod(n,5),2,3))'", "-fps_mode", "passthrough", "-c:v", "mpeg4", "-q:v", "3"]
    source = make(tmp_path / "a.avi", *PATTERN, *words)
    copy(source, tmp_path / f"b.{end}")
    before, after = probe(source), probe(tmp_path / f"b.{end}")
    assert max(np.diff(before.times)) > 0.1  # the gaps are there
    assert after.times == pytest.approx(before.times, abs=0.0011)


@pytest.mark.slow
def test_an_edit_list_cuts_the_same_frames_away(tmp_path):
    long = make(
        tmp_path / "long.mp4",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=128x96:r=25:d=1.6",
        *TONE[:2],
        "-i",
        "sine=d=1.6",
        "-g",
        "40",
    )
    source = make(tmp_path / "a.mp4", "-ss", "0.5", "-i", long, "-c", "copy")
    for suffix in ("mp4", "mkv"):
        copy(source, tmp_path / f"b.{suffix}")
        before, after = probe(source), probe(tmp_path / f"b.{suffix}")
        assert len(after.times) == len(before.times) < 40
        assert np.diff(after.times) == pytest.approx(np.diff(before.times), abs=0.0011)
        assert after.times[0] == pytest.approx(before.times[0], abs=0.08)
        assert psnr(pixels(source, "yuv420p"), pixels(tmp_path / f"b.{suffix}", "yuv420p"), 255).min() > 38


@pytest.mark.parametrize(
    "length", [0.4, pytest.param(0.6, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("end", ["mkv", pytest.param("avi", marks=pytest.mark.slow)])
def test_a_clock_that_jumps_back_goes_on(tmp_path, length, end):
    pattern, tone = (f"{name}:d={length}" for name in ("testsrc2=s=128x96:r=25", "sine=r=48000"))
    words = ["-f", "lavfi", "-i", pattern, "-f", "lavfi", "-i", tone, "-c:v", "mpeg2video", "-q:v", "3", "-c:a", "mp2"]
    part = make(tmp_path / "part.ts", *words)
    source, target = tmp_path / "a.ts", tmp_path / f"b.{end}"
    source.write_bytes(part.read_bytes() * 2)
    copy(source, target)
    shown, heard = sorted(packet_times(target, "v:0")), packet_times(target, "a:0")
    frames = round(length * 25)
    assert len(shown) == len(probe(target).times) == 2 * frames
    assert np.diff(shown) == pytest.approx(0.04, abs=0.045)
    assert shown[-1] - shown[0] == pytest.approx((2 * frames - 1) * 0.04, abs=0.1)
    assert len(heard) == 2 * len(packet_times(part, "a:0"))
    assert np.diff(heard) == pytest.approx(0.024, abs=0.07)


def test_sound_whose_clock_stands_still_does_not_stop_the_rest(tmp_path):
    plain = make(tmp_path / "plain.mkv", *PATTERN, *TONE, "-c:v", "mpeg4", "-q:v", "3", "-c:a", "mp2")
    source, target = tmp_path / "a.mkv", tmp_path / "b.mp4"
    with av.open(str(plain)) as reader, av.open(str(source), "w") as writer:
        made = {stream.index: writer.add_stream_from_template(stream, opaque=True) for stream in reader.streams}
        for packet in reader.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                packet.pts = packet.dts = packet.dts // 100 * 100
            packet.stream = made[packet.stream.index]
            writer.mux(packet)
    copy(source, target)
    assert packets(target, "a:0") == packets(source, "a:0")
    assert len(probe(target).times) == 15


@pytest.mark.parametrize(
    ("begin", "end"),
    [pytest.param("ts", "wmv"), *(pytest.param("ts", end, marks=pytest.mark.slow) for end in ("mkv", "flv", "nut"))],
)
def test_sound_with_headers_in_its_frames_is_heard_as_before(tmp_path, begin, end):
    source = make(tmp_path / f"a.{begin}", *PATTERN, *TONE, "-c:v", "libx264", "-c:a", "aac")
    summary = copy(source, tmp_path / f"b.{end}")
    assert summary.notes == ()
    assert (sound(tmp_path / f"b.{end}")[:20000] == sound(source)[:20000]).all()


def test_a_refusal_of_what_is_written_is_not_told_as_a_fault_of_the_input(tmp_path, monkeypatch):
    source, target = make(tmp_path / "a.mkv", *PATTERN, "-c:v", "mpeg4"), tmp_path / "b.avi"
    find = containers.find_container
    monkeypatch.setattr(
        files, "find_container", lambda path: replace(find(path), options={"reserve_index_space": "-5"})
    )
    with pytest.raises(VideoError, match=r"cannot be written as a file of this kind .*\.mkv"):
        copy(source, target)
    assert not target.exists()


ONE = 65536
MATRICES = {
    "as it is": (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30),
    "left-right": (-ONE, 0, 0, 0, ONE, 0, 128 * ONE, 0, 1 << 30),
    "up-down": (ONE, 0, 0, 0, -ONE, 0, 0, 96 * ONE, 1 << 30),
    "180": (-ONE, 0, 0, 0, -ONE, 0, 128 * ONE, 96 * ONE, 1 << 30),
    "90": (0, ONE, 0, -ONE, 0, 0, 96 * ONE, 0, 1 << 30),
    "270": (0, -ONE, 0, ONE, 0, 0, 0, 128 * ONE, 1 << 30),
    "transposed": (0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30),
    "transversed": (0, -ONE, 0, -ONE, 0, 0, 96 * ONE, 128 * ONE, 1 << 30),
}


def with_matrix(source, target, matrix):
    """The same packets under another display matrix."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0], opaque=True)
        stream.set_display_matrix(matrix)
        for packet in reader.demux(reader.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    return target


@pytest.mark.parametrize(
    ("turn", "end"),
    [
        pytest.param(turn, end, marks=[] if (turn, end) == ("left-right", "mp4") else [pytest.mark.slow])
        for turn in MATRICES
        for end in ("mp4", "mov", "avi", "ts")
    ],
)
def test_display_matrices_are_copied_or_the_pixels_turned(tmp_path, turn, end):
    plain = make(tmp_path / "plain.mp4", *PATTERN, "-c:v", "libx264", "-crf", "8")
    source = with_matrix(plain, tmp_path / "a.mp4", MATRICES[turn])
    target = tmp_path / f"b.{end}"
    summary = copy(source, target)
    if end in ("mp4", "mov"):
        assert probe(target).matrix == probe(source).matrix
        assert summary.notes == ()
    elif turn != "as it is":
        assert any("turned for good" in note for note in summary.notes)
    # FFmpeg 5 turns by angles alone and does not mirror every matrix, so the pixels are turned here, by the matrix.
    a, b, _, c, d = (number // ONE for number in MATRICES[turn][:5])
    stored = pixels(source, "gray").reshape(-1, 96, 128)
    rows, columns = np.mgrid[:96, :128]
    to_columns, to_rows = a * columns + c * rows, b * columns + d * rows
    height, width = (128, 96) if b else (96, 128)
    shown = np.zeros((len(stored), height, width), np.uint8)
    shown[:, to_rows - to_rows.min(), to_columns - to_columns.min()] = stored
    if end in ("avi", "ts"):
        assert psnr(shown.reshape(len(shown), -1), pixels(target, "gray"), 255).min() > 28


COLOURS = {
    "bt709": ("bt709", "bt709", "bt709", "tv"),
    "bt601": ("smpte170m", "smpte170m", "smpte170m", "tv"),
    "full": ("bt709", "bt709", "bt709", "pc"),
    "bt2020": ("bt2020", "bt2020-10", "bt2020nc", "tv"),
    "pq": ("bt2020", "smpte2084", "bt2020nc", "tv"),
    "hlg": ("bt2020", "arib-std-b67", "bt2020nc", "tv"),
}


@pytest.mark.parametrize(
    ("colour", "suffix"),
    [
        pytest.param(colour, suffix, marks=[] if (colour, suffix) == ("hlg", "mp4") else [pytest.mark.slow])
        for colour in COLOURS
        for suffix in ("mp4", "mkv", "ts")
    ],
)
def test_colour_tags_are_kept_and_those_unlike_srgb_are_noted(tmp_path, colour, suffix):
    primaries, transfer, matrix, span = COLOURS[colour]
    tags = ["-color_primaries", primaries, "-color_trc", transfer, "-colorspace", matrix, "-color_range", span]
    source = make(tmp_path / f"a.{suffix}", *PATTERN, "-c:v", "libx264", "-pix_fmt", "yuv420p10le", *tags)
    summary = copy(source, tmp_path / f"b.{suffix}")
    before, after = probe(source), probe(tmp_path / f"b.{suffix}")
    same = ("color_primaries", "color_transfer", "color_space", "color_range", "pix_fmt")
    assert {key: after.stream.get(key) for key in same} == {key: before.stream.get(key) for key in same}
    assert any("HDR" in note for note in summary.notes) == (colour in ("pq", "hlg"))
    assert any("BT.2020" in note for note in summary.notes) == (colour in ("bt2020", "pq", "hlg"))


@pytest.mark.slow
def test_mastering_data_is_kept(tmp_path):
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    params = f"log-level=none:master-display={master}:max-cll=1000,400"
    tags = ["-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"]
    words = ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", *tags, "-x265-params", params]
    source = make(tmp_path / "a.mp4", *PATTERN, *words)
    copy(source, tmp_path / "b.mp4")
    before, after = probe(source), probe(tmp_path / "b.mp4")
    for kind in ("Mastering display metadata", "Content light level metadata"):
        assert after.frame_data[kind] == before.frame_data[kind]
    assert after.stream["codec_tag_string"] == "hvc1"


FIELDS = {
    "mpeg2video": ("ts", ["-q:v", "2", "-flags", "+ildct+ilme"]),
    "libx264": ("mp4", ["-flags", "+ildct+ilme", "-crf", "10"]),
    "prores_ks": ("mov", ["-flags", "+ildct+ilme"]),
    "ffv1": ("mkv", []),
}


@pytest.mark.parametrize(
    ("codec", "top"),
    [
        pytest.param(codec, top, marks=[] if (codec, top) == ("libx264", 0) else [pytest.mark.slow])
        for codec in FIELDS
        for top in (0, 1)
    ],
)
def test_fields_are_enhanced_apart_and_stay_marked(tmp_path, codec, top):
    suffix, words = FIELDS[codec]
    field_filter = f"setfield={'tff' if top else 'bff'}"
    bottom = ["-x264-params", "bff=1"] if codec == "libx264" and not top else []
    source = make(tmp_path / f"a.{suffix}", *PATTERN, "-vf", field_filter, "-c:v", codec, *words, *bottom)
    shapes = set()

    def brighten(seen, _time):
        shapes.add(seen.shape[:2])
        return (seen // 2 + np.iinfo(seen.dtype).max // 4).astype(seen.dtype)

    summary = enhance_video(source, tmp_path / f"b.{suffix}", brighten, lambda _share: None)
    before, after = probe(source), probe(tmp_path / f"b.{suffix}")
    assert shapes == {(48, 128)}
    assert any("its fields were enhanced apart" in note for note in summary.notes)
    assert before.marks == after.marks == {(True, bool(top))}
    assert after.stream.get("field_order") == before.stream.get("field_order")
    expected = pixels(source).astype(float) / 2 + 64
    assert psnr(expected, pixels(tmp_path / f"b.{suffix}"), 255).min() > 28
    progressive = enhance_video(source, tmp_path / "c.webm", brighten, lambda _share: None)
    assert any("deinterlaced" in note for note in progressive.notes)
    assert len(probe(tmp_path / "c.webm").times) == len(before.times)
    assert probe(tmp_path / "c.webm").marks == {(False, False)}
