"""A network starts from an Undim file: all of it, or all that the file has."""

import pytest
import torch

from undim.errors import CheckpointError
from undim.nets import create_model
from undim.training.loop import train_network
from undim.training.network import build_model, start_from
from undim.training.recipe import AdrSection, ModelSection, load_recipe
from undim.weights.files import AdrSpec, ModelSpec, save_model

TINY = ModelSection(name="candela_tiny")
WITH_ADR = TINY.model_copy(update={"adr": AdrSection(embedding=8, identity=True)})


@pytest.fixture
def trained(tmp_path):
    """A file of a network without ADR whose every weight has moved."""
    torch.manual_seed(3)
    model = create_model("candela_tiny")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    save_model(ModelSpec("candela_tiny"), model, tmp_path / "trained.safetensors")
    return tmp_path / "trained.safetensors", model


def test_the_whole_network_is_taken_over(trained):
    path, source = trained
    model = build_model(TINY)
    start_from(model, path)
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_new_adr_keeps_its_initialisation_only_where_it_may(trained):
    path, source = trained
    model = build_model(WITH_ADR)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"trained\.safetensors .* lacks .*adr.*model\.partial"):
        start_from(model, path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    start_from(model, path, partial=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if ".adr." in name else source.state_dict()[name]), name
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model.eval()(image), source.eval()(image))


def test_what_the_file_has_must_fit_even_in_part(trained, tmp_path):
    path, _ = trained
    for name in ("candela", "restormer_small"):
        with pytest.raises(CheckpointError, match=r"does not fit") as caught:
            start_from(build_model(ModelSection(name=name)), path, partial=True)
        assert "model.partial" not in str(caught.value)
    spec = ModelSpec("candela_tiny", adr=AdrSpec(embedding=8))
    save_model(spec, spec.build(), tmp_path / "adr.safetensors")
    with pytest.raises(CheckpointError, match=r"has the unknown .*adr"):
        start_from(build_model(TINY), tmp_path / "adr.safetensors", partial=True)


def test_training_starts_there_and_resumes_without_it(recipe, trained, tmp_path):
    path, source = trained
    changes = {"model.adr": "null", "model.start": str(path), "optimiser.lr": "1e-12", "steps": "1", "data.crop": "16"}
    model, _ = train_network(load_recipe(recipe, changes), tmp_path / "run")
    for name, value in model.state_dict().items():
        assert torch.allclose(value, source.state_dict()[name], atol=1e-9), name
    path.unlink()
    again, steps = train_network(load_recipe(recipe, changes | {"steps": "2"}), tmp_path / "run", resume=True)
    assert steps == 2
    assert again.state_dict().keys() == model.state_dict().keys()
