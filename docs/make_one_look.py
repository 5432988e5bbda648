"""Make docs/one_look.webp: a panorama without and with one look.

`python docs/make_one_look.py`, after an install; nothing else is needed. It prints how much the parts of the panorama
differ where they overlap.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from undim import Enhancer
from undim.enhance.survey import average

Bytes = npt.NDArray[np.uint8]
HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
WIDTH = 420
"""Of each picture on the sheet, in pixels."""
GAP = 6
LABEL = 16


def main() -> None:
    """Write the picture."""
    enhancer = Enhancer()
    coffee = darken(EXAMPLES / "coffee.png", 1.0, 0.25)
    third = coffee.shape[1] // 3
    parts = [coffee[:, : 2 * third], coffee[:, third:]]
    alone = [enhancer(part) for part in parts]
    look = average([enhancer.survey(part) for part in parts])
    together = [enhancer(part, look=look) for part in parts]
    for name, made in (("each for itself", alone), ("one look", together)):
        print(f"overlap of two parts, {name}: {difference(made[0][:, third:], made[1][:, :third]):.1f} levels rms")
    rows = [
        [("two parts of a panorama", side_by_side(parts)), ("each for itself", side_by_side(alone)),
         ("one look (--series)", side_by_side(together))],
    ]  # fmt: skip
    draw(rows).save(HERE / "one_look.webp", quality=88)


def darken(path: Path, left: float, right: float) -> Bytes:
    """The picture with a light that falls off from one side to the other."""
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
    return np.rint(pixels * np.linspace(left, right, pixels.shape[1])[:, None]).astype(np.uint8)


def difference(one: Bytes, other: Bytes) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.mean((one.astype(np.float32) - other) ** 2)))


def side_by_side(parts: list[Bytes]) -> Bytes:
    """Two pictures of one height with a white bar between."""
    bar = np.full((parts[0].shape[0], 12, 3), 255, np.uint8)
    return np.concatenate((parts[0], bar, *parts[1:]), 1)


def draw(rows: list[list[tuple[str, Bytes]]]) -> Image.Image:
    """Rows of labelled pictures."""
    heights = [max(round(pixels.shape[0] * WIDTH / pixels.shape[1]) for _, pixels in row) for row in rows]
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (columns * (WIDTH + GAP) - GAP, sum(heights) + len(rows) * (LABEL + GAP)), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for row, height in zip(rows, heights, strict=True):
        for column, (label, pixels) in enumerate(row):
            left = column * (WIDTH + GAP)
            pen.text((left + 2, top + 2), label, fill="black")
            small = Image.fromarray(pixels).resize((WIDTH, height), Image.Resampling.LANCZOS)
            sheet.paste(small, (left, top + LABEL))
        top += height + LABEL + GAP
    return sheet


if __name__ == "__main__":
    main()
