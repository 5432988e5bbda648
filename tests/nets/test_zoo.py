"""The networks of other systems against outputs of the originals, and what all of them promise."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2gray
from torch import nn
from torch.nn import functional as F
from zoo import SMALL, SYSTEMS, WITHOUT_ATTENTION, Fixture, compare_case, fixture_and_network, load, official, relative

from undim.errors import ModelError, ShapeError
from undim.nets import add_adr, create_model
from undim.nets.flops import GIGA, count_flops
from undim.nets.rsfnet import blur_bilateral
from undim.nets.snr_net import estimate_snr
from undim.weights.files import ModelSpec, load_model, save_model

CHAINED = {"llformer", "retinexmamba", "retinexnet", "retinexnet_port"}
"""Rounding grows along their many layers: in float64 the port lies as far from the stored output as it does itself."""
QUICK = [*SMALL, *(name for name in WITHOUT_ATTENTION if name not in ("kind", "enlightengan"))]


def on_meta(name, **settings):
    with torch.device("meta"):
        return create_model(name, **settings).eval()


def build(name):
    torch.manual_seed(0)
    return create_model(name).eval()


@pytest.mark.parametrize("name", SYSTEMS)
def test_names_shapes_and_number_of_weights_are_the_published_ones(name):
    model = on_meta(name)
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == official()[name]["keys"]
    assert sum(p.numel() for p in model.parameters()) == official()[name]["parameters"]


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_output_equals_the_original(name, case):
    assert compare_case(name, case) <= (3e-5 if name in CHAINED else 1e-5)


def test_parts_of_the_networks_equal_the_originals():
    with torch.no_grad():
        fixture, model = fixture_and_network("pairlie")
        cleaned = model.N_net(fixture.image("b"))
        assert relative(model.L_net(cleaned), fixture.tensors["L_b"]) <= 1e-5
        assert relative(model.R_net(cleaned), fixture.tensors["R_b"]) <= 1e-5

        fixture, model = fixture_and_network("rsfnet")
        factors = model.factNet(fixture.image("b"))
        torch.testing.assert_close(factors, fixture.tensors["factors_b"].float(), atol=1e-4, rtol=0)
        model.bypass = True
        published = fixture.tensors["as_published_b"].float()
        torch.testing.assert_close(model(fixture.image("b")), published, atol=4e-4, rtol=0)

        fixture = Fixture("ruas")
        model = load("ruas", fixture, variant="upe")
        assert relative(model(fixture.image("b")), fixture.tensors["enhanced_b"]) <= 1e-5

        fixture = Fixture("snr_net")
        # Where the noise is nearly 0, its ratio to the signal hangs on rounding.
        torch.testing.assert_close(estimate_snr(fixture.image("a")), fixture.tensors["mask_a"], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "llformer" else name for name in SYSTEMS]
)
def test_multiply_adds_are_those_counted_on_the_originals(name):
    model = on_meta(name)
    normalised = count_norms(model)
    assert count_flops(model) - normalised() == official()[name]["multiply_adds_256"]


def count_norms(model):
    """How much fvcore's rule adds for layer normalisation in the runs to come."""
    sizes = []
    for layer in model.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.register_forward_hook(lambda _l, inputs, _o: sizes.append(5 * inputs[0].numel()))
    return lambda: sum(sizes)


def test_flops_of_snr_net_in_the_paper_are_those_of_its_constructors_defaults():
    model = on_meta("snr_net", front_blocks=5, back_blocks=10)
    # The original normalises the same tokens three times, for q, k and v each: two more of five per element.
    again = len(model.transformer.layer_stack) * 2 * 5 * (256 // 16) ** 2 * 1024
    assert (count_flops(model) + again) / GIGA == pytest.approx(26.35, abs=0.005)


def test_flops_of_retinexmamba_in_the_paper_count_the_resizing_too():
    model = on_meta("retinexmamba")
    resized = []
    for name, layer in model.named_modules():
        if name.endswith(("blocks.0.0.conv1", "blocks.1.0.conv1")):
            layer.register_forward_hook(lambda _l, _i, output: resized.append(output.numel()))
    counted = count_flops(model)
    assert (counted + sum(resized)) / GIGA == pytest.approx(42.82, abs=0.005)


@pytest.mark.parametrize(
    ("name", "size", "published"),
    [
        pytest.param("llformer", (256, 256), 22.52, marks=pytest.mark.slow),
        ("ruas", (400, 600), 0.825),
        ("ruas", (256, 256), 0.2253),
    ],
)
def test_flops_in_the_paper_that_count_convolutions_and_their_biases(name, size, published):
    model = on_meta(name)
    counts = []

    def count(layer, _inputs, output):
        fan_in = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
        counts.append(output.numel() * (fan_in + (layer.bias is not None)))

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.device("meta"):
        model(torch.empty(1, 3, *size))
    assert sum(counts) / 1e9 == pytest.approx(published, abs=0.005)


def test_flops_of_enlightengan_in_the_paper_are_those_of_a_padded_picture_of_lol_with_all_that_is_not_a_product():
    model = on_meta("enlightengan")
    counts = []

    def count(layer, _inputs, output):
        products = layer.in_channels * math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 0
        activated = isinstance(layer, nn.BatchNorm2d) or layer is model.conv9_2
        # One for each bias, each value that is normalised (conv9_2's are not), and each that is activated before.
        counts.append(output.numel() * (products + 1 + activated))

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.register_forward_hook(count)
    with torch.device("meta"):
        model(torch.empty(1, 3, 400, 600))  # padded to 608 x 400
    assert sum(counts) / 1e9 == pytest.approx(61.005, abs=0.0005)


def test_heuristics_of_kinds_demo_are_what_is_told_of_them():
    """R dimmed by min(1, sqrt(2 gaussian3(gray R))), then I x + (1 - I) result."""
    torch.manual_seed(0)
    model = create_model("kind", heuristics=True).eval()
    image = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        got = model(image)[0].permute(1, 2, 0).numpy()
        reflectance, light = model.DecomNet(image)
        restored = model.Restoration_net(reflectance, light)
        adjusted = model.Illumination_adjust_net(light, 5.0)
    assert model.ratio == 5.0
    r, i, clean, raised, x = (
        part[0].permute(1, 2, 0).double().numpy() for part in (reflectance, light, restored, adjusted, image)
    )
    dimming = np.minimum(1, np.sqrt(2 * gaussian_filter(rgb2gray(r), 3, mode="nearest")))[..., None]
    np.testing.assert_allclose(got, i * x + (1 - i) * (clean * dimming * raised), atol=2e-6)


def test_rsfnet_keeps_its_thresholds_whatever_picture_comes_first():
    """The published code overwrites some of them with the mean of the first picture after loading."""
    fixture, model = fixture_and_network("rsfnet")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        model(torch.full((1, 3, 16, 16), 0.9))
        output = model(fixture.image("a"))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert relative(output, fixture.tensors["output_a"]) <= 1e-5


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (33, 47)])
@pytest.mark.parametrize("name", [*SMALL, *WITHOUT_ATTENTION])
def test_any_size_gives_the_same_size_and_finite_values(name, size):
    model = build(name)
    with torch.no_grad():
        for image in (torch.rand(1, 3, *size), torch.zeros(1, 3, *size), torch.ones(1, 3, *size)):
            output = model(image)
            assert output.shape == image.shape
            assert output.isfinite().all()


@pytest.mark.parametrize("name", QUICK)
def test_a_batch_equals_its_pictures_one_by_one(name):
    model = build(name)
    images = torch.rand(3, 3, 19, 24) ** torch.tensor([1.0, 2.0, 4.0])[:, None, None, None]
    with torch.no_grad():
        alone = torch.cat([model(image.unsqueeze(0)) for image in images])
        torch.testing.assert_close(model(images), alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", QUICK)
def test_gradients_are_finite_also_where_pictures_are_black_or_white(name):
    model = build(name).train()
    images = torch.stack([torch.zeros(3, 16, 24), torch.ones(3, 16, 24), torch.rand(3, 16, 24)])
    model(images).square().mean().backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert any(gradient.any() for gradient in found)
    assert all(gradient.isfinite().all() for gradient in found)


@pytest.mark.parametrize("shape", [(1, 1, 36, 52), (1, 3, 37, 53), (2, 1, 37, 53)])
def test_an_attention_of_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"attention must have the shape \(1, 1, 37, 53\)"):
        build("enlightengan")(torch.rand(1, 3, 37, 53), torch.rand(shape))


@pytest.mark.parametrize("name", QUICK)
def test_other_shapes_are_refused(name):
    with pytest.raises(ShapeError, match=r"Got \(1, 1, 16, 16\)"):
        build(name)(torch.rand(1, 1, 16, 16))
    with pytest.raises(ShapeError, match="Got 7 x 16"):
        build(name)(torch.rand(1, 3, 7, 16))


@pytest.mark.parametrize("name", SMALL)
def test_small_variants_are_small_and_of_the_same_kind(name):
    small = on_meta(name)
    assert type(small) is type(on_meta(name.removesuffix("_small")))
    assert 100_000 < sum(p.numel() for p in small.parameters()) < 500_000


@pytest.mark.parametrize("name", SMALL)
def test_adr_acts_on_q_k_and_v_of_every_attention_layer_and_can_start_as_identity(name):
    model = build(name)
    image = torch.rand(1, 3, 32, 32)
    seen = []
    with torch.no_grad():
        before = model(image)
        add_adr(model, where="all", identity=True)
        for site in model.attention_sites():
            site.module.adr.register_forward_hook(lambda _m, i, _o, site=site: seen.append((site.name, i[0].shape[1])))
        torch.testing.assert_close(model(image), before, atol=1e-6, rtol=1e-5)
    assert sorted(seen) == sorted((site.name, site.module.qkv_channels) for site in model.attention_sites())


@pytest.mark.parametrize(
    ("name", "decoder", "total"), [("llformer", 40, 116), ("retinexmamba", 5, 8), ("snr_net", 6, 6)]
)
def test_attention_layers_that_adr_is_for(name, decoder, total):
    sites = on_meta(name).attention_sites()
    assert len(sites) == total
    assert sum(site.stage.part == "decoder" for site in sites) == decoder


def test_networks_without_attention_say_that_adr_has_no_place():
    with pytest.raises(ModelError, match="ZeroDce has no attention layer"):
        add_adr(create_model("zero_dce"))


def test_where_no_token_is_kept_attention_is_the_mean_and_its_queries_and_keys_are_useless():
    torch.manual_seed(0)
    model = create_model("snr_net_small")
    image, dropped = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    model(image, dropped).sum().backward()
    attention = model.transformer.layer_stack[0].slf_attn
    assert not attention.w_qs.weight.grad.any()
    assert not attention.w_ks.weight.grad.any()
    assert attention.w_vs.weight.grad.any()
    with torch.no_grad():
        before, before_kept = model(image, dropped), model(image, dropped + 0.6)
        attention.w_qs.reset_parameters()
        attention.w_ks.reset_parameters()
        assert torch.equal(model(image, dropped), before)
        assert not torch.equal(model(image, dropped + 0.6), before_kept)


def test_settings_out_of_range_are_refused():
    for name, settings in (
        ("pairlie", {"exponent": 0}),
        ("kind", {"ratio": -1}),
        ("ruas", {"variant": "lot"}),
        ("snr_net_small", {"resize": (400, 600)}),
        ("snr_net_small", {"resize": (400,)}),
        ("enlightengan", {"halve_above": -1}),
        ("retinexmamba_small", {"num_blocks": (1, 2)}),
    ):
        with pytest.raises(ModelError):
            create_model(name, **settings)


def test_settings_act():
    image = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        torch.manual_seed(0)
        model = create_model("pairlie")
        usual = model(image)
        model.exponent = 0.2
        assert not torch.allclose(model(image), usual)
        model = build("snr_net_small")
        usual = model(image)
        model.resize = (32, 48)
        assert model(image).shape == usual.shape
        assert not torch.allclose(model(image), usual)
        with pytest.raises(ShapeError, match="map must have the shape"):
            model(image, torch.rand(1, 1, 8, 8))


def test_enlightengan_halves_wide_pictures_if_asked():
    torch.manual_seed(0)
    model = build("enlightengan")
    wide, narrow = torch.rand(1, 3, 40, 66), torch.rand(1, 3, 66, 40)
    with torch.no_grad():
        plain = model(narrow)
        mean = sum(wide[..., row::2, column::2] for row in (0, 1) for column in (0, 1)) / 4
        attention = 1 - model.luma(wide)
        weight = sum(attention[..., row::2, column::2] for row in (0, 1) for column in (0, 1)) / 4
        expected = F.interpolate(model(mean, weight), (40, 66), mode="bilinear")
        model.halve_above = 65
        torch.testing.assert_close(model(wide), expected)
        assert torch.equal(model(narrow), plain)
        assert model(torch.rand(1, 3, 41, 67)).shape == (1, 3, 41, 67)


def test_bilateral_blur_keeps_flat_parts_and_edges():
    flat = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(blur_bilateral(flat), flat)
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1
    assert blur_bilateral(edge)[..., :4].max() < 0.01


def test_a_network_whose_layers_stand_under_two_names_can_be_kept(tmp_path):
    model = build("rsfnet")
    save_model(ModelSpec("rsfnet"), model, tmp_path / "rsfnet.safetensors")
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "rsfnet.safetensors")(image), model(image))
