"""Planes against scipy, numpy and Pillow."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import uniform_filter

from undim.enhance.planes import blur, enlarge, luma, reduce, regress, to_planes


def picture(height, width, kind=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, (height, width, 3), endpoint=True).astype(kind)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
def test_reduced_copy_is_the_mean_of_boxes_and_texture_their_variance(kind, grey):
    pixels = picture(600, 400, kind)[..., 0] if grey else picture(600, 400, kind)
    small, texture = reduce(pixels, (150, 100))
    planes = pixels[None].repeat(3, 0) if grey else pixels.transpose(2, 0, 1)
    boxes = (planes / np.iinfo(kind).max).reshape(3, 150, 4, 100, 4)
    np.testing.assert_allclose(small, boxes.mean((2, 4)), atol=1e-6)
    bright = np.tensordot([0.299, 0.587, 0.114], boxes, 1)
    np.testing.assert_allclose(texture, bright.var((1, 3)), atol=1e-6)


def test_reduction_by_a_fraction_is_pillows():
    pixels = picture(701, 533)
    small, _ = reduce(pixels, (333, 251))
    for plane, expected in zip(small, to_planes(pixels), strict=True):
        whole = Image.fromarray(expected).resize((251, 333), Image.Resampling.BOX)
        np.testing.assert_allclose(plane, np.asarray(whole), atol=1e-5)


def test_parts_are_enlarged_as_the_whole_is():
    plane = np.random.default_rng(0).random((37, 53), np.float32)
    whole = np.asarray(Image.fromarray(plane).resize((401, 290), Image.Resampling.BILINEAR))
    for rows, columns in (((0, 290), (0, 401)), ((0, 7), (0, 9)), ((101, 203), (55, 160)), ((280, 290), (390, 401))):
        part = enlarge(plane, (290, 401), rows, columns)
        np.testing.assert_allclose(part, whole[slice(*rows), slice(*columns)], atol=1e-5)


@pytest.mark.parametrize("radius", [1, 4])
def test_blur_is_scipys(radius):
    plane = np.random.default_rng(0).random((20, 31), np.float32)
    np.testing.assert_allclose(blur(plane, radius), uniform_filter(plane, 2 * radius + 1, mode="nearest"), atol=1e-6)


def test_regression_of_a_line_is_the_line_and_of_noise_is_flat():
    numbers = np.random.default_rng(0)
    guide = numbers.random((40, 50), np.float32)
    slope, offset = regress(guide, 3 * guide - 1, 3, 1e-7)
    np.testing.assert_allclose(slope, 3, atol=1e-3)
    np.testing.assert_allclose(offset, -1, atol=1e-3)
    slope, _ = regress(guide, 3 * guide - 1, 3, 1.0)  # a twelfth is the guide's variance
    assert slope.mean() == pytest.approx(3 / 12 / (1 / 12 + 1), rel=0.05)


def test_luma_weighs_as_rec_601():
    assert luma(np.eye(3, dtype=np.float32)[..., None]).ravel().tolist() == pytest.approx([0.299, 0.587, 0.114])
