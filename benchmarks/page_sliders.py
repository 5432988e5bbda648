"""How fast the page of `undim serve` answers its sliders, and what memory it takes, in Debian's Chromium by software.

    python benchmarks/page_sliders.py [--megapixels 1 12 50] [--steps 60] [--width 1280] [--height 800] [--webgl]

For each size: a JPEG is dropped, then both sliders are dragged by mouse, with the whole picture seen and at 100 %.
"work" is what the page does for one movement, from the event to finished pixels, which are read back to be sure; what
it waits for the next frame of the screen is not in it. "CPU" is all that the page's main thread does for a movement, on
average, in CPU time, so that what else the machine does is not in it. The answers of the service are made beforehand:
its own time is not measured here. Memory is resident, of Chromium's process for the page and the one that draws;
"most" since the page was opened. Where WebGL has no graphics card, the page draws on a plain canvas; with --webgl it
uses WebGL there.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

EXAMPLE = Path(__file__).parent.parent / "examples" / "coffee.png"
ARGUMENTS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PERCENTILES = (5, 50, 95, 99)
COLUMNS = (
    "picture",
    "seen",
    *(f"work, ms: p{percentile}" for percentile in PERCENTILES),
    "> 16.7 ms",
    "CPU, ms",
    "moves",
    "page, MB (most)",
    "drawing, MB (most)",
)
SLOW_WEBGL = """
WebGL2RenderingContext.prototype.getExtension = () => null;  // nor is the page told that it is slow
"""
WATCH = """
window.works = [];
let begun, handled, frame;
const reached = () => {
    const canvas = document.getElementById("canvas");
    const gl = canvas.getContext("webgl2");
    if (gl) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    else canvas.getContext("2d").getImageData(0, 0, 1, 1);
    works.push(handled - begun + performance.now() - frame);
};
// The first listener is reached before the page's own, the second after it; so are the frames that they ask for.
window.addEventListener("input", () => {
    begun = performance.now();
    requestAnimationFrame(() => { frame = performance.now(); });
}, true);
window.addEventListener("input", () => {
    handled = performance.now();
    requestAnimationFrame(reached);
});
"""


def pictures(megapixels: float) -> tuple[bytes, bytes]:
    """A dark JPEG of so many pixels, and a brighter one of the same size."""
    height = math.sqrt(megapixels * 1e6 / 1.5)
    size = round(1.5 * height), round(height)
    image = Image.open(EXAMPLE).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).integers(0, 12, (size[1], size[0], 1), np.uint8)
    made = []
    for pixels in (np.asarray(image) // 3 + noise, np.asarray(image) // 2 + 4 * noise + 60):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
        made.append(buffer.getvalue())
    return made[0], made[1]


@contextmanager
def serving() -> Iterator[str]:
    """The address of a service."""
    command = [sys.executable, "-m", "undim", "serve", "--port", "0", "--model", "tiny"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own command
        try:
            yield next(found[1] for line in process.stderr or () if (found := re.search(r"(http://\S+) is the", line)))
        finally:
            process.terminate()


def memory(browser: Browser) -> dict[str, tuple[float, float]]:
    """Resident MB, now and at most, of the processes of one page, by what they are."""
    session = browser.new_browser_cdp_session()
    found = {}
    for process in session.send("SystemInfo.getProcessInfo")["processInfo"]:
        status = Path(f"/proc/{process['id']}/status")
        if process["type"] not in ("renderer", "GPU") or not status.exists():
            continue
        text = status.read_text()
        now, most = (int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))
        if now > found.get(process["type"], (0, 0))[0]:  # the page's, not a spare one
            found[process["type"]] = now, most
    session.detach()
    return found


def thread_seconds(session: CDPSession) -> float:
    """CPU seconds of the page's main thread so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def drag(page: Page, name: str, steps: int) -> list[float]:
    """Milliseconds of work for each movement of a slider."""
    box = page.locator(f"#{name}").bounding_box()
    page.evaluate("works.length = 0")
    row = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, row)
    page.mouse.down()
    for step in range(steps):
        turn = 0.5 + 0.45 * math.sin(2 * math.pi * step / steps * 3)
        page.mouse.move(box["x"] + turn * box["width"], row)
        page.wait_for_timeout(25)
    page.mouse.up()
    page.wait_for_timeout(300)
    return page.evaluate("works")


def measure(browser: Browser, address: str, megapixels: float, options: argparse.Namespace) -> list[str]:
    """Rows of the table for one size."""
    before, after = pictures(megapixels)
    context = browser.new_context(viewport={"width": options.width, "height": options.height})
    page = context.new_page()
    page.set_default_timeout(120_000)
    if options.webgl:
        page.add_init_script(SLOW_WEBGL)
    page.add_init_script(WATCH)
    page.route("**/v1/enhance*", lambda route: route.fulfill(body=after, content_type="image/jpeg"))
    page.goto(address)
    page.set_input_files("#files", [{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": before}])
    page.locator('[data-state="ready"]').wait_for()
    page.locator("#stage.compares").wait_for()
    page.wait_for_timeout(3000 + 100 * megapixels)
    session = context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    rows = []
    for view, key in (("whole", "0"), ("100 %", "1")):
        page.locator("#handle").press(key)
        page.wait_for_timeout(2000 + 100 * megapixels)
        begun = thread_seconds(session)
        works = np.array(drag(page, "strength", options.steps) + drag(page, "exposure", options.steps))
        thread = f"{1000 * (thread_seconds(session) - begun) / len(works):.1f}"
        figures = [f"{value:.1f}" for value in np.percentile(works, PERCENTILES)]
        late = f"{100 * np.mean(works > 1000 / 60):.0f} %"
        held = [f"{now:.0f} ({most:.0f})" for now, most in map(memory(browser).get, ("renderer", "GPU"))]
        rows.append(" | ".join([f"| {megapixels:g} MP", view, *figures, late, thread, str(len(works)), *held]) + " |")
    stage = page.evaluate("(({ width, height }) => `${width} x ${height}`)(document.getElementById('canvas'))")
    drawn = page.evaluate("document.getElementById('canvas').getContext('2d') ? 'canvas' : 'WebGL'")
    print(f"{drawn}, stage {stage}, JPEG of {len(before) / 1e6:.1f} MB", file=sys.stderr)
    context.close()
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 12, 50])
    parser.add_argument("--steps", type=int, default=60, help="movements of each slider")
    parser.add_argument("--width", type=int, default=1280, help="of the window")
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--webgl", action="store_true", help="also without a graphics card")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    with serving() as address, sync_playwright() as playwright:
        for megapixels in options.megapixels:
            # Each size in a browser of its own: the most memory is of one size.
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            for row in measure(browser, address, megapixels, options):
                print(row, flush=True)
            browser.close()


if __name__ == "__main__":
    main()
