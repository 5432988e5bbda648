"""What every registered backbone promises; a new one is tested by registering it."""

import pytest
import torch
from official import PUBLISHED, RUNNABLE, assert_public_output, build, load_fixture, official_keys

from undim.errors import ModelError, ShapeError
from undim.nets import add_adr, create_model, list_models


def on_meta(name, **overrides):
    with torch.device("meta"):
        return create_model(name, **overrides)


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_of_weights_are_the_published_ones_in_their_order(name):
    state = on_meta(name).state_dict()
    assert [(key, list(value.shape)) for key, value in state.items()] == list(official_keys()[name].items())


@pytest.mark.parametrize(
    "fixture", ["restormer_biasfree", "restormer_withbias", "retinexformer", "cidnet", "cidnet_norm"]
)
def test_output_equals_the_public_implementation(fixture):
    config, weights, image, expected = load_fixture(fixture)
    model = create_model(fixture.partition("_")[0], **config)
    model.load_state_dict(weights)
    with torch.no_grad():
        assert_public_output(model(image), expected)


@pytest.mark.parametrize("name", PUBLISHED)
def test_there_is_a_small_variant_for_controlled_studies(name):
    small = on_meta(f"{name}_small")
    assert type(small) is type(on_meta(name))
    assert 100_000 < sum(p.numel() for p in small.parameters()) < 500_000


@pytest.mark.parametrize(
    ("name", "decoder", "all_sites"), [("restormer", 20, 44), ("retinexformer", 5, 8), ("cidnet", 6, 12)]
)
def test_decoder_attention_layers_are_those_of_the_paper(name, decoder, all_sites):
    sites = on_meta(name).attention_sites()
    assert len(sites) == all_sites
    assert sum(site.stage.part == "decoder" for site in sites) == decoder


@pytest.mark.parametrize("name", list_models())
def test_every_layer_stands_in_a_declared_stage_and_every_stage_has_layers(name):
    model = on_meta(name)
    attention, feed_forward = model.attention_sites(), model.feedforward_sites()
    assert {site.stage for site in attention} == set(model.stages.values())
    assert {site.stage for site in feed_forward} <= set(model.stages.values())


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (33, 47)])
@pytest.mark.parametrize("name", RUNNABLE)
def test_any_size_gives_the_same_size_and_finite_values(name, size):
    with torch.no_grad():
        output = build(name)(torch.rand(1, 3, *size))
    assert output.shape == (1, 3, *size)
    assert output.isfinite().all()


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_batch_equals_its_pictures_one_by_one(name):
    model = add_adr(build(name))
    images = torch.rand(3, 3, 16, 24) ** torch.tensor([1.0, 2.0, 4.0])[:, None, None, None]
    with torch.no_grad():
        alone = torch.cat([model(image.unsqueeze(0)) for image in images])
        torch.testing.assert_close(model(images), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", RUNNABLE)
def test_memory_layout_changes_nothing(name):
    model = add_adr(build(name))
    image = torch.rand(2, 3, 24, 16)
    with torch.no_grad():
        # Norms amplify rounding, which differs between the layouts' kernels.
        torch.testing.assert_close(
            model(image.to(memory_format=torch.channels_last)), model(image), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("shape", "received"),
    [
        ((3, 16, 16), r"\(3, 16, 16\)"),
        ((1, 1, 16, 16), r"\(1, 1, 16, 16\)"),
        ((1, 3, 7, 16), "7 x 16"),
        ((1, 3, 16, 5), "16 x 5"),
    ],
)
@pytest.mark.parametrize("name", RUNNABLE)
def test_other_shapes_are_refused_with_what_was_received(name, shape, received):
    with pytest.raises(ShapeError, match=f"Got {received}"):
        build(name)(torch.rand(shape))


@pytest.mark.parametrize("name", PUBLISHED)
def test_declared_multiple_is_enough_and_needed(name):
    model = build(f"{name}_small")
    step = model.multiple_of
    with torch.no_grad():
        assert model.restore(torch.rand(1, 3, 3 * step, step)).shape == (1, 3, 3 * step, step)
        with pytest.raises(RuntimeError):
            model.restore(torch.rand(1, 3, 3 * step + step // 2, step))


@pytest.mark.parametrize("name", RUNNABLE)
def test_adr_that_starts_as_identity_keeps_the_output_and_only_adds_weights(name):
    model = build(name)
    image = torch.rand(1, 3, 16, 16)
    before = set(model.state_dict())
    with torch.no_grad():
        expected = model(image)
        add_adr(model, where="all", identity=True)
        torch.testing.assert_close(model(image), expected, atol=1e-6, rtol=1e-5)
    added = set(model.state_dict()) - before
    assert before < set(model.state_dict())
    assert all(".adr." in key for key in added)


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_attention_layer_hands_its_declared_channels_to_adr_once(name):
    model = build(name)
    seen = []
    for site in model.attention_sites():
        adr = torch.nn.Identity()
        adr.register_forward_hook(lambda _m, inputs, _o, site=site: seen.append((site.name, inputs[0].shape[1])))
        site.module.adr = adr
    with torch.no_grad():
        model(torch.rand(1, 3, 16, 16))
    assert sorted(seen) == sorted((site.name, site.module.qkv_channels) for site in model.attention_sites())


@pytest.mark.parametrize("name", RUNNABLE)
def test_gradients_reach_all_weights_but_those_that_nothing_reads(name):
    model = build(name).train()
    model(torch.rand(1, 3, 16, 16)).square().mean().backward()
    without = {key for key, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {
        key for key, _ in model.named_parameters() if key.startswith(tuple(f"{m}." for m in model.unread))
    }
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    silent = [key for key, p in model.named_parameters() if p.grad is not None and not p.grad.any()]
    assert silent == []


def test_an_unknown_override_is_refused_by_name():
    with pytest.raises(ModelError, match=r"restormer cannot be built with .*depth"):
        create_model("restormer", depth=3)
