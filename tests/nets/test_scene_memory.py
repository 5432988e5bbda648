"""The memory of scenes: known scenes are found at any exposure and flip, others are not, training leaves itself out."""

import numpy as np
import pytest
import torch

from undim.errors import ShapeError
from undim.luma import REC601
from undim.nets import create_model
from undim.nets.scene_memory import BrightnessPin, SceneMemory, describe_scene


@pytest.fixture
def scenes():
    torch.manual_seed(0)
    coarse = torch.rand(6, 3, 8, 12)
    return torch.nn.functional.interpolate(coarse, (64, 96), mode="bilinear") * 0.2


@pytest.fixture
def memory(scenes):
    made = SceneMemory(8)
    made.store(scenes, torch.linspace(0.1, 0.6, 6)[:, None] * torch.tensor([1.0, 0.9, 0.8]))
    return made.eval()


def test_the_product_of_two_descriptors_is_their_correlation(scenes):
    first, second = describe_scene(scenes[:2]).flatten(1).numpy()
    assert float(first @ second) == pytest.approx(float(np.corrcoef(first, second)[0, 1]), abs=1e-5)
    assert float(first @ first) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("gain", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("axes", [(), (2,), (3,), (2, 3)])
def test_a_known_scene_is_recalled_at_any_exposure_and_flip(memory, scenes, gain, axes):
    recalled, trust, likeness = memory((scenes * gain).flip(axes) if axes else scenes * gain)
    expected = (torch.linspace(0.1, 0.6, 6)[:, None] * torch.tensor([1.0, 0.9, 0.8])).log()
    assert likeness.min() > 0.999
    assert trust.min() > 0.85
    # With a sharpness of 10, the other scenes still weigh a little.
    assert torch.allclose(recalled, expected, atol=0.12)


def test_an_unknown_picture_is_not_trusted(memory):
    torch.manual_seed(1)
    other = torch.nn.functional.interpolate(torch.rand(4, 3, 8, 12), (64, 96), mode="bilinear")
    _, trust, likeness = memory(other)
    assert likeness.max() < 0.6
    assert trust.max() < 0.2


def test_unused_slots_answer_nothing():
    recalled, trust, _ = SceneMemory(300).eval()(torch.rand(2, 3, 64, 96))
    assert trust.max() < 0.2
    assert torch.equal(recalled, torch.zeros(2, 3))


def test_in_training_a_scene_is_not_recalled_for_itself(memory, scenes):
    memory.train()
    _, trust, likeness = memory(scenes)
    assert likeness.max() < 0.99
    memory.eval()
    assert memory(scenes)[1].min() > trust.max()


def test_more_scenes_than_slots_are_refused(scenes):
    with pytest.raises(ShapeError, match=r"has 5 slots\. Got 6 scenes"):
        SceneMemory(5).store(scenes, torch.rand(6, 3))


def test_a_network_with_memory_brings_a_known_scene_to_its_remembered_brightness(scenes):
    torch.manual_seed(0)
    model = create_model("candela_tiny", memory=6).eval()
    references = torch.full((6, 3), 0.25)
    model.remember(scenes, references)
    without = create_model("candela_tiny").eval()
    with torch.no_grad():
        luma = (model(scenes) * torch.tensor(REC601).view(3, 1, 1)).sum(1).mean((1, 2))
        assert luma.sub(0.25).abs().max() < 1e-3
        assert (without(scenes).mean((2, 3)) - 0.25).abs().min() > 0.05


def test_remembering_without_a_memory_does_nothing(scenes):
    model = create_model("candela_tiny")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.remember(scenes, torch.rand(6, 3))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("likeness", "share"), [(0.2, 0.0), (0.9, 0.0), (0.925, 0.5), (0.95, 1.0), (1.0, 1.0)])
def test_the_pin_brings_a_known_scene_to_its_brightness_and_leaves_others(likeness, share):
    torch.manual_seed(0)
    output = torch.rand(2, 3, 9, 7) * 0.5
    pinned = BrightnessPin()(output, torch.full((2, 1), -0.7), torch.full((2, 1), likeness))
    before, after = ((x * torch.tensor(REC601).view(3, 1, 1)).sum(1).mean((1, 2)).log() for x in (output, pinned))
    assert torch.allclose(after, before + share * (-0.7 - before), atol=1e-5)


def test_crops_are_not_pinned_nor_is_anything_in_training(scenes):
    torch.manual_seed(0)
    model = create_model("candela_tiny", memory=6)
    model.remember(scenes, torch.full((6, 3), 0.9))
    crop = scenes[:, :, :32, :32]
    with torch.no_grad():
        free = model.eval()(crop, scenes)
        assert model(crop).mean() != free.mean()
        trained = model.train()(scenes)
    luma = (trained.clamp(0, 1) * torch.tensor(REC601).view(3, 1, 1)).sum(1).mean((1, 2))
    assert (luma - 0.9).abs().min() > 0.05
