"""Whatever happens in the middle of a walk, the network and the caller's random numbers are as before."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from undim.nets import add_adr, create_model
from undim.redundancy import bottleneck_energy, diversity, dmr, harmfulness, reset
from undim.redundancy.journal import Journal


class Bomb(nn.Module):
    """The identity, which raises from its n-th call on."""

    def __init__(self, error):
        super().__init__()
        self.error, self.left = error, math.inf

    def forward(self, image):
        self.left -= 1
        if self.left <= 0:
            raise self.error
        return image


def made(error=ValueError):
    """A network with ADR, a part in another mode, a mask and a frozen parameter, and a bomb before its last layers."""
    torch.manual_seed(0)
    model = add_adr(create_model("restormer_small"), embedding=8, bottleneck=4).train()
    model.refinement = nn.Sequential(Bomb(error), *model.refinement)
    model.latent.eval()
    prune.l1_unstructured(model.output, "weight", 0.3)
    next(model.parameters()).requires_grad_(requires_grad=False)
    return model


def everything(model):
    return {
        "modes": [module.training for module in model.modules()],
        "parameters": [(id(one), one.data_ptr(), one.requires_grad) for one in model.parameters()],
        "buffers": [(id(one), one.data_ptr()) for one in model.buffers()],
        "hooks": [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
        "patched": [sorted(set(module.__dict__) & {"forward", "weight"}) for module in model.modules()],
        "random": torch.get_rng_state().tolist(),
    }


IMAGES = [torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
WALKS = {
    "dmr": lambda model: dmr(model, IMAGES, adr="both"),
    "harm": lambda model: harmfulness(model, [(image, image) for image in IMAGES], kind="all"),
    "diversity": lambda model: diversity(model, IMAGES),
    "energy": lambda model: bottleneck_energy(model, IMAGES),
}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("name", "calls"), [("dmr", 1), ("dmr", 5), ("dmr", 16), ("harm", 20), ("diversity", 2), ("energy", 2)]
)
def test_a_failure_inside_the_network_leaves_nothing_behind(name, calls, error):
    model = made(error)
    weights, before = copy.deepcopy(model.state_dict()), everything(model)
    model.refinement[0].left = calls
    with pytest.raises(error):
        WALKS[name](model)
    assert everything(model) == before
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_a_failure_of_the_reader_leaves_nothing_behind(tmp_path, monkeypatch):
    """A full disk, while the network is in the middle of a reset."""
    model = made()
    weights, before = copy.deepcopy(model.state_dict()), everything(model)

    def full(record):
        raise OSError(28, "No space left on device")

    with Journal(tmp_path / "a.jsonl", {}) as journal:
        monkeypatch.setattr(journal, "append", full)
        with pytest.raises(OSError, match="space") as caught:
            dmr(model, IMAGES, journal=journal)
    assert caught.tb is not None  # the frames are alive: nothing is put back by collecting them
    assert everything(model) == before
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


class Replacing(nn.Linear):
    """Puts new parameters in the place of those that it had."""

    def reset_parameters(self):
        self.weight = nn.Parameter(torch.rand(self.out_features, self.in_features))
        self.bias = nn.Parameter(torch.zeros(self.out_features))


def test_parameters_that_a_reset_replaces_are_put_back():
    model = nn.Sequential(Replacing(3, 2))
    weight, values = model[0].weight, model[0].weight.detach().clone()
    with reset(model, "0", 1):
        assert model[0].weight is weight
        assert not torch.equal(weight, values)
        assert torch.equal(model[0].bias, torch.zeros(2))
    assert model[0].weight is weight
    assert torch.equal(weight, values)


def test_an_interrupt_while_a_reset_is_undone_waits_for_its_end(monkeypatch):
    model = nn.Sequential(nn.Linear(3, 2))
    values = copy.deepcopy(model.state_dict())
    real = nn.Parameter.__setattr__
    armed = [False]

    def interrupted(self, name, value):
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt
        real(self, name, value)

    monkeypatch.setattr(nn.Parameter, "__setattr__", interrupted)
    with pytest.raises(KeyboardInterrupt), reset(model, "0", 1):
        armed[0] = True
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())
