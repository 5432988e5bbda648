"""`undim evaluate` against scores computed here from the pictures it saves."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from undim.cli.main import main
from undim.weights.files import AdrSpec, ModelSpec, save_model


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


def test_results_are_those_of_the_saved_pictures(gain, lol, tmp_path, capsys):
    arguments = ["evaluate", str(gain), "--data", "lol-v1", "--root", str(lol), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--save-images"]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [image["name"] for image in results["images"]] == ["5", "40", "300"]
    values = []
    for image in results["images"]:
        with Image.open(lol / "eval15" / "high" / f"{image['name']}.png") as high:
            reference = np.asarray(high.convert("RGB"))
        with Image.open(lol / "eval15" / "low" / f"{image['name']}.png") as low:
            expected = np.rint(np.asarray(low.convert("RGB")) * 0.5 + 0.41 * 255).astype(np.uint8)
        with Image.open(tmp_path / "out" / f"{image['name']}.png") as saved:
            assert np.array_equal(np.asarray(saved.convert("RGB")), expected)
        values.append(peak_signal_noise_ratio(reference, expected, data_range=255))
        assert image["psnr"] == pytest.approx(values[-1], abs=1e-6)
    assert results["psnr"] == pytest.approx(np.mean(values), abs=1e-6)
    assert results["split"] == "test"
    assert len(results["checkpoint_sha256"]) == 64
    table = (tmp_path / "out" / "results.md").read_text()
    assert f"**{results['psnr']:.2f}**" in table
    assert f"PSNR {results['psnr']:.2f} dB" in capsys.readouterr().out


def test_a_file_of_weights_is_evaluated_with_torch(lol, tmp_path):
    spec = ModelSpec("candela_tiny", adr=AdrSpec(embedding=8))
    save_model(spec, spec.build(), tmp_path / "net.safetensors")
    arguments = ["--data", "lol-v1", "--root", str(lol), "-o", str(tmp_path / "out")]
    assert main(["evaluate", str(tmp_path / "net.safetensors"), *arguments]) == 0
    # An untrained Candela scales the picture to a mean luma of 0.4.
    assert json.loads((tmp_path / "out" / "results.json").read_text())["brightness_error"] < 0.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--split", "dev"], "no split 'dev'"),
        (["--data", "lol-v3"], "Did you mean 'lol-v1'"),
        (["--root", "absent"], "does not hold lol-v1"),
    ],
)
def test_wrong_use_is_one_line(gain, lol, tmp_path, capsys, change, message):
    arguments = ["evaluate", str(gain), "--data", "lol-v1", "--root", str(lol), "-o", str(tmp_path / "out"), *change]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unwritable_folder_is_one_line(gain, lol, tmp_path, capsys):
    (tmp_path / "file").touch()
    arguments = ["evaluate", str(gain), "--data", "lol-v1", "--root", str(lol), "-o", str(tmp_path / "file" / "out")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("undim: error: ")
    assert error.count("\n") == 1
