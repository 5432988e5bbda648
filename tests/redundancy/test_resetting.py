"""Finding layers, and resetting them: what is drawn, what stays, and that all comes back bit for bit."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from undim.errors import ModelError
from undim.nets import add_adr, create_model, freeze, replace_convs
from undim.redundancy import Initialisation, layers, reset
from undim.redundancy.sites import select

SMALL = ("candela_tiny", "cidnet_small", "restormer_small", "retinexformer_small")


class Foreign(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2), "mlp": nn.Sequential(nn.Linear(8, 8))})
        self.gamma = nn.Parameter(torch.ones(8))
        self.norm = nn.BatchNorm2d(3)


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(model, before):
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "cidnet_small" else name for name in SMALL]
)
@pytest.mark.parametrize("kind", ["attention", "feedforward", "all"])
def test_every_layer_of_every_backbone_is_drawn_anew_and_comes_back(name, kind):
    torch.manual_seed(0)
    model = add_adr(create_model(name), where="all", embedding=8, bottleneck=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.37)  # away from every default, constant ones too
    if kind == "feedforward" and name == "candela_tiny":
        with pytest.raises(ModelError, match="no 'feedforward' layer"):
            layers(model, kind)
        return
    before = snapshot(model)
    for layer in layers(model, kind):
        inside = {id(parameter) for parameter in layer.module.parameters()}
        with reset(model, layer, 0):
            for key, parameter in model.named_parameters():
                assert torch.equal(parameter, before[key]) != (id(parameter) in inside), key
                assert parameter.isfinite().all()
        assert same(model, before)


def test_lists_of_constants_get_each_its_own_back():
    model = create_model("rsfnet")
    built = snapshot(model)
    with torch.no_grad():
        for parameter in model.factNet.parameters():
            parameter.add_(0.37)
    with reset(model, "factNet", 0):
        for name, parameter in model.named_parameters():
            assert not name.startswith("factNet") or torch.equal(parameter, built[name]), name
    assert torch.equal(model.factNet.step[0][0], torch.tensor(1.37))


def test_a_kind_that_a_network_does_not_have_is_told_with_those_that_it_has():
    with pytest.raises(ModelError, match=r"has no 'attention' layer with parameters\. Kind 'all' takes every layer"):
        layers(create_model("zero_dce"))
    with pytest.raises(ModelError) as raised:
        layers(create_model("kind"))
    names = str(raised.value).rpartition("as of ")[2].rstrip(".").split(", ")
    assert all(layers(create_model("kind"), f"^{name}$") for name in names)


def test_standard_layers_get_their_types_default_and_bare_parameters_their_constructors():
    torch.manual_seed(0)
    model = create_model("restormer_small")
    site = "decoder_level1.0.attn"
    attention = model.get_submodule(site)
    nn.init.constant_(attention.temperature, 5.0)
    with reset(model, site, 3):
        assert torch.equal(attention.temperature, torch.ones_like(attention.temperature))
        weight = attention.qkv.weight.detach()
    bound = 1 / math.sqrt(attention.qkv.in_channels)  # kaiming_uniform with a = sqrt 5
    assert weight.abs().max() <= bound
    assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert attention.temperature.unique().item() == 5.0


def test_seeds_and_layers_are_independent_draws():
    model = create_model("restormer_small")
    drawn = {}
    for layer in ("encoder_level1.0.ffn", "decoder_level1.0.ffn"):
        for seed in (0, 1):
            with reset(model, layer, seed):
                drawn[layer, seed] = model.get_submodule(layer).project_in.weight.detach().clone().flatten()[:50]
            with reset(model, layer, seed):
                assert torch.equal(
                    model.get_submodule(layer).project_in.weight.detach().flatten()[:50], drawn[layer, seed]
                )
    assert len({tuple(values.tolist()) for values in drawn.values()}) == 4


def test_an_exception_restores_too_and_resets_nest():
    model = create_model("candela_tiny")
    before = snapshot(model)
    first, second = layers(model)[:2]

    def fail():
        assert not same(model, before)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), reset(model, [first, second], 0), reset(model, first, 1):
        fail()
    assert same(model, before)


def test_the_callers_random_numbers_are_not_touched():
    model = create_model("candela_tiny")
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with reset(model, layers(model)[0], 0):
        pass
    assert torch.equal(torch.rand(2), expected)


def test_buffers_stay():
    model = Foreign()
    model.norm.running_mean.fill_(7.0)
    nn.init.constant_(model.norm.weight, 3.0)
    buffer = model.norm.running_mean
    with reset(model, "norm", 0):
        assert model.norm.running_mean is buffer
        assert buffer.unique().item() == 7.0
        assert model.norm.weight.unique().item() == 1.0


def test_a_pruning_mask_survives():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1))
    prune.l1_unstructured(model[0], "weight", 0.5)
    image = torch.rand(1, 3, 8, 8)
    mask, before = model[0].weight_mask.clone(), model(image)
    kept = model[0].weight
    with reset(model, "0", 0):
        model(image)
        assert torch.equal(model[0].weight == 0, mask == 0)
        assert not torch.equal(model[0].weight, kept)
        assert torch.equal(model[0].weight_mask, mask)
    assert model[0].weight is kept
    assert torch.equal(model(image), before)


def test_memory_of_scenes_is_no_parameter():
    model = create_model("candela_tiny", memory=4)
    before = {name: value.clone() for name, value in model.whole.memory.named_buffers()}
    with reset(model, "whole", 0):
        assert all(torch.equal(value, before[name]) for name, value in model.whole.memory.named_buffers())


def test_bare_parameters_of_other_code():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Foreign()
            self.inner.table = nn.Parameter(torch.randn(4))

    outer, trained = Around(), Around()
    before = snapshot(outer)
    with pytest.raises(ModelError, match=r"inner\.(gamma|table) cannot be re-initialised"), reset(outer, "inner", 0):
        pass
    assert same(outer, before)
    values = {r"gamma$": 2.0, r"table$": 0.0}
    with reset(outer, "inner", 0, initialisation=Initialisation(values=values)):
        assert outer.inner.gamma.unique().item() == 2.0
    with reset(outer, "inner", 0, initialisation=Initialisation(Around)):
        assert outer.inner.gamma.unique().item() == 1.0
        first = outer.inner.table.detach().clone()
    with reset(outer, "inner", 1, initialisation=Initialisation(Around)):
        assert not torch.equal(outer.inner.table, first)
    with (
        pytest.raises(ModelError, match="cannot be re-initialised"),
        reset(outer, "inner", 0, initialisation=Initialisation(lambda: trained)),  # the same weights each time
    ):
        pass


def test_what_cannot_be_drawn_is_refused():
    frozen = freeze(add_adr(create_model("candela_tiny"), embedding=8))
    with pytest.raises(ModelError, match="is frozen"), reset(frozen, layers(frozen)[-1], 0):
        pass
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1)))
    with pytest.raises(ModelError, match="parametrized"), reset(model, "0", 0):
        pass
    with pytest.raises(ModelError, match=r"no layer 'latnt'. Did you mean 'latent'"), reset(frozen, "latnt", 0):
        pass


def test_generated_convolutions_have_a_bias_of_their_own():
    model = replace_convs(create_model("candela_tiny"), where=r"^embed$")
    with torch.no_grad():
        model.embed.bias.fill_(9.0)
    with reset(model, "embed", 0):
        assert model.embed.bias.abs().max() <= 1 / math.sqrt(24 * 9)


def test_layers_of_backbones_are_declared_facts():
    model = create_model("restormer_small")
    assert [layer.name for layer in layers(model, stage="latent")] == ["latent.0.attn"]
    assert [layer.stage for layer in layers(model, "feedforward", stage="decoder")] == [
        "decoder3",
        "decoder2",
        "decoder1",
        "refinement",
    ]
    everything = layers(model, "all")
    held = [parameter for layer in everything for parameter in layer.module.parameters()]
    assert len(held) == len({id(parameter) for parameter in held}) == len(list(model.parameters()))
    with pytest.raises(ModelError, match=r"no stage 'latnet'. Did you mean 'latent'"):
        layers(model, stage="latnet")


def test_what_nothing_reads_is_left_out_with_a_note():
    selection = select(create_model("cidnet_small"))
    assert len(selection.layers) == 11
    assert selection.notes == ("I_LCA5.ffn is left out: nothing reads its output",)


def test_layers_of_other_code_go_by_type_and_name():
    model = Foreign()
    assert [layer.name for layer in layers(model)] == ["block.attn"]
    assert [layer.name for layer in layers(model, "feedforward")] == ["block.mlp"]
    assert [layer.name for layer in layers(model, "all")] == ["block.attn", "block.mlp", "norm"]
    assert [layer.name for layer in layers(model, r"^block\.")] == ["block.attn", "block.mlp"]
    wrapped = nn.ModuleDict({"attention_unet": model})
    assert [layer.name for layer in layers(wrapped)] == ["attention_unet.block.attn"]
    with pytest.raises(ModelError, match="no stages"):
        layers(model, stage="latent")
    with pytest.raises(ModelError, match="no 'xyz' layer"):
        layers(model, "xyz")
    with pytest.raises(ModelError, match="neither a kind"):
        layers(model, "(")
