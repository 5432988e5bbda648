"""Diversity of kernels against matrices whose answer is known."""

import math

import pytest
import torch

from undim.errors import ModelError
from undim.nets import add_adr, create_model, replace_convs
from undim.redundancy import diversity
from undim.redundancy.kernels import compare_kernels


def test_equal_kernels_have_collapsed():
    found = compare_kernels(torch.ones(5, 7) * 3)
    assert found.cosine_distance == pytest.approx(0, abs=1e-12)
    assert found.variation == pytest.approx(0, abs=1e-12)
    assert found.effective_rank == pytest.approx(1)


def test_kernels_that_are_zero_are_alike():
    found = compare_kernels(torch.zeros(4, 6))
    assert (found.cosine_distance, found.variation, found.effective_rank) == (0, 0, pytest.approx(1))
    one = compare_kernels(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert one.cosine_distance == pytest.approx(1)


def test_orthogonal_kernels_are_as_diverse_as_can_be():
    found = compare_kernels(2 * torch.eye(4, 6))
    assert found.cosine_distance == pytest.approx(1)
    assert found.effective_rank == pytest.approx(4)
    assert found.variation == pytest.approx(math.sqrt(3))  # each weight is 2 once in four: mean 1/2, deviation sqrt 3/2


def test_each_pictures_kernel_is_what_the_network_used():
    torch.manual_seed(0)
    model = add_adr(replace_convs(create_model("candela_tiny"), where="^down1$"), embedding=16)
    images = [torch.rand(1, 3, 16, 24) * level for level in (0.1, 0.5, 1.0)]
    result = diversity(model, images)
    assert result.pictures == 3
    assert {one.kind for one in result.layers.values()} == {"pog", "dynamic"}
    assert set(result.layers) == {
        "down1.generator",
        *(f"decoder{level}.0.adr.{part}" for level in (3, 2) for part in ("p1", "p2")),
    }
    kernels = []
    model.down1.register_forward_hook(lambda layer, inputs, _: kernels.append(layer.kernel(inputs[0]).flatten()))
    with torch.no_grad():
        for image in images:
            model.eval()(image)
    expected = compare_kernels(torch.stack(kernels))
    assert result.layers["down1.generator"].cosine_distance == pytest.approx(expected.cosine_distance, rel=1e-6)
    assert result.layers["down1.generator"].weights == kernels[0].numel()


def test_networks_that_generate_nothing_are_refused():
    with pytest.raises(ModelError, match="generates no kernels"):
        diversity(create_model("candela_tiny"), [torch.rand(1, 3, 8, 8)] * 2)
    with pytest.raises(ModelError, match="two or more"):
        diversity(add_adr(create_model("candela_tiny"), embedding=8), [torch.rand(1, 3, 8, 8)])
