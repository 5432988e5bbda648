"""The measures against literal transcriptions of their definitions."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from undim.errors import ShapeError
from undim.metrics.networks import network_enhancer
from undim.metrics.protocol import score
from undim.metrics.quality import log_brightness_ratio, mean_luma, psnr, psnr_gt_mean, ssim
from undim.training.losses import ssim_index


def pictures(seed=0, shape=(40, 56, 3)):
    rng = np.random.default_rng(seed)
    reference = np.clip(gaussian_filter(rng.random(shape), (2, 2, 0)) * 900 - 330, 0, 255).astype(np.uint8)
    output = np.clip(reference * 0.8 + rng.normal(0, 6, shape), 0, 255).astype(np.uint8)
    return output, reference


def test_psnr_is_ten_log_of_peak_over_mse():
    output, reference = pictures()
    mse = np.mean((output.astype(float) - reference) ** 2)
    assert psnr(output, reference) == pytest.approx(10 * math.log10(255**2 / mse), abs=1e-9)
    assert psnr(reference, reference) == math.inf


def gaussian_ssim(x, y):
    """Wang et al. 2004, equation 13, one channel; the window is cut at radius 5 and borders are left out."""
    x, y = x.astype(float), y.astype(float)

    def blur(values):
        return gaussian_filter(values, 1.5, truncate=3.5, mode="reflect")

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return values[5:-5, 5:-5].mean()


def test_ssim_equals_its_definition():
    output, reference = pictures()
    expected = np.mean([gaussian_ssim(output[..., c], reference[..., c]) for c in range(3)])
    assert ssim(output, reference) == pytest.approx(expected, abs=1e-6)
    assert ssim(reference, reference) == pytest.approx(1)


def test_the_loss_is_the_same_ssim():
    output, reference = pictures()
    tensors = [torch.from_numpy(p / 255.0).permute(2, 0, 1)[None] for p in (output, reference)]
    assert ssim_index(*tensors).item() == pytest.approx(ssim(output, reference), abs=1e-6)


def test_brightness_and_gt_mean():
    _, reference = pictures()
    half = np.round(reference * 0.5).astype(np.uint8)
    assert mean_luma(np.full((4, 4, 3), 51, np.uint8)) == pytest.approx(0.2)
    assert log_brightness_ratio(half, reference) == pytest.approx(math.log(0.5), abs=0.02)
    assert psnr_gt_mean(half, reference) > psnr(half, reference) + 15
    black = np.zeros_like(reference)
    assert math.isfinite(log_brightness_ratio(black, reference))


def test_gt_mean_clips_after_scaling():
    reference = np.full((12, 12, 3), 200, np.uint8)
    output = np.zeros((12, 12, 3), np.uint8)
    output[:6] = 180  # scaled by 200/90, the bright half leaves the range
    scaled = np.clip(output / 255 * (200 / 90), 0, 1)
    expected = 10 * math.log10(1 / np.mean((scaled - 200 / 255) ** 2))
    assert psnr_gt_mean(output, reference) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("measure", [psnr, ssim, psnr_gt_mean, log_brightness_ratio])
def test_sizes_and_types_are_checked(measure):
    _, reference = pictures()
    with pytest.raises(ShapeError, match="differ in size"):
        measure(reference[:-1], reference)
    with pytest.raises(ShapeError, match="8 bit"):
        measure(reference / 255, reference / 255)


def test_scores_average_pictures():
    output, reference = pictures()
    other, target = pictures(1)
    scores = score(lambda low: low, [("a", output, reference), ("b", other, target)])
    assert scores.psnr == pytest.approx((psnr(output, reference) + psnr(other, target)) / 2)
    assert scores.ssim == pytest.approx((ssim(output, reference) + ssim(other, target)) / 2)
    ratios = [log_brightness_ratio(output, reference), log_brightness_ratio(other, target)]
    assert scores.brightness_error == pytest.approx(math.sqrt(sum(r * r for r in ratios) / 2))
    assert [image["name"] for image in scores.as_dict()["images"]] == ["a", "b"]


def test_networks_are_clamped_and_rounded():
    class Shift(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.offset = torch.nn.Parameter(torch.tensor(0.103))

        def forward(self, image):
            return image + self.offset

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    expected = np.rint(np.clip(pixels / 255 + 0.103, 0, 1) * 255).astype(np.uint8)
    assert np.abs(network_enhancer(Shift())(pixels).astype(int) - expected).max() == 0
