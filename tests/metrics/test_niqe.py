"""NIQE against stored values of another implementation, and against a slow transcription of the published code."""

import json
import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from undim.errors import ShapeError
from undim.metrics.niqe import _load_pristine, block_features, fit_aggd, halve, niqe, normalise

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = os.environ.get("UNDIM_DATA", "")
STORED = json.loads((Path(__file__).parents[1] / "fixtures" / "niqe.json").read_text())["values"]


@pytest.mark.parametrize("name", STORED)
def test_agrees_with_stored_values_within_one_percent(name):
    if not DATA:
        pytest.skip("needs the pictures: set UNDIM_DATA to the folder with unpaired/ and lol_v1/")
    path = Path(DATA) / name
    if not path.is_file():
        pytest.skip(f"needs {name} under UNDIM_DATA")
    with Image.open(path) as picture:
        assert niqe(np.asarray(picture.convert("RGB"))) == pytest.approx(STORED[name]["niqe"], rel=0.01)


def texture(height=200, width=300, seed=0):
    """Smoothed noise of several scales, RGB."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(height, width, 3)), (s, s, 0)) * s * 25 for s in (0.6, 2, 8)]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def slow_aggd(samples):
    """The published code's fit, one sample and one shape at a time."""
    left = math.sqrt(sum(s * s for s in samples if s < 0) / sum(s < 0 for s in samples))
    right = math.sqrt(sum(s * s for s in samples if s > 0) / sum(s > 0 for s in samples))
    skew = left / right
    ratio = (sum(abs(s) for s in samples) / len(samples)) ** 2 / (sum(s * s for s in samples) / len(samples))
    target = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2

    def distance(alpha):
        return (math.gamma(2 / alpha) ** 2 / (math.gamma(1 / alpha) * math.gamma(3 / alpha)) - target) ** 2

    alpha = min((200 + step for step in range(9801)), key=lambda thousandths: distance(thousandths / 1000)) / 1000
    scale = math.sqrt(math.gamma(1 / alpha) / math.gamma(3 / alpha))
    return alpha, left * scale, right * scale


def slow_features(block):
    height, width = block.shape
    alpha, left, right = slow_aggd(block.ravel().tolist())
    features = [alpha, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        products = [
            block[y, x] * block[(y - down) % height, (x - across) % width] for y in range(height) for x in range(width)
        ]
        alpha, left, right = slow_aggd(products)
        mean = (right - left) * math.gamma(2 / alpha) / math.gamma(1 / alpha)
        features += [alpha, mean, left, right]
    return features


def slow_normalise(luma):
    """A window of 7 x 7 laid on each pixel; borders repeat."""
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    padded = np.pad(luma, 3, mode="edge")
    result = np.empty_like(luma)
    for y, x in np.ndindex(*luma.shape):
        patch = padded[y : y + 7, x : x + 7]
        mean = (window * patch).sum()
        result[y, x] = (luma[y, x] - mean) / (math.sqrt(abs((window * patch**2).sum() - mean**2)) + 1)
    return result


def resize_matrix(length):
    """MATLAB's imresize of one side by 0.5 as a matrix, by its own formulas: indices from 1, mirrored borders."""

    def cubic(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0

    matrix = np.zeros((length // 2, length))
    mirrored = [*range(length), *reversed(range(length))]
    for out in range(1, length // 2 + 1):
        centre = out / 0.5 + 0.5 * (1 - 1 / 0.5)
        first = math.floor(centre - 4)
        weights = {index: 0.5 * cubic(0.5 * (centre - index)) for index in range(first, first + 10)}
        for index, weight in weights.items():
            matrix[out - 1, mirrored[(index - 1) % (2 * length)]] += weight / sum(weights.values())
    return matrix


def slow_niqe(picture):
    height, width = (side // 96 * 96 for side in picture.shape[:2])
    pixels = picture[:height, :width].tolist()
    exact = [[Fraction(299 * r + 587 * g + 114 * b, 1000) for r, g, b in row] for row in pixels]
    luma = np.array([[float(math.floor(value + Fraction(1, 2))) for value in row] for row in exact])
    half = resize_matrix(height) @ luma @ resize_matrix(width).T
    scales = []
    for values, side in ((slow_normalise(luma), 96), (slow_normalise(half), 48)):
        corners = [(y, x) for y in range(0, values.shape[0], side) for x in range(0, values.shape[1], side)]
        scales.append([slow_features(values[y : y + side, x : x + side]) for y, x in corners])
    features = np.concatenate(scales, axis=1)
    mean, covariance = _load_pristine()
    pooled = (covariance + np.cov(features.T)) / 2
    difference = mean - features.mean(axis=0)
    return math.sqrt(difference @ np.linalg.inv(pooled) @ difference)


def test_equals_the_slow_transcription():
    picture = texture(110, 200)
    assert niqe(picture) == pytest.approx(slow_niqe(picture), rel=1e-6)


def test_a_fit_equals_the_slow_fit_and_finds_known_shapes():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(0, 2, 4000), rng.laplace(0, 1, 4000), rng.normal(0, 1, 4000)])
    rows[2][rows[2] > 0] *= 3
    fitted = np.stack(fit_aggd(rows), axis=1)
    assert fitted == pytest.approx(np.array([slow_aggd(row.tolist()) for row in rows]), rel=1e-9)
    # A Gaussian has shape 2 and scale sqrt(2) sigma; a Laplacian shape 1 and its own scale.
    assert fitted[0] == pytest.approx([2, 2 * math.sqrt(2), 2 * math.sqrt(2)], rel=0.1)
    assert fitted[1] == pytest.approx([1, 1, 1], rel=0.1)
    assert fitted[2, 2] == pytest.approx(3 * fitted[2, 1], rel=0.1)


def test_samples_of_one_sign_have_no_fit():
    assert np.isnan(fit_aggd(np.array([[1.0, 2, 3], [0, 0, 0]]))).all()


def test_half_size_is_that_of_matlab():
    luma = np.random.default_rng(1).random((16, 24))
    assert halve(luma) == pytest.approx(resize_matrix(16) @ luma @ resize_matrix(24).T, abs=1e-12)


def test_normalised_luma_and_features_equal_the_slow_ones():
    luma = texture(40, 48)[..., 1].astype(float)
    fast, slow = normalise(luma), slow_normalise(luma)
    assert fast == pytest.approx(slow, abs=1e-9)
    assert block_features(slow[None])[0] == pytest.approx(slow_features(slow), rel=1e-9)


@pytest.mark.parametrize("name", ["cat.png", "coffee.png", "rocket.jpg"])
def test_noise_and_blur_raise_it(name):
    with Image.open(EXAMPLES / name) as file:
        picture = np.asarray(file.convert("RGB"))
    rng = np.random.default_rng(0)
    noisy = np.clip(picture + rng.normal(0, 25, picture.shape), 0, 255).astype(np.uint8)
    blurred = gaussian_filter(picture, (3, 3, 0))
    assert niqe(noisy) > niqe(picture) + 1
    assert niqe(blurred) > niqe(picture) + 1


def test_what_is_beyond_whole_blocks_does_not_count():
    picture = texture(200, 300)
    assert niqe(picture) == niqe(picture[:192, :288])
    assert niqe(picture) != niqe(picture[:, :192])


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((95, 400, 3), np.uint8), "Got 95 x 400"),
        (np.zeros((191, 191, 3), np.uint8), "two blocks of 96 x 96"),
        (np.full((200, 300, 3), 90, np.uint8), "Got 0 of 6"),
        (np.zeros((200, 300), np.uint8), "H x W x 3"),
        (np.zeros((200, 300, 3)), "float64"),
    ],
)
def test_pictures_without_statistics_are_refused(picture, message):
    with pytest.raises(ShapeError, match=message):
        niqe(picture)


def test_flat_blocks_are_left_out():
    picture = texture(192, 288)
    picture[:96, :96] = 7
    assert math.isfinite(niqe(picture))
    picture[:] = 7
    picture[8:88, 8:88] = texture(80, 80)
    with pytest.raises(ShapeError, match="Got 1 of 6"):
        niqe(picture)
