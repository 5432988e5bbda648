import colorsys
import itertools
import math

import pytest
import torch

from undim.errors import ModelError
from undim.nets.cidnet import CIDNet, ColourTransform, hvi_to_rgb, rgb_to_hvi

CORNERS = torch.tensor(
    [*itertools.product((0.0, 1.0), repeat=3), *([v] * 3 for v in (1 / 255, 0.2, 0.5, 254 / 255)), (0.2, 0.2, 0.7)]
)


def colours(pixels):
    """N x 3 as a picture 1 x 3 x 1 x N."""
    return pixels.t()[None, :, None, :].contiguous()


def random_8_bit(count=4096):
    return torch.randint(0, 256, (count, 3), generator=torch.Generator().manual_seed(0)) / 255


@pytest.mark.parametrize("density", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("pixels", [CORNERS, random_8_bit(), random_8_bit() * 0.05], ids=["corners", "random", "dark"])
def test_the_inverse_inverts(pixels, density):
    k = torch.tensor([density])
    image = colours(pixels)
    torch.testing.assert_close(hvi_to_rgb(rgb_to_hvi(image, k), k), image, atol=1e-5, rtol=0)


def test_transform_is_hsv_polarised_and_shrunk_where_dark():
    k = 0.3
    pixels = torch.cat([CORNERS, random_8_bit(64)])
    for pixel, hvi in zip(pixels.tolist(), rgb_to_hvi(colours(pixels), torch.tensor([k]))[0, :, 0].t(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        radius = math.sin(math.pi / 2 * value) ** k * saturation
        expected = [radius * math.cos(2 * math.pi * hue), radius * math.sin(2 * math.pi * hue), value]
        assert hvi.tolist() == pytest.approx(expected, abs=1e-5)


def test_values_outside_the_colour_space_come_back_as_colours():
    hvi = 3 * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    image = hvi_to_rgb(hvi, torch.tensor([0.2]))
    assert image.min() >= 0
    assert image.max() <= 1


def test_gradients_are_right():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    k = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rgb_to_hvi, (image, k))
    hvi = (0.8 * rgb_to_hvi(image, k)).detach().requires_grad_()
    assert torch.autograd.gradcheck(hvi_to_rgb, (hvi, k))


def test_density_gets_a_gradient_through_both_directions():
    transform = ColourTransform()
    image = colours(random_8_bit(64))
    hvi = transform.to_hvi(image)

    def gradient(output):
        return torch.autograd.grad(output.square().sum(), transform.density_k, retain_graph=True)[0].item()

    inverse_only = gradient(transform.to_rgb(hvi.detach()))
    assert abs(inverse_only) > 0.1
    # As the inverse undoes the transform whatever k is, the two parts cancel.
    assert gradient(transform.to_rgb(hvi)) == pytest.approx(0, abs=1e-3 * abs(inverse_only))


def test_gradients_are_finite_at_greys_black_white_and_primaries():
    transform = ColourTransform()
    image = colours(CORNERS).requires_grad_()
    transform.to_rgb(transform.to_hvi(image)).sum().backward()
    assert image.grad.isfinite().all()
    assert transform.density_k.grad.isfinite().all()
    grey = torch.zeros(1, 3, 1, 2, requires_grad=True)  # H = V = I = 0, as a network may put out
    hvi_to_rgb(grey, torch.tensor([0.2])).sum().backward()
    assert grey.grad.isfinite().all()


def test_nothing_reads_i_lca5():
    torch.manual_seed(0)
    model = CIDNet(channels=(4, 4, 8, 16)).eval()
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        before = model(image)
        for parameter in model.I_LCA5.parameters():
            parameter.normal_()
        assert torch.equal(model(image), before)
        for parameter in model.HV_LCA5.parameters():
            parameter.normal_()
        assert not torch.equal(model(image), before)


def test_encoder_level_3_reads_the_input_of_lca2():
    seen = {}
    model = CIDNet(channels=(4, 4, 8, 16))
    for name in ("HV_LCA2", "I_LCA2", "HVE_block3", "IE_block3"):
        model.get_submodule(name).register_forward_hook(
            lambda _m, inputs, _o, name=name: seen.update({name: inputs[0]})
        )
    model(torch.rand(1, 3, 16, 16))
    assert seen["HVE_block3"] is seen["HV_LCA2"]
    assert seen["IE_block3"] is seen["I_LCA2"]


def test_adr_gets_q_of_its_own_branch_and_k_v_of_the_other():
    seen = {}
    attention = CIDNet(channels=(4, 4, 8, 16)).I_LCA4.ffn
    for name in ("q_dwconv", "kv_dwconv"):
        attention.get_submodule(name).register_forward_hook(
            lambda _m, _i, output, name=name: seen.update({name: output})
        )
    attention.adr = torch.nn.Identity()
    attention.adr.register_forward_hook(lambda _m, inputs, _o: seen.update(adr=inputs[0]))
    attention(torch.rand(1, 16, 4, 4), torch.rand(1, 16, 4, 4))
    assert torch.equal(seen["adr"], torch.cat([seen["q_dwconv"], seen["kv_dwconv"]], dim=1))


def test_another_number_of_levels_is_refused():
    with pytest.raises(ModelError, match=r"four levels\. Got channels=\(4, 8\)"):
        CIDNet(channels=(4, 8))
