"""Make docs/report_page.webp: the report page of the redundancy laboratory on pictures that may be shipped.

    python docs/make_report_page.py [--model tiny] [--browser chromium] [--page report.html]

The pictures are the cat and the cup of examples/, darkened as there to several exposures; the originals in scikit-image
are their references. The page is photographed by Chromium, which must be installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from skimage import data

from undim.cli.main import main as undim

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples"))
from make import darken  # noqa: E402 - beside the pictures that it makes

EXPOSURES = (0.02, 0.04, 0.08)
"""Share of the light."""
WIDTHS = (1060, 400)
"""Of the browser's windows, in pixels: a desk's and a phone's."""
HEIGHT = 7000
"""Of the windows; what is empty below the page is cut off."""
SHOWN = 3350
"""Pixels of the page that are shown, from its top."""

SCALE = 0.8
"""Of the picture that is kept."""


def make_pictures(folder: Path) -> None:
    """Write low/ and high/."""
    for side in ("low", "high"):
        (folder / side).mkdir()
    for seed, (name, picture) in enumerate({"cat": data.chelsea(), "cup": data.coffee()}.items()):
        for exposure in EXPOSURES:
            file = f"{name}_{round(100 * exposure)}.png"
            Image.fromarray(darken(picture, exposure, seed=seed)).save(folder / "low" / file)
            Image.fromarray(picture).save(folder / "high" / file)


def photograph(page: Path, browser: str, width: int, folder: Path) -> Image.Image:
    """What a browser's window of this width shows of the page."""
    target = folder / f"{width}.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    window = [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{HEIGHT}", f"--screenshot={target}"]
    subprocess.run([browser, *options, *window, page.resolve().as_uri()], check=True, capture_output=True)  # noqa: S603 - the user's
    with Image.open(target) as opened:
        return opened.convert("RGB")


def main() -> None:
    """Measure, make the page and photograph it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--page", type=Path, help="A page that is there, instead of measuring.")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        page = options.page
        if page is None:
            make_pictures(folder)
            places = ["--data", "folder", "--low", str(folder / "low"), "--high", str(folder / "high")]
            status = undim(["redundancy", "report", options.model, *places, "-o", str(folder / "out")])
            if status:
                raise SystemExit(status)
            page = folder / "out" / "report.html"
        shots = [photograph(page, options.browser, width, folder) for width in WIDTHS]
    sheet = Image.new("RGB", (sum(WIDTHS) + 20, SHOWN), (120, 126, 132))
    left = 0
    for shot in shots:
        sheet.paste(shot.crop((0, 0, shot.width, SHOWN)), (left, 0))
        left += shot.width + 20
    smaller = sheet.resize((round(SCALE * sheet.width), round(SCALE * sheet.height)), Image.Resampling.LANCZOS)
    smaller.save(HERE / "report_page.webp", quality=62, method=6)


if __name__ == "__main__":
    main()
