"""FLOPs against the paper's figures and against the two public counters."""

import logging
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from undim.errors import ModelError
from undim.nets import add_adr, create_model, freeze
from undim.nets.dynamic_conv import DynamicConv2d
from undim.nets.flops import GIGA, count_flops

TINY = {
    "restormer": {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
    "retinexformer": {"n_feat": 8},
    "cidnet": {"channels": (8, 8, 16, 32)},
}


def on_meta(name, adr=None):
    with torch.device("meta"):
        model = create_model(name)
        return model if adr is None else add_adr(model, **adr)


@pytest.mark.parametrize(
    ("adr", "paper"),
    [
        (None, 144.25),
        *(
            pytest.param(adr, paper, marks=pytest.mark.slow)
            for adr, paper in (
                ({"kernel": "static", "bottleneck": 4}, 145.69),
                ({"kernel": "dynamic", "bottleneck": 4}, 145.87),
                ({"bottleneck": 4, "embedding": 64}, 145.99),
                ({"bottleneck": 8, "embedding": 64}, 147.55),
                ({"bottleneck": 16, "embedding": 64}, 150.67),
                ({"bottleneck": 4, "embedding": 16}, 145.88),
                ({"bottleneck": 4, "embedding": 32}, 145.90),
            )
        ),
    ],
)
def test_restormer_rows_of_the_paper(adr, paper):
    assert count_flops(on_meta("restormer", adr), 256, "fvcore") / GIGA == pytest.approx(paper, abs=0.01)


@pytest.mark.parametrize(
    ("name", "rule", "known"),
    [
        ("retinexformer", "thop", 15.8496),
        ("retinexformer", "fvcore", 15.568),
        ("cidnet", "thop", 7.574),
        ("cidnet", "fvcore", 7.369),
    ],
)
def test_other_backbones(name, rule, known):
    assert count_flops(on_meta(name), 256, rule) / GIGA == pytest.approx(known, abs=1e-3)


@pytest.mark.parametrize(("name", "paper"), [("retinexformer", 16.56), ("cidnet", 8.17)])
def test_other_backbones_with_adr(name, paper):
    assert count_flops(on_meta(name, {}), 256, "thop") / GIGA == pytest.approx(paper, rel=0.005)


def test_parameters_with_adr_are_those_of_the_paper():
    counts = [sum(p.numel() for p in on_meta("restormer", adr).parameters()) / 1e6 for adr in (None, {"bottleneck": 4})]
    assert counts == pytest.approx([26.13, 30.70], abs=0.005)


@pytest.mark.parametrize("rule", ["fvcore", "thop"])
def test_a_frozen_generator_counts_as_if_it_were_not(rule):
    torch.manual_seed(0)
    model = add_adr(create_model("restormer", **TINY["restormer"]), bottleneck=3, embedding=8)
    assert count_flops(freeze(model), 32, rule) == count_flops(model, 32, rule)


@pytest.mark.parametrize("name", ["retinexformer", "cidnet"])
def test_thop_counts_the_same(name):
    thop = pytest.importorskip("thop")
    model = create_model(name, **TINY[name]).eval()
    expected = count_flops(model, 32, "thop")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counted, _ = thop.profile(model, (torch.rand(1, 3, 32, 32),), verbose=False)
    assert counted == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["restormer", "retinexformer", "cidnet"])
def test_fvcore_counts_the_same(name):
    fvcore = pytest.importorskip("fvcore.nn")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    model = create_model(name, **TINY[name]).eval()
    analysis = fvcore.FlopCountAnalysis(model, torch.rand(1, 3, 32, 32))
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_operator = analysis.by_operator()
    if name == "restormer":
        del by_operator["layer_norm"]  # the published network does this arithmetic in its own layer
    assert sum(by_operator.values()) == count_flops(model, 32, "fvcore")


class Product(nn.Module):
    """One way of multiplying 16 x 5 by 5 x 7 in float32, for each of two items; 3 x 4 x 4 pictures."""

    def __init__(self, multiply):
        super().__init__()
        self.multiply = multiply

    def forward(self, image):
        left, right = image.new_empty(2, 16, 5), image.new_empty(2, 5, 7)
        self.multiply(left, right)
        return image


@pytest.mark.parametrize(
    "multiply",
    [
        lambda a, b: a @ b,
        torch.bmm,
        lambda a, b: torch.baddbmm(a.new_empty(2, 16, 7), a, b),
        lambda a, b: torch.einsum("bij,bjk->bik", a, b),
        lambda a, b: torch.stack([F.linear(left, right.t()) for left, right in zip(a, b, strict=True)]),
        lambda a, b: torch.stack([torch.addmm(a.new_empty(7), x, y) for x, y in zip(a, b, strict=True)]),
        lambda a, b: F.conv1d(a.reshape(1, 10, 16), b.reshape(14, 5, 1), groups=2),
    ],
    ids=["matmul", "bmm", "baddbmm", "einsum", "linear", "addmm", "grouped convolution"],
)
def test_a_product_counts_the_same_whatever_runs_it(multiply):
    assert count_flops(Product(multiply), 4) == 2 * 16 * 5 * 7


def test_fused_attention_counts_its_two_products():
    class Attend(nn.Module):
        def forward(self, image):
            query, key, value = image.new_empty(3, 1, 2, 16, 8).unbind()
            F.scaled_dot_product_attention(query, key, value)
            return image

    assert count_flops(Attend(), 4) == 2 * (2 * 16 * 16 * 8)


def test_pooling_counts_its_input_and_normalisation_nothing():
    class Pool(nn.Module):
        def forward(self, image):
            return F.softmax(F.adaptive_avg_pool2d(F.layer_norm(image, image.shape[1:]), 1), dim=1)

    assert count_flops(Pool(), 8) == 3 * 8 * 8


def test_generated_convolutions_count_under_both_rules():
    convolution = DynamicConv2d(3, 6, 3, padding=1, candidates=2)
    generator = 3 * 4 + 4 * 2 + 2 * (6 * 3 * 9)  # two linear layers and the sum of candidates
    expected = 6 * 3 * 9 * 8 * 8 + 3 * 8 * 8 + generator
    assert count_flops(convolution, 8, "fvcore") == expected
    assert count_flops(nn.Sequential(convolution, nn.PReLU()), 8, "thop") == expected + 6 * 8 * 8


def test_counting_leaves_the_network_as_it_was():
    model = create_model("cidnet", **TINY["cidnet"])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    count_flops(model, 16, "thop")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert model.training


def test_an_unknown_rule_is_refused():
    with pytest.raises(ModelError, match=r"'fvcore' or 'thop'\. Got 'ptflops'"):
        count_flops(nn.Identity(), 8, "ptflops")
