"""Leaving out blocks: what stays computes as before, what goes is what the measures say, and the file loads."""

import pytest
import torch
from torch import nn

from undim.errors import ModelError, UsageError
from undim.nets import count_flops
from undim.redundancy import dmr, find_blocks, harmfulness, leave_out, propose
from undim.redundancy.slimming import pattern_of
from undim.weights.files import AdrSpec, ModelSpec, load_model, save_model

SPECS = {
    "candela_tiny": ModelSpec("candela_tiny", {"blocks": [2, 2, 3]}, AdrSpec(embedding=8, bottleneck=4)),
    "restormer_small": ModelSpec(
        "restormer_small", {"num_blocks": [1, 2, 2, 1], "num_refinement_blocks": 2}, AdrSpec(embedding=8)
    ),
    "retinexformer_small": ModelSpec("retinexformer_small", {"num_blocks": [2, 2, 2], "stage": 2}),
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


@pytest.mark.parametrize("name", list(SPECS))
def test_without_blocks_that_do_nothing_the_output_is_the_same(name, tmp_path):
    model, spec = built(name), SPECS[name]
    chosen = {
        "candela_tiny": ("encoder2.0", "decoder2.2", "latent.1", "decoder3.1"),
        "restormer_small": ("encoder_level2.0", "decoder_level2.1", "refinement.0"),
        "retinexformer_small": tuple(
            f"body.{stage}.denoiser.{row}.blocks.{stage}"
            for stage in (0, 1)
            for row in ("encoder_layers.0.0", "decoder_layers.1.2")
        ),
    }[name]
    for block in chosen:
        silence(model, block)
    smaller, smaller_spec = leave_out(model, spec, chosen)
    image = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        expected = model(image)
        assert torch.allclose(smaller(image), expected, atol=1e-6)
        save_model(smaller_spec, smaller, tmp_path / "smaller.safetensors")
        assert torch.allclose(load_model(tmp_path / "smaller.safetensors")(image), expected, atol=1e-6)
    assert count_flops(smaller, 64) < count_flops(model, 64)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())


def test_useless_blocks_are_proposed_first():
    model, spec = built("candela_tiny"), SPECS["candela_tiny"]
    useless = {"encoder2.1", "decoder2.1"}
    for block in useless:
        nn.init.zeros_(model.get_submodule(block).conv1.weight)
    numbers = torch.Generator().manual_seed(1)
    images = [torch.rand(1, 3, 24, 24, generator=numbers) * 0.3 for _ in range(2)]
    kind = pattern_of(find_blocks(model))
    ratios = dmr(model, images, kind=kind)
    assert len(ratios.ratios) == 14
    harm = harmfulness(model, [(image, image * 2) for image in images], kind=kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    proposal = propose(model, spec, ratios, harm, fraction=0.25)
    smaller, _ = leave_out(model, spec, proposal.blocks)
    share = 1 - count_flops(smaller, 256) / count_flops(model, 256)
    assert proposal.saved == pytest.approx(share)
    assert share >= 0.25
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(UsageError, match="saves at most"):
        propose(model, spec, ratios, harm, fraction=0.95)
    with pytest.raises(UsageError, match="above 0"):
        propose(model, spec, ratios, harm, fraction=1.5)


def test_the_least_worth_for_its_cost_goes_first():
    """With measures made up here, the order is known."""
    model, spec = built("candela_tiny"), SPECS["candela_tiny"]
    images = [torch.full((1, 3, 16, 16), 0.2)]
    kind = pattern_of(find_blocks(model))
    with torch.no_grad():
        output = model(images[0]).clamp(0, 1)  # as its own reference, no reset makes it better
    ratios, harm = dmr(model, images, kind=kind), harmfulness(model, [(images[0], output)], kind=kind)
    made = {name: ((60.0,),) if name in ("latent.2", "decoder3.1") else ((10.0,),) for name in ratios.ratios}
    object.__setattr__(ratios, "ratios", made)
    proposal = propose(model, spec, ratios, harm, fraction=0.01)
    assert proposal.steps[0].blocks == ("latent.2", "decoder3.1")


def test_what_cannot_be_left_out_is_refused():
    model, spec = built("candela_tiny"), SPECS["candela_tiny"]
    with pytest.raises(ModelError, match="as many of each"):
        leave_out(model, spec, ["encoder1.0"])
    with pytest.raises(ModelError, match="is no block"):
        leave_out(model, spec, ["decoder2.0"])  # its attention
    cidnet = ModelSpec("cidnet_small")
    with pytest.raises(ModelError, match="no rows of blocks"):
        leave_out(cidnet.build(), cidnet, [])
