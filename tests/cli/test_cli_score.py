"""`undim score` against the measures themselves, and against `undim evaluate`."""

import json

import numpy as np
import pytest
from PIL import Image

from undim.cli.main import main
from undim.metrics.quality import psnr, ssim


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    """Outputs and references: three pairs, with other suffixes on either side."""
    rng = np.random.default_rng(0)
    for number, suffix in ((10, "png"), (9, "bmp"), (100, "webp")):
        reference = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        noise = rng.normal(0, number, reference.shape)
        save(tmp_path / "ref" / f"{number}.png", reference)
        pixels = np.clip(reference + noise, 0, 255).astype(np.uint8)
        path = tmp_path / "out" / f"{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, lossless=True) if suffix == "webp" else Image.fromarray(pixels).save(path)
    return tmp_path / "out", tmp_path / "ref"


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def refused(arguments, capsys):
    assert main([str(word) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_figures_are_those_of_the_pictures(folders, tmp_path, capsys):
    outputs, references = folders
    assert main(["score", str(outputs), str(references), "-o", str(tmp_path / "results")]) == 0
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    pairs = [(read(next(outputs.glob(f"{name}.*"))), read(references / f"{name}.png")) for name in (9, 10, 100)]
    assert [image["name"] for image in results["images"]] == ["9", "10", "100"]
    assert [image["psnr"] for image in results["images"]] == pytest.approx([psnr(*pair) for pair in pairs])
    assert results["ssim"] == pytest.approx(np.mean([ssim(*pair) for pair in pairs]))
    assert results["worst"] == ["100", "10", "9"]
    sheet = read(tmp_path / "results" / "worst" / "100.png")
    assert np.array_equal(sheet[:, :40], pairs[2][0])
    assert np.array_equal(sheet[:, -40:], pairs[2][1])
    assert results["checkpoint_sha256"] is None
    printed = capsys.readouterr().out
    assert f"PSNR {results['psnr']:.2f} dB, SSIM {results['ssim']:.4f}" in printed
    row = next(line.split() for line in printed.splitlines() if line.startswith("100 "))
    assert row[1:3] == [f"{psnr(*pairs[2]):.2f}", f"{ssim(*pairs[2]):.4f}"]
    assert "100: output \\| reference" in (tmp_path / "results" / "results.md").read_text().replace(" | ", " \\| ")


def test_it_says_what_evaluate_says(gain, folders, tmp_path):
    _, references = folders
    sides = ["--low", str(references), "--high", str(references)]
    arguments = ["evaluate", str(gain), "--data", "folder", *sides, "-o", str(tmp_path / "made"), "--save-images"]
    assert main(arguments) == 0
    assert main(["score", str(tmp_path / "made" / "images"), str(references), "-o", str(tmp_path / "scored")]) == 0
    made, scored = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("made", "scored"))
    assert made.keys() <= scored.keys() | {"device"}
    for key in ("psnr", "ssim", "niqe", "psnr_gt_mean", "brightness_error", "protocol", "worst"):
        assert made[key] == scored[key]


def test_two_files_and_json(folders, capsys):
    outputs, references = folders
    assert main(["score", str(outputs / "9.bmp"), str(references / "10.png"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    expected = psnr(read(outputs / "9.bmp"), read(references / "10.png"))
    assert results["psnr"] == pytest.approx(expected)
    assert len(results["images"]) == 1


def test_equal_pictures_are_infinitely_good(folders, capsys):
    _, references = folders
    assert main(["score", str(references), str(references)]) == 0
    assert "PSNR inf dB, SSIM 1.0000" in capsys.readouterr().out
    assert main(["score", str(references), str(references), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["psnr"] is None
    assert "infinite" in results["images"][0]["notes"][-1]


def test_unfit_folders_are_one_line(folders, tmp_path, capsys):
    outputs, references = folders
    results = tmp_path / "results"
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in refused(["score", tmp_path / "empty", references, "-o", results], capsys)
    assert "There is nothing at" in refused(["score", tmp_path / "absent", references, "-o", results], capsys)
    assert "two files or two folders" in refused(["score", outputs, references / "9.png", "-o", results], capsys)
    save(outputs / "9.png", np.zeros((30, 40, 3), np.uint8))
    assert "9.bmp and 9.png: which one" in refused(["score", outputs, references, "-o", results], capsys)
    (outputs / "9.png").unlink()
    save(outputs / "9.bmp", np.zeros((30, 41, 3), np.uint8))
    error = refused(["score", outputs, references, "-o", results], capsys)
    assert "9.bmp is 41 x 30" in error
    assert "9.png is 40 x 30" in error
    (outputs / "9.bmp").unlink()
    assert f"{outputs} has no partner for 9 (1 pictures" in refused(["score", outputs, references], capsys)
    save(outputs / "7.png", np.zeros((30, 40, 3), np.uint8))
    assert f"{references} has no partner for 7 (2" in refused(["score", outputs, references], capsys)
    assert not results.exists()
