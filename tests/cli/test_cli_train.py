"""`undim train` and `undim finetune` from the command line."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from undim.cli.main import main
from undim.nets import create_model
from undim.training.recipe import load_recipe
from undim.training.stepper import Stepper
from undim.weights.files import AdrSpec, ModelSpec, load_model, read_spec, save_model

RECIPE = """
model: {name: candela_tiny}
data: {name: lol-v1, root: ROOT, crop: 16}
optimiser: {lr: 2.0e-3, warmup: 2}
steps: 4
batch: 2
precision: 32-true
validate_every: 2
checkpoint_every: 3
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def recipe(tmp_path):
    rng = np.random.default_rng(0)
    for name in range(1, 20):
        high = rng.integers(0, 256, (3, 4, 3)).repeat(8, 0).repeat(8, 1)
        for side, pixels in (("low", high // 4), ("high", high)):
            target = tmp_path / "lol" / "our485" / side / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(target)
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.replace("ROOT", str(tmp_path / "lol")))
    return path


@pytest.fixture
def trained(tmp_path):
    """A file of a network without ADR, none of whose weights is where it was drawn."""
    torch.manual_seed(3)
    model = create_model("candela_tiny")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    save_model(ModelSpec("candela_tiny"), model, tmp_path / "trained.safetensors")
    return tmp_path / "trained.safetensors"


def errors(capsys):
    """The error lines, without what they begin with."""
    return [line.removeprefix("undim: error: ") for line in capsys.readouterr().err.splitlines() if "error" in line]


def test_train_reports_each_validation_on_a_line(recipe, tmp_path, capsys):
    assert main(["train", str(recipe), "-o", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(lines) == 3
    for line, row in zip(lines, rows, strict=False):
        assert line.startswith(f"step {row['step']}: loss ")
        assert f"validation PSNR {float(row['psnr']):.2f} dB" in line
        assert ("the best so far" in line) == (row["best_step"] == row["step"])
    assert "after 4 steps" in lines[-1]
    assert load_model(tmp_path / "run" / "average.safetensors")


def test_a_terminal_gets_a_bar(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["train", str(recipe), "-o", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr()
    last = (shown.err + shown.out).replace("\x1b[0m", "")
    for word in ("4/4", "loss", "PSNR", "images/s", "left"):
        assert word in last, word


def test_wrong_words_are_one_line_and_status_two(recipe, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", str(recipe), "-o", run]) == 0
    capsys.readouterr()
    for words, message in (
        ([str(recipe), "-o", run], "holds a run already"),
        ([str(recipe)], "Give -o RUN"),
        ([str(recipe), "-o", f"{run}2", "--set", "optimizer.lr=1"], "Did you mean 'optimiser"),
        ([str(recipe), "-o", f"{run}2", "--set", "steps"], "--set takes key=value. Got 'steps'"),
        ([str(recipe), "-o", f"{run}2", "--max-minutes", "0"], "0"),
        ([str(recipe), "-o", f"{run}2", "--resume"], "nothing to resume"),
        ([str(tmp_path / "absent.yaml"), "-o", f"{run}2"], "absent.yaml cannot be read"),
    ):
        assert main(["train", *words]) == 2, words
        (line,) = errors(capsys)
        assert message in line
    assert not (tmp_path / "run2").exists()


def test_a_loss_that_is_not_finite_is_status_two(recipe, tmp_path, capsys):
    changes = ("optimiser.lr=1e30", "optimiser.clip=null", "steps=50", "checkpoint_every=1")
    words = [word for change in changes for word in ("--set", change)]
    assert main(["train", str(recipe), "-o", str(tmp_path / "run"), *words]) == 2
    (line,) = errors(capsys)
    assert "lower optimiser.lr" in line
    assert "checkpoint.pt" in line


def test_dry_run_prints_and_writes_nothing(recipe, tmp_path, capsys):
    assert main(["train", str(recipe), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "network",
        "FLOPs",
        "steps",
        "memory",
        "time",
        "speed",
        "precision",
        "measured",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lol", "tiny.yaml"]


@pytest.mark.parametrize("options", [[], ["--adr", "dynamic", "--where", "all", "--bottleneck", "3"]])
def test_finetune_begins_with_the_very_output_it_had(recipe, trained, tmp_path, options):
    run = tmp_path / "run"
    assert main(["finetune", str(trained), "--recipe", str(recipe), "-o", str(run), "--steps", "1", *options]) == 0
    plan = load_recipe(run / "recipe.yaml")
    assert plan.model.adr is not None
    assert plan.model.adr.kernel == ("dynamic" if options else "pog")
    source = load_model(trained)
    network = Stepper(plan).network.eval()
    image = torch.rand(2, 3, 40, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network(image), source.to(memory_format=torch.channels_last)(image))
    assert load_model(run / "average.safetensors").state_dict().keys() == network.state_dict().keys()
    notes = read_spec(run / "average.safetensors").notes
    assert notes["start"] == "trained.safetensors"
    assert notes["iterations"] == "1"


def test_finetune_keeps_a_frozen_backbone(recipe, trained, tmp_path):
    words = ["--recipe", str(recipe), "--freeze-backbone", "--embedding", "8", "--set", "optimiser.weight_decay=0.1"]
    assert main(["finetune", str(trained), "-o", str(tmp_path / "run"), *words]) == 0
    source = load_model(trained).state_dict()
    result = load_model(tmp_path / "run" / "average.safetensors").state_dict()
    assert all(torch.equal(tensor, result[name]) for name, tensor in source.items())
    added = {name: tensor for name, tensor in result.items() if name not in source}
    assert added
    assert all(".adr." in name for name in added)
    assert any(tensor.abs().max() > 0 for name, tensor in added.items() if ".p2." in name)


def test_finetune_needs_no_recipe_and_resumes(recipe, trained, tmp_path):
    words = ["finetune", str(trained), "-o", str(tmp_path / "run"), "--root", str(tmp_path / "lol"), "--adr", "none"]
    words += ["--set", "data.crop=16", "--set", "batch=2"]
    assert main([*words, "--steps", "2"]) == 0
    assert main([*words, "--steps", "3", "--resume"]) == 0
    result = load_model(tmp_path / "run" / "average.safetensors").state_dict()
    assert result.keys() == load_model(trained).state_dict().keys()
    assert any(not torch.equal(tensor, load_model(trained).state_dict()[name]) for name, tensor in result.items())


def test_finetune_goes_on_with_the_adr_a_file_has(recipe, tmp_path, capsys):
    spec = ModelSpec("candela_tiny", {"global_width": 4}, AdrSpec("static", "all", 3))
    save_model(spec, spec.build(), tmp_path / "adr.safetensors")
    words = ["finetune", str(tmp_path / "adr.safetensors"), "--recipe", str(recipe), "-o", str(tmp_path / "run")]
    assert main([*words, "--adr", "pog"]) == 2
    assert "has ADR already (static)" in errors(capsys)[0]
    assert main([*words, "--steps", "1"]) == 0
    result = read_spec(tmp_path / "run" / "average.safetensors")
    assert (result.architecture, result.overrides, result.adr) == (spec.architecture, spec.overrides, spec.adr)


def test_finetune_names_what_does_not_fit(recipe, trained, tmp_path, capsys):
    for words, message in (
        ([str(trained), "--adr", "none", "--freeze-backbone"], "nothing to freeze"),
        ([str(tmp_path / "absent.safetensors")], "no file of weights"),
        ([str(trained), "--bottleneck", "0"], "model.adr.bottleneck"),
        ([str(trained), "--set", "model.adr.wher=all"], "Did you mean 'model.adr.where'"),
        ([str(trained), "--data", "lol-v9"], "Did you mean 'lol-v1'"),
    ):
        assert main(["finetune", *words, "--recipe", str(recipe), "-o", str(tmp_path / "run")]) == 2, words
        assert message in errors(capsys)[0]
