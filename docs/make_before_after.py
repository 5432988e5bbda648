"""Make docs/before_after.webp: the example pictures, each beside what the default model makes of it.

`python docs/make_before_after.py`, after an install; nothing else is needed.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from undim import Enhancer

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
HEIGHT = 300
"""Of each row, in pixels."""
GAP = 6


def main() -> None:
    """Write the picture."""
    enhancer = Enhancer()
    rows = []
    for path in sorted(EXAMPLES.iterdir()):
        if path.suffix not in {".jpg", ".png"}:
            continue
        with Image.open(path) as opened:
            dark = opened.convert("RGB")
        size = (round(dark.width * HEIGHT / dark.height), HEIGHT)
        rows.append([image.resize(size, Image.Resampling.LANCZOS) for image in (dark, enhancer(dark))])
    width = max(2 * row[0].width for row in rows) + GAP
    sheet = Image.new("RGB", (width, len(rows) * (HEIGHT + GAP) - GAP), "white")
    for index, (before, after) in enumerate(rows):
        left = (width - 2 * before.width - GAP) // 2
        sheet.paste(before, (left, index * (HEIGHT + GAP)))
        sheet.paste(after, (left + before.width + GAP, index * (HEIGHT + GAP)))
    sheet.save(HERE / "before_after.webp", quality=88)


if __name__ == "__main__":
    main()
