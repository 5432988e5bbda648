"""Each loss against a literal transcription of its definition in numpy, scipy and scikit-image."""

import colorsys
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.ndimage import correlate
from scipy.stats import norm
from skimage.metrics import structural_similarity

from undim.training.losses import charbonnier, laplacian, recipe_loss, ssim_index
from undim.training.recipe import LossSection

NONE = {"l1": 0.0, "ssim": 0.0}


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    target = rng.random((2, 3, 24, 28))
    output = np.clip(target + 0.2 * rng.standard_normal(target.shape), -0.1, 1.1)
    return torch.from_numpy(output).float(), torch.from_numpy(target).float()


def literal_laplacian(plane):
    """Burt and Adelson's first level of one H x W plane, from their five weights."""
    row = np.array([0.05, 0.25, 0.4, 0.25, 0.05])
    kernel = np.outer(row, row)
    reduced = correlate(plane, kernel, mode="nearest")[::2, ::2]
    spread = np.zeros_like(plane)
    spread[::2, ::2] = reduced
    return plane - 4 * correlate(spread, kernel, mode="nearest")


def literal_hvi(image, k):
    """CIDNet's colour space, pixel by pixel, with Python's own HSV: 3 x H x W."""
    result = np.empty_like(image)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[:, row, column].tolist())
            radius = math.sin(math.pi * value / 2) ** k * saturation
            result[:, row, column] = radius * math.cos(2 * math.pi * hue), radius * math.sin(2 * math.pi * hue), value
    return result


def value(pair, weight=None, **terms):
    return float(recipe_loss(*pair, LossSection(**{**NONE, **terms}), weight=weight))


def test_l1(pair):
    output, target = (tensor.double().numpy() for tensor in pair)
    assert value(pair, l1=2.0) == pytest.approx(2 * np.abs(output - target).mean(), rel=1e-5)


def test_charbonnier(pair):
    output, target = (tensor.double().numpy() for tensor in pair)
    expected = np.sqrt((output - target) ** 2 + 1e-6).mean()
    assert value(pair, charbonnier=1.0) == pytest.approx(expected, rel=1e-5)
    assert charbonnier(pair[1], pair[1]).tolist() == pytest.approx([1e-3, 1e-3], rel=1e-4)


def test_ssim(pair):
    output, target = (tensor.double().numpy() for tensor in pair)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = [structural_similarity(o, t, channel_axis=0, **options) for o, t in zip(output, target, strict=True)]
    assert ssim_index(*pair).tolist() == pytest.approx(expected, abs=1e-5)
    assert value(pair, ssim=0.5) == pytest.approx(0.5 * (1 - np.mean(expected)), abs=1e-5)


def test_laplacian_and_edge_losses(pair):
    maps = []
    for tensor in pair:
        expected = np.array([[literal_laplacian(plane) for plane in image] for image in tensor.double().numpy()])
        np.testing.assert_allclose(laplacian(tensor).numpy(), expected, atol=1e-5)
        maps.append(expected)
    difference = maps[0] - maps[1]
    assert value(pair, edge=1.0) == pytest.approx(np.sqrt(difference**2 + 1e-6).mean(), rel=1e-5)
    assert value(pair, edge_squared=50.0) == pytest.approx(50 * (difference**2).mean(), rel=1e-5)


def test_hvi_repeats_the_terms_in_that_space(pair):
    output, target = (tensor.double().numpy() for tensor in pair)
    output = output.clip(0, 1)
    for density in (0.2, 0.7):
        spaces = [np.array([literal_hvi(image, density) for image in images]) for images in (output, target)]
        expected = np.abs(spaces[0] - spaces[1]).mean()
        weights = LossSection(**{**NONE, "l1": 3.0, "hvi": 0.5})
        got = recipe_loss(*pair, weights, density=torch.tensor([density])) - 3 * (pair[0] - pair[1]).abs().mean()
        assert float(got) == pytest.approx(0.5 * 3 * expected, rel=1e-4)


def test_weights_scale_what_a_pixel_counts(pair):
    output, target = (tensor.double().numpy() for tensor in pair)
    weight = torch.rand(2, 1, 24, 28, generator=torch.Generator().manual_seed(1))
    expected = (weight.double().numpy() * np.abs(output - target)).mean()
    assert value(pair, weight, l1=1.0) == pytest.approx(expected, rel=1e-5)
    scaled = weight.double().numpy() * (output - target)
    assert value(pair, weight, charbonnier=1.0) == pytest.approx(np.sqrt(scaled**2 + 1e-6).mean(), rel=1e-5)
    assert value(pair, torch.ones_like(weight), l1=1.0, ssim=0.3) == pytest.approx(value(pair, l1=1.0, ssim=0.3))


@pytest.mark.parametrize("term", ["l1", "charbonnier", "ssim", "edge", "edge_squared"])
def test_a_pixel_without_weight_gets_no_gradient(pair, term):
    output = pair[0].clone().requires_grad_()
    weight = torch.ones(2, 1, 24, 28)
    weight[:, :, :, :10] = 0
    recipe_loss(output, pair[1], LossSection(**{**NONE, term: 1.0, "hvi": 0.5}), weight=weight).backward()
    assert float(output.grad[..., :10].abs().max()) == 0
    assert float(output.grad[..., 10:].abs().max()) > 0


@pytest.mark.parametrize("term", ["l1", "charbonnier", "ssim", "edge", "edge_squared"])
def test_parts_of_a_batch_average_to_the_whole(pair, term):
    parts = [value((pair[0][i : i + 1], pair[1][i : i + 1]), **{term: 1.0, "hvi": 0.5}) for i in range(2)]
    assert np.mean(parts) == pytest.approx(value(pair, **{term: 1.0, "hvi": 0.5}), rel=1e-5)


def test_places_compare_the_brightness_of_squares(pair):
    light = [np.tensordot([0.299, 0.587, 0.114], tensor.double().numpy(), (0, 1)) for tensor in pair]
    squares = [(slice(a, a + 16), slice(b, b + 16)) for a in (0, 16) for b in (0, 16)]  # those at the edge are cut
    ratios = [[math.log(plane[n][square].mean() + 1 / 255) for n in range(2) for square in squares] for plane in light]
    expected = np.abs(np.subtract(*ratios)).mean()
    assert value(pair, l1=1.0, places=0.5) - value(pair, l1=1.0) == pytest.approx(0.5 * expected, rel=1e-4)
    halved = pair[1] / 2, pair[1]
    assert value((halved[0] / 50, halved[1] / 50), l1=1e-9, places=1.0) > 0.4 * math.log(2)  # as much in the dark
    assert value(halved, l1=1e-9, places=1.0) == pytest.approx(math.log(2), rel=0.02)


def literal_gt_mean(output, target, distance):
    """Liao et al.'s loss of one 3 x H x W picture: W L(x, y) + (1 - W) L(E[y] / E[x] x, y), with the gain and W."""
    luma = [float((np.array([0.299, 0.587, 0.114]) @ image.reshape(3, -1)).mean()) for image in (output, target)]
    normals = [(mean, 0.1 * mean) for mean in luma]
    (m1, s1), (m2, s2) = normals
    overlap = quad(lambda x: math.sqrt(norm.pdf(x, m1, s1) * norm.pdf(x, m2, s2)), 0, 3, points=luma, limit=500)[0]
    mismatch = min(-math.log(overlap), 1.0)  # Bhattacharyya's distance from its definition
    gain = luma[1] / luma[0]
    return mismatch * distance(output, target) + (1 - mismatch) * distance(gain * output, target)


@pytest.mark.parametrize("gain", [0.5, 0.8, 0.93, 1.0, 1.2])
def test_gt_mean_weighs_each_picture_by_its_mismatch(pair, gain):
    output = pair[0] * torch.tensor([gain, 1.1]).view(2, 1, 1, 1)
    expected = np.mean(
        [
            literal_gt_mean(o, t, lambda a, b: 2 * np.abs(a - b).mean())
            for o, t in zip(output.double().numpy(), pair[1].double().numpy(), strict=True)
        ]
    )
    got = recipe_loss(output, pair[1], LossSection(l1=2.0, ssim=0, gt_mean=True))
    assert float(got) == pytest.approx(expected, rel=1e-4)


def test_gt_mean_does_not_push_the_brightness_where_it_is_right(pair):
    terms = LossSection(l1=1.0, ssim=0, gt_mean=True)
    output = (pair[1] ** 1.3).requires_grad_()
    with torch.no_grad():
        output *= pair[1].mean() / output.mean()
    along = torch.autograd.grad(recipe_loss(output, pair[1], terms), output)[0] * output
    plain = torch.autograd.grad(recipe_loss(output, pair[1], LossSection(l1=1.0, ssim=0)), output)[0] * output
    assert float(along.detach().sum().abs()) < 0.05 * float(plain.detach().sum().abs())


def test_gt_mean_of_a_black_output_is_finite(pair):
    output = torch.zeros_like(pair[0]).requires_grad_()
    loss = recipe_loss(output, pair[1], LossSection(gt_mean=True))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(output.grad).all()
