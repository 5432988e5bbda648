"""The models in the package: small, described, the same in both files, and as good as their card says."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from undim import Enhancer
from undim.data.reading import read_rgb
from undim.data.sets import find_pairs, find_pictures
from undim.luma import REC601
from undim.metrics.networks import network_enhancer, to_tensor
from undim.metrics.protocol import score
from undim.metrics.quality import psnr, ssim
from undim.nets.candela import TARGET_LUMA
from undim.nets.pog import PogKernel
from undim.nets.thumbnail import make_thumbnail
from undim.shipped import MODELS_FOLDER, list_shipped_models
from undim.weights.files import load_model, read_spec

FLOORS = {"photo": (21.9, 0.82), "lol": (22.4, 0.83), "tiny": (20.7, 0.79)}
"""PSNR in dB and SSIM on eval15 that each model must reach."""
MIXED_FLOORS = {
    ("photo", "sice-mixed-half"): (23.3, 0.872, 0.33),
    ("photo", "sice-mixed-dark"): (21.7, 0.78, 0.42),
    ("tiny", "sice-mixed-half"): (22.3, 0.86, 0.35),
    ("tiny", "sice-mixed-dark"): (21.5, 0.765, 0.4),
}
"""By model and set: PSNR in dB and SSIM on the test split that it must reach, and the greatest error in the darkest
third."""
EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT = Path(os.environ.get("UNDIM_DATA", "")) / "lol_v1"


def load_example(name):
    """H x W x 3, 8 bit."""
    with Image.open(EXAMPLES / name) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("name", list_shipped_models())
def test_files_are_small_and_described(name):
    assert name in FLOORS
    files = [MODELS_FOLDER / f"{name}.{suffix}" for suffix in ("onnx", "safetensors", "md")]
    assert sum(path.stat().st_size for path in files) < 8e6
    card = files[2].read_text()
    for word in ("our485", "seed", "steps", "Licence", "Protocol", "brightness error"):
        assert word in card
    notes = read_spec(files[1]).notes
    assert re.search(rf"\b{notes['steps'].split()[0]}\b", card)


@pytest.mark.parametrize("name", list_shipped_models())
def test_each_has_adr_with_pog(name):
    model = load_model(MODELS_FOLDER / f"{name}.safetensors")
    sites = [site for site in model.attention_sites() if site.module.adr is not None]
    assert sites
    assert all(isinstance(site.module.adr.p1, PogKernel) for site in sites)
    assert {site.stage.part for site in sites} == {"decoder"}
    # Trained: the second kernels, which start at zero, do something.
    assert all(site.module.adr.p2.m2.weight.abs().max() > 0 for site in sites)


@pytest.mark.parametrize("name", ["photo", "tiny"])
def test_the_whole_picture_is_seen(name):
    """Its branch once was silent for every picture: the network knew the mean of the whole and no more."""
    pictures = [load_example("cat.png"), load_example("cat.png") // 3, load_example("coffee.png")]
    thumbnails = torch.cat([make_thumbnail(to_tensor(pixels)) for pixels in pictures])
    model = load_model(MODELS_FOLDER / f"{name}.safetensors").eval()
    assert not model.sees_nothing(thumbnails)
    luma = model.luma(thumbnails).mean((2, 3), keepdim=True)
    with torch.no_grad():
        gains, _, _ = model.whole(thumbnails, TARGET_LUMA / luma)
    assert gains.std(0).mean() > 0.005  # natural logarithm of the colours' gains


def test_all_together_stay_below_the_limit():
    assert sum(path.stat().st_size for path in MODELS_FOLDER.iterdir()) < 20e6


def test_tiny_is_tiny():
    model = load_model(MODELS_FOLDER / "tiny.safetensors")
    assert sum(parameter.numel() for parameter in model.parameters()) <= 100_000


@pytest.mark.parametrize("name", list_shipped_models())
def test_onnx_and_safetensors_are_the_same_network(name):
    enhance = network_enhancer(load_model(MODELS_FOLDER / f"{name}.safetensors"))
    pixels = load_example("cat.png")[:217, :331]
    difference = np.abs(enhance(pixels).astype(int) - Enhancer(name)(pixels))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "tiny" else pytest.mark.slow) for name in list_shipped_models()]
)
@pytest.mark.skipif(
    not os.environ.get("UNDIM_DATA") or not ROOT.is_dir(),
    reason="needs LOL-v1: set UNDIM_DATA to the folder with lol_v1/",
)
def test_scores_on_eval15_are_those_of_the_card(name):
    pairs = find_pairs("lol-v1", "test", ROOT)
    scores = score(Enhancer(name), ((pair.name, read_rgb(pair.low), read_rgb(pair.high)) for pair in pairs))
    assert scores.psnr >= FLOORS[name][0]
    assert scores.ssim >= FLOORS[name][1]
    row = re.search(r"\| eval15[^|]*\|([^\n]*)\|", (MODELS_FOLDER / f"{name}.md").read_text())
    psnr, ssim, gt_mean, brightness = (float(cell) for cell in row[1].split("|"))
    assert psnr == pytest.approx(scores.psnr, abs=0.006)
    assert ssim == pytest.approx(scores.ssim, abs=6e-4)
    assert gt_mean == pytest.approx(scores.psnr_gt_mean, abs=0.006)
    assert brightness == pytest.approx(scores.brightness_error, abs=6e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "data"), MIXED_FLOORS)
def test_scores_on_half_lit_and_dark_scenes(name, data):
    if not os.environ.get("UNDIM_DATA") or not ROOT.with_name("sice_mixed").is_dir():
        pytest.skip("needs the mixed SICE scenes: set UNDIM_DATA to the folder with sice_mixed/")
    enhance, scores, errors = Enhancer(name), [], []
    for pair in find_pairs(data, "test"):
        low, high = read_rgb(pair.low), read_rgb(pair.high)
        output = enhance(low)
        light = low @ np.array(REC601)
        dark = light <= np.quantile(light, 1 / 3)
        means = [(picture @ np.array(REC601))[dark].mean() + 1 for picture in (output, high)]
        errors.append(np.log(means[0] / means[1]))
        scores.append((psnr(output, high), ssim(output, high)))
    floors = MIXED_FLOORS[name, data]
    assert np.mean(scores, axis=0)[0] >= floors[0]
    assert np.mean(scores, axis=0)[1] >= floors[1]
    assert np.sqrt(np.square(errors).mean()) <= floors[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["photo", "tiny"])
def test_well_lit_pictures_are_kept(name):
    if not os.environ.get("UNDIM_DATA") or not ROOT.with_name("sice512").is_dir():
        pytest.skip("needs the SICE pairs: set UNDIM_DATA to the folder with sice512/")
    enhance = Enhancer(name)
    kept = [psnr(enhance(lit), lit) for lit in (read_rgb(pair.high) for pair in find_pairs("sice", "test"))]
    assert np.mean(kept) >= (49 if name == "photo" else 43.5)
    assert np.mean(np.array(kept) < 24) <= (0.1 if name == "photo" else 0.075)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["dicm", "mef"])
def test_the_default_burns_out_nothing_on_unevenly_lit_pictures(data):
    if not os.environ.get("UNDIM_DATA"):
        pytest.skip("needs DICM and MEF: set UNDIM_DATA to the folder with unpaired/")
    enhance = Enhancer()
    growth = []
    for path in find_pictures(data):
        dark = read_rgb(path)
        growth.append(np.mean(enhance(dark).max(2) >= 250) - np.mean(dark.max(2) >= 250))
    assert len(growth) > 10
    assert np.mean(growth) <= 0.003
    assert max(growth) <= 0.02


def test_input_alone_scores_as_published():
    """The untouched eval15 input has 7.773 dB: the protocol reads the files as others do."""
    if not ROOT.is_dir() or not os.environ.get("UNDIM_DATA"):
        pytest.skip("needs LOL-v1: set UNDIM_DATA to the folder with lol_v1/")
    pairs = find_pairs("lol-v1", "test", ROOT)
    scores = score(lambda low: low, ((pair.name, read_rgb(pair.low), read_rgb(pair.high)) for pair in pairs))
    assert scores.psnr == pytest.approx(7.773, abs=5e-4)
