"""The controls of POG against their formulas written out weight by weight, and ADR with larger kernels."""

import pytest
import torch
from literal import tanh_gelu
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError
from undim.nets import add_adr, create_model, freeze
from undim.nets.adr import Adr
from undim.nets.dynamic_conv import per_image_conv2d, per_image_conv2d_unfolded
from undim.nets.pog import FrozenPogKernel, PogKernel

SHAPE = (3, 2, 1, 1)
CONTROLS = [
    *({"reflections": count} for count in (1, 2, 4)),
    {"basis": "free"},
    {"basis": "additive"},
    {"mixing": "sigmoid"},
    {"mixing": "linear"},
    {"mixing": "constant"},
    {"reflections": 2, "mixing": "sigmoid"},
]


def make(**options):
    torch.manual_seed(0)
    return PogKernel(5, SHAPE, 8, **options).double()


def literal(kernel, pooled, *, reflections=1, basis="householder", mixing="softmax"):
    """The six weights of one image, each with its De x De basis in full."""
    inputs = torch.ones_like(pooled) if mixing == "constant" else pooled
    scores = kernel.fc2.weight @ tanh_gelu(kernel.fc1.weight @ inputs + kernel.fc1.bias) + kernel.fc2.bias
    weights = {
        "softmax": scores.exp() / scores.exp().sum(),
        "constant": scores.exp() / scores.exp().sum(),
        "sigmoid": 1 / (1 + (-scores).exp()),
        "linear": scores / scores.abs().sum(),
    }[mixing]
    decoded = []
    for own in kernel.embeddings.view(6, reflections, 8):
        turned = torch.eye(8, dtype=torch.float64)
        for vector in own:
            unit = vector / vector.norm() if basis == "householder" else vector
            turned = turned @ (torch.eye(8, dtype=torch.float64) - 2 * torch.outer(unit, unit))
        specific = weights + own[0] if basis == "additive" else turned @ weights
        hidden = tanh_gelu(kernel.m1.weight @ specific + kernel.m1.bias)
        decoded.append(kernel.m2.weight @ hidden + kernel.m2.bias)
    return torch.stack(decoded).view(SHAPE)


@pytest.mark.parametrize("options", CONTROLS, ids=str)
def test_kernels_equal_the_formulas_and_freeze(options):
    kernel = make(**options)
    pooled = torch.randn(3, 5, dtype=torch.float64)
    expected = torch.stack([literal(kernel, one, **options) for one in pooled])
    assert torch.allclose(kernel(pooled), expected, rtol=1e-9, atol=1e-12)
    assert torch.allclose(FrozenPogKernel(kernel)(pooled), expected, rtol=1e-9, atol=1e-12)
    assert (kernel(pooled).std(0).max() < 1e-12) == (options.get("mixing") == "constant")


def test_balanced_layers_let_pictures_tell_as_much_as_biases():
    """By default W is nearly uniform and m1 sees its bias; balanced, kernels differ between pictures at once."""
    torch.manual_seed(0)
    kernel = PogKernel(24, (8, 24, 1, 1), 32)
    pooled = torch.randn(64, 24)

    def look():
        mixing = kernel.mixing(pooled)
        specific = torch.stack([mixing - 2 * n * (mixing @ n)[:, None] for n in kernel.basis()[0]])  # (N, B, De): s_i
        told = F.linear(specific, kernel.m1.weight)
        kernels = kernel(pooled).flatten(1)
        size = kernels.square().mean().sqrt()
        return told.std() / kernel.m1.bias.std(), kernels.std(0).mean() / size, mixing.std(0).mean()

    with torch.no_grad():
        share, variation, spread = look()
        assert share < 0.3
        kernel.balance()
        balanced_share, balanced_variation, balanced_spread = look()
    assert 0.7 < balanced_share < 2
    assert balanced_variation > 5 * variation
    assert balanced_spread > 3 * spread


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_only_pog_starts_balanced(kind):
    with pytest.raises(ModelError, match="balanced start belongs to the kernel 'pog'"):
        add_adr(create_model("candela_tiny"), kernel=kind, balanced=True)


@pytest.mark.parametrize("count", [2, 4])
def test_products_of_reflections_are_orthogonal(count):
    """So every weight's s_i is as long as W: seen by a decoder that is the identity."""
    kernel = make(reflections=count)
    normals = kernel.basis()[0]
    basis = torch.eye(8, dtype=torch.float64).expand(6, 8, 8)
    for place in range(count):
        one = normals[:, place]
        basis = basis - 2 * (basis @ one.unsqueeze(2)) @ one.unsqueeze(1)
    assert torch.allclose(basis @ basis.mT, torch.eye(8, dtype=torch.float64).expand(6, 8, 8), atol=1e-12)
    assert kernel.embeddings.shape == (6, count, 8)


def test_controls_have_as_many_parameters_as_pog():
    sizes = {
        sum(parameter.numel() for parameter in make(**options).parameters())
        for options in CONTROLS
        if options.get("reflections", 1) == 1
    }
    assert len(sizes) == 1


def test_free_embeddings_start_at_a_mean_square_length_of_one():
    kernel = PogKernel(5, (50, 40, 1, 1), 16, basis="free")
    assert kernel.embeddings.square().sum(1).mean().item() == pytest.approx(1, abs=0.02)
    assert kernel.embeddings.norm(dim=1).std() > 0.05


@pytest.mark.parametrize("kind", ["pog", "dynamic", "static"])
def test_adr_of_larger_kernels_is_equation_2_with_convolutions(kind):
    torch.manual_seed(0)
    adr = Adr(12, 3, kernel=kind, embedding=8, kernel_size=3).double()
    qkv = torch.randn(2, 12, 5, 7, dtype=torch.float64)
    expected = []
    for f in qkv:
        p1 = adr.p1(f.mean((1, 2))[None])[0]
        squeezed = F.conv2d(f[None], p1, padding=1)
        p2 = adr.p2(squeezed.mean((2, 3)))[0]
        expected.append(f[None] + F.conv2d(squeezed, p2, padding=1))
    assert torch.allclose(adr(qkv), torch.cat(expected), atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_unfolded_convolution_is_the_grouped_one(size):
    images, kernels = torch.randn(2, 3, 6, 5).double(), torch.randn(2, 4, 3, size, size).double()
    expected = per_image_conv2d(images, kernels, padding=size // 2)
    assert torch.allclose(per_image_conv2d_unfolded(images, kernels), expected, atol=1e-12)


def test_frozen_networks_of_all_controls_give_the_same():
    for options in (*CONTROLS, {"kernel_size": 3}):
        torch.manual_seed(0)
        model = add_adr(create_model("candela_tiny"), embedding=8, bottleneck=2, **options).eval()
        image = torch.rand(1, 3, 16, 24)
        with torch.no_grad():
            assert torch.allclose(freeze(model)(image), model(image), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"basis": "househoulder"}, ModelError, "basis must be one of householder, free, additive"),
        ({"mixing": "soft"}, ModelError, "mixing must be one of softmax, sigmoid"),
        ({"basis": "free", "reflections": 2}, ShapeError, "'free' takes one reflection. Got 2"),
        ({"reflections": 0}, ShapeError, "takes one reflection or more. Got 0"),
        ({"kernel_size": 2}, ShapeError, "kernel size must be odd. Got 2"),
        ({"kernel": "static", "mixing": "sigmoid"}, ModelError, "belong to the kernel 'pog'"),
    ],
)
def test_what_cannot_be_made_is_said(options, kind, message):
    with pytest.raises(kind, match=message.replace(".", r"\.")):
        add_adr(create_model("candela_tiny"), **options)
