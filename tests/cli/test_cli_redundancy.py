"""`undim redundancy` end to end on small pictures: files, resuming, refusals, networks of other code."""

import itertools
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from undim.cli.main import main
from undim.shipped import MODELS_FOLDER
from undim.weights.files import AdrSpec, ModelSpec, load_model, read_spec, save_model

NUMBERS = itertools.count()
CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first_attention = nn.Conv2d(3, 3, 1)
        self.scale = nn.ParameterList([nn.Parameter(torch.full((1,), 0.1))])

    def forward(self, image):
        return image + self.scale[0] * self.first_attention(image)


def trained():
    torch.manual_seed(0)
    return Net()


class Crash(Net):
    def forward(self, image):
        raise RuntimeError("no luck")
"""


@pytest.fixture(scope="module")
def lol(tmp_path_factory):
    """Validation and training pairs in LOL-v1's layout."""
    base = tmp_path_factory.mktemp("data") / "lol"
    rng = np.random.default_rng(0)
    for name in ("16", "57", "1", "2"):  # two of the split val, two of train
        high = rng.integers(40, 256, (4, 5, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        for side, pixels in (("low", high // 5), ("high", high)):
            target = base / "our485" / side / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(target)
    return base


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    spec = ModelSpec("candela_tiny", {"blocks": [1, 1, 2]}, AdrSpec(embedding=8, bottleneck=4))
    model = spec.build()
    nn.init.normal_(model.predict.weight, std=0.05)
    save_model(spec, model, path)
    return path


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"probed_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def run(*words):
    return main(["redundancy", *map(str, words)])


class Reader(HTMLParser):
    """Counts tags and notes what is not closed, or loaded from elsewhere."""

    def __init__(self):
        super().__init__()
        self.count = {}
        self.links = []

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.links += [value for name, value in attributes if name in ("src", "href") and not value.startswith("data:")]


def test_dmr_is_written_and_continues(lol, weights, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("dmr", weights, "--data", "lol-v1", "--root", lol, "-o", out, "--seeds", 2) == 0
    assert "DMR" in capsys.readouterr().out
    first = json.loads((out / "dmr.json").read_text())
    assert first["pictures"] == ["16", "57"]
    assert list(first["result"]["layers"]) == ["encoder2.1", "latent.2", "decoder3.0", "decoder2.0"]
    assert first["result"]["adr_kept"]["mean"] > 0
    assert "| decoder3.0 |" in (out / "dmr.md").read_text()
    journal = out / "dmr.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 2 * 6  # two of the four layers have ADR
    journal.write_text("".join(lines[:5]))
    assert run("dmr", weights, "--data", "lol-v1", "--root", lol, "-o", out, "--seeds", 2) == 0
    assert json.loads((out / "dmr.json").read_text()) == first
    assert run("dmr", weights, "--data", "lol-v1", "--root", lol, "-o", out, "--seeds", 3) == 2
    assert "holds results with seeds" in capsys.readouterr().err


@pytest.mark.slow
def test_the_report_is_one_self_contained_page(lol, weights, tmp_path):
    out = tmp_path / "out"
    assert run("prune", weights, "--data", "lol-v1", "--root", lol, "-o", out, "--limit", 1) == 0
    names = [row["name"] for row in json.loads((out / "prune.json").read_text())["result"]["rows"]]
    assert names[0] == "unchanged"
    assert len(names) == 9
    assert run("report", weights, "--data", "lol-v1", "--root", lol, "-o", out, "--seeds", 1) == 0
    for verb in ("dmr", "reset", "poi", "diversity"):
        assert json.loads((out / f"{verb}.json").read_text())["verb"] == verb
        assert (out / f"{verb}.md").is_file()
    reader = Reader()
    reader.feed((out / "report.html").read_text())
    assert reader.links == []
    assert reader.count["h2"] == 5
    assert reader.count["svg"] >= 5
    harm = json.loads((out / "poi.json").read_text())["result"]
    shown = min(len(harm["gains"]), 3)
    assert reader.count.get("figure", 0) == 4 * shown


def test_reset_and_poi_share_what_was_measured(lol, weights, tmp_path, capsys):
    out = tmp_path / "out"
    words = (weights, "--data", "lol-v1", "--root", lol, "-o", out, "--seeds", 1, "--limit", 1)
    assert run("reset", *words) == 0
    assert "attention, all" in capsys.readouterr().out
    before = (out / "harm.jsonl").read_bytes()
    other = tmp_path / "other.safetensors"
    model = load_model(weights)
    nn.init.normal_(model.predict.weight, std=0.05)
    save_model(read_spec(weights), model, other)
    assert run("poi", *words, "--also", other, "--save-images") == 0
    gains = json.loads((out / "poi.json").read_text())["result"]["gains"]
    assert len(list((out / "gains").glob("*.png"))) == 4 * len(gains) > 0
    assert (out / "harm.jsonl").read_bytes() == before
    networks = json.loads((out / "poi.json").read_text())["result"]["networks"]
    assert set(networks["latent.2"]) == {"mean", "smallest", "largest", "harmful_networks"}


def test_a_network_of_other_code(lol, module, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("--data", "lol-v1", "--root", lol, "-o", out, "--seeds", 1)
    assert run("dmr", f"{module}:Net", *words) == 0
    assert list(json.loads((out / "dmr.json").read_text())["result"]["layers"]) == ["first_attention"]
    assert run("dmr", f"{module}:Crash", *words[:-3], tmp_path / "crash") == 2
    assert "no luck" in capsys.readouterr().err
    assert run("slim", f"{module}:Net", *words) == 2
    assert "Undim's own backbones" in capsys.readouterr().err


def test_bare_parameters_on_the_command_line(lol, module, tmp_path, capsys):
    def measure(factory, *more):
        out = tmp_path / f"out{next(NUMBERS)}"
        words = ("--data", "lol-v1", "--root", lol, "-o", out, "--seeds", 1, "--kind", "^scale$", *more)
        return run("dmr", f"{module}:{factory}", *words), out / "dmr.json"

    status, results = measure("Net")  # the factory says what the scale starts at, which is what it is
    assert status == 0
    assert json.loads(results.read_text())["result"]["layers"]["scale"]["infinite"]
    assert measure("trained")[0] == 2  # each call gives the same weights: those may be trained
    assert "--bare" in capsys.readouterr().err
    status, results = measure("trained", "--bare", "scale=0.5")
    assert status == 0
    assert not json.loads(results.read_text())["result"]["layers"]["scale"]["infinite"]
    assert measure("trained", "--bare", "scale=x")[0] == 2
    assert "REGEX=NUMBER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((str(MODELS_FOLDER / "tiny.onnx"),), "opens networks in PyTorch"),
        (("candela.onnx",), "There is no model"),
        (("{weights}", "--stage", "latnt"), "Did you mean 'latent'"),
        (("{weights}", "--kind", "("), "regular expression"),
        (("{weights}", "--device", "tpu"), "no device"),
        (("{weights}", "--split", "nowhere"), "no split"),
        (("{weights}", "--weights", "x.pth"), "belong to package.module:factory"),
    ],
)
def test_bad_input_is_one_line(lol, weights, tmp_path, capsys, words, said):
    given = [word.format(weights=weights) for word in words]
    assert run("dmr", *given, "--data", "lol-v1", "--root", lol, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_diversity_needs_generated_kernels(lol, tmp_path, capsys):
    path = tmp_path / "base.safetensors"
    save_model(ModelSpec("candela_tiny"), ModelSpec("candela_tiny").build(), path)
    assert run("diversity", path, "--data", "lol-v1", "--root", lol, "-o", tmp_path / "out") == 2
    assert "generates no kernels" in capsys.readouterr().err


@pytest.mark.slow
def test_slim_makes_a_smaller_network_that_loads(lol, weights, tmp_path, monkeypatch):
    out = tmp_path / "out"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"data: {{name: lol-v1, root: {lol}, crop: 16}}\nsteps: 3\nbatch: 2\nprecision: 32-true\n"
        "optimiser: {warmup: 1, lr: 1.0e-4}\n"
    )
    words = ("--data", "lol-v1", "--root", lol, "-o", out, "--seeds", 1, "--fraction", 0.2, "--recipe", recipe)
    assert run("slim", weights, *words) == 0
    written = json.loads((out / "slim.json").read_text())["result"]
    before, cut, tuned = written["rows"]
    assert cut["gflops"] <= 0.8 * before["gflops"]
    assert tuned["parameters"] == cut["parameters"] < before["parameters"]
    assert (out / "slim.onnx").is_file()
    assert sum(p.numel() for p in load_model(out / "slim.safetensors").parameters()) == tuned["parameters"]
    monkeypatch.setattr("undim.cli.redundancy.slimming.export_onnx", lambda *_, **__: None)  # it takes a minute
    assert run("slim", weights, *words) == 0  # what is done is taken over
    assert json.loads((out / "slim.json").read_text())["result"]["rows"][2]["psnr"] == tuned["psnr"]


@pytest.mark.parametrize(
    ("words", "command"), [(("reset", "tiny", "--bogus"), "undim redundancy reset"), (("bogus",), "undim redundancy")]
)
def test_the_hint_of_wrong_usage_names_the_help_that_lists_the_options(capsys, words, command):
    assert main(["redundancy", *words]) == 2
    assert capsys.readouterr().err.endswith(f"({command} --help lists the options)\n")
