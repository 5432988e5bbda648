"""Cutting down: what stays computes as before, what goes is what the measures say, and the file loads."""

import pytest
import torch
from torch import nn

from undim.errors import ModelError, UsageError
from undim.nets import count_flops
from undim.nets.adr import Adr
from undim.nets.hidden_channels import hidden_layers
from undim.redundancy import Cut, Evidence, bottleneck_energy, cut_down, dmr, harmfulness, propose, units
from undim.redundancy.slimming import pattern_of
from undim.weights.files import AdrSpec, ModelSpec, load_model, save_model

SPECS = {
    "candela_tiny": ModelSpec("candela_tiny", {"blocks": [2, 2, 3]}, AdrSpec(embedding=8, bottleneck=4)),
    "restormer_small": ModelSpec(
        "restormer_small", {"num_blocks": [1, 2, 2, 1], "num_refinement_blocks": 2}, AdrSpec(embedding=8)
    ),
    "retinexformer_small": ModelSpec("retinexformer_small", {"num_blocks": [2, 2, 2], "stage": 2}),
    "cidnet_small": ModelSpec("cidnet_small", {}, AdrSpec("dynamic", bottleneck=8)),
}
BLOCKS = {
    "candela_tiny": ("encoder2.0", "decoder2.2", "latent.1", "decoder3.1"),
    "restormer_small": ("encoder_level2.0", "decoder_level2.1", "refinement.0"),
    "retinexformer_small": tuple(
        f"body.{stage}.denoiser.{row}.blocks.{stage}"
        for stage in (0, 1)
        for row in ("encoder_layers.0.0", "decoder_layers.1.2")
    ),
    "cidnet_small": (),
}


def built(name):
    torch.manual_seed(0)
    model = SPECS[name].build().eval()
    if name == "candela_tiny":
        nn.init.normal_(model.predict.weight, std=0.02)
    return model


def silence(model, name):
    """Make a residual block or an attention block an identity."""
    for module in model.get_submodule(name).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def measured(model, **others):
    """Equal measures, but for some layers' DMR."""
    names = [layer.name for group in units(model) for layer in group]
    return {name: Evidence(others.get(name.replace(".", "_"), 20.0), 0.0) for name in names}


@pytest.mark.parametrize(
    "name", [name if "candela" in name else pytest.param(name, marks=pytest.mark.slow) for name in SPECS]
)
def test_without_what_does_nothing_the_output_is_the_same(name, tmp_path):
    model, spec = built(name), SPECS[name]
    for block in BLOCKS[name]:
        silence(model, block)
    hidden = {}
    for path, layer in list(hidden_layers(model).items())[::2]:
        if not any(path.startswith(block) for block in BLOCKS[name]):
            hidden[path] = tuple(range(1, layer.hidden - 1))
            reader = next(conv.path for conv in layer.hidden_convs if conv.role == "reads")
            with torch.no_grad():
                layer.get_submodule(reader).weight[:, [0, layer.hidden - 1]] = 0
    smaller, smaller_spec = cut_down(model, spec, Cut(BLOCKS[name], hidden))
    image = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        expected = model(image)
        assert torch.allclose(smaller(image), expected, atol=1e-6)
        save_model(smaller_spec, smaller, tmp_path / "smaller.safetensors")
        assert torch.allclose(load_model(tmp_path / "smaller.safetensors")(image), expected, atol=1e-6)
    assert count_flops(smaller, 64) < count_flops(model, 64)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())


def test_what_was_cut_down_can_be_cut_again(tmp_path):
    model, spec = built("candela_tiny"), SPECS["candela_tiny"]
    first, spec = cut_down(model, spec, Cut(("latent.0", "decoder3.1"), {"latent.1": (0, 5, 7), "encoder1.1": (2,)}))
    assert spec.overrides["hidden"] == {"latent.0": 3, "encoder1.1": 1}
    second, spec = cut_down(first, spec, Cut(("latent.1", "decoder3.1"), {"latent.0": (1, 2)}))
    assert spec.overrides["hidden"] == {"latent.0": 2, "encoder1.1": 1}
    assert torch.equal(second.latent[0].conv1.weight, model.latent[1].conv1.weight[[5, 7]])
    save_model(spec, second, tmp_path / "second.safetensors")


def test_the_bottleneck_narrows_everywhere_at_once():
    model, spec = built("candela_tiny"), SPECS["candela_tiny"]
    kept = {name: (0, 3) for name, module in model.named_modules() if isinstance(module, Adr)}
    smaller, spec = cut_down(model, spec, Cut(bottleneck=kept))
    assert spec.adr.bottleneck == 2
    assert {module.bottleneck for module in smaller.modules() if isinstance(module, Adr)} == {2}
    with pytest.raises(ModelError, match="one bottleneck"):
        cut_down(model, SPECS["candela_tiny"], Cut(bottleneck=dict([next(iter(kept.items()))])))


@pytest.mark.slow
def test_useless_layers_are_proposed_first():
    model, spec = built("candela_tiny"), SPECS["candela_tiny"]
    useless = {"encoder2.1", "decoder2.1"}
    for block in useless:
        nn.init.zeros_(model.get_submodule(block).conv1.weight)
    numbers = torch.Generator().manual_seed(1)
    images = [torch.rand(1, 3, 24, 24, generator=numbers) * 0.3 for _ in range(2)]
    (layers,) = units(model)
    assert len(layers) == 14 + 3 + 2  # blocks of rows, those that see the whole picture, ADRs
    kind = pattern_of(layers)
    ratios = dmr(model, images, kind=kind).per_layer
    harm = harmfulness(model, [(image, image * 2) for image in images], kind=kind).layers
    found = {layer.name: Evidence(ratios[layer.name], harm[layer.name].poi) for layer in layers}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    proposal = propose(model, spec, found, energy=bottleneck_energy(model, images))
    smaller, _ = cut_down(model, spec, proposal.cut)
    share = 1 - count_flops(smaller, 256) / count_flops(model, 256)
    assert proposal.saved == pytest.approx(share)
    assert share >= 0.25
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_the_least_worth_for_its_cost_goes_first():
    model, spec = built("candela_tiny"), SPECS["candela_tiny"]
    pair = propose(model, spec, measured(model, latent_2=90.0, decoder3_1=90.0), fraction=0.01)
    assert set(pair.cut.blocks) <= {"latent.2", "decoder3.1"}
    assert set(pair.cut.hidden) <= {"latent.2", "decoder3.1"}
    assert len({step.name for step in pair.steps}) == len(pair.steps)
    # One useless block whose partner matters can only be made narrower, and gives up its weakest channels.
    with torch.no_grad():
        model.decoder1[1].conv2.weight[:, [4, 9]] *= 1e-3
    narrow = propose(model, spec, measured(model, decoder1_1=90.0), fraction=0.01)
    assert narrow.cut.blocks == ()
    assert set(range(12)) - set(narrow.cut.hidden["decoder1.1"]) <= {4, 9}
    assert "decoder1.1: 12 to" in narrow.steps[0].name


def test_blocks_with_layers_inside_are_measured_apart():
    outer, inner = units(built("restormer_small"))
    assert "latent.0" in {layer.name for layer in outer}
    assert {"latent.0.ffn", "decoder_level2.0.attn.adr"} <= {layer.name for layer in inner}
    (alone,) = units(built("cidnet_small"))
    assert "I_LCA5.gdfn" not in {layer.name for layer in alone}  # nothing reads it


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SPECS))
def test_networks_of_every_backbone_reach_the_share(name):
    model = built(name)
    proposal = propose(model, SPECS[name], measured(model), fraction=0.1)
    smaller, _ = cut_down(model, SPECS[name], proposal.cut)
    rule = model.flops_rule
    assert count_flops(smaller, 256, rule) <= 0.9 * count_flops(model, 256, rule)
    assert smaller(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)


def test_the_energy_of_a_bottleneck_that_is_multiplied_by_nothing_is_zero():
    spec = ModelSpec("candela_tiny", {}, AdrSpec("static", bottleneck=4))
    torch.manual_seed(0)
    model = spec.build().eval()
    adr = model.decoder2[0].adr
    with torch.no_grad():
        adr.p2.weight[:, 2] = 0
    energy = bottleneck_energy(model, [torch.rand(1, 3, 16, 16)])["decoder2.0.adr"]
    expected = adr.p1.weight.flatten(1).square().sum(1) * adr.p2.weight[..., 0, 0].square().sum(0)
    assert energy[2] == 0
    assert torch.allclose(energy.float(), expected)
    with pytest.raises(ModelError, match="no pictures"):
        bottleneck_energy(model, [])


@pytest.mark.slow
def test_what_cannot_go_is_refused():
    model, spec = built("candela_tiny"), SPECS["candela_tiny"]
    with pytest.raises(ModelError, match="as many of each"):
        cut_down(model, spec, Cut(("encoder1.0",)))
    with pytest.raises(ModelError, match="is not a block"):
        cut_down(model, spec, Cut(("decoder2.0",)))  # its attention
    with pytest.raises(ModelError, match="has no hidden channels"):
        cut_down(model, spec, Cut(hidden={"decoder2.0": (0,)}))
    with pytest.raises(ModelError, match="channels 0 to 11"):
        cut_down(model, spec, Cut(hidden={"encoder1.0": (3, 12)}))
    with pytest.raises(UsageError, match="save at most"):
        propose(model, spec, measured(model), fraction=0.95)
    with pytest.raises(UsageError, match="above 0"):
        propose(model, spec, measured(model), fraction=1.5)
