"""The page's modules, one by one, in the browser: against the library, the zip reader of Python and the vectors."""

import base64
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pictures import decode, draw, encode

import undim
from undim.enhance.convert import blend
from undim.images import FORMATS, PICTURE_SUFFIXES

PAGE = Path(undim.__file__).parent / "serve/page"
VECTORS = json.loads((Path(__file__).parents[2] / "enhance/exposure_vectors.json").read_text())


@pytest.fixture(scope="module")
def modules(browser, service):
    """A function that calls `script(module, argument)` with one of the page's modules."""
    page = browser.new_page()
    page.goto(service.url)

    def call(module, script, argument=None):
        wrapped = f"async ([path, argument]) => ({script})(await import(path), argument)"
        return page.evaluate(wrapped, [f"/page/{module}", argument])

    yield call
    page.close()


def as_bytes(text):
    return base64.b64decode(text)


def test_the_page_is_small_and_asks_no_other_machine():
    files = list(PAGE.iterdir())
    assert {path.suffix for path in files} == {".html", ".css", ".js", ".svg"}
    assert sum(path.stat().st_size for path in files) < 60_000
    for path in files:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"//www\.|https?:|eval\(|innerHTML", text), path
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", index)


def test_what_is_offered_is_what_the_library_reads_and_writes():
    """The chooser's kinds, which are also those that count in a folder, and the formats of downloads."""
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    kinds = re.search(r'id="files" accept="([^"]+)"', index)[1].split(",")
    assert sorted(kinds) == sorted(["image/*", *PICTURE_SUFFIXES])
    formats = re.search(r'<select id="format".*?</select>', index)[0]
    assert re.findall(r'value="(\w+)"', formats) == list(FORMATS)


def test_nothing_is_stored():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGE.glob("*.js"))
    assert not re.search(r"localStorage|sessionStorage|indexedDB|caches|cookie|serviceWorker", text)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: f"{case['bits']} bits {case['exposure']:+} EV")
def test_exposure_equals_the_vectors(modules, case):
    white = 2 ** case["bits"] - 1
    script = "({ settler }, { inputs, exposure, white }) => inputs.map(x => settler(1, exposure, white)(x, x))"
    argument = {"inputs": case["input"], "exposure": case["exposure"], "white": white}
    assert modules("curve.js", script, argument) == case["output"]


@pytest.mark.parametrize(
    ("strength", "exposure"), [(1, 0), (0.5, 0), (0.37, 0), (0.5, 1), (0.83, -1.3), (0, 2), (1, 0.1)]
)
def test_table_equals_the_blend_of_the_library(modules, strength, exposure):
    before, after = np.mgrid[:256, :256].astype(np.uint8)
    wanted = blend(before, after, strength, exposure)
    script = """({ makeTable }, [strength, exposure]) => {
        let text = "";
        for (const value of makeTable(strength, exposure)) text += String.fromCharCode(value);
        return btoa(text);
    }"""
    made = np.frombuffer(as_bytes(modules("curve.js", script, [strength, exposure])), np.uint8).reshape(256, 256)
    np.testing.assert_array_equal(made, wanted)


DRAW = """async (module, { drawer, before, after, table, split, view }) => {
    const { makeTable } = await import("/page/curve.js");
    const bitmap = async text => {
        const bytes = Uint8Array.from(atob(text), each => each.charCodeAt(0));
        return createImageBitmap(new Blob([bytes]), { premultiplyAlpha: "none" });
    };
    const { getExtension } = WebGL2RenderingContext.prototype;
    WebGL2RenderingContext.prototype.getExtension = () => null; // it is not told that there is no graphics card
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: 96, height: 72 });
    const made = new module[drawer](canvas, () => {});
    WebGL2RenderingContext.prototype.getExtension = getExtension;
    made.setTable(makeTable(...table));
    const part = { left: 0, top: 0, width: 96, height: 72 };
    made.setLayer("whole", await bitmap(before), after && await bitmap(after), part);
    made.draw(view, split);
    return canvas.toDataURL().split(",")[1];
}"""
DRAWERS = [("draw_webgl.js", "WebGLDrawer"), ("draw_canvas.js", "CanvasDrawer")]
WHOLE = {"scale": 1, "x": 0, "y": 0}


def drawn(modules, drawer, before, after, table, split, view=WHOLE):
    png = [None if pixels is None else base64.b64encode(encode(pixels, "PNG")).decode() for pixels in (before, after)]
    argument = {"drawer": drawer[1], "before": png[0], "after": png[1], "table": table, "split": split, "view": view}
    return decode(as_bytes(modules(drawer[0], DRAW, argument)))


@pytest.mark.parametrize("drawer", DRAWERS, ids=lambda drawer: drawer[1])
@pytest.mark.parametrize(("strength", "exposure"), [(1, 0), (0.5, 0), (0.7, 1.2)])
def test_the_stage_shows_before_left_and_the_blend_right(modules, drawer, strength, exposure):
    before, after = draw(seed=1), np.minimum(draw(seed=2).astype(int) * 3, 255).astype(np.uint8)
    wanted = blend(before, after, strength, exposure)
    wanted[:, :40] = before[:, :40]
    np.testing.assert_array_equal(drawn(modules, drawer, before, after, [strength, exposure], 40), wanted)


@pytest.mark.parametrize("drawer", DRAWERS, ids=lambda drawer: drawer[1])
def test_both_sides_are_zoomed_in_step(modules, drawer):
    before, after = draw(seed=1), 255 - draw(seed=1)
    view = {"scale": 4, "x": -80, "y": -40}
    made = drawn(modules, drawer, before, after, [1, 0], 48, view)
    cut = slice(10, 10 + 18), slice(20, 20 + 24)
    left, right = (pixels[cut].repeat(4, 0).repeat(4, 1) for pixels in (before, after))
    np.testing.assert_array_equal(made[:, :48], left[:, :48])
    np.testing.assert_array_equal(made[:, 48:], right[:, 48:])


@pytest.mark.parametrize(
    ("renderer", "wanted"),
    [
        ("ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero) (0x0000C0DE)), SwiftShader driver)", "canvas"),
        ("llvmpipe (LLVM 15.0.6, 256 bits)", "canvas"),
        ("ANGLE (Microsoft, Microsoft Basic Render Driver Direct3D11 vs_5_0 ps_5_0)", "canvas"),
        ("ANGLE (Intel, Mesa Intel(R) UHD Graphics 620 (KBL GT2), OpenGL 4.6)", "WebGL"),
        ("Apple GPU", "WebGL"),
    ],
)
def test_webgl_without_a_graphics_card_leaves_the_canvas_alone(modules, renderer, wanted):
    script = """({ WebGLDrawer }, renderer) => {
        const canvas = document.createElement("canvas");
        const { getParameter } = WebGL2RenderingContext.prototype;
        WebGL2RenderingContext.prototype.getParameter = function (name) {
            return name === 0x9246 ? renderer : getParameter.call(this, name);  // UNMASKED_RENDERER_WEBGL
        };
        try {
            new WebGLDrawer(canvas, () => {});
            return "WebGL";
        } catch {
            return canvas.getContext("2d") ? "canvas" : "neither";
        } finally {
            WebGL2RenderingContext.prototype.getParameter = getParameter;
        }
    }"""
    assert modules("draw_webgl.js", script, renderer) == wanted


@pytest.mark.parametrize("drawer", DRAWERS, ids=lambda drawer: drawer[1])
def test_without_an_after_all_is_before(modules, drawer):
    before = draw(seed=3)
    np.testing.assert_array_equal(drawn(modules, drawer, before, None, [1, 0], 40), before)


ZIP = """async ({ ZipWriter }, files) => {
    const parts = [];
    const zip = new ZipWriter(part => { parts.push(part); });
    for (const [name, text] of files) await zip.add(name, new Blob([text]), new Date(2026, 10, 27, 21, 44, 58));
    await zip.close();
    let text = "";
    for (const byte of new Uint8Array(await new Blob(parts).arrayBuffer())) text += String.fromCharCode(byte);
    return btoa(text);
}"""


def test_zip_is_read_by_another_reader(modules):
    files = [["夜.jpg", "one"], ["Ночь.png", ""], ["ليل.webp", "é" * 70_000], ["emoji 🌙.jpg", "x"]]
    with zipfile.ZipFile(io.BytesIO(as_bytes(modules("zip.js", ZIP, files)))) as archive:
        assert archive.testzip() is None  # every CRC-32
        assert [[name, archive.read(name).decode()] for name in archive.namelist()] == files
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.infolist()[0].date_time == (2026, 11, 27, 21, 44, 58)


LARGE_ZIP = """async ({ ZipWriter }, entries) => {
    const parts = [];
    const zip = new ZipWriter(part => { parts.push(part); });
    // Of a large one, only the size is there: what it would hold is left out of what is written.
    for (const [name, text, size] of entries) {
        const blob = new Blob([text]);
        await zip.add(name, size ? { size, stream: () => blob.stream() } : blob, new Date(2026, 10, 27));
    }
    await zip.close();
    const told = [];
    for (const part of parts) {
        if (!(part instanceof Uint8Array) && !(part instanceof Blob)) {
            told.push(part.size);
            continue;
        }
        let text = "";
        for (const byte of new Uint8Array(await new Blob([part]).arrayBuffer())) text += String.fromCharCode(byte);
        told.push(btoa(text));
    }
    return told;
}"""


def test_a_zip_of_more_than_four_gigabytes_is_read_by_another_reader(modules, tmp_path):
    """Pictures that claim three gigabytes each, as holes in the file: what stands behind them is read."""
    entries = [["a.png", "", 3_000_000_000], ["b.png", "two", 0], ["c.png", "", 3_000_000_000], ["d 夜.png", "four", 0]]
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        for part in modules("zip.js", LARGE_ZIP, entries):
            if isinstance(part, int):
                file.seek(part, 1)
            else:
                file.write(as_bytes(part))
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        assert [(info.filename, info.file_size) for info in infos] == [
            (name, size or len(text)) for name, text, size in entries
        ]
        assert infos[3].header_offset > 6_000_000_000
        assert [info.extract_version for info in infos] == [20, 20, 20, 45]
        assert [archive.read(name) for name in ("b.png", "d 夜.png")] == [b"two", b"four"]


@pytest.mark.slow
def test_a_zip_of_more_pictures_than_two_bytes_count(modules):
    count = 65_540
    script = """async ({ ZipWriter }, count) => {
        const parts = [];
        const zip = new ZipWriter(part => { parts.push(part); });
        const date = new Date(2026, 10, 27);
        const empty = { size: 0, stream: () => ({ getReader: () => ({ read: async () => ({ done: true }) }) }) };
        for (let i = 0; i < count; i++) await zip.add(`${i}`, empty, date);
        await zip.close();
        const written = await new Blob(parts.filter(part => part !== empty)).arrayBuffer();
        let text = "";
        for (const byte of new Uint8Array(written)) text += String.fromCharCode(byte);
        return btoa(text);
    }"""
    with zipfile.ZipFile(io.BytesIO(as_bytes(modules("zip.js", script, count)))) as archive:
        assert archive.namelist() == [str(number) for number in range(count)]
        assert archive.read(str(count - 1)) == b""


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("a.jpg", "image/jpeg", "a.jpg"),
        ("A.JPEG", "image/jpeg", "A.JPEG"),
        ("night.heic", "image/jpeg", "night.jpg"),
        ("夜.の.写真.NEF", "image/png", "夜.の.写真.png"),
        ("night.jpg", "image/bmp", "night.bmp"),
        ("no suffix", "image/webp", "no suffix.webp"),
        ("../../etc/passwd", "image/png", "_.._etc_passwd.png"),
        ('a:b*c?"d|<e>.png', "image/png", "a_b_c__d__e_.png"),
        ("line\nbreak.png", "image/png; charset=x", "line_break.png"),
        ("...", "image/png", "picture.png"),
        ("ليل.tiff", "image/tiff", "ليل.tiff"),
    ],
)
def test_names_of_outputs(modules, name, kind, wanted):
    assert modules("names.js", "({ outputName }, [name, kind]) => outputName(name, kind)", [name, kind]) == wanted


def test_names_are_given_once(modules):
    names = ["a.jpg", "a.jpg", "A.JPG", "a (2).jpg", "e\u0301.png", "é.png", "b"]
    script = "({ uniqueNames }, names) => names.map(uniqueNames())"
    wanted = ["a.jpg", "a (2).jpg", "A (3).JPG", "a (2) (2).jpg", "e\u0301.png", "é (2).png", "b"]
    assert modules("names.js", script, names) == wanted


def test_zooming_keeps_the_point_under_the_finger(modules):
    script = """({ fit, zoom }) => {
        const [stage, picture] = [{ width: 400, height: 300 }, { width: 4000, height: 2000 }];
        const point = { x: 130, y: 170 };
        let view = fit(stage, picture);
        const seen = [];
        for (const factor of [2, 3, 5, 0.5]) {
            view = zoom(view, factor, point, stage, picture);
            seen.push([(point.x - view.x) / view.scale, (point.y - view.y) / view.scale]);
        }
        return { seen, out: zoom(view, 1e-9, point, stage, picture), fitted: fit(stage, picture) };
    }"""
    made = modules("view.js", script)
    np.testing.assert_allclose(made["seen"], [made["seen"][0]] * 4, rtol=1e-9)
    assert made["out"] == made["fitted"] == {"scale": 0.1, "x": 0, "y": 50}


def test_the_gate_lets_so_many_through_and_those_who_left_are_passed_over(modules):
    script = """async ({ Gate }) => {
        const gate = new Gate(2);
        const stopper = new AbortController();
        let inside = 0, most = 0;
        const work = async () => {
            most = Math.max(most, ++inside);
            await new Promise(resolve => setTimeout(resolve, 5));
            inside--;
            return "done";
        };
        const calls = [...Array(6)].map((_, i) => gate.run(work, i === 3 ? stopper.signal : undefined));
        stopper.abort();
        const made = (await Promise.allSettled(calls)).map(({ status }) => status);
        return { made, most, places: gate.places };
    }"""
    made = modules("gate.js", script)
    assert made["made"] == ["fulfilled"] * 3 + ["rejected"] + ["fulfilled"] * 2
    assert made["places"] == made["most"] == 2
