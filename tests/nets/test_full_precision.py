"""What generated kernels say of a picture survives bfloat16: in their generators, and where the kernels are used."""

import pytest
import torch
from torch.nn import functional as F

from undim.nets import add_adr, create_model, freeze, replace_convs
from undim.nets.dynamic_conv import DynamicKernel, per_image_channel_map, per_image_conv2d
from undim.nets.pog import FrozenPogKernel, PogConv2d, PogKernel
from undim.shipped import MODELS_FOLDER
from undim.weights.files import load_model

KINDS = PogKernel | FrozenPogKernel | DynamicKernel


def fresh(name, **options):
    torch.manual_seed(0)
    return add_adr(create_model(name), **options).eval()


NETWORKS = {
    "restormer_small with ADR and POG": lambda: fresh("restormer_small"),
    "candela_tiny with ADR and POG": lambda: fresh("candela_tiny"),
    "photo": lambda: load_model(MODELS_FOLDER / "photo.safetensors"),
    "tiny": lambda: load_model(MODELS_FOLDER / "tiny.safetensors"),
}


@pytest.fixture(scope="module")
def pictures():
    """Four dark scenes with different layouts, levels and colours, and some noise."""
    numbers = torch.Generator().manual_seed(0)
    coarse = F.interpolate(torch.rand(4, 3, 5, 6, generator=numbers), (80, 96), mode="bilinear")
    levels = torch.tensor([0.05, 0.1, 0.2, 0.3]).view(4, 1, 1, 1)
    noise = 0.01 * torch.randn(4, 3, 80, 96, generator=numbers)
    return (coarse * levels + noise).clamp(0, 1).contiguous(memory_format=torch.channels_last)


def kernels_of(model, pictures, *, reduced):
    found = {}
    handles = [
        module.register_forward_hook(lambda _, __, made, name=name: found.update({name: made.double().flatten(1)}))
        for name, module in model.named_modules()
        if isinstance(module, KINDS)
    ]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=reduced):
        model(pictures)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "restormer" in name else name for name in NETWORKS]
)
@pytest.mark.parametrize("frozen", [False, True])
def test_kernels_differ_between_pictures_as_they_do_in_float32(name, frozen, pictures):
    model = freeze(NETWORKS[name]()) if frozen else NETWORKS[name]()
    exact, reduced = (kernels_of(model, pictures, reduced=reduced) for reduced in (False, True))
    assert len(exact) >= 4
    for layer, kernels in exact.items():
        expected = kernels - kernels.mean(0)
        found = reduced[layer] - reduced[layer].mean(0)
        assert (found - expected).norm() < 0.05 * expected.norm(), layer


@pytest.mark.parametrize(
    "make",
    [
        lambda: PogKernel(6, (4, 6, 1, 1), 8),
        lambda: PogKernel(6, (4, 6, 3, 3), 8, reflections=3),
        lambda: PogKernel(6, (4, 6, 1, 1), 8, basis="additive", mixing="linear"),
        lambda: PogKernel(6, (4, 6, 1, 1), 8, basis="free", mixing="sigmoid"),
        lambda: freeze(PogConv2d(6, 4, 1, embedding=8)).generator,
        lambda: DynamicKernel(6, (4, 6, 3, 3)),
    ],
)
def test_generators_compute_in_float32_under_autocast_and_when_stored_in_16_bits(make):
    torch.manual_seed(0)
    generator, pooled = make(), torch.randn(3, 6)
    expected = generator(pooled)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            assert torch.equal(generator(pooled), expected)
    rounded = generator.half()
    made = rounded(pooled.half())
    assert made.dtype == torch.float32
    assert torch.equal(made, rounded.float()(pooled.half().float()))


def test_gradients_of_generators_are_those_of_float32_under_autocast():
    torch.manual_seed(0)
    generator, pooled = PogKernel(6, (4, 6, 1, 1), 8), torch.randn(3, 6)
    probe = torch.randn(3, 4, 6, 1, 1)
    expected = torch.autograd.grad((generator(pooled) * probe).sum(), list(generator.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        made = generator(pooled)
    found = torch.autograd.grad((made * probe).sum(), list(generator.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("outputs", [2, 8])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_kernels_are_not_rounded_where_they_are_used(groups, size, outputs, layout):
    """The features cancel what the kernels share, so that the output is what they do not share, 1 / 2^14 of them."""
    torch.manual_seed(0)
    half = torch.randn(2, 2, 6, 7).bfloat16()
    images = torch.cat((half, -half), 1)  # of two groups, each gets both signs
    images = images[:, [0, 2, 1, 3]].contiguous(memory_format=layout)
    shared = torch.randn(outputs, 4 // groups // 2, size, size).repeat_interleave(2, 1)
    own = 2.0**-14 * torch.randn(2, outputs, 4 // groups, size, size)
    kernels = shared + own
    padding = size // 2
    exact = per_image_conv2d(images.double(), kernels.double(), padding=padding, groups=groups)
    for given in (images, images.float()):
        with torch.autocast("cpu", torch.bfloat16):
            found = per_image_conv2d(given, kernels, torch.zeros(outputs), padding=padding, groups=groups)
        assert (found - exact).norm() < 0.15 * exact.norm()
    rounded = per_image_conv2d(images, kernels.bfloat16(), padding=padding, groups=groups)
    assert (rounded - exact).norm() > 0.8 * exact.norm()  # or this test could not fail


def test_channel_maps_add_to_their_base_without_rounding_the_kernels():
    torch.manual_seed(0)
    half = torch.randn(2, 2, 6, 7).bfloat16()
    images = torch.cat((half, -half), 1).contiguous(memory_format=torch.channels_last)
    maps = torch.randn(9, 2).repeat(1, 2) + 2.0**-14 * torch.randn(2, 9, 4)
    base = torch.zeros(2, 9, 6, 7, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    found = per_image_channel_map(images, maps, base)
    exact = per_image_channel_map(images.double(), maps.double())
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - exact).norm() < 0.01 * exact.norm()


def test_training_under_autocast_moves_every_weight_of_generated_convolutions(pictures):
    torch.manual_seed(0)
    model = replace_convs(create_model("candela_tiny"), where=r"encoder1\..*conv|embed")
    with torch.autocast("cpu", torch.bfloat16):
        output = model(pictures)
    (output.float() - 0.4).abs().mean().backward()
    exact = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    (model(pictures) - 0.4).abs().mean().backward()
    for name, parameter in model.named_parameters():
        if ".generator." in name and parameter.grad.norm() > 0:
            assert (exact[name] - parameter.grad).norm() < 0.1 * parameter.grad.norm(), name
