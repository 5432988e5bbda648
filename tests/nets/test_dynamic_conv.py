"""Dynamic convolution against its definition, and per-image convolution against one convolution an image."""

import pytest
import torch
from torch.nn import functional as F

from undim.errors import ShapeError
from undim.nets.dynamic_conv import DynamicConv2d, per_image_conv2d


def test_kernel_is_the_attention_weighted_sum_of_candidates():
    torch.manual_seed(0)
    conv = DynamicConv2d(6, 5, 3, candidates=3, padding=1).double()
    images = torch.randn(2, 6, 8, 7, dtype=torch.float64)
    generator = conv.generator
    for image, kernel in zip(images, conv.kernel(images), strict=True):
        pooled = image.mean((1, 2))
        hidden = torch.relu(generator.fc1.weight @ pooled + generator.fc1.bias)
        scores = generator.fc2.weight @ hidden + generator.fc2.bias
        shares = scores.exp() / scores.exp().sum()
        expected = sum(share * candidate for share, candidate in zip(shares, generator.candidates, strict=True))
        assert torch.allclose(kernel, expected, atol=1e-12)


def test_temperature_flattens_the_attention():
    torch.manual_seed(0)
    conv = DynamicConv2d(6, 5, 1)
    images = torch.randn(1, 6, 4, 4) * 10
    conv.generator.temperature = 1e6
    assert torch.allclose(conv.kernel(images)[0], conv.generator.candidates.mean(0), atol=1e-5)
    conv.generator.temperature = 1.0
    assert not torch.allclose(conv.kernel(images)[0], conv.generator.candidates.mean(0), atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("size", "options"),
    [(1, {}), (1, {"stride": 2}), (3, {"padding": 1}), (3, {"padding": 2, "dilation": 2}), (3, {"groups": 2})],
)
def test_per_image_convolution(size, options, layout):
    torch.manual_seed(0)
    images = torch.randn(3, 4, 9, 8, dtype=torch.float64).contiguous(memory_format=layout)
    kernels = torch.randn(3, 6, 4 // options.get("groups", 1), size, size, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64)
    expected = [F.conv2d(image[None], kernel, bias, **options) for image, kernel in zip(images, kernels, strict=True)]
    assert torch.allclose(per_image_conv2d(images, kernels, bias, **options), torch.cat(expected), atol=1e-12)


def test_kernels_that_are_not_square_are_refused():
    with pytest.raises(ShapeError, match=r"square\. Got 3 x 1"):
        per_image_conv2d(torch.zeros(2, 4, 5, 5), torch.zeros(2, 6, 4, 3, 1))


def test_kernels_of_another_batch_are_refused():
    with pytest.raises(ShapeError, match="kernels"):
        per_image_conv2d(torch.zeros(2, 4, 5, 5), torch.zeros(3, 6, 4, 1, 1))
