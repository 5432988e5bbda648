"""The page as people use it, quickly: what goes in, what is seen, what comes out."""

import base64
import io
import itertools
import re
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile
from pictures import (
    await_state,
    choose,
    command_line,
    decode,
    download,
    draw,
    encode,
    file,
    jpeg,
    look_at,
    set_slider,
    states,
)
from PIL import Image

from dng import write_dng

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
Axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe
FIXTURES = Path(__file__).parents[2] / "fixtures"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def ask(service, data, query=""):
    answer = httpx.post(f"{service.url}/v1/enhance?{query}", content=data, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def carry(page, event, *files):
    """Drop or paste files, as the browser would say it."""
    script = """([event, files]) => {
        const transfer = new DataTransfer();
        for (const [name, text] of files) {
            const bytes = Uint8Array.from(atob(text), each => each.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
        }
        const given = { bubbles: true, cancelable: true };
        document.body.dispatchEvent(event === "drop"
            ? new DragEvent(event, { ...given, dataTransfer: transfer })
            : new ClipboardEvent(event, { ...given, clipboardData: transfer }));
    }"""
    page.evaluate(script, [event, [[name, base64.b64encode(data).decode()] for name, data in files]])


def picture_of_stage(page):
    """The stage's pixels, H x W x 3, without what lies on it."""
    page.wait_for_timeout(100)  # a frame or two
    page.evaluate("for (const over of document.querySelectorAll('#stage > :not(canvas)')) over.style.opacity = 0")
    return decode(page.locator("#canvas").screenshot())[16:-16, 16:-16]  # without the round corners


def middles(pixels, seen):
    """The parts of a larger picture that a stage in its middle may show: to a pixel."""
    top, left = ((inner - outer) // 2 for outer, inner in zip(seen.shape[:2], pixels.shape[:2], strict=True))
    for y, x in itertools.product((top - 1, top, top + 1), (left - 1, left, left + 1)):
        yield pixels[y:, x:][: len(seen), : seen.shape[1]]


def violations(page):
    return [(found["id"], found["nodes"][0]["html"]) for found in Axe().run(page).response["violations"]]


@pytest.mark.slow
@pytest.mark.parametrize("event", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(page, event):
    carry(page, event, ("one.jpg", jpeg(1)), ("two.jpg", jpeg(2)))
    await_state(page, "ready", 2)
    assert page.locator(".item label").all_inner_texts() == ["one.jpg", "two.jpg"]
    expect(page.locator("#summary")).to_have_text("2 of 2 ready")
    assert page.locator("#facts").inner_text().startswith("96 \u00d7 72, ")


def test_what_cannot_be_read_in_a_folder_is_named_and_the_rest_is_done(page):
    """Entries stand for the browser's own, which a script cannot make: of a folder, its files and what fails there."""
    script = """text => {
        const bytes = Uint8Array.from(atob(text), each => each.charCodeAt(0));
        const fails = (_, failed) => setTimeout(() => failed(new DOMException("no", "NotReadableError")));
        const entry = (name, file) => ({ name, isFile: true, file });
        const good = name => entry(name, done => done(new File([bytes], name)));
        const folder = (name, ...answers) => ({ name, isDirectory: true, createReader: () => ({
            readEntries: (...ends) => (answers.shift() ?? (done => done([])))(...ends),
        }) });
        const some = [good("one.jpg"), entry("gone.jpg", fails), good("two.JPG"), good("notes.txt"), good(".jpg")];
        const inner = folder("locked", done => done([good("three.nrw")]), fails);
        const outer = folder("evening", done => done(some), done => done([inner]));
        const event = new DragEvent("drop", { bubbles: true, cancelable: true });
        const items = [{ webkitGetAsEntry: () => outer }];
        Object.defineProperty(event, "dataTransfer", { value: { items, files: [] } });
        document.body.dispatchEvent(event);
    }"""
    page.evaluate(script, base64.b64encode(jpeg()).decode())
    await_state(page, "failed", 2)
    await_state(page, "ready", 3)
    names = page.locator(".item label").all_inner_texts()
    told = dict(zip(names, page.locator(".item .state").all_inner_texts(), strict=True))
    unread = "This cannot be read: it is gone, or you may not open it."
    done = dict.fromkeys(["one.jpg", "two.JPG", "three.nrw"], "Ready")
    assert told == {**done, "gone.jpg": unread, "locked": unread}


@pytest.mark.slow
def test_the_button_opens_the_chooser_and_phones_have_the_camera(page, open_page):
    with page.expect_file_chooser() as opened:
        page.locator("#choose").click()
    assert opened.value.is_multiple()
    phone = open_page(**PHONE)
    assert phone.locator("#camera").get_attribute("capture") == "environment"
    with phone.expect_file_chooser() as opened:
        phone.locator("#photograph").click()
    opened.value.set_files([file("photo.jpg", jpeg())])
    await_state(phone, "ready")


def test_what_is_downloaded_is_what_the_service_and_the_command_line_make(page, service, gain, tmp_path):
    source = jpeg(3)
    choose(page, file("night.jpg", source))
    await_state(page, "ready")
    name, plain = download(page)
    assert name == "night.jpg"
    assert plain == ask(service, source) == command_line(tmp_path, source, "--model", str(gain))
    set_slider(page, "strength", 35)
    set_slider(page, "exposure", 1.3)
    assert page.locator("#strength-value").inner_text() == "35 %"
    assert page.locator("#exposure-value").inner_text() == "+1.3 EV"
    _, set_so = download(page)
    numbers = ["--strength", "0.35", "--exposure", "1.3"]
    assert set_so == ask(service, source, "strength=0.35&exposure=1.3")
    assert set_so == command_line(tmp_path, source, "--model", str(gain), *numbers)
    assert set_so != plain


@pytest.mark.slow
def test_another_model_and_format_are_downloaded(page, service):
    source = jpeg(4)
    choose(page, file("night.jpg", source))
    await_state(page, "ready")
    page.locator("summary").click()
    page.locator("#model").select_option("tiny")
    page.locator("#format").select_option("webp")
    await_state(page, "ready")
    name, made = download(page)
    assert name == "night.webp"
    assert made == ask(service, source, "model=tiny&format=webp")


@pytest.mark.slow
def test_the_sliders_answer_on_the_stage_with_the_pixels_of_the_library(page, service):
    """At one pixel to one: what is seen right of the handle is what would be downloaded, here as PNG."""
    source = encode(draw(1200, 900, seed=5), "PNG")
    choose(page, file("night.png", source, "image/png"))
    await_state(page, "ready")
    page.locator("#handle").press("Home")
    page.locator("#handle").press("1")
    set_slider(page, "strength", 60)
    set_slider(page, "exposure", -0.7)
    expect(page.locator("#zoom-fit")).to_have_text("100 %")
    seen = picture_of_stage(page)
    wanted = decode(ask(service, source, "strength=0.6&exposure=-0.7"))
    assert any(np.array_equal(part, seen) for part in middles(wanted, seen))


@pytest.mark.slow
def test_the_handle_moves_by_mouse_finger_and_keys(open_page):
    page = open_page()
    choose(page, file("night.jpg", jpeg()))
    await_state(page, "ready")
    handle, box = page.locator("#handle"), page.locator("#stage").bounding_box()

    def moved_to(share):
        expect(handle).to_have_attribute("aria-valuenow", str(share))
        expect(handle).to_have_attribute("aria-valuetext", f"{share} % before, {100 - share} % after")

    moved_to(50)
    handle.press("ArrowLeft")
    moved_to(49)
    handle.press("PageUp")
    moved_to(59)
    handle.press("End")
    moved_to(100)
    middle = box["y"] + box["height"] / 3
    page.mouse.move(box["x"] + box["width"] - 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], middle, steps=3)
    page.mouse.up()
    moved_to(25)
    page.mouse.move(box["x"] + 0.9 * box["width"], middle)  # after release nothing moves
    page.wait_for_timeout(200)
    moved_to(25)


@pytest.mark.slow
def test_the_handle_moves_under_a_finger_and_two_zoom(open_page):
    page = open_page(**PHONE)
    choose(page, file("night.jpg", jpeg(width=400, height=300)))
    await_state(page, "ready")
    box = page.locator("#stage").bounding_box()
    touch = page.context.new_cdp_session(page)

    def send(kind, *points):
        points = [{"x": box["x"] + x, "y": box["y"] + y, "id": i} for i, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(40)

    send("touchStart", (180, 80))
    for x in (200, 230, 270):
        send("touchMove", (x, 80))
    send("touchEnd")
    expect(page.locator("#handle")).to_have_attribute("aria-valuenow", "75")
    before = int(page.locator("#zoom-fit").inner_text().split()[0])
    send("touchStart", (100, 100), (140, 100))
    for apart in (30, 50, 80):
        send("touchMove", (120 - apart, 100), (120 + apart, 100))
    send("touchEnd")
    expect(page.locator("#zoom-fit")).not_to_have_text(f"{before} %")
    page.wait_for_timeout(200)
    after = int(page.locator("#zoom-fit").inner_text().split()[0])
    assert after == pytest.approx(4 * before, rel=0.1)
    expect(page.locator("#handle")).to_have_attribute("aria-valuenow", "75")


@pytest.mark.slow
def test_zoom_by_wheel_keys_buttons_and_double_click(page):
    choose(page, file("night.jpg", jpeg(width=1600, height=1200)))
    await_state(page, "ready")
    share, handle, stage = page.locator("#zoom-fit"), page.locator("#handle"), page.locator("#stage")

    def zoomed_to(percent):
        expect(share).to_have_text(re.compile("|".join(f"{round(percent) + off} %" for off in (-1, 0, 1))))

    whole = int(share.inner_text().split()[0])
    handle.press("+")
    zoomed_to(1.25 * whole)
    handle.press("0")
    zoomed_to(whole)
    page.locator("#zoom-in").click()
    zoomed_to(1.5 * whole)
    share.click()
    zoomed_to(whole)
    stage.hover(position={"x": 100, "y": 100})
    page.mouse.wheel(0, -100)
    zoomed_to(np.exp(0.4) * whole)
    stage.dblclick(position={"x": 100, "y": 100})
    zoomed_to(whole)
    stage.dblclick(position={"x": 100, "y": 100})
    zoomed_to(100)
    seen = picture_of_stage(page)
    handle.press("Shift+ArrowRight")
    moved = picture_of_stage(page)
    assert np.abs(seen.astype(int) - moved).max() > 0  # it has moved
    shift = (seen.shape[1] + 32) // 8
    half = seen.shape[1] // 2
    np.testing.assert_array_equal(moved[:, : half - shift - 40], seen[:, shift : half - 40])


@pytest.mark.slow
def test_all_come_in_a_zip_with_their_names(page, service):
    sources = {"夜.jpg": jpeg(1), "a.jpg": jpeg(2), "ليل.png": encode(draw(seed=3), "PNG")}
    choose(page, *(file(name, data) for name, data in sources.items()), file("a.jpg", jpeg(4)))
    await_state(page, "ready", 4)
    page.evaluate("delete window.showSaveFilePicker")
    look_at(page, "夜.jpg")
    set_slider(page, "strength", 50)
    name, data = download(page, "#download-all")
    assert name.startswith("undim 20")
    assert name.endswith(".zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["夜.jpg", "a.jpg", "ليل.png", "a (2).jpg"]
        assert archive.read("夜.jpg") == ask(service, sources["夜.jpg"], "strength=0.5")
        assert archive.read("ليل.png") == ask(service, sources["ليل.png"])
        assert archive.read("a (2).jpg") == ask(service, jpeg(4))
    page.get_by_text("4 of 4 pictures saved in").wait_for()


@pytest.mark.slow
def test_the_zip_goes_straight_into_the_file_that_the_user_names(page):
    """The browser's own dialog cannot be pressed here; a file of its private file system stands for the user's."""
    page.evaluate("""() => {
        window.showSaveFilePicker = async () => {
            const folder = await navigator.storage.getDirectory();
            return folder.getFileHandle("test.zip", { create: true });
        };
    }""")
    choose(page, file("one.jpg", jpeg(1)), file("two.jpg", jpeg(2)))
    await_state(page, "ready", 2)
    page.locator("#download-all").click()
    page.get_by_text("2 of 2 pictures saved in").wait_for()
    written = page.evaluate("""async () => {
        const folder = await navigator.storage.getDirectory();
        const bytes = new Uint8Array(await (await (await folder.getFileHandle("test.zip")).getFile()).arrayBuffer());
        return [...bytes];
    }""")
    with zipfile.ZipFile(io.BytesIO(bytes(written))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["one.jpg", "two.jpg"]


def test_what_cannot_be_done_says_so_beside_the_picture_and_the_others_are_done(page):
    large = io.BytesIO()
    Image.new("1", (12_500, 10_000)).save(large, "PNG")  # 125 megapixels in a few kilobytes
    choose(
        page,
        file("notes.txt", b"not a picture", "text/plain"),
        file("large.png", large.getvalue(), "image/png"),
        file("cut.jpg", jpeg(1)[:900]),
        file("good.jpg", jpeg(2)),
    )
    await_state(page, "failed", 3)
    await_state(page, "ready")
    words = page.locator(".item .state").all_inner_texts()
    assert words[3] == "Ready"
    assert words[1] == "125 megapixels; this service takes at most 120."
    assert len(set(words)) == 4
    assert all(len(word) > 20 and "status" not in word for word in words[:3])
    look_at(page, "notes.txt")
    assert page.locator("#stage-state").inner_text() == words[0]
    expect(page.locator("#retry-all")).to_have_text("Try the 3 failed ones again")
    assert violations(page) == []


def test_a_file_that_is_too_large_is_not_sent(page):
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": [], "default": "", "max_bytes": 1000}))
    page.reload()
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    choose(page, file("large.jpg", jpeg(width=400, height=300)))
    await_state(page, "failed")
    assert "takes at most" in page.locator(".item .state").inner_text()
    assert not [url for url in sent if "enhance" in url]


@pytest.mark.slow
def test_a_busy_service_is_asked_again_when_it_says(page):
    answers = itertools.count()

    def answer(route):
        if next(answers) == 0:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"detail": "Too many pictures wait."})
        else:
            route.continue_()

    page.route("**/v1/enhance*", answer)
    choose(page, file("night.jpg", jpeg()))
    await_state(page, "busy")
    assert page.locator(".item .state").inner_text() == "The service is busy; trying again in 1 second"
    await_state(page, "ready")
    assert next(answers) == 2


@pytest.mark.slow
def test_a_picture_that_is_cancelled_while_the_service_is_busy_makes_room_at_once(page):
    answers = itertools.count()
    busy = {"status": 429, "headers": {"Retry-After": "600"}, "json": {"detail": "Too many pictures wait."}}
    page.route("**/v1/enhance*", lambda route: route.fulfill(**busy) if next(answers) < 2 else route.continue_())
    choose(page, *(file(f"{number}.jpg", jpeg(number)) for number in range(3)))
    await_state(page, "busy", 2)
    assert states(page) == ["busy", "busy", "waiting"]
    page.get_by_role("button", name="Cancel").click()
    await_state(page, "ready")
    assert states(page) == ["cancelled", "busy", "ready"]


@pytest.mark.slow
def test_a_token_is_asked_for_once(page):
    sent = []

    def answer(route):
        sent.append(route.request.headers.get("authorization"))
        if sent[-1] == "Bearer open sesame":
            route.continue_()
        else:
            route.fulfill(status=401, json={"detail": "This service wants a token."})

    page.route("**/v1/enhance*", answer)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept("open sesame")))
    choose(page, file("a.jpg", jpeg(1)), file("b.jpg", jpeg(2)))
    await_state(page, "ready", 2)
    assert len(asked) == 1
    assert sent.count(None) <= 2


@pytest.mark.slow
def test_without_an_answer_it_says_so_and_tries_again(page):
    page.route("**/v1/enhance*", lambda route: route.abort("connectionrefused"))
    page.route("**/healthz", lambda route: route.abort("connectionrefused"))
    choose(page, file("night.jpg", jpeg()))
    await_state(page, "failed")
    assert page.locator(".item .state").inner_text().startswith("The service does not answer.")
    page.unroute("**/v1/enhance*")
    page.get_by_role("button", name="Try again: night.jpg").click()
    await_state(page, "ready")


@pytest.mark.slow
def test_two_at_once_and_one_is_cancelled(page):
    held, ended = [], []
    page.route("**/v1/enhance*", lambda route: route.continue_() if len(held) == 3 else held.append(route))
    page.on("requestfailed", lambda request: ended.append(request.failure))
    choose(page, *(file(f"{number}.jpg", jpeg(number)) for number in range(4)))
    page.wait_for_timeout(500)
    assert len(held) == 2
    assert states(page)[2:] == ["waiting", "waiting"]
    page.get_by_role("button", name="Cancel").click()
    await_state(page, "cancelled")
    page.wait_for_timeout(500)
    assert ended == ["net::ERR_ABORTED"]
    assert len(held) == 3
    for route in held[1:]:
        route.continue_()
    await_state(page, "ready", 3)
    assert states(page) == ["cancelled", "ready", "ready", "ready"]


@pytest.mark.slow
def test_removing_ends_what_is_on_its_way_and_the_last_one_brings_the_start_back(page):
    ended = []
    page.route("**/v1/enhance*", lambda _: None)
    page.on("requestfailed", lambda request: ended.append(request.url))
    choose(page, file("a.jpg", jpeg(1)), file("b.jpg", jpeg(2)))
    page.wait_for_timeout(300)
    page.get_by_role("radio", name="a.jpg").press("Delete")
    assert page.get_by_role("radio", name="b.jpg").is_checked()
    page.locator("#remove").click()
    page.locator("#choose").wait_for()
    page.wait_for_timeout(200)
    assert len(ended) == 2
    assert page.evaluate("document.activeElement.id") == "choose"


def unshown_file(folder, name):
    """A file of a kind that Chromium does not show, and its size as it is shown, width first."""
    path, pixels = folder / name, draw(1200, 900, seed=7)
    if name.endswith(".heic"):
        return (FIXTURES / "turned.heic").read_bytes(), (48, 64)
    if name.endswith(".tif"):
        tifffile.imwrite(path, pixels.astype(np.uint16) * 257, photometric="rgb")
    elif name.endswith(".dng"):
        write_dng(path, pixels[:, :, 1].astype(np.uint16) * 60)
    else:
        Image.fromarray(pixels).save(path)
    return path.read_bytes(), (1200, 900)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scan.tif", "turned.heic", "raw.dng", "a.ppm"])
def test_kinds_that_the_browser_does_not_show_are_shown_by_the_service(page, service, tmp_path, name):
    source, (width, height) = unshown_file(tmp_path, name)
    held, answers = [], []
    page.route("**/v1/enhance*", lambda route: route.continue_() if answers else held.append(route))
    choose(page, file(name, source, ""))
    told = re.compile("This browser does not show this kind of file: the view is the service's")
    expect(page.locator("#stage-state")).to_have_text(told)  # before there is any answer
    answers.append(True)
    for route in held:
        route.continue_()
    await_state(page, "ready")
    page.locator("#stage.compares").wait_for()
    expect(page.locator("#stage-state")).to_be_hidden()
    assert page.locator("#facts").inner_text().startswith(f"{width} \u00d7 {height}, ")
    assert told.match(page.locator("#notes").inner_text())
    set_slider(page, "exposure", 0.4)
    page.locator("#handle").press("1")
    page.locator("#handle").press("End")
    seen, wanted = picture_of_stage(page).astype(int), decode(ask(service, source, "strength=0&format=jpg"))
    if width < 1000:  # enlarged
        middle = [pixels[len(pixels) // 2, pixels.shape[1] // 2].astype(int) for pixels in (seen, wanted)]
        assert np.abs(middle[0] - middle[1]).max() < 12
    else:
        assert min(np.abs(part - seen).mean() for part in middles(wanted, seen)) < 1  # by another JPEG reader
    page.locator("#handle").press("Home")
    seen, wanted = picture_of_stage(page), decode(ask(service, source, "exposure=0.4"))
    assert width < 1000 or abs(seen.mean() - wanted.mean()) < 2
    made_name, made = download(page)
    assert made_name == (name if name == "scan.tif" else f"{name.split('.')[0]}.png")
    assert made == ask(service, source, "exposure=0.4")


@pytest.mark.slow
def test_notes_are_of_the_file_that_is_downloaded(page, service, tmp_path):
    source, _ = unshown_file(tmp_path, "scan.tif")
    choose(page, file("scan.tif", source, ""))
    await_state(page, "ready")
    notes = page.locator("#notes")
    assert "8" not in notes.inner_text()  # the bits of what is seen do not matter
    page.locator("summary").click()
    for form, note in (("jpg", True), ("", False)):
        page.locator("#format").select_option(form)
        _, made = download(page)
        assert made == ask(service, source, f"format={form}" if form else "")
        expect(notes).to_have_text(re.compile("rounded to 8") if note else re.compile("as JPEG.$"))


@pytest.mark.slow
def test_upright_as_the_camera_was_held(page):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    pixels = np.zeros((60, 120, 3), np.uint8)
    pixels[:, 60:] = 80  # bright on the right of the file, so at the bottom upright
    choose(page, file("turned.jpg", encode(pixels, exif=exif, quality=95)))
    await_state(page, "ready")
    assert page.locator("#facts").inner_text().startswith("60 \u00d7 120")
    page.locator("#handle").press("End")
    seen = picture_of_stage(page)[:, :, 0]
    column = seen[:, seen.shape[1] // 2]
    inside = np.flatnonzero(column > 60)
    assert inside.min() > len(column) * 0.45
    assert column[len(column) // 4] < 30


@pytest.mark.slow
def test_nothing_is_kept_and_nobody_else_is_asked(page, service):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    choose(page, file("night.jpg", jpeg()))
    await_state(page, "ready")
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {service.url.split("/")[2]}
    kept = page.evaluate("""async () => [
        localStorage.length, sessionStorage.length, document.cookie, (await indexedDB.databases()).length,
        (await caches.keys()).length, (await navigator.serviceWorker.getRegistrations()).length,
    ]""")
    assert kept == [0, 0, "", 0, 0, 0]
    page.reload()
    assert page.locator(".item").count() == 0
    page.get_by_text("Your pictures go to this address alone, and none is kept.").wait_for()


def test_leaving_the_page_ends_what_is_on_its_way(page):
    ended = []
    page.route("**/v1/enhance*", lambda _: None)
    page.on("requestfailed", lambda request: ended.append(request.url))
    choose(page, file("a.jpg", jpeg(1)), file("b.jpg", jpeg(2)))
    page.wait_for_timeout(300)
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    page.wait_for_timeout(500)
    assert len(ended) == 2


def test_by_keyboard_alone(page, service):
    with page.expect_file_chooser() as opened:
        page.keyboard.press("Tab")
        expect(page.locator("#choose")).to_be_focused()
        page.wait_for_timeout(1000)  # until the browser knows that this test answers the chooser
        page.keyboard.press("Enter")
    opened.value.set_files([file("one.jpg", jpeg(1)), file("two.jpg", jpeg(2))])
    await_state(page, "ready", 2)
    expect(page.locator("#download-all")).to_be_enabled()
    assert page.evaluate("document.activeElement.id") == "picture-1"
    page.keyboard.press("ArrowDown")
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        if reached[-1] == "download":
            break
        if reached[-1] == "strength":
            page.keyboard.press("ArrowLeft")
        if reached[-1] == "handle":
            page.keyboard.press("ArrowRight")
    assert reached[-1] == "download", reached
    assert {"handle", "zoom-in", "strength", "exposure", "same", "download-all"} <= set(reached)
    assert page.locator("#name").inner_text() == "two.jpg"
    expect(page.locator("#handle")).to_have_attribute("aria-valuenow", "51")  # with the next frame that is drawn
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    assert started.value.path().read_bytes() == ask(service, jpeg(2), "strength=0.99")


@pytest.mark.parametrize(
    ("scheme", "phone"),
    [
        ("dark", True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("light", True), ("light", False), ("dark", False))),
    ],
)
def test_axe_finds_nothing_and_nothing_overflows(open_page, scheme, phone):
    page = open_page(color_scheme=scheme, bypass_csp=True, **(PHONE if phone else {}))
    assert violations(page) == []
    choose(page, file("night.jpg", jpeg()), file("a-very-" + "long-" * 30 + "name.jpg", b"damaged"))
    await_state(page, "ready")
    await_state(page, "failed")
    page.locator("summary").click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 384) == (scheme == "dark")


@pytest.mark.slow
@pytest.mark.parametrize(("motion", "name"), [("no-preference", "working"), ("reduce", "none")])
def test_reduced_motion_is_honoured(open_page, motion, name):
    page = open_page(reduced_motion=motion)
    choose(page, file("night.jpg", jpeg()))
    await_state(page, "ready")
    page.evaluate("document.querySelector('.item').dataset.state = 'working'")
    assert page.locator(".bar").evaluate("bar => getComputedStyle(bar).animationName") == name
