"""`undim evaluate` against scores computed here from the pictures it saves."""

import hashlib
import itertools
import json

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio

from tiny_models import save_unary
from undim.cli.main import main
from undim.metrics.niqe import niqe
from undim.shipped import DEFAULT_MODEL, MODELS_FOLDER
from undim.weights.files import AdrSpec, ModelSpec, save_model

NUMBERS = itertools.count()
CODE = """
import torch


class Shift(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor([0.103]))

    def forward(self, image):
        return image + self.offset


class Picky(Shift):
    def forward(self, image):
        if image.shape[-1] % 32:
            raise RuntimeError(f"no sides of {image.shape[-1]}")
        return super().forward(image)


class Unsound(Shift):
    def forward(self, image):
        return image / 0


class Listed(Shift):
    def forward(self, image):
        return [image]
"""


@pytest.fixture
def lol(tmp_path):
    """Three test pairs in LOL-v1's layout, one of them grey."""
    rng = np.random.default_rng(0)
    for folder, names in (("our485", ["1"]), ("eval15", ["5", "40", "300"])):
        for name in names:
            high = rng.integers(40, 256, (5, 6, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
            for side, pixels in (("low", high // 5), ("high", high)):
                target = tmp_path / "lol" / folder / side / f"{name}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels[..., 0] if name == "300" else pixels).save(target)
    return tmp_path / "lol"


@pytest.fixture
def dark(tmp_path):
    """Three dark pictures with texture, one too small for NIQE; two share a stem."""
    folder = tmp_path / "dark"
    folder.mkdir()
    for seed, (name, size) in enumerate({"2.png": (100, 200), "10.png": (96, 192), "10.bmp": (50, 60)}.items()):
        noise = np.random.default_rng(seed).normal(size=(*size, 3))
        pixels = np.clip(110 + 250 * gaussian_filter(noise, (1, 1, 0)), 0, 200).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of networks in the current directory; gives its name."""
    name = f"evaluated_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def run(model, lol, output, *options):
    """The results of a run that must succeed."""
    arguments = ["evaluate", str(model), "--data", "lol-v1", "--root", str(lol), "-o", str(output)]
    assert main([*arguments, *options]) == 0
    return json.loads((output / "results.json").read_text())


def refused(arguments, capsys):
    """The one line that a command ends with."""
    assert main([str(word) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("undim: error: ")
    assert error.count("\n") == 1
    return error


def test_results_are_those_of_the_saved_pictures(gain, lol, tmp_path, capsys):
    results = run(gain, lol, tmp_path / "out", "--save-images")
    assert [image["name"] for image in results["images"]] == ["5", "40", "300"]
    values = []
    for image in results["images"]:
        reference = read(lol / "eval15" / "high" / f"{image['name']}.png")
        low = read(lol / "eval15" / "low" / f"{image['name']}.png")
        expected = np.rint(low * 0.5 + 0.41 * 255).astype(np.uint8)
        assert np.array_equal(read(tmp_path / "out" / "images" / f"{image['name']}.png"), expected)
        values.append(peak_signal_noise_ratio(reference, expected, data_range=255))
        assert image["psnr"] == pytest.approx(values[-1], abs=1e-6)
        assert image["luma_input"] == pytest.approx((low @ [0.299, 0.587, 0.114]).mean() / 255)
        assert "two blocks" in image["notes"][0]
    assert results["psnr"] == pytest.approx(np.mean(values), abs=1e-6)
    assert results["niqe"] is None
    assert (results["data"], results["split"], results["seed"]) == ("lol-v1", "test", None)
    assert results["checkpoint_sha256"] == hashlib.sha256(gain.read_bytes()).hexdigest()
    assert set(results["versions"]) > {"undim", "numpy", "scikit-image", "onnxruntime"}
    table = (tmp_path / "out" / "results.md").read_text()
    assert f"**{results['psnr']:.2f}**" in table
    never = next(line for line in table.splitlines() if line.startswith("Never headline figures"))
    assert "PSNR at matched mean" in never
    assert "ln brightness ratio" in never
    assert "PSNR, dB" not in never
    assert "SSIM" not in never
    bold = [line for line in table.splitlines() if line.startswith("**")]
    assert bold == [f"**PSNR {results['psnr']:.2f} dB, SSIM {results['ssim']:.4f}**"]
    assert f"{bold[0].strip('*')} (GT-mean PSNR {results['psnr_gt_mean']:.2f} dB" in capsys.readouterr().out


def test_the_worst_pictures_are_shown_side_by_side(gain, lol, tmp_path):
    results = run(gain, lol, tmp_path / "out", "--worst", "2")
    ordered = sorted(results["images"], key=lambda image: image["psnr"])
    assert results["worst"] == [image["name"] for image in ordered[:2]]
    assert {path.stem for path in (tmp_path / "out" / "worst").iterdir()} == set(results["worst"])
    name = results["worst"][0]
    low, high = (read(lol / "eval15" / side / f"{name}.png") for side in ("low", "high"))
    sheet = read(tmp_path / "out" / "worst" / f"{name}.png")
    assert sheet.shape == (40, 3 * 48 + 2 * 8, 3)
    assert np.array_equal(sheet[:, :48], low)
    assert np.array_equal(sheet[:, 56:104], np.rint(low * 0.5 + 0.41 * 255).astype(np.uint8))
    assert np.array_equal(sheet[:, 112:], high)
    text = (tmp_path / "out" / "results.md").read_text()
    assert f"{name}: input | output | reference" in text
    assert f"(worst/{name}.png)" in text
    assert not (tmp_path / "out" / "images").exists()
    run(gain, lol, tmp_path / "none", "--worst", "0")
    assert not (tmp_path / "none" / "worst").exists()


def save_net(path, **notes):
    spec = ModelSpec("candela_tiny", adr=AdrSpec(embedding=8), notes=notes)
    save_model(spec, spec.build(), path)


def test_a_file_of_weights_is_evaluated_with_torch(lol, tmp_path):
    save_net(tmp_path / "net.safetensors", steps="4300 of batch 8, crops of 128", seed="7", data="lol-v1, split train")
    results = run(tmp_path / "net.safetensors", lol, tmp_path / "out")
    # An untrained Candela scales the picture to a mean luma of 0.4.
    assert results["brightness_error"] < 0.6
    assert (results["iterations"], results["seed"]) == (4300, 7)
    assert "torch" in results["versions"]
    assert results["notes"] == []


def test_of_a_run_the_best_weights_are_taken(lol, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    error = refused(["evaluate", folder, "--data", "lol-v1", "--root", lol, "-o", tmp_path / "out"], capsys)
    assert "neither best.safetensors nor average.safetensors" in error
    for name in ("average", "best"):
        save_net(folder / f"{name}.safetensors", iterations="12")
        results = run(folder, lol, tmp_path / "out")
        assert results["checkpoint"] == f"{name}.safetensors"
        assert results["iterations"] == 12
        assert f"{name}.safetensors is measured" in capsys.readouterr().err


def test_training_on_the_other_lol_is_told(tmp_path):
    save_net(tmp_path / "net.safetensors", data="lol-v1, split train")
    for side in ("Low", "Normal"):
        target = tmp_path / "real" / "Test" / side / f"{side.lower()}00690.png"
        target.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(target)
    arguments = ["--data", "lol-v2-real", "--root", str(tmp_path / "real"), "-o", str(tmp_path / "out")]
    assert main(["evaluate", str(tmp_path / "net.safetensors"), *arguments]) == 0
    assert "LOL-v2-real" in json.loads((tmp_path / "out" / "results.json").read_text())["notes"][0]
    assert "## Notes" in (tmp_path / "out" / "results.md").read_text()


def test_training_on_the_measured_split_is_told(lol, tmp_path):
    for learnt, told in (("train + val", False), ("train + val + test", True), ("test", True)):
        save_net(tmp_path / f"{learnt}.safetensors", data=f"sice, split train, lol-v1, split {learnt}")
        results = run(tmp_path / f"{learnt}.safetensors", lol, tmp_path / learnt)
        assert results["split"] == "test"
        assert any("was trained on test of lol-v1" in note for note in results["notes"]) is told


def test_a_shipped_model_knows_its_training(lol, tmp_path):
    results = run(DEFAULT_MODEL, lol, tmp_path / "out")
    assert results["iterations"] > 0
    file = MODELS_FOLDER / f"{DEFAULT_MODEL}.onnx"
    assert results["checkpoint_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_factory_is_evaluated(module, lol, tmp_path):
    results = run(f"{module}:Shift", lol, tmp_path / "out", "--save-images", "--device", "cpu")
    expected = np.rint(np.clip(read(lol / "eval15" / "low" / "5.png") / 255 + 0.103, 0, 1) * 255)
    assert np.abs(read(tmp_path / "out" / "images" / "5.png") - expected).max() == 0
    assert results["checkpoint_sha256"] is None
    assert "checkpoint_sha256 is null" in results["notes"][0]


def test_a_factorys_weights_are_loaded_and_named(module, lol, tmp_path):
    import torch

    torch.save({"offset": torch.tensor([0.5])}, tmp_path / "net.pth")
    results = run(f"{module}:Shift", lol, tmp_path / "out", "--save-images", "--weights", str(tmp_path / "net.pth"))
    expected = np.rint(np.clip(read(lol / "eval15" / "low" / "5.png") / 255 + 0.5, 0, 1) * 255)
    assert np.abs(read(tmp_path / "out" / "images" / "5.png") - expected).max() <= 1  # 127.5 is rounded either way
    assert results["checkpoint_sha256"] == hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()


def test_a_factorys_failure_is_one_line_and_padding_mends_it(module, lol, tmp_path, capsys):
    arguments = ["evaluate", f"{module}:Picky", "--data", "lol-v1", "--root", lol, "-o", tmp_path / "out"]
    error = refused(arguments, capsys)
    assert f"{module}:Picky failed on a picture of 48 x 40: RuntimeError: no sides of 48 ({module}.py, line" in error
    assert not list((tmp_path / "out").iterdir())
    run(f"{module}:Picky", lol, tmp_path / "out", "--multiple-of", "32")


def test_values_that_are_not_finite_name_the_picture(module, lol, tmp_path, capsys):
    picture = lol / "eval15" / "low" / "5.png"
    arguments = ["--data", "lol-v1", "--root", lol, "-o", tmp_path / "out"]
    error = refused(["evaluate", f"{module}:Unsound", *arguments], capsys)
    assert f"{picture}: The network returned values that are not finite." in error
    error = refused(["evaluate", f"{module}:Listed", *arguments], capsys)
    assert f"{picture}: The network returned list" in error
    pixels = read(picture).copy()
    pixels[0, 0] = 0
    Image.fromarray(pixels).save(picture)
    error = refused(["evaluate", save_unary(tmp_path / "log.onnx", "Log"), *arguments], capsys)
    assert f"{picture} could not be enhanced: the network returned values that are not finite." in error


def test_sets_without_references_have_niqe_and_clipping(gain, dark, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["evaluate", str(gain), "--data", "folder", "--low", str(dark), "-o", str(output), "--save-images"]
    assert main(arguments) == 0
    results = json.loads((output / "results.json").read_text())
    names = [image["name"] for image in results["images"]]
    assert names == ["2", "10.bmp", "10.png"]
    for key in ("psnr", "ssim", "psnr_gt_mean", "brightness_error", "split"):
        assert results[key] is None
    large = {name: niqe(read(output / "images" / f"{name}.png")) for name in ("2", "10.png")}
    assert results["niqe"] == pytest.approx(np.mean(list(large.values())))
    assert results["images"][1]["niqe"] is None
    assert results["worst"] == sorted(large, key=large.get, reverse=True)
    growth = [
        100
        * np.mean(
            (read(output / "images" / f"{image['name']}.png") >= 250).any(2).astype(float)
            - (read(next(dark.glob(f"{image['name']}*"))) >= 250).any(2)
        )
        for image in results["images"]
    ]
    assert results["clipped_growth"] == pytest.approx(
        {"mean": np.mean(growth), "worst": max(growth), "p90": np.percentile(growth, 90)}
    )
    assert read(output / "worst" / "2.png").shape == (100, 2 * 200 + 8, 3)
    text = (output / "results.md").read_text()
    assert "2: input | output\n" in text
    assert "PSNR" not in text.replace("lowest PSNR", "")
    assert "**" not in text.replace("**all**", "")
    assert "NIQE" in capsys.readouterr().out


def test_growth_of_clipping_is_counted(dark, tmp_path):
    model = save_unary(tmp_path / "sqrt.onnx", "Sqrt")  # 241 to 255 of 255 come from 228 and above
    Image.fromarray(np.full((100, 200, 3), 245, np.uint8)).save(dark / "bright.png")
    arguments = ["evaluate", str(model), "--data", "folder", "--low", str(dark), "-o", str(tmp_path / "out")]
    assert main(arguments) == 0
    images = json.loads((tmp_path / "out" / "results.json").read_text())["images"]
    assert {image["name"]: image["clipped_growth"] for image in images}["bright"] == 100


def test_named_sets_without_references_are_found(gain, dark, tmp_path):
    (dark / "10.bmp").unlink()
    arguments = ["evaluate", str(gain), "--data", "dicm", "--root", str(dark), "-o", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["data"] == "dicm"


def test_two_folders_are_a_set(gain, lol, tmp_path):
    sides = ["--low", str(lol / "eval15" / "low"), "--high", str(lol / "eval15" / "high")]
    assert main(["evaluate", str(gain), "--data", "folder", *sides, "-o", str(tmp_path / "out")]) == 0
    same = run(gain, lol, tmp_path / "named")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["psnr"] == same["psnr"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--split", "dev"], "no split 'dev'"),
        (["--data", "lol-v3"], "Did you mean 'lol-v"),
        (["--root", "absent"], "does not hold lol-v1"),
        (["--data", "dicm", "--split", "test"], "--split is for sets with references"),
        (["--data", "dicm", "--low", "x"], "--low and --high belong to --data folder"),
        (["--data", "folder"], "--low DIR --high DIR"),
        (["--data", "folder", "--low", "absent"], "absent is not a folder"),
        (["--device", "gpu"], "no device 'gpu'"),
        (["--device", "cuda"], "CUDA|give a .safetensors file"),
        (["--weights", "net.pth"], "belong to package.module:factory"),
        (["--worst", "-1"], "--worst is -1"),
    ],
)
def test_wrong_use_is_one_line(gain, lol, tmp_path, capsys, change, message):
    arguments = ["evaluate", gain, "--data", "lol-v1", "--root", lol, "-o", tmp_path / "out", *change]
    error = refused(arguments, capsys)
    assert any(part in error for part in message.split("|"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no_such_module_anywhere:make", "There is no module 'no_such_module_anywhere'"),
        ("net.pth", "run undim convert first"),
        ("foto", "Did you mean 'photo'"),
    ],
)
def test_wrong_models_are_one_line(model, message, lol, tmp_path, capsys):
    error = refused(["evaluate", model, "--data", "lol-v1", "--root", lol, "-o", tmp_path / "out"], capsys)
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("side", "content", "message"),
    [
        ("low", b"\x89PNG\r\n\x1a\nand no more", "is damaged"),
        ("high", b"no picture", "is not a picture"),
        ("high", (20, 20), "must be of one size"),
        ("both", (10, 30), "SSIM needs 11 pixels"),
    ],
)
def test_pictures_that_cannot_be_used_are_told_before_any_work(side, content, message, gain, lol, tmp_path, capsys):
    for folder in ("low", "high") if side == "both" else (side,):
        path = lol / "eval15" / folder / "300.png"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.new("RGB", content[::-1]).save(path)
    arguments = ["evaluate", gain, "--data", "lol-v1", "--root", lol, "-o", tmp_path / "out", "--save-images"]
    error = refused(arguments, capsys)
    assert message in error
    assert "300.png" in error
    assert not (tmp_path / "out").exists()


def test_unwritable_folder_is_one_line(gain, lol, tmp_path, capsys):
    (tmp_path / "file").touch()
    error = refused(["evaluate", gain, "--data", "lol-v1", "--root", lol, "-o", tmp_path / "file" / "out"], capsys)
    assert str(tmp_path / "file") in error


def test_a_model_that_is_not_there_names_all_that_are_taken(lol, tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "none"), "--data", "lol-v1", "--root", str(lol), "-o", str(tmp_path)]) == 2
    assert "an .onnx or Undim .safetensors file, the folder of a training run" in capsys.readouterr().err
