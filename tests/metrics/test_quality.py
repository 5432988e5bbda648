"""The measures against literal transcriptions of their definitions."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from undim.errors import ModelError, ShapeError
from undim.metrics.evaluation import Evaluation
from undim.metrics.networks import network_enhancer
from undim.metrics.protocol import Scores, measure, score
from undim.metrics.quality import (
    CLIPPED,
    clipped_share,
    log_brightness_ratio,
    mean_luma,
    psnr,
    psnr_gt_mean,
    ssim,
)
from undim.metrics.report import make_document
from undim.results.scores import ScoredSubject
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


def document_of(scores):
    return make_document(ScoredSubject(), Evaluation(scores, ()))


def test_scores_average_pictures():
    output, reference = pictures()
    other, target = pictures(1)
    scores = score(lambda low: low, [("a", output, reference), ("b", other, target)])
    assert scores.psnr == pytest.approx((psnr(output, reference) + psnr(other, target)) / 2)
    assert scores.ssim == pytest.approx((ssim(output, reference) + ssim(other, target)) / 2)
    ratios = [log_brightness_ratio(output, reference), log_brightness_ratio(other, target)]
    assert scores.brightness_error == pytest.approx(math.sqrt(sum(r * r for r in ratios) / 2))
    assert [image.name for image in document_of(scores).images] == ["a", "b"]


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


def test_a_pixel_is_clipped_if_any_channel_is():
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[0, 0] = 255
    picture[1, 1, 2] = CLIPPED
    picture[2, 2] = CLIPPED - 1
    assert clipped_share(picture) == pytest.approx(10)


def test_growth_of_clipped_pixels_is_told_by_mean_worst_and_percentile():
    dark = np.zeros((10, 10, 3), np.uint8)
    rows = [*range(10), 10]
    images = []
    for number in rows:
        output = dark.copy()
        output[:number] = 255
        images.append(measure(str(number), output, low=dark))
    growth = Scores(tuple(images)).clipped_growth
    assert growth.worst == 100
    assert growth.mean == pytest.approx(np.mean(rows) * 10)
    assert growth.p90 == pytest.approx(90)
    assert measure("kept", output, low=output).clipped_growth == 0


def test_without_reference_or_input_measures_are_absent():
    output, reference = pictures()
    alone = measure("a", output)
    assert (alone.psnr, alone.ssim, alone.psnr_gt_mean, alone.log_brightness_ratio) == (None,) * 4
    assert (alone.luma_input, alone.clipped_growth) == (None, None)
    assert alone.luma_output == pytest.approx(mean_luma(output))
    assert "two blocks" in alone.notes[0]  # 40 x 56 is too small for NIQE
    assert alone.niqe is None
    means = document_of(Scores((alone,)))
    assert [means.psnr, means.ssim, means.niqe, means.brightness_error, means.clipped_growth] == [None] * 5
    mixed = Scores((alone, measure("b", output, reference)))
    assert mixed.psnr == pytest.approx(psnr(output, reference))


def test_an_infinite_psnr_is_null_with_a_note():
    _, reference = pictures()
    scores = score(lambda low: low, [("same", reference, reference)])
    assert scores.psnr == math.inf
    assert document_of(scores).psnr is None
    assert any("infinite" in note for note in document_of(scores).images[0].notes)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda image: image[..., :-1], r"returned \(1, 3, 5, 6\) for \(1, 3, 5, 7\)"),
        (lambda image: [image], "returned list"),
        (lambda image: image / 0, "not finite"),
    ],
)
def test_networks_that_break_the_contract_are_told_so(answer, message):
    class Answer(torch.nn.Module):
        def forward(self, image):
            return answer(image)

    with pytest.raises(ModelError, match=message):
        network_enhancer(Answer())(np.ones((5, 7, 3), np.uint8))
