"""The page with an evening's pictures, a service that dies, and large pictures."""

import contextlib
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from pictures import await_state, choose, command_line, decode, download, draw, encode, file, jpeg, look_at, states
from running_service import running

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def serving(model, port=0):
    """The address and the process of a service that may be killed."""
    command = [sys.executable, "-m", "undim", "serve", "--port", str(port), "--model", f"gain={model}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield next(found[1] for line in process.stderr if (found := re.search(r"(http://\S+) is", line))), process
        finally:
            process.kill()


def test_thirty_pictures_at_once(page, gain, tmp_path):
    sources = {f"{number:02}.jpg": jpeg(number) for number in range(30)}
    choose(page, *(file(name, data) for name, data in sources.items()), file("notes.txt", b"words", "text/plain"))
    await_state(page, "ready", 30)
    await_state(page, "failed")
    expect(page.locator("#summary")).to_have_text("30 of 31 ready, 1 failed")
    page.evaluate("delete window.showSaveFilePicker")
    expect(page.locator("#download-all")).to_have_text("Download all 30 as a zip")
    _, data = download(page, "#download-all")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(sources)
        assert len({archive.read(name) for name in sources}) == 30
        for name in ("00.jpg", "29.jpg"):
            assert archive.read(name) == command_line(tmp_path, sources[name], "--model", str(gain))
    # Of all pictures, only the one on the stage is held at more than the list's size.
    assert page.locator("canvas").evaluate_all("all => all.filter(each => each.width > 144).length") == 1


def test_the_service_dies_in_the_middle_and_comes_back(open_page, gain):
    """What was made stays and can be downloaded; the rest says so, and is made when there is a service again."""
    with serving(gain) as (address, process):
        page = open_page(address)
        choose(page, file("first.jpg", jpeg(1)))
        await_state(page, "ready")
        page.route("**/v1/enhance*", lambda route: (process.kill(), process.wait(), route.continue_()))
        choose(page, *(file(f"{number}.jpg", jpeg(number)) for number in range(2, 6)))
        await_state(page, "failed", 4)
        assert states(page) == ["ready"] + ["failed"] * 4
        assert set(page.locator(".item .state").all_inner_texts()[1:]) == {
            "The service does not answer. See that it runs, then try again."
        }
        name, made = download(page)
        assert name == "first.jpg"
        assert decode(made).shape == (72, 96, 3)
        page.unroute("**/v1/enhance*")
    with serving(gain, address.rpartition(":")[2]):
        page.locator("#retry-all").click()
        await_state(page, "ready", 5)


def resident(browser):
    """Resident bytes of the largest of Chromium's processes that hold pages."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    pages = [Path(f"/proc/{process['id']}/statm") for process in processes if process["type"] == "renderer"]
    return max(int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") for path in pages if path.exists())


@pytest.fixture
def in_tiles(tmp_path, tileable):
    """A service whose model needs no memory for the whole of a large picture."""
    with running(tmp_path, "--model", f"tileable={tileable}") as service:
        yield service


def test_a_picture_of_50_megapixels(open_page, in_tiles, browser):
    """Reduced on the stage, and decoded in full where its pixels are looked at one by one; memory stays bounded."""
    page = open_page(in_tiles.url)
    page.set_default_timeout(240_000)
    pixels = np.zeros((5774, 8660, 3), np.uint8)
    pixels[:, ::2] = 90  # stripes of one pixel, which the reduced picture does not have
    source = encode(pixels, "PNG", compress_level=1)
    told = []
    page.expose_function("tell", lambda words: told.append(words))
    page.evaluate("""() => new MutationObserver(() => tell(document.querySelector(".item .state").textContent))
        .observe(document.getElementById("items"), { childList: true, subtree: true, characterData: true })""")
    choose(page, file("large.png", source, "image/png"))
    page.locator('li[data-state="ready"]').wait_for()
    assert any(word.startswith("Sending") for word in told)
    assert any(word.startswith("Working") for word in told)
    page.locator("#stage.compares").wait_for()
    assert page.locator("#facts").inner_text().startswith("8660 \u00d7 5774")
    page.locator("#handle").press("End")
    page.locator("#handle").press("1")
    expect(page.locator("#zoom-fit")).to_have_text("100 %")
    page.evaluate("for (const over of document.querySelectorAll('#stage > :not(canvas)')) over.style.opacity = 0")
    for _ in range(120):
        page.wait_for_timeout(250)
        seen = decode(page.locator("#canvas").screenshot())
        tall, wide = (length // 2 for length in seen.shape[:2])
        row = seen[tall, wide - 20 : wide + 20, 0]
        if set(row.tolist()) == {0, 90}:
            break
    assert row.tolist() in ([0, 90] * 20, [90, 0] * 20)
    assert page.locator("canvas").evaluate_all("all => all.filter(each => each.width > 2048).length") == 0
    assert resident(browser) < 600e6  # one of the two pictures would have 200e6 at four bytes a pixel
    _, made = download(page)
    answer = httpx.post(f"{in_tiles.url}/v1/enhance", content=source, timeout=240)
    assert made == answer.content


def test_by_webgl_the_page_works_the_same(open_page):
    """As with a graphics card; here, WebGL runs by software, and the page must not be told."""
    seen = []
    for script in ("", "WebGL2RenderingContext.prototype.getExtension = () => null;"):
        page = open_page(before=lambda page, script=script: page.add_init_script(script))
        choose(page, file("night.png", encode(draw(1200, 900, seed=4), "PNG"), "image/png"))
        await_state(page, "ready")
        page.locator("#stage.compares").wait_for()
        page.locator("#handle").press("1")
        page.locator("#strength").fill("40")
        page.locator("#exposure").fill("0.5")
        expect(page.locator("#zoom-fit")).to_have_text("100 %")
        page.wait_for_timeout(1500)
        page.evaluate("for (const over of document.querySelectorAll('#stage > :not(canvas)')) over.style.opacity = 0")
        seen.append(decode(page.locator("#canvas").screenshot()))
        assert page.evaluate("canvas.getContext('2d') === null") == bool(script)
    assert (seen[0] == seen[1]).all()
    assert seen[0].std() > 5


def test_one_page_after_another_picture_by_picture(page):
    """Each picture that is looked at is the one that is seen, whatever the order in which they are decoded."""
    greys = [20, 60, 100]
    sources = [encode(draw(800, 600) // 255 + grey, "PNG") for grey in greys]
    choose(page, *(file(f"{grey}.png", data, "image/png") for grey, data in zip(greys, sources, strict=True)))
    await_state(page, "ready", 3)
    page.locator("#handle").press("End")
    for order in ((100, 20, 60), (60, 100, 20)):
        for grey in order:
            look_at(page, f"{grey}.png")
        page.wait_for_timeout(1500)
        seen = decode(page.locator("#canvas").screenshot())
        assert abs(int(seen[seen.shape[0] // 3, seen.shape[1] // 2, 0]) - order[-1]) <= 2
