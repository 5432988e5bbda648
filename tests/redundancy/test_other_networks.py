"""Networks of other people, with what theirs do and ours do not."""

import contextlib
import math

import pytest
import torch
from torch import nn

from undim import nets
from undim.errors import ModelError, UsageError
from undim.redundancy import Initialisation, WalkSettings, dmr, layers, reset


class Network(nn.Module):
    """x + attn(x), with some layer in the place of attention."""

    def __init__(self, attn):
        super().__init__()
        self.attn = attn

    def forward(self, image):
        return image + self.attn(image)


class Attention(nn.Module):
    """As the tutorial on ADR builds it."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Conv2d(3, 9, 1)
        self.adr = nets.Adr(9, bottleneck=4, embedding=8)
        self.out = nn.Conv2d(3, 3, 1)

    def forward(self, image):
        _, _, values = self.adr(self.qkv(image)).chunk(3, 1)
        return self.out(values)


class Tied(nn.Module):
    """x (1 + sigmoid(attn(first(x)))), the two convolutions with one weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.attn = nn.Conv2d(3, 3, 1)
        self.attn.weight = self.first.weight

    def forward(self, image):
        return image * (1 + torch.sigmoid(self.attn(self.first(image))))


class Filter(nn.Module):
    """Multiplication in the domain of frequencies."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 1, 1, dtype=torch.cfloat))

    def forward(self, image):
        return torch.fft.ifft2(torch.fft.fft2(image) * self.weight).real


class Forgetful(nn.Module):
    """A convolution, and something else at each call."""

    def __init__(self, *, counts):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.counts = counts
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, image):
        if self.counts:
            self.calls = self.calls + 0.1
            return self.conv(image) * self.calls
        return self.conv(image) + 0.01 * torch.randn_like(image)


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.Conv2d(3, 3, 1)

    def forward(self, image):
        return [self.attn(image)]


def picture():
    return torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def test_adr_that_a_network_built_itself_is_kept_too():
    torch.manual_seed(0)
    network = Network(Attention())
    (layer,) = layers(network, adr="keep")
    before = {name: value.clone() for name, value in network.named_parameters()}
    with reset(network, layer, 0):
        same = {name for name, value in network.named_parameters() if torch.equal(value, before[name])}
    assert same == {name for name in before if ".adr." in name}
    both = dmr(network, [picture()], adr="both")
    assert both.kept is not None
    assert both.per_layer != both.kept.per_layer


def test_complex_parameters_are_not_passed_over():
    network = Network(Filter())
    with pytest.raises(ModelError, match=r"attn\.weight cannot be re-initialised"):
        dmr(network, [picture()])
    trained = network.attn.weight.clone()
    with reset(network, "attn", 0, initialisation=Initialisation(values={"weight$": 1.0})):
        assert torch.equal(network.attn.weight, torch.ones(3, 1, 1, dtype=torch.cfloat))
    assert torch.equal(network.attn.weight, trained)


def test_whole_numbers_are_not_passed_over():
    network = Network(nn.Conv2d(3, 3, 1))
    network.attn.table = nn.Parameter(torch.arange(3), requires_grad=False)
    with pytest.raises(ModelError, match=r"attn\.table .* torch\.int64"):
        dmr(network, [picture()])


@pytest.mark.parametrize("dark", [0, 40])
def test_shared_weights_are_seen_in_a_picture_with_a_black_corner(dark):
    torch.manual_seed(0)
    network = Tied()
    image = picture() / 2
    image[:, :, :dark, :dark] = 0
    fast, plain = (dmr(network, [image], seeds=(0, 1), settings=WalkSettings(fast=way)) for way in (True, False))
    assert fast.per_layer == plain.per_layer
    assert any("outside of its own calls" in note for note in fast.notes)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("counts", [True, False])
def test_a_network_that_gives_something_else_each_time_is_refused(counts, fast):
    network = Network(Forgetful(counts=counts))
    calls = network.attn.calls
    with pytest.raises(ModelError, match="different outputs for the same picture"):
        dmr(network, [picture()], kind="attn", settings=WalkSettings(fast=fast))
    assert network.attn.calls is calls
    assert float(calls) == 0


@pytest.mark.parametrize("values", [{"a": math.nan}, {"a": math.inf}, {"(": 1.0}])
def test_values_that_none_can_start_at_are_refused(values):
    with pytest.raises(UsageError):
        Initialisation(values=values)


@pytest.mark.parametrize("fast", [True, False])
def test_a_list_is_no_output(fast):
    with pytest.raises(ModelError, match="returned list"):
        dmr(Several(), [picture()], settings=WalkSettings(fast=fast))


def test_scripts_are_refused():
    network = Network(nn.Sequential(nn.Conv2d(3, 3, 1)))
    network.attn = torch.jit.script(network.attn)
    with pytest.raises(ModelError, match=r"before torch\.jit\.script"):
        dmr(network, [picture()], kind="attn")


def test_the_callers_inference_mode_is_no_obstacle():
    torch.manual_seed(0)
    network = Network(nn.Conv2d(3, 3, 1))
    found = []
    for mode in (contextlib.nullcontext(), torch.inference_mode()):
        with mode:
            found.append(dmr(network, [picture()]).per_layer)
    assert found[0] == found[1]


def test_a_network_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        network = Network(nn.Conv2d(3, 3, 1))
    with pytest.raises(ModelError, match="made in inference mode"):
        dmr(network, [picture()])


def test_half_the_bits_are_measured_as_they_are():
    torch.manual_seed(0)
    network = Network(nn.Conv2d(3, 3, 1))
    exact = dmr(network, [picture()]).per_layer
    rounded = dmr(network.bfloat16(), [picture()]).per_layer
    assert {name: pytest.approx(value, abs=0.3) for name, value in exact.items()} == rounded


def test_a_factory_tells_what_shared_parameters_start_at():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.rand(3, 1, 1))

        def forward(self, image):
            return image * self.scale

    class Shares(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.attn = Scaled(), Scaled()
            self.attn.scale = self.first.scale

        def forward(self, image):
            return self.attn(self.first(image))

    found = dmr(Shares(), [picture()], settings=WalkSettings(initialisation=Initialisation(Shares)))
    assert all(map(math.isfinite, found.per_layer.values()))
