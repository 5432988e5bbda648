"""`undim compare`: its figures against ones computed here, its page read as a browser would, and what goes on after
failures."""

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from tiny_models import save_gain, save_unary
from undim.cli.main import main
from undim.results.comparison import ComparisonDocument

CODE = """
import os
import signal

import numpy as np
import torch


class Heavy(torch.nn.Module):
    def forward(self, image):
        if image.shape[-1] == 90:
            os.kill(os.getpid(), signal.SIGKILL)
        held = np.ones(400_000_000, np.uint8)
        print("not an answer")
        return image * float(held[-1])
"""


def save(path, size, seed):
    pixels = np.random.default_rng(seed).integers(0, 60, (*size, 3), np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


class Page(HTMLParser):
    """What stands in a page, section by section."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sections = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.sections.append([])
        elif self.sections:
            self.sections[-1].append((tag, dict(attrs)))

    def of(self, section, tag):
        return [attrs for name, attrs in self.sections[section] if name == tag]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One comparison of four models, two of them with faults, on four pictures, one of them broken."""
    folder = tmp_path_factory.mktemp("compare")
    pixels = {
        "a": save(folder / "in" / "a.png", (48, 64), 0),
        "b&c": save(folder / "in" / "b&c.png", (40, 90), 1),
        "d": save(folder / "in" / "d.png", (20, 30), 2),
    }
    (folder / "in" / "broken.png").write_bytes(b"no picture")
    wanted = save(folder / "ref" / "a.bmp", (48, 64), 3) + 100
    Image.fromarray(wanted).save(folder / "ref" / "a.bmp")
    save(folder / "ref" / "d.png", (20, 31), 4)
    save_gain(folder / "gain.onnx")
    (folder / "damaged.onnx").write_bytes(b"no model")
    (folder / "compared_heavy.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        models = "gain.onnx,damaged.onnx,compared_heavy:Heavy"
        words = ["compare", "in", "-o", "out", "--references", "ref", "--models", models, "--threads", "1"]
        status = main(words)
    return folder, status, pixels, wanted, ComparisonDocument.read(folder / "out" / "compare.json")


@pytest.mark.slow
def test_outputs_are_the_models_own(compared):
    folder, status, pixels, _, _ = compared
    assert status == 1
    for name, before in pixels.items():
        after = np.asarray(Image.open(folder / "out" / "images" / "gain" / f"{name}.png"))
        np.testing.assert_array_equal(after, np.round(255 * np.clip(0.5 * (before / 255) + 0.41, 0, 1)))


@pytest.mark.slow
def test_scores_are_those_of_the_saved_pictures_against_the_references(compared):
    folder, _, _, wanted, document = compared
    for one in document.outputs:
        if one.picture == "a" and one.output is not None:
            output = np.asarray(Image.open(folder / "out" / one.output))
            assert one.scores.psnr == pytest.approx(peak_signal_noise_ratio(wanted, output), abs=1e-6)
            assert one.seconds > 0
    gain = document.models[0]
    assert gain.psnr == pytest.approx(next(one.scores.psnr for one in document.outputs if one.picture == "a"))
    # d has a reference of another size, and b&c has none: no scores against one, but all else.
    others = [one for one in document.outputs if one.picture in ("b&c", "d") and one.model == "gain"]
    assert [(one.scores.psnr, one.scores.luma_output is not None) for one in others] == [(None, True)] * 2


def test_each_failure_is_named_and_all_else_is_finished(compared):
    _, _, _, _, document = compared
    pictures = {one.name: one for one in document.pictures}
    assert "not a picture" in pictures["broken"].failure
    assert "31 x 20" in pictures["d"].failure
    gain, damaged, heavy = document.models
    assert (gain.pictures, damaged.pictures, heavy.pictures) == (3, 0, 2)
    assert "not a model" in damaged.failure
    killed = [one.picture for one in document.outputs if one.failure and "signal 9" in one.failure]
    assert killed == ["b&c"]
    assert {one.failure for one in document.outputs if one.model == damaged.name} == {damaged.failure}


def test_memory_is_of_each_model_alone(compared):
    gain, _, heavy = compared[4].models
    assert gain.peak_memory > 20e6
    assert heavy.peak_memory > gain.peak_memory
    assert heavy.peak_memory > 400e6


def test_the_page_needs_nothing_but_itself_and_can_be_used_without_a_mouse(compared):
    folder, _, pixels, _, document = compared
    page = Page((folder / "out" / "compare.html").read_text(encoding="utf-8"))
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe")
        assert attrs.get("src", "data:image/").startswith("data:image/")
    assert ("meta", "default-src 'none'") in [(t, a.get("content", "").partition(";")[0]) for t, a in page.tags]
    assert len(page.sections) == len(document.pictures)
    for place, picture in enumerate(document.pictures):
        images = {one["data-name"]: one for one in page.of(place, "img")}
        if picture.width is None:
            assert not images
            continue
        made = [one.model for one in document.outputs if one.picture == picture.name and one.output]
        assert list(images) == ["input", *made, *(["reference"] if picture.reference else [])]
        [slider] = page.of(place, "input")
        assert slider["type"] == "range"
        assert picture.name in slider["aria-label"]
        assert len(page.of(place, "select")) == 2
        assert len(page.of(place, "option")) == 2 * len(images)
        shown = Image.open(io.BytesIO(base64.b64decode(images["gain"]["src"].partition(",")[2])))
        assert shown.size == pixels[picture.name].shape[1::-1]
        mean = np.asarray(shown.convert("RGB")).mean()
        assert mean == pytest.approx(0.5 * pixels[picture.name].mean() + 0.41 * 255, abs=2)


def test_the_sheet_has_a_column_for_each_model(compared):
    sheet = Image.open(compared[0] / "out" / "sheet.webp")
    assert sheet.width == pytest.approx(5 * 364 - 4)
    # The first row shows the picture a, which is dark, beside what gain made of it.
    dark, light = (np.asarray(sheet.convert("RGB"))[30:200, left : left + 300].mean() for left in (20, 384))
    assert light > dark + 60


def test_no_two_pictures_or_models_take_one_name(tmp_path, monkeypatch, capsys):
    for folder in ("x", "y"):
        save(tmp_path / folder / "p.png", (24, 24), 0)
        save_gain(tmp_path / folder / "same.onnx")
    monkeypatch.chdir(tmp_path)
    words = ["compare", "x/p.png", "y/p.png", "-o", "out", "--models", "x/same.onnx, y/same.onnx"]
    assert main(words) == 0
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [one["name"] for one in document["models"]] == ["same", "same-2"]
    assert len({one["output"] for one in document["outputs"]}) == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["in", "--models", "phto"], "Did you mean 'photo'?"),
        (["in", "--models", ","], "name at least one"),
        (["in", "--models", "gain.onnx,gain.onnx"], "stands there twice"),
        (["in", "--models", "gain.onnx", "--references", "none"], "References are a folder"),
        (["in", "--models", "gain.onnx", "--references", "other"], "no reference of any picture"),
        (["in", "--models", "gain.onnx", "--threads", "0"], "(--threads)"),
        (["absent", "--models", "gain.onnx"], "absent"),
        (["-", "--models", "gain.onnx"], "standard input"),
        (["in", "--models", "weights.pth"], "undim convert"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(words, told, tmp_path, monkeypatch, capsys):
    save(tmp_path / "in" / "a.png", (16, 16), 0)
    save(tmp_path / "other" / "b.png", (16, 16), 0)
    save_unary(tmp_path / "gain.onnx", "Sqrt")
    (tmp_path / "weights.pth").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words, "-o", "out"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]
    assert not (tmp_path / "out").exists()
