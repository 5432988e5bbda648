"""float16, stored or by autocasting, gives finite pictures; lengths near zero are handled as in float32."""

import pytest
import torch
from torch.nn import functional as F

from undim.contract import GIVEN
from undim.nets import add_adr, create_model
from undim.nets.channel_attention import channel_attention
from undim.nets.pog import unit_embeddings
from undim.nets.whole_picture import WholeStatistics

SMALL = ("restormer_small", "retinexformer_small", "cidnet_small", "candela_tiny")
ADDED = {"alone": None, "pog": {"kernel": "pog", "embedding": 8}, "dynamic": {"kernel": "dynamic"}}
PICTURES = {
    "black": torch.zeros(1, 3, 16, 24),
    "grey": torch.full((1, 3, 16, 24), 0.5),
    "white": torch.ones(1, 3, 16, 24),
    "half": torch.cat((torch.zeros(1, 3, 16, 12), torch.ones(1, 3, 16, 12)), 3),
}


def make(name, added, **settings):
    torch.manual_seed(0)
    model = create_model(name, **settings)
    return (model if ADDED[added] is None else add_adr(model, where="all", **ADDED[added])).eval()


def assert_near_float32(model, pictures=tuple(PICTURES), mean=None):
    """Finite everywhere; near float32 at each pixel, or on average where `mean` is given."""
    with torch.no_grad():
        exact = {name: model(PICTURES[name]) for name in pictures}
        with torch.autocast("cpu", torch.float16):
            cast = {name: model(PICTURES[name]) for name in pictures}
        model.half()
        stored = {name: model(PICTURES[name].half()) for name in pictures}
    for name in pictures:
        for found in (cast[name], stored[name]):
            assert found.isfinite().all(), name
            away = (found - exact[name]).abs() / max(1, exact[name].abs().max())
            assert away.max() < 0.05 if mean is None else away.mean() < mean, name
        assert stored[name].dtype == torch.float16


@pytest.mark.parametrize("added", ADDED)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "cidnet_small" else name for name in SMALL]
)
def test_float16_gives_finite_pictures_near_those_of_float32(name, added):
    assert_near_float32(make(name, added))


def test_float16_also_with_a_memory_of_scenes():
    assert_near_float32(make("candela_tiny", "pog", memory=4))


def test_float16_also_without_bias_in_the_normalisation():
    assert_near_float32(make("restormer_small", "alone", layer_norm="BiasFree"))


@pytest.mark.slow
@pytest.mark.parametrize("added", ADDED)
@pytest.mark.parametrize("name", ["restormer", "retinexformer", "cidnet", "candela"])
def test_float16_gives_finite_pictures_at_the_published_sizes(name, added):
    # So deep, with drawn weights, single pixels go astray by rounding: of grey ones, CIDNet's hue is anything.
    assert_near_float32(make(name, added), ("black", "grey"), mean=0.02)


@pytest.mark.parametrize("level", [1.0, 1e-4, 1e-7, 1e-10, 1e-13, 1e-15, 0.0])
def test_what_tiles_are_told_normalises_as_whole_pictures_do(level):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 4, 8, 8)
    query, key = query * level, key * level
    temperature = torch.ones(2, 1, 1)
    cells = torch.arange(8)
    whole = WholeStatistics(torch.tensor(GIVEN), cells, cells, torch.ones(1))
    told = channel_attention(query, key, value, temperature, whole)
    assert torch.allclose(told, channel_attention(query, key, value, temperature), atol=1e-5)
    cosines = whole.scores(torch.zeros(1, 2, 2, 2), query, key)
    units = (F.normalize(part.double().flatten(2), dim=-1).unflatten(1, (2, 2)) for part in (query, key))
    first, second = units
    assert torch.allclose(cosines.double(), first @ second.transpose(-2, -1), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [1e-44, 1e-38, 1e-24, 1e-22, 1e-12, 1.0, 1e15, 1e20, 3e37])
def test_every_finite_embedding_is_scaled_to_unit_length(length, dtype):
    torch.manual_seed(0)
    directions = torch.randn(5, 8, dtype=torch.float64)
    rows = (directions * length).to(dtype)
    exact = rows.double() / rows.double().norm(dim=-1, keepdim=True)
    assert torch.allclose(unit_embeddings(rows).double(), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [0.0, 1e-44, 1e-30, 1e-22, 1e-9, 1e-6, 1e-3])
def test_gradients_of_embeddings_are_bounded(length):
    torch.manual_seed(0)
    rows = (F.normalize(torch.randn(5, 8), dim=-1) * length).requires_grad_()
    probe = torch.randn(5, 8)
    (unit_embeddings(rows) * probe).sum().backward()
    assert rows.grad.isfinite().all()
    assert (rows.grad.norm(dim=-1) <= 1.0001e6 * probe.norm(dim=-1)).all()
    if length == 0:
        assert torch.equal(rows.grad, torch.zeros(5, 8))


def test_ordinary_embeddings_are_scaled_bit_for_bit_as_by_their_norm():
    torch.manual_seed(0)
    rows = torch.randn(50, 64, requires_grad=True)
    probe = torch.randn(50, 64)
    plain = rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    assert torch.equal(unit_embeddings(rows), plain)
    ours, expected = (torch.autograd.grad((made * probe).sum(), rows)[0] for made in (unit_embeddings(rows), plain))
    assert torch.equal(ours, expected)
