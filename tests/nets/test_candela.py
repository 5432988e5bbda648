"""Our own backbone: its thumbnail, its view of the whole picture, its sizes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError
from undim.nets import add_adr, create_model
from undim.nets.candela import well_lit_share
from undim.nets.thumbnail import make_thumbnail


@pytest.mark.parametrize("shape", [(128, 192), (64, 96), (400, 600), (13, 9), (129, 97)])
def test_thumbnail_equals_adaptive_pooling_where_cells_are_whole(shape):
    image = torch.rand(2, 3, *shape)
    small = make_thumbnail(image)
    assert small.shape == (2, 3, 64, 96)
    assert torch.allclose(small.mean((2, 3)), image.mean((2, 3)), atol=1e-5)
    if shape[0] % 64 == 0 and shape[1] % 96 == 0:
        assert torch.allclose(small, F.adaptive_avg_pool2d(image, (64, 96)), atol=1e-6)


@pytest.mark.parametrize("shape", [(211, 307), (13, 9), (64, 97)])
def test_thumbnail_is_the_exact_mean_of_each_area(shape):
    pixels = np.random.default_rng(0).random(shape)
    # Each sample repeated as often as there are cells, so that every cell holds whole samples.
    rows = pixels.repeat(64, axis=0).reshape(64, shape[0], shape[1]).mean(1)
    expected = rows.repeat(96, axis=1).reshape(64, 96, shape[1]).mean(2)
    got = make_thumbnail(torch.from_numpy(pixels)[None, None])[0, 0].numpy()
    assert np.abs(got - expected).max() < 1e-5


def test_a_context_of_another_shape_is_named():
    with pytest.raises(ShapeError, match=r"must have the shape \(2, 3, 64, 96\)"):
        create_model("candela_tiny")(torch.rand(2, 3, 16, 16), torch.rand(1, 3, 64, 96))


def test_a_crop_with_the_whole_pictures_thumbnail_gets_its_brightness():
    torch.manual_seed(0)
    model = create_model("candela").eval()
    whole = torch.rand(1, 3, 64, 96) * 0.2
    whole[..., 48:] *= 0.05
    crop = whole[..., :32, 56:88]
    with torch.no_grad():
        expected = model(whole)[..., :32, 56:88]
        told = model(crop, make_thumbnail(whole))
        alone = model(crop)
    assert told.mean() == pytest.approx(expected.mean().item(), rel=0.05)
    assert alone.mean() > 2 * expected.mean()


def test_starts_at_the_picture_scaled_to_a_fixed_mean():
    image = torch.rand(1, 3, 40, 48) * 0.1
    with torch.no_grad():
        output = create_model("candela").eval()(image)
    luma = (image.mean((0, 2, 3)) * torch.tensor([0.299, 0.587, 0.114])).sum()
    assert torch.allclose(output, image * (0.4 / luma), rtol=1e-3)


def test_black_picture_is_finite():
    model = add_adr(create_model("candela_tiny"), embedding=8)
    image = torch.zeros(1, 3, 16, 16, requires_grad=True)
    output = model(image)
    output.sum().backward()
    assert output.isfinite().all()
    assert image.grad.isfinite().all()


def test_tiny_stays_below_100_k_parameters_with_adr():
    model = add_adr(create_model("candela_tiny"), embedding=16)
    assert sum(p.numel() for p in model.parameters()) < 100_000


def test_the_shoulder_leaves_white_white_and_clips_nothing():
    torch.manual_seed(0)
    model = create_model("candela_tiny", curve="shoulder").eval()
    with torch.no_grad():
        for parameter in model.predict.parameters():
            parameter.normal_(0, 0.05)
        ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64) ** 2
        output = model(ramp)
    assert torch.allclose(output[..., -1], torch.ones(1, 3, 64), atol=1e-5)
    assert output[..., :-6].max() < 250 / 255
    assert output.mean() > ramp.mean()


def test_what_is_lit_is_kept_and_the_rest_untouched():
    torch.manual_seed(0)
    plain = create_model("candela_tiny", curve="shoulder").eval()
    keeping = create_model("candela_tiny", curve="shoulder", keep_lit=True).eval()
    keeping.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 64, 96) * 0.2
    image[..., :8, :] = torch.tensor([0.5, 0.7, 0.99]).view(1, 3, 1, 1)  # a blue sky
    image[..., 8:16, :] = torch.tensor([0.6, 0.8, 0.92]).view(1, 3, 1, 1)  # half way between the two values
    with torch.no_grad():
        raised, kept = plain(image), keeping(image)
    assert (raised - image)[:, :2, :16].min() > 0.05  # its colour would have been lost
    assert torch.equal(kept[..., :8, :], image[..., :8, :])
    assert torch.allclose(kept[..., 8:16, :], (raised + image)[..., 8:16, :] / 2, atol=1e-5)
    assert torch.equal(kept[..., 16:, :], raised[..., 16:, :])


def test_lit_by_luma_keeps_white_and_raises_the_coloured_rim_of_the_sun():
    torch.manual_seed(0)
    plain = create_model("candela_tiny", curve="shoulder").eval()
    keeping = create_model("candela_tiny", curve="shoulder", keep_lit="luma").eval()
    keeping.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 64, 96) * 0.2
    image[..., :8, :] = 1.0
    image[..., 8:16, :] = 0.8  # half way between the two values
    image[..., 16:24, :] = torch.tensor([0.95, 0.5, 0.1]).view(1, 3, 1, 1)  # luma 0.589
    with torch.no_grad():
        raised, kept = plain(image), keeping(image)
    assert torch.equal(kept[..., :8, :], image[..., :8, :])
    assert torch.allclose(kept[..., 8:16, :], (raised + image)[..., 8:16, :] / 2, atol=1e-5)
    assert torch.equal(kept[..., 16:, :], raised[..., 16:, :])
    with pytest.raises(ModelError, match="keep_lit must be true, false or 'luma'"):
        create_model("candela_tiny", keep_lit="bright")


def test_a_picture_that_is_well_lit_as_a_whole_fades_to_its_input():
    torch.manual_seed(0)
    plain = create_model("candela_tiny", curve="shoulder", keep_lit="luma").eval()
    keeping = create_model("candela_tiny", curve="shoulder", keep_lit="luma", keep_well_lit=0.6).eval()
    keeping.load_state_dict(plain.state_dict())
    dim = torch.rand(1, 3, 64, 96) * 0.2
    window = dim.clone()
    window[..., :40] = 0.9  # brighter than a well-lit picture on average, yet with a dark part
    lit = torch.rand(1, 3, 64, 96) * 0.4 + 0.2
    assert window.mean() > lit.mean() > 0.39
    with torch.no_grad():
        for image, share in ((dim, 0.0), (window, 0.0), (lit, 0.6)):
            assert torch.allclose(keeping(image), torch.lerp(plain(image), image, share), atol=1e-6)
            tile = keeping.restore(image[..., :32, :32], make_thumbnail(image))  # by what the whole picture is
            assert torch.allclose(
                tile,
                torch.lerp(plain.restore(image[..., :32, :32], make_thumbnail(image)), image[..., :32, :32], share),
            )
        assert torch.allclose(keeping.train()(lit), plain.train()(lit))  # a training does not compensate for it
    with pytest.raises(ModelError, match=r"keep_well_lit must lie in \[0, 1\]\. Got 1\.5"):
        create_model("candela_tiny", keep_well_lit=1.5)


@pytest.mark.parametrize(("mean", "share"), [(0.29, 0.0), (0.3175, 0.5), (0.34, 1.0)])
def test_well_lit_is_told_by_the_geometric_mean(mean, share):
    spread = torch.tensor([0.5, 2.0]).repeat(48).expand(1, 1, 64, 96)  # as much darker as brighter
    assert well_lit_share(mean * spread - 0.02).item() == pytest.approx(share, abs=1e-4)


def test_the_shoulder_is_linear_in_the_dark_and_composes():
    model = create_model("candela_tiny", curve="shoulder")
    dark = torch.full((1, 3, 4, 4), 1e-4)
    gains = torch.tensor(5.0), torch.tensor(3.0)
    assert torch.allclose(model._raise(dark, gains[0]), 5 * dark, rtol=1e-3)
    image = torch.rand(1, 3, 4, 4)
    twice = model._raise(model._raise(image, gains[0]), gains[1])
    assert torch.allclose(twice, model._raise(image, gains[0] * gains[1]), atol=1e-6)


def test_an_unknown_curve_is_refused():
    with pytest.raises(ModelError, match="'linear' or 'shoulder'"):
        create_model("candela_tiny", curve="round")
