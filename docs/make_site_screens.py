"""Make site_start.webp and site_reference.webp: two pages of the built site.

    make docs && python docs/make_site_screens.py [-o FOLDER]

Needs Chromium (Debian: apt-get install chromium) and what the extra dev installs.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
SITE = HERE.parent / "site"
VIEWS = {"site_start.webp": "index.html", "site_reference.webp": "reference/redundancy.html"}


def main() -> None:
    """Write what a window of 1280 x 800 shows of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=HERE, help="folder of the two files")
    folder = parser.parse_args().output
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        for name, path in VIEWS.items():
            page.goto((SITE / path).as_uri())
            page.wait_for_load_state("networkidle")
            Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(folder / name, quality=80, method=6)
            print(folder / name)
        browser.close()


if __name__ == "__main__":
    main()
