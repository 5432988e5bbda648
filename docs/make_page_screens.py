"""Make page_desktop.webp and page_phone.webp: the page of undim serve with the example pictures.

Needs Chromium (Debian: apt-get install chromium) and what the extra dev installs. The phone's picture is in dark
colours.
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
EXAMPLES = [HERE.parent / "examples" / name for name in ("rocket.jpg", "cat.png", "coffee.png")]
VIEWS = {
    "page_desktop.webp": {"viewport": {"width": 1280, "height": 800}},
    "page_phone.webp": {
        "viewport": {"width": 360, "height": 740},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
        "color_scheme": "dark",
    },
}


def main() -> None:
    """Start a service, let the page work on the examples, and write what is seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=HERE, help="folder of the two files")
    folder = parser.parse_args().output
    command = [sys.executable, "-m", "undim", "serve", "--port", "0"]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service,  # noqa: S603 - our own command
        sync_playwright() as playwright,
    ):
        try:
            address = next(
                found[1] for line in service.stderr if (found := re.search(r"(http://\S+) is the page", line))
            )
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
            )
            for name, view in VIEWS.items():
                photograph(browser, address, view).save(folder / name, quality=85, method=6)
                print(folder / name)
            browser.close()
        finally:
            service.terminate()


def photograph(browser: Browser, address: str, view: dict) -> Image.Image:
    """The page when all examples are done."""
    page = browser.new_context(**view).new_page()
    page.goto(address)
    page.set_input_files("#files", EXAMPLES)
    page.locator('[data-state="ready"]').nth(len(EXAMPLES) - 1).wait_for(timeout=120_000)
    page.locator("#stage.compares").wait_for()
    page.wait_for_timeout(2000)  # until the last pictures are drawn
    image = Image.open(io.BytesIO(page.screenshot()))
    page.context.close()
    return image.convert("RGB")


if __name__ == "__main__":
    main()
