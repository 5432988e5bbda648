"""A training step of every network is a function of tensors on the device: nothing is copied from the host or read."""

import pytest
import torch

from no_host import HostError, NoHost
from undim.luma import REC601
from undim.nets import add_adr, create_model, list_models
from undim.nets.kind import REC709
from undim.nets.registry import REGISTRY
from undim.nets.rgb_weights import RgbWeights
from undim.training.losses import BINOMIAL, HVI_DENSITY, Constants, recipe_loss
from undim.training.recipe import LossSection

ALL_TERMS = LossSection(
    l1=1.0, charbonnier=1.0, ssim=0.3, edge=1.0, edge_squared=1.0, hvi=1.0, places=1.0, gt_mean=True
)
LARGE = {"candela", "cidnet", "llformer", "restormer", "retinexformer", "retinexmamba", "snr_net"}
"""Their small variants are built of the same classes."""
SETTINGS = {
    "candela_tiny": ({}, {"memory": 2, "keep_lit": "luma", "curve": "shoulder", "dropout": 0.1}, {"keep_lit": True}),
    "kind": ({}, {"heuristics": True}),
    "snr_net_small": ({}, {"resize": (32, 48)}),
}
"""Settings that switch on what a variant's own leave out."""
CASES = [(name, more) for name in sorted(REGISTRY) if name not in LARGE for more in SETTINGS.get(name, ({},))]


def step(model, constants):
    """Forward, loss and backward, as a training step has them."""
    low, high = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    context = torch.rand(2, 3, 64, 96)
    with NoHost():
        output = model(low, context) if model.sees_whole else model(low)
        loss = recipe_loss(output, high, ALL_TERMS, constants=constants)
        loss.backward()
    return loss


@pytest.mark.parametrize(("name", "settings"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_no_network_asks_the_host_in_a_step(name, settings):
    torch.manual_seed(0)
    model = create_model(name, **settings).train()
    assert torch.isfinite(step(model, Constants.beside(torch.zeros(()))))


@pytest.mark.parametrize("kernel", ["pog", "dynamic", "static"])
@pytest.mark.parametrize(
    "name",
    [
        "candela_tiny",
        "restormer_small",
        *(pytest.param(f"{name}_small", marks=pytest.mark.slow) for name in ("cidnet", "retinexformer", "snr_net")),
    ],
)
def test_no_kernel_asks_the_host_in_a_step(name, kernel):
    torch.manual_seed(0)
    model = create_model(name)
    add_adr(model, kernel=kernel, bottleneck=4, embedding=8)
    assert torch.isfinite(step(model.train(), Constants.beside(torch.zeros(()))))


def test_all_variants_that_are_left_out_have_a_small_one():
    assert {name for name in LARGE if name not in list_models()} == set()
    for name in LARGE:
        assert {f"{name}_small", f"{name}_tiny"} & set(list_models()), name


FAULTS = {
    "a list": lambda x: x * x.new_tensor([1.0, 2.0]),
    "a tensor of numbers": lambda x: x * torch.tensor([1.0, 2.0]),
    "a number that is read": lambda x: x * float(x.sum()),
    "a branch": lambda x: x if x.sum() > 0 else -x,
    "booleans as places": lambda x: x[x > 0],
    "a list of places": lambda x: x[[1, 0]],
    "one place by itself": lambda x: x[x.argmax()],
    "places of what is not zero": lambda x: x.nonzero(),
    "a copy to the host": lambda x: torch.zeros_like(x, device="meta").copy_(x),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_mode_notices_each_kind_of_fault(fault):
    values = torch.tensor([1.0, 2.0])
    with pytest.raises(HostError), NoHost():
        fault(values)


@pytest.mark.parametrize("values", [REC601, REC709])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_of_colours_are_those_of_a_tensor_made_on_the_spot(values, kind):
    image = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)).to(kind)
    expected = (image * image.new_tensor(values).view(3, 1, 1)).sum(1, keepdim=True)
    for weights in (RgbWeights(values), RgbWeights(values).half(), RgbWeights(values).to(kind)):
        assert torch.equal(weights(image), expected)
        assert weights.weights.dtype == torch.float32
        assert not weights.state_dict()
    moved = RgbWeights(values).to("meta").to_empty(device="cpu")
    assert torch.equal(moved(image), expected)


def test_constants_of_the_loss_are_what_they_were():
    like = torch.zeros((), dtype=torch.float64)
    constants = Constants.beside(like)
    assert torch.equal(constants.rec601, like.new_tensor(REC601).view(3, 1, 1))
    assert torch.equal(constants.binomial.flatten(), like.new_tensor(BINOMIAL))
    assert torch.equal(constants.density, like.new_tensor([HVI_DENSITY]))
    output, target = torch.rand(2, 3, 16, 24), torch.rand(2, 3, 16, 24)
    first = recipe_loss(output, target, ALL_TERMS)
    assert torch.equal(first, recipe_loss(output, target, ALL_TERMS, constants=Constants.beside(output)))
