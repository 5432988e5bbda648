"""Table 5's baselines against what they do to weights, computed here by loops and sorting."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from undim.errors import ModelError, UsageError
from undim.nets import add_adr, create_model
from undim.redundancy import (
    BASELINES,
    chroma_error,
    dmr,
    prune_filters_l1,
    prune_filters_median,
    prune_magnitude,
    quantise,
    reset,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return add_adr(create_model("restormer_small"), embedding=8).eval()


@pytest.mark.parametrize("name", list(BASELINES))
def test_every_baseline_can_be_measured_and_leaves_the_original(model, name):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    image = torch.rand(1, 3, 16, 16)
    changed = BASELINES[name](model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        assert not torch.equal(changed(image), model(image))
    assert 0 < dmr(changed, [image], kind="latent.0.attn|refinement.0.attn").mean < 120
    copy.deepcopy(changed)


def test_the_smallest_connections_go(model):
    pruned = prune_magnitude(model, 0.3)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            values = layer.weight.detach().abs().flatten()
            gone = set(values.argsort()[: round(0.3 * values.numel())].tolist())
            zero = (pruned.get_submodule(name).weight == 0).flatten().nonzero().flatten().tolist()
            assert set(zero) == gone


def test_a_mask_survives_the_reset_of_a_pruned_network(model):
    pruned = prune_magnitude(model, 0.3)
    layer = pruned.latent[0].attn.qkv
    gone = layer.weight == 0
    with reset(pruned, "latent.0.attn", 0), torch.no_grad():
        pruned(torch.rand(1, 3, 16, 16))
        assert torch.equal(layer.weight == 0, gone)


def test_whole_filters_go_with_their_bias():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 20, 3), nn.ConvTranspose2d(20, 10, 2, stride=2))
    weakest = prune_filters_l1(net, 0.1)
    sizes = [float(kernel.abs().sum()) for kernel in net[0].weight.detach()]
    expected = sorted(range(20), key=sizes.__getitem__)[:2]
    output = weakest[0](torch.rand(1, 3, 8, 8))
    assert [index for index in range(20) if not output[0, index].any()] == sorted(expected)
    assert int((weakest[1].weight.abs().sum((0, 2, 3)) == 0).sum()) == 1
    central = prune_filters_median(net, 0.1)
    flat = net[0].weight.detach().flatten(1).numpy()
    distances = [sum(np.linalg.norm(one - other) for other in flat) for one in flat]
    gone = (central[0].weight.abs().sum((1, 2, 3)) == 0).nonzero().flatten().tolist()
    assert gone == sorted(np.argsort(distances)[:2].tolist())


def test_quantised_weights_have_few_levels(model):
    quantised = quantise(model, 4)
    for kernel in quantised.latent[0].ffn.project_in.weight.flatten(1):
        assert len(kernel.unique()) <= 15
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        errors = [float((quantise(model, bits)(image) - model(image)).abs().mean()) for bits in (4, 8, 16)]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


def test_colour_error_ignores_brightness_and_sees_hue():
    grey = np.full((4, 4, 3), 80, np.uint8)
    assert chroma_error(grey, grey * 2) < 0.01
    red, green = (np.zeros((4, 4, 3), np.uint8) for _ in range(2))
    red[..., 0] = green[..., 1] = 255
    # sRGB red is a* 80.1, b* 67.2 and green -86.2, 83.2 (D65)
    assert chroma_error(red, green) == pytest.approx(np.hypot(80.1 + 86.2, 67.2 - 83.2), abs=0.2)


def test_fractions_and_bits_out_of_range_are_refused(model):
    with pytest.raises(UsageError, match="fraction"):
        prune_magnitude(model, 1.5)
    with pytest.raises(UsageError, match="bits"):
        quantise(model, 1)
    with pytest.raises(ModelError, match="no convolution"):
        prune_magnitude(nn.ReLU(), 0.1)
