import pytest
import torch
import typer
from typer.testing import CliRunner

from undim.cli.convert import convert
from undim.errors import CheckpointError
from undim.nets import create_model
from undim.weights.files import load_model

APP = typer.Typer()
APP.command()(convert)


def run(*arguments):
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_converts_and_says_what_was_recognised(tmp_path):
    model = create_model("cidnet", channels=(4, 4, 8, 16)).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "public.pth")
    result = run(tmp_path / "public.pth", "-o", tmp_path / "ours.safetensors")
    assert result.exit_code == 0
    assert "cidnet (channels=[4, 4, 8, 16], heads=[1, 2, 4, 8], norm=False)" in result.output
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "ours.safetensors")(image), model(image))


def test_errors_reach_the_command_line_as_undims(tmp_path):
    result = run(tmp_path / "absent.pth", "-o", tmp_path / "ours.safetensors")
    assert isinstance(result.exception, CheckpointError)


@pytest.mark.parametrize("arguments", [("a.pth",), ("-o", "b.safetensors")])
def test_both_paths_are_needed(arguments):
    assert run(*arguments).exit_code == 2
