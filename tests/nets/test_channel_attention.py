"""Attention between channels against a literal transcription, in every memory layout and number of heads."""

import pytest
import torch

from undim.nets.channel_attention import channel_attention


def literal(query, key, value, temperature):
    """Restormer's equation 1, one image and one head at a time."""
    heads = len(temperature)
    images = []
    for parts in zip(query, key, value, strict=True):
        mixed = []
        for head, planes in enumerate(zip(*(part.flatten(1).chunk(heads) for part in parts), strict=True)):
            q, k, v = planes
            cosines = torch.stack([torch.stack([a @ b / (a.norm() * b.norm()) for b in k]) for a in q])
            mixed.append((temperature[head] * cosines).softmax(1) @ v)
        images.append(torch.cat(mixed).unflatten(1, value.shape[-2:]))
    return torch.stack(images)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients(heads, layout):
    numbers = torch.Generator().manual_seed(0)
    qkv = torch.randn(2, 18, 5, 7, generator=numbers, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    temperature = torch.rand(heads, 1, 1, generator=numbers, dtype=torch.float64).add(0.5).requires_grad_()
    weights = torch.randn(2, 6, 5, 7, generator=numbers, dtype=torch.float64)
    found = []
    for attend in (channel_attention, literal):
        output = attend(*qkv.chunk(3, 1), temperature)
        found.append((output, *torch.autograd.grad((output * weights).sum(), (qkv, temperature))))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_black_channels_stay_finite(layout):
    qkv = torch.zeros(1, 12, 4, 4).to(memory_format=layout).requires_grad_()
    output = channel_attention(*qkv.chunk(3, 1), torch.ones(2, 1, 1))
    assert torch.equal(output, torch.zeros(1, 4, 4, 4))
    output.sum().backward()
    assert torch.isfinite(qkv.grad).all()


def test_half_floats_do_not_overflow():
    qkv = torch.full((1, 6, 64, 64), 10.0, dtype=torch.float16).to(memory_format=torch.channels_last)
    output = channel_attention(*qkv.chunk(3, 1), torch.ones(1, 1, 1, dtype=torch.float16))
    torch.testing.assert_close(output, torch.full((1, 2, 64, 64), 10.0, dtype=torch.float16))
