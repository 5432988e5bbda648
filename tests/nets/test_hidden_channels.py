"""Hidden channels: what is declared is what the layers do, and dropping a channel is what silencing it is."""

import copy

import pytest
import torch

from undim.errors import ModelError
from undim.nets import add_adr, create_model
from undim.nets.adr import Adr
from undim.nets.hidden_channels import hidden_layers

SMALL = {
    "candela_tiny": {},
    "restormer_small": {"num_blocks": (1, 1, 1, 1)},
    "cidnet_small": {},
    "retinexformer_small": {"num_blocks": (1, 1, 1)},
}


def silence(layer, channels):
    """Make everything that reads these hidden channels read nothing of them."""
    (reader,) = (conv for conv in layer.hidden_convs if conv.role == "reads")
    with torch.no_grad():
        layer.get_submodule(reader.path).weight[:, channels] = 0


@pytest.mark.parametrize("name", list(SMALL))
def test_dropping_channels_that_nothing_reads_changes_nothing(name):
    torch.manual_seed(0)
    for path, layer in list(hidden_layers(create_model(name, **SMALL[name])).items())[:4]:
        smaller = copy.deepcopy(layer).eval()
        gone = [0, layer.hidden - 1]
        silence(layer, gone)
        smaller.keep_hidden([channel for channel in range(layer.hidden) if channel not in gone])
        assert smaller.hidden == layer.hidden - 2, path
        features = torch.randn(2, layer(torch.zeros(1, channels_of(layer), 4, 4)).shape[1], 9, 6)
        with torch.no_grad():
            assert torch.allclose(smaller(features), layer(features), atol=1e-6), path


def channels_of(layer):
    (maker,) = (conv for conv in layer.hidden_convs if conv.role == "makes")
    return layer.get_submodule(maker.path).in_channels


def test_energy_is_zero_where_nothing_is_read_and_scales_with_the_square():
    layer = next(iter(hidden_layers(create_model("restormer_small")).values()))
    before = layer.hidden_energy()
    silence(layer, [3])
    with torch.no_grad():
        layer.project_out.weight[:, 5] *= 3
    after = layer.hidden_energy()
    assert after[3] == 0
    assert torch.allclose(after[5], 9 * before[5])
    assert torch.equal(after[6:], before[6:])


def test_a_network_is_made_with_fewer_and_draws_as_if_it_had_been_made_so():
    torch.manual_seed(0)
    model = create_model("candela", hidden={"latent.0": 16, "encoder1.0": 6})
    assert model.latent[0].conv1.weight.shape == (16, 64, 3, 3)
    assert model.latent[0].conv2.weight.shape == (64, 16, 3, 3)
    assert model.latent[1].hidden == 64
    # nn.Conv2d draws from +-1 / sqrt(fan in); the constructor scales by 0.2.
    reach = 0.2 / (16 * 9) ** 0.5
    assert 0.95 * reach < float(model.latent[0].conv2.weight.abs().max()) <= reach * 1.0001
    assert model(torch.rand(1, 3, 16, 24)).shape == (1, 3, 16, 24)


def test_wrong_layers_and_numbers_are_refused():
    with pytest.raises(ModelError, match=r"'encoder2\.1' has no hidden channels"):
        create_model("candela_tiny", hidden={"encoder2.1": 4})
    with pytest.raises(ModelError, match="12 hidden channels: 1 to as many"):
        create_model("candela_tiny", hidden={"encoder1.0": 13})
    with pytest.raises(ModelError, match="cannot be built"):
        create_model("candela_tiny", hidden=5)


@pytest.mark.parametrize("kernel", ["pog", "dynamic", "static"])
def test_a_narrower_bottleneck_keeps_the_kernels_of_the_channels_that_stay(kernel):
    torch.manual_seed(0)
    adr = Adr(24, 6, kernel=kernel, embedding=8).eval()
    smaller = copy.deepcopy(adr)
    smaller.keep_bottleneck([1, 4, 5])
    qkv = torch.randn(2, 24, 5, 4)
    with torch.no_grad():
        p1, _ = adr.kernels(qkv)
        narrow1, narrow2 = smaller.kernels(qkv)
    assert torch.equal(narrow1, p1[:, [1, 4, 5]])
    assert narrow2.shape == (2, 24, 3)
    fresh = Adr(24, 3, kernel=kernel, embedding=8).state_dict()
    assert {name: tensor.shape for name, tensor in smaller.state_dict().items()} == {
        name: tensor.shape for name, tensor in fresh.items()
    }
    if kernel == "static":
        assert torch.equal(narrow2, adr.kernels(qkv)[1][..., [1, 4, 5]])


def test_the_bottleneck_of_a_dynamic_kernel_shrinks_its_attention_too():
    model = add_adr(create_model("cidnet_small"), kernel="dynamic", bottleneck=32)
    adr = next(module for module in model.modules() if isinstance(module, Adr))
    adr.keep_bottleneck(range(20))
    expected = Adr(adr.channels, 20, kernel="dynamic").state_dict()
    assert {n: t.shape for n, t in adr.state_dict().items()} == {n: t.shape for n, t in expected.items()}
