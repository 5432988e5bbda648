"""Kernels from the whole picture: what crops are told is what the whole pictures' layers met."""

import pytest
import torch

from undim.nets import add_adr, create_model, replace_convs
from undim.nets.adr import Adr
from undim.nets.dynamic_conv import GeneratedConv2d
from undim.nets.thumbnail import make_thumbnail
from undim.nets.view import look_at_views, told

SETTINGS = {"dims": (4, 4, 4), "heads": (1, 1), "global_width": 2}


@pytest.fixture(params=["1x1", "3x3", "own convolutions"])
def network(request):
    torch.manual_seed(0)
    model = create_model("candela_tiny", **SETTINGS)
    if request.param == "own convolutions":
        replace_convs(model, where=r"qkv$")
    else:
        add_adr(model, kernel="pog", bottleneck=3, embedding=4, kernel_size=int(request.param[0]))
    for name, weight in model.named_parameters():
        if name.endswith("generator.fc1.bias"):
            torch.nn.init.ones_(weight)  # no rectified unit is dead
    return model.double()  # at random, kernels hardly depend on the picture: more than rounding, though


@pytest.fixture
def views():
    torch.manual_seed(1)
    return [
        torch.rand(3, *size, dtype=torch.float64) for size in ((16, 24), (24, 16), (16, 24))
    ]  # a turned one between


def kernels_met(model, *inputs):
    """What each generator gave in one run: an independent look, by hooks."""
    met = []
    layers = [part for part in model.modules() if isinstance(part, Adr | GeneratedConv2d)]
    generators = [g for part in layers for g in ((part.p1, part.p2) if isinstance(part, Adr) else (part.generator,))]
    hooks = [generator.register_forward_hook(lambda _m, _i, out: met.append(out)) for generator in generators]
    model(*inputs)
    for hook in hooks:
        hook.remove()
    return met


def test_crops_get_the_kernels_of_their_whole_pictures(network, views):
    contexts = torch.cat([make_thumbnail(view[None]) for view in views])
    crops = torch.stack([view[:, :16, :16] for view in views])
    expected = [kernels_met(network, view[None], context[None]) for view, context in zip(views, contexts, strict=True)]
    own = kernels_met(network, crops, contexts)
    pooled = look_at_views(network, views, contexts)
    with told(network, pooled):
        given = kernels_met(network, crops, contexts)
    assert len(given) == len(own) == len(expected[0]) > 0
    for place in range(len(given)):
        whole = torch.cat([kernels[place] for kernels in expected])
        assert torch.allclose(given[place], whole, rtol=0, atol=1e-13)
        assert not torch.allclose(own[place], whole, rtol=0, atol=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(own, kernels_met(network, crops, contexts), strict=True))


def test_gradients_reach_generators_and_backbone(network, views):
    contexts = torch.cat([make_thumbnail(view[None]) for view in views])
    torch.nn.init.normal_(network.predict.weight)
    pooled = look_at_views(network, views, contexts)
    assert not any(mean.requires_grad for means in pooled for mean in means)
    with told(network, pooled):
        network(torch.stack([view[:, :16, :16] for view in views]), contexts).square().mean().backward()
    generators = [name for name, _ in network.named_parameters() if ".adr.p" in name or ".generator." in name]
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert generators
    assert all(gradients[name].abs().max() > 0 for name in (*generators, "embed.weight"))


def test_nothing_is_told_any_more_after_a_failure(network, views):
    contexts = torch.cat([make_thumbnail(view[None]) for view in views])
    with pytest.raises(RuntimeError, match="stop"), told(network, look_at_views(network, views, contexts)):
        raise RuntimeError("stop")
    layers = [part for part in network.modules() if isinstance(part, Adr | GeneratedConv2d)]
    assert all(layer.means is None for layer in layers)
