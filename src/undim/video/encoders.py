"""Encoders, and which of them, in which pixel format, serves a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, cast

import av
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat

from undim.errors import VideoError

FINE = 2
"""Quantiser of codecs that have a fixed one, 1 to 31: the finest that their encoders take unasked."""


@dataclass(frozen=True)
class Encoder:
    """One encoder and its settings: nothing is seen to be lost."""

    name: str
    """FFmpeg's."""
    options: dict[str, str] = field(default_factory=dict)
    quantiser: int | None = None
    """A fixed one: without it the encoder would keep a rate of its own, whatever the size."""
    lossless: bool = False
    even: bool = False
    """Whether it needs even sides where colours have fewer pixels than brightness."""
    in_order: dict[str, str] = field(default_factory=dict)
    """Options without which it stores frames in another order than they are shown in."""
    fields: Literal["no", "coded", "told"] = "no"
    """Whether it keeps interlaced frames: its stream says so, or the container's header has to."""
    bottom_first: tuple[str, str] | None = None
    """The option that says that lower fields come first, where the frames do not suffice."""
    rates: tuple[Fraction, ...] = ()
    """Frames a second that it knows, if not any."""
    counts: bool = False
    """Whether it takes no fine clock: it counts frames, and their time stamps are put on its packets."""
    mastering: str | None = None
    """The option that takes, among others, what an HDR video was mastered on; see `undim.video.hdr`."""
    full_range: bool = False
    """Whether its YUV is to have the range from 0 to 255."""
    alpha: bool = True
    """Whether those of its pixel formats that have alpha are to be used."""
    players: bool = False
    """Whether phones, browsers and players show it, in 4:2:0."""
    by_format: dict[str, dict[str, str]] = field(default_factory=dict)
    """Pixel format -> more options."""


_MPEG_RATES = (*(Fraction(n * 1000, 1001) for n in (24, 30, 60)), *map(Fraction, (24, 25, 30, 50, 60)))
_DNXHR = {
    "yuv422p": {"profile": "dnxhr_hq"},
    "yuv422p10le": {"profile": "dnxhr_hqx"},
    "yuv444p10le": {"profile": "dnxhr_444"},
    "gbrp10le": {"profile": "dnxhr_444"},
}
_PRORES = {
    "yuv422p10le": {"profile": "hq"},
    "yuv444p10le": {"profile": "4444"},
    "yuva444p10le": {"profile": "4444", "alpha_bits": "16"},
}


def _lossless(name: str, fields: Literal["no", "told"] = "told") -> Encoder:
    return Encoder(name, lossless=True, fields=fields)


def _by_quantiser(name: str) -> Encoder:
    return Encoder(name, quantiser=FINE, counts=True)


ENCODERS: dict[str, Encoder] = {
    "h264": Encoder(
        "libx264",
        {"crf": "18", "preset": "medium"},
        even=True,
        in_order={"bf": "0"},
        fields="coded",
        bottom_first=("x264-params", "bff=1"),
        mastering="x264-params",
        players=True,
    ),
    "hevc": Encoder(
        "libx265",
        {"crf": "20", "preset": "medium", "x265-params": "log-level=none"},
        even=True,
        in_order={"x265-params": "bframes=0"},
        alpha=False,
        mastering="x265-params",
        players=True,
    ),
    "vp9": Encoder("libvpx-vp9", {"crf": "24", "b:v": "0", "row-mt": "1"}, players=True),
    "vp8": Encoder("libvpx", {"crf": "8", "b:v": "8M"}, players=True),
    "av1": Encoder("libsvtav1", {"crf": "25", "preset": "8"}, even=True, mastering="svtav1-params", players=True),
    "mpeg4": Encoder("mpeg4", quantiser=FINE, counts=True, fields="coded"),
    "mpeg2video": Encoder("mpeg2video", quantiser=FINE, counts=True, rates=_MPEG_RATES, fields="coded"),
    "mpeg1video": Encoder("mpeg1video", quantiser=FINE, counts=True, rates=_MPEG_RATES),
    "mjpeg": Encoder("mjpeg", quantiser=FINE, full_range=True),
    "msmpeg4v3": _by_quantiser("msmpeg4"),
    "msmpeg4v2": _by_quantiser("msmpeg4v2"),
    "wmv1": _by_quantiser("wmv1"),
    "wmv2": _by_quantiser("wmv2"),
    "flv1": _by_quantiser("flv"),
    "h263": _by_quantiser("h263"),
    "prores": Encoder("prores_ks", fields="coded", by_format=_PRORES),
    "dnxhd": Encoder("dnxhd", by_format=_DNXHR),
    "cfhd": Encoder("cfhd", {"quality": "film3+"}),
    "ffv1": _lossless("ffv1"),
    "utvideo": _lossless("utvideo"),
    "huffyuv": _lossless("huffyuv"),
    "ffvhuff": _lossless("ffvhuff"),
    "magicyuv": _lossless("magicyuv"),
    "rawvideo": _lossless("rawvideo"),
    "v210": _lossless("v210"),
    "r210": _lossless("r210"),
    "qtrle": _lossless("qtrle", "no"),
    "png": _lossless("png", "no"),
    "apng": _lossless("apng", "no"),
    "gif": Encoder("gif"),
    "webp": Encoder("libwebp_anim", {"quality": "95"}),
}
"""Codec of the input -> what encodes it."""
FALLBACKS = ("h264", "vp9", "mpeg4", "mpeg2video", "mjpeg", "gif", "apng", "webp", "wmv2")
"""For other codecs, and where the container does not take the input's: the first that it takes."""
LOSSLESS_FALLBACKS = ("ffv1", "png")
"""For codecs without loss, and for alpha, in containers that are for keeping rather than for players."""
ANIMATIONS = ("gif", "apng", "webp")
"""Codecs that belong into files of their own: elsewhere hardly any player shows them."""
DEEP_FALLBACKS = ("hevc", *FALLBACKS)
"""The same for more than 8 bits: phones and players show HEVC in 10 bits, and H.264 in 8 alone."""
FULL_RANGE = 2
"""FFmpeg's number of the range 0 to 255."""
_FULL_NAMES = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p", "yuvj440p": "yuv440p"}
"""FFmpeg's old names of formats of full range -> the formats, whose range is told apart."""
_NAMES = {
    "h264": "H.264",
    "mpeg1video": "MPEG-1",
    "mpeg2video": "MPEG-2",
    "mpeg4": "MPEG-4 Part 2",
    "utvideo": "UT Video",
    "huffyuv": "HuffYUV",
    "prores": "ProRes",
    "dnxhd": "DNxHD",
    "theora": "Theora",
    "qtrle": "QuickTime Animation",
    "rawvideo": "uncompressed",
    "dvvideo": "DV",
    "webp": "WebP",
}


def codec_name(codec: str) -> str:
    """A codec's name for people."""
    return _NAMES.get(codec, codec.upper())


@dataclass(frozen=True)
class Form:
    """What is to be encoded."""

    codec: str
    """Of the input."""
    format: VideoFormat
    """Pixel format of the input."""
    alpha: bool
    """Whether its format has alpha."""
    transparent: bool
    """Whether its first frame is transparent somewhere."""
    width: int
    height: int
    rate: Fraction


@dataclass(frozen=True)
class Choice:
    """What encodes a video."""

    codec: str
    """FFmpeg's name of it."""
    encoder: Encoder
    pixel_format: str
    size: tuple[int, int]
    """Width and height: the input's, or one more where the encoder needs even sides."""


def choose_encoder(
    form: Form, taken: AbstractSet[str], opens: Callable[[Choice], bool], *, keeps: bool = False
) -> Choice:
    """The first of the input's codec and the fallbacks that a container takes and that can be opened.

    Args:
        form: of the input.
        taken: names of codecs and encoders that the container takes.
        opens: tells whether an encoder can be opened so; not every one has every size.
        keeps: whether what has no loss is to have none afterwards, though players may not show it.

    Raises:
        VideoError: if there is none.
    """
    for codec in _candidates(form, taken, keeps=keeps):
        encoder = ENCODERS.get(codec)
        if encoder is None or encoder.name not in av.codecs_available or not taken & {encoder.name, codec}:
            continue
        same = codec == form.codec
        alpha = encoder.alpha and (form.alpha if same else form.transparent)
        for pixel_format in _pixel_formats(form, encoder, same=same, alpha=alpha):
            width, height = _even(form, pixel_format) if encoder.even else (form.width, form.height)
            choice = Choice(codec, encoder, pixel_format, (width, height))
            if opens(choice):
                return choice
    raise VideoError(
        f"of {form.width} x {form.height} pixels can be encoded by none of the codecs that files of this kind take;"
        " give the output another suffix, such as .mkv"
    )


def _candidates(form: Form, taken: AbstractSet[str], *, keeps: bool) -> Iterator[str]:
    """Codecs to try, the best first."""
    own = ENCODERS.get(form.codec)
    lossless, animation = own is not None and own.lossless, form.codec in ANIMATIONS
    plays = any(encoder.players and encoder.name in taken for encoder in ENCODERS.values())
    if not (plays and (animation or (lossless and not keeps))):
        yield form.codec
    if keeps and (lossless or form.transparent):
        yield from LOSSLESS_FALLBACKS
    yield from DEEP_FALLBACKS if is_deep(form.format) else FALLBACKS


def prepare(
    context: VideoCodecContext,
    choice: Choice,
    rate: Fraction,
    time_base: Fraction,
    more: Sequence[tuple[str, str]] = (),
) -> None:
    """Set a new encoder's size, format, rate, clock and quality.

    Args:
        context: not opened yet.
        choice: what it is to encode.
        rate: frames a second, about.
        time_base: of the frames' time stamps, in seconds.
        more: options beside the encoder's own.
    """
    encoder = choice.encoder
    context.width, context.height = choice.size
    context.pix_fmt = choice.pixel_format
    if encoder.rates:
        rate = min(encoder.rates, key=lambda known: abs(known - rate))
    context.framerate = rate
    if encoder.full_range:
        context.color_range = FULL_RANGE
    context.time_base = 1 / rate if encoder.counts else time_base
    for name, value in (*encoder.options.items(), *encoder.by_format.get(choice.pixel_format, {}).items(), *more):
        listed = name.endswith("-params") and name in context.options
        context.options[name] = f"{context.options[name]}:{value}" if listed else value
    if encoder.quantiser is not None:
        context.qscale = True
        context.global_quality = encoder.quantiser


def can_open(choice: Choice, rate: Fraction, time_base: Fraction) -> bool:
    """Whether an encoder takes such frames; tried on one that is thrown away."""
    context = cast("VideoCodecContext", CodecContext.create(choice.encoder.name, "w"))
    try:
        prepare(context, choice, rate, time_base)
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def is_deep(form: VideoFormat) -> bool:
    """Whether a pixel format has more than 8 bits."""
    return any(component.bits > 8 for component in form.components)


def has_alpha(form: VideoFormat) -> bool:
    """Whether a pixel format has, or may have (a palette), transparent places."""
    return bool(form.has_palette) or any(component.is_alpha for component in form.components)


def is_full_by_name(name: str) -> bool:
    """Whether a pixel format's name alone says that its range is full."""
    return name in _FULL_NAMES


def _even(form: Form, pixel_format: str) -> tuple[int, int]:
    planes = VideoFormat(pixel_format, form.width, form.height)
    if not planes.is_rgb and planes.chroma_width(16) < 16:
        wide, tall = 2, 2 if planes.chroma_height(16) < 16 else 1
        return -(-form.width // wide) * wide, -(-form.height // tall) * tall
    return form.width, form.height


def _pixel_formats(form: Form, encoder: Encoder, *, same: bool, alpha: bool) -> Iterator[str]:
    """Pixel formats to try: the input's own where the codec stays, else the one that loses least.

    Players show 4:2:0 alone, so a codec that is new to the video gets this.
    """
    own = _FULL_NAMES.get(form.format.name, form.format.name)
    known = [each.name for each in av.Codec(encoder.name, "w").video_formats or ()]
    offered = [name for name in known if name not in _FULL_NAMES] or [own]
    if encoder.name == "gif":
        yield "pal8"
        return
    kept = [name for name in offered if has_alpha(VideoFormat(name)) == alpha and name != "pal8"]
    if own in kept and (same or not encoder.players):
        yield own
    nearest = sorted(kept, key=lambda name: _distance(form.format, name))
    if encoder.players and not same:
        nearest.sort(key=lambda name: not _plays(VideoFormat(name)))
    yield from (name for name in nearest[:3] if name != own or not same)
    if alpha:
        yield from _pixel_formats(form, encoder, same=same, alpha=False)


def _plays(form: VideoFormat) -> bool:
    """Whether players know a format: 4:2:0 in at most 10 bits."""
    return not _is_rgb(form) and _grid(form) == (8, 8) and form.components[0].bits <= 10


def _distance(form: VideoFormat, name: str) -> tuple[int, ...]:
    """How much of a format another one loses, and then how much it adds: less is better."""
    other = VideoFormat(name)
    grid, others = _grid(form), _grid(other)
    bits, others_bits = (max(component.bits for component in each.components) for each in (form, other))
    return (
        sum(max(0, mine - its) for mine, its in zip(grid, others, strict=True)),
        max(0, min(bits, 10) - others_bits),
        max(0, bits - others_bits),
        _is_rgb(form) != _is_rgb(other),
        sum(abs(mine - its) for mine, its in zip(grid, others, strict=True)),
        abs(bits - others_bits),
    )


def _grid(form: VideoFormat) -> tuple[int, int]:
    """Colours' pixels per 16 of brightness, across and down; none in grey."""
    if len([component for component in form.components if not component.is_alpha]) < 3 and not form.has_palette:
        return 0, 0
    return (16, 16) if _is_rgb(form) else (form.chroma_width(16), form.chroma_height(16))


def _is_rgb(form: VideoFormat) -> bool:
    return bool(form.is_rgb or form.has_palette)
