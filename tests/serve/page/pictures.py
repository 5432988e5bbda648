"""Pictures for the page's tests, and what people do with them there."""

import io
import subprocess
import sys

import numpy as np
from PIL import Image


def draw(width=96, height=72, seed=0):
    """A dark picture with waves and noise, as H x W x 3 bytes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 20
    light = np.stack([40 + 25 * np.sin(a * x + b * y + seed) for a, b in ((1, 2), (2, 1), (3, 2))], -1)
    return np.clip(light + random.normal(0, 3, light.shape), 0, 255).astype(np.uint8)


def encode(pixels, kind="JPEG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def jpeg(seed=0, **size):
    return encode(draw(seed=seed, **size), quality=95)


def file(name, data, kind="image/jpeg"):
    return {"name": name, "mimeType": kind, "buffer": data}


def choose(page, *files):
    page.set_input_files("#files", list(files))


def await_state(page, state, count=1):
    page.locator(f'li[data-state="{state}"]').nth(count - 1).wait_for(timeout=60_000)


def states(page):
    return page.locator("li.item").evaluate_all("lines => lines.map(line => line.dataset.state)")


def look_at(page, name):
    page.get_by_role("radio", name=name).check(force=True)


def set_slider(page, name, value):
    page.locator(f"#{name}").fill(str(value))


def download(page, button="#download"):
    with page.expect_download() as started:
        page.locator(button).click()
    return started.value.suggested_filename, started.value.path().read_bytes()


def command_line(folder, data, *options, suffix=".jpg"):
    """What `undim enhance` writes for the same bytes."""
    source, target = folder / f"in{suffix}", folder / f"out{suffix}"
    source.write_bytes(data)
    command = [sys.executable, "-m", "undim", "enhance", str(source), "-o", str(target), "--overwrite", *options]
    subprocess.run(command, check=True, capture_output=True)
    return target.read_bytes()
