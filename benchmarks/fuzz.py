"""Feed damaged pictures through the engine, in one process: none may crash it, hang it or end in anything but one line.

    python benchmarks/fuzz.py [--count 500] [--formats jpg png ...] [--seed 0] [--model tiny] [--keep FOLDER]

For each format, pictures of several kinds (grey, alpha, 16 bits, metadata of every kind) are written and mutated: bytes
flipped, set to extremes or exchanged, parts cut out, doubled or zeroed, the end cut off, numbers in the header changed.
Half of the PNGs get sound checksums again, so that the damage is not found at once. TIFF's seeds are a grid of layouts,
sample types and compressions that tifffile writes. Each file must come out as a picture or as a one-line reason within
the time-out, and be written again in its own format. What does not is kept with --keep, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageCms

from undim import Enhancer
from undim.cli.lines import without_codec_noise
from undim.errors import PictureError
from undim.images import FORMATS, encode_picture, ifd, read_picture
from undim.images.picture import Metadata, Picture

TIMEOUT = 20
"""Seconds after which a picture counts as hanging: the process ends with the traces of all threads."""
MAX_PIXELS = 1_000_000


def seeds(form: str) -> list[bytes]:
    """Sound files of one format."""
    numbers = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(40), 2 * np.arange(56))[..., None] + np.array([0, 20, 40])
    colour = (ramp + numbers.normal(0, 5, ramp.shape)).clip(0, 255).astype(np.uint8)
    deep = colour.astype(np.uint16) * np.uint16(257)
    alpha = colour[..., 0]
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    everything = Metadata(
        exif=exif,
        icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        dpi=(300, 300),
        xmp_extension=(b"http://ns.adobe.com/xmp/extension/\0" + bytes(60),),
        photoshop=b"8BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\5night",
        text=((b"tEXt", b"Author\0me"), (b"zTXt", b"Comment\0\0" + zlib.compress(b"dark"))),
        comments=(b"a comment",),
        segments=((0xE4, b"other"),),
        geography=ifd.Directory("<", {33550: ifd.Entry(12, 3, bytes(24))}),
        tags=ifd.Directory("<", {269: ifd.Entry(2, 5, b"name\0")}),
    )
    pictures = [
        Picture(colour, None, everything),
        Picture(colour[..., 1]),
        Picture(colour, alpha),
        Picture(deep),
    ]
    files = []
    for picture in pictures:
        stream = io.BytesIO()
        encode_picture(picture, stream, form, None)
        files.append(stream.getvalue())
    return files + (tiff_grid(colour) if form == "tif" else jpeg_kinds(colour) if form == "jpg" else [])


def tiff_grid(colour: npt.NDArray[np.uint8]) -> list[bytes]:
    """Strips and tiles, chunky and planar, of four types and each compression that tifffile writes of them."""
    files = []
    types: tuple[npt.NDArray[np.generic], ...] = (
        colour,
        colour.astype(np.uint16) * np.uint16(257),
        (colour / 255).astype(np.float32),
        colour / 255,
    )
    compressions = ("none", "lzw", "zlib", "packbits", "zstd", "lzma", "jpeg", "jpeg2000", "webp", "lerc")
    blocks: tuple[dict[str, object], ...] = ({"rowsperstrip": 16}, {"tile": (32, 32)})
    for samples, name, block, planar in product(types, compressions, blocks, (False, True)):
        stream, stored = io.BytesIO(), samples.transpose(2, 0, 1).copy() if planar else samples
        options = {**block, "planarconfig": "separate" if planar else "contig"}
        with contextlib.suppress(Exception):  # what tifffile does not write of a type
            tifffile.imwrite(stream, stored, photometric="rgb", compression=name, **options)
            files.append(stream.getvalue())
    return files


def jpeg_kinds(colour: npt.NDArray[np.uint8]) -> list[bytes]:
    """Progressive, with restarts, and of four inks."""
    files = []
    image = Image.fromarray(colour)
    for kind, options in (
        (image, {"progressive": True}),
        (image, {"restart_marker_rows": 1}),
        (image.convert("CMYK"), {}),
    ):
        stream = io.BytesIO()
        kind.save(stream, "JPEG", **options)
        files.append(stream.getvalue())
    return files


def mutate(content: bytes, numbers: np.random.Generator) -> bytes:
    """Damage a file in one to four ways."""
    data = bytearray(content)
    for _ in range(numbers.integers(1, 5)):
        if len(data) < 8:
            break
        start = int(numbers.integers(len(data)))
        # Headers are short: half of the damage is done to the first 200 bytes.
        if numbers.random() < 0.5:
            start = int(numbers.integers(min(200, len(data))))
        length = int(min(len(data) - start, numbers.integers(1, 32)))
        way = numbers.integers(8)
        if way == 0:
            data[start] ^= 1 << int(numbers.integers(8))
        elif way == 1:
            data[start] = int(numbers.choice([0, 1, 127, 128, 255]))
        elif way == 2:
            data[start : start + length] = bytes(numbers.integers(0, 256, length, dtype=np.uint8))
        elif way == 3:
            del data[start : start + length]
        elif way == 4:
            data[start:start] = data[start : start + length]
        elif way == 5:
            data[start : start + length] = bytes(length)
        elif way == 6:
            del data[int(numbers.integers(8, len(data))) :]
        else:
            number = int(numbers.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            order = "little" if numbers.random() < 0.5 else "big"
            data[start : start + 4] = number.to_bytes(4, order)  # type: ignore[arg-type]
    return bytes(data)


def mend_checksums(content: bytes) -> bytes:
    """Those of a PNG's chunks, as far as their lengths can be followed."""
    data, start = bytearray(content), 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[start + 4 : end]).to_bytes(4, "big")
        start = end + 4
    return bytes(data)


def mutants(form: str, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged files of one format, the same for the same seed."""
    files = seeds(form)
    numbers = np.random.default_rng([seed, *form.encode()])
    for index in range(count):
        mutant = mutate(files[index % len(files)], numbers)
        yield mend_checksums(mutant) if form == "png" and index // len(files) % 2 else mutant


def feed(content: bytes, enhancer: Enhancer) -> str:
    """What becomes of one file: "picture", "refused", or the fault."""
    try:
        picture = read_picture(content, max_pixels=MAX_PIXELS)
        pixels: npt.NDArray[np.generic] = enhancer(picture.pixels)
        encode_picture(picture, io.BytesIO())
    except PictureError as error:
        return "refused" if str(error) and "\n" not in str(error) else f"reason of several lines: {error!r}"
    except BaseException:
        return traceback.format_exc()
    return "picture" if pixels.size else "empty"


def fuzz(form: str, count: int, seed: int, enhancer: Enhancer, keep: Path | None) -> Counter[str]:
    """Counts of what became of the files of one format; faults are printed."""
    counts: Counter[str] = Counter()
    for index, content in enumerate(mutants(form, count, seed)):
        faulthandler.dump_traceback_later(TIMEOUT, exit=True)
        with without_codec_noise():
            found = feed(content, enhancer)
        faulthandler.cancel_dump_traceback_later()
        fault = found not in ("picture", "refused")
        counts["fault" if fault else found] += 1
        if fault:
            print(f"{form} {index}: {found}", file=sys.stderr)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{form}_{seed}_{index}.{form}").write_bytes(content)
    return counts


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="files of each format")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    enhancer = Enhancer(options.model)
    faults = 0
    print("| format | files | pictures | refused in one line | faults | seconds |")
    print("|---|---|---|---|---|---|")
    for form in options.formats:
        begin = time.perf_counter()
        counts = fuzz(form, options.count, options.seed, enhancer, options.keep)
        faults += counts["fault"]
        told = " | ".join(str(counts[word]) for word in ("picture", "refused", "fault"))
        print(f"| {form} | {options.count} | {told} | {time.perf_counter() - begin:.0f} |", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
