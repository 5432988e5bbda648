"""Make docs/video.webp: stills of a dark video, enhanced frame by frame and by `undim video`; print how it flickers.

`pip install "undim[video]"`, then `python docs/make_video_strip.py [FOLDER]`; a folder keeps the videos.

The video is made: a camera that pans over examples/coffee.png by hand, with sensor noise and a lamp that passes by. To
measure flicker, the same camera stands still.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from undim import Enhancer
from undim.cli.main import main as undim

Bytes = npt.NDArray[np.uint8]
HERE = Path(__file__).parent
SIZE = (288, 192)
FRAMES, RATE = 48, 24
STILLS = 6
MODEL = "tiny"


def film(*, still: bool) -> Iterator[Bytes]:
    """Frames of the dark video."""
    with Image.open(HERE.parent / "examples" / "coffee.png") as opened:
        scene = np.asarray(opened.convert("RGB"), np.float32)
    numbers = np.random.default_rng(0)
    for index in range(FRAMES):
        left = 60 if still else round(5 * index + 3 * np.sin(index / 3))
        part = scene[100 : 100 + SIZE[1], left : left + SIZE[0]]
        lamp = 0.0 if still else 60 * np.exp(-(((np.arange(SIZE[0]) - 8 * index + 40) / 40) ** 2))
        light = part * 0.8 + part / 80 * np.asarray(lamp, np.float32)[..., None] if not still else part * 0.8
        yield np.rint((light + numbers.normal(0, 2.5, part.shape)).clip(0, 255)).astype(np.uint8)


def write(path: Path, frames: Iterator[Bytes]) -> None:
    """Without loss."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        for pixels in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))


def read(path: Path) -> list[Bytes]:
    """All frames."""
    with av.open(str(path)) as source:
        return [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]


def flicker(frames: list[Bytes], before: list[Bytes]) -> str:
    """Standard deviation over time of the mean, beside the input's times the gain: of each place, and the mean gain.

    The two differ where the network raises what is dark by more than what is light: noise that a camera has alike
    everywhere is raised most where it is dark, and less of it averages out.
    """
    means, dark = (np.array([pixels.mean() for pixels in series]) for series in (frames, before))
    gains = np.mean(frames, 0) / np.maximum(np.mean(before, 0), 1)
    raised = np.std([(pixels * gains).mean() for pixels in before])
    mean_gain = dark.std() * means.mean() / dark.mean()
    return f"{means.std():.3f} levels (the input times the gain of each place: {raised:.3f}, the mean: {mean_gain:.3f})"


def main() -> None:
    """Write the strip."""
    enhancer = Enhancer(MODEL)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        folder.mkdir(exist_ok=True)
        shown: list[list[Bytes]] = []
        for name, still in (("still", True), ("pan", False)):
            source, target = folder / f"{name}.mkv", folder / f"{name}_clear.mkv"
            write(source, film(still=still))
            if status := undim(["video", str(source), "-o", str(target), "--model", MODEL, "--overwrite"]):
                sys.exit(status)
            before, after = read(source), read(target)
            alone = [enhancer(pixels) for pixels in before]
            for way, frames in (("frame by frame", alone), ("undim video", after)):
                print(f"{name}, {way}: mean brightness varies by {flicker(frames, before)}")
            shown = [before, alone, after]
    step = FRAMES // STILLS
    rows = [np.concatenate(frames[step // 2 :: step], 1) for frames in shown]
    sheet = Image.fromarray(np.concatenate(rows, 0))
    sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.LANCZOS).save(
        HERE / "video.webp", quality=85
    )


if __name__ == "__main__":
    main()
