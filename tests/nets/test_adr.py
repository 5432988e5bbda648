"""ADR against equation 2 written with convolutions, and its addition to every registered backbone."""

import onnxruntime
import pytest
import torch
from official import RUNNABLE, build
from torch import nn
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError
from undim.nets import add_adr, create_model, freeze, list_models, replace_convs
from undim.nets.adr import Adr
from undim.nets.dynamic_conv import GeneratedConv2d
from undim.nets.registry import REGISTRY

KINDS = ["pog", "dynamic", "static"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_equation_2_step_by_step(kind, layout):
    torch.manual_seed(0)
    adr = Adr(12, 3, kernel=kind, embedding=8).double()
    qkv = torch.randn(2, 12, 5, 7, dtype=torch.float64)
    expected = []
    for f in qkv:
        p1 = adr.p1(f.mean((1, 2))[None])[0]
        squeezed = F.conv2d(f[None], p1)
        p2 = adr.p2(squeezed.mean((2, 3)))[0]  # P2 is generated from its own input
        expected.append(f[None] + F.conv2d(squeezed, p2))
    out = adr(qkv.contiguous(memory_format=layout))
    assert torch.allclose(out, torch.cat(expected), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_traced_graph_takes_any_size(kind, layout, tmp_path):
    torch.manual_seed(0)
    adr = Adr(12, 3, kernel=kind, embedding=8).eval()
    example = torch.rand(2, 12, 8, 10).contiguous(memory_format=layout)
    free = {"qkv": {0: "batch", 2: "height", 3: "width"}}
    path = tmp_path / "adr.onnx"
    torch.onnx.export(adr, (example,), path, input_names=["qkv"], dynamo=False, dynamic_axes=free)
    qkv = torch.rand(3, 12, 5, 7)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"qkv": qkv.numpy()})
    assert torch.allclose(torch.from_numpy(found), adr(qkv), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_identity_start_changes_nothing_and_still_learns(kind):
    torch.manual_seed(0)
    adr = Adr(12, 3, kernel=kind, embedding=8, identity=True)
    qkv = torch.randn(2, 12, 5, 7)
    assert torch.equal(adr(qkv), qkv)
    adr(qkv).square().sum().backward()
    moved = {name for name, p in adr.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    last = {"pog": "p2.m2.weight", "dynamic": "p2.candidates", "static": "p2.weight"}[kind]
    assert last in moved
    with torch.no_grad():
        for p in adr.parameters():
            if p.grad is not None:
                p -= 1e-2 * p.grad
    adr.zero_grad()
    adr(qkv).square().sum().backward()
    assert any(name.startswith("p1.") and p.grad.abs().max() > 0 for name, p in adr.named_parameters())


@pytest.mark.parametrize("bottleneck", [0, 12, 13])
def test_bottleneck_must_be_narrower_than_its_input(bottleneck):
    with pytest.raises(ShapeError, match="from 1 to 11"):
        Adr(12, bottleneck)


def test_wrong_channels_are_named():
    with pytest.raises(ShapeError, match=r"B x 12 x H x W\. Got \(1, 9, 4, 4\)"):
        Adr(12, 3)(torch.zeros(1, 9, 4, 4))


@pytest.mark.parametrize("name", RUNNABLE)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["decoder", "encoder", "all"])
def test_every_backbone_takes_adr(name, kind, where):
    model = build(name)
    keys = list(model.state_dict())
    image = torch.rand(1, 3, 24, 16)
    with torch.no_grad():
        before = model(image)
        bottleneck = min(site.module.qkv_channels for site in model.attention_sites()) // 2
        same = add_adr(model, where=where, kernel=kind, embedding=8, identity=True, bottleneck=min(4, bottleneck))
        after = model(image)
    assert same is model
    assert torch.equal(before, after)
    assert [key for key in model.state_dict() if ".adr." not in key] == keys
    with_adr = {site.name for site in model.attention_sites() if site.module.adr is not None}
    assert with_adr == {site.name for site in model.attention_sites() if where in ("all", site.stage.part)}
    assert with_adr


@pytest.mark.parametrize("name", RUNNABLE)
def test_adr_acts_and_a_batch_equals_one_by_one(name):
    model = build(name)
    images = torch.rand(2, 3, 24, 16)
    with torch.no_grad():
        before = model(images)
        after = add_adr(model, embedding=8)(images)
        assert (after - before).abs().max() > 1e-6
        assert torch.allclose(after, torch.cat([model(image[None]) for image in images]), atol=1e-5)
        assert torch.allclose(freeze(model)(images), after, atol=1e-5)


@pytest.mark.parametrize(("name", "bottleneck"), [("restormer", 4), ("retinexformer", 16), ("cidnet", 32)])
def test_published_placement(name, bottleneck):
    with torch.device("meta"):
        model = add_adr(create_model(name))
    sites = [site for site in model.attention_sites() if site.module.adr is not None]
    assert {site.module.adr.p1.shape[0] for site in sites} == {bottleneck}
    assert len(sites) == {"restormer": 20, "retinexformer": 5, "cidnet": 6}[name]


def test_an_error_leaves_the_model_as_it_was():
    model = create_model("candela_tiny")  # 3C is 60 in one decoder level and 48 in the other
    with pytest.raises(ShapeError, match="from 1 to 47"):
        add_adr(model, bottleneck=50)
    assert all(site.module.adr is None for site in model.attention_sites())
    add_adr(model, bottleneck=4, embedding=8)


def test_twice_is_refused():
    model = add_adr(create_model("candela_tiny"), embedding=8)
    with pytest.raises(ModelError, match="has ADR already"):
        add_adr(model)


def test_a_foreign_network_is_refused():
    with pytest.raises(ModelError, match="registered backbone"):
        add_adr(nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize(("option", "value"), [("where", "middle"), ("kernel", "soft")])
def test_unknown_options_are_named(option, value):
    with pytest.raises(ModelError, match=value):
        add_adr(create_model("candela_tiny"), **{option: value})


@pytest.mark.parametrize("kind", ["dynamic", "pog"])
def test_convolutions_become_dynamic(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=True), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=4))
    bias = model[0].bias.detach().clone()
    assert replace_convs(model, kind, where="^0$", embedding=8) is model
    assert isinstance(model[0], GeneratedConv2d)
    assert isinstance(model[2], nn.Conv2d)
    assert torch.equal(model[0].bias, bias)
    replace_convs(model, kind, where="^2$", embedding=8)
    images = torch.rand(2, 3, 9, 11)
    kernels = model[0].kernel(images)
    expected = torch.cat([F.conv2d(x[None], k, bias, padding=1) for x, k in zip(images, kernels, strict=True)])
    assert torch.allclose(model[0](images), expected, atol=1e-5)
    assert model(images).shape == (2, 8, 9, 11)
    assert (kernels[0] - kernels[1]).abs().max() > 0


def test_a_backbone_of_dynamic_convolutions_runs():
    torch.manual_seed(0)
    model = create_model("candela_tiny").eval()
    count = sum(isinstance(m, nn.Conv2d) for m in model.decoder2.modules())
    replace_convs(model, "dynamic", where=r"^decoder2\.")
    assert sum(isinstance(m, GeneratedConv2d) for m in model.modules()) == count
    with torch.no_grad():
        assert model(torch.rand(2, 3, 17, 20)).shape == (2, 3, 17, 20)


def test_a_shared_convolution_stays_shared():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = replace_convs(nn.Sequential(conv, nn.ReLU(), conv))
    assert isinstance(model[0], GeneratedConv2d)
    assert model[0] is model[2]


def test_replacing_needs_a_match_and_zero_padding():
    with pytest.raises(ModelError, match="pass the network"):
        replace_convs(nn.Conv2d(3, 3, 1))
    with pytest.raises(ModelError, match="not a regular expression"):
        replace_convs(nn.Sequential(nn.Conv2d(3, 3, 1)), where="[")
    with pytest.raises(ModelError, match="nothing"):
        replace_convs(nn.Sequential(nn.Conv2d(3, 3, 1)), where="nothing")
    with pytest.raises(ModelError, match="cannot be made dynamic"):
        replace_convs(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")))


def test_registry_names_the_nearest():
    with pytest.raises(ModelError, match="Did you mean 'candela'"):
        create_model("candella")
    with pytest.raises(ModelError, match="cannot be built"):
        create_model("candela_tiny", colour="red")
    for odd in ({"dims": (1, 2)}, {"dims": (8, -1, 2)}, {"blocks": "x"}):
        with pytest.raises(ModelError, match="cannot be built"):
            create_model("candela_tiny", **odd)
    assert set(list_models()) == set(REGISTRY)
