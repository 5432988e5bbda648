"""Networks from other people's code: modules are written to a folder that becomes the current one."""

import itertools
import textwrap

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from undim.errors import CheckpointError, ModelError, UndimError, UsageError
from undim.weights.foreign import PaddedNetwork, load_network, names_factory

NUMBERS = itertools.count()
CODE = """
import torch
from torch import nn


class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0]))

    def forward(self, image):
        return image * self.scale

    @classmethod
    def build(cls):
        return cls()


def fails():
    raise RuntimeError("no weights\\non the second line")


def leaves():
    raise SystemExit("usage: train.py --data")


def wants(size):
    return Gain()


def nothing():
    pass


def drawn():
    return nn.Linear(3, 3)


number = 3
instance = Gain()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes code to a new module of the current directory and gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")

    def write(code=CODE):
        name = f"foreign_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
        return name

    return write


def test_the_current_directory_is_importable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in __import__("sys").path if entry])
    (tmp_path / "beside_me.py").write_text(CODE)
    network = load_network("beside_me:Gain")
    assert network(torch.ones(1, 3, 2, 2)).unique().tolist() == [2]
    assert not network.training


def test_attributes_may_be_nested_and_modules_in_packages(module, tmp_path):
    name = module()
    (tmp_path / f"{name}_box").mkdir()
    (tmp_path / f"{name}.py").rename(tmp_path / f"{name}_box" / "nets.py")
    assert type(load_network(f"{name}_box.nets:Gain.build")).__name__ == "Gain"


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("Gian", "has no 'Gian'. Did you mean 'Gain'?"),
        ("Gain.biuld", "has no 'Gain.biuld'. Did you mean 'build'?"),
        ("number", "is a value of type int and cannot be called"),
        ("instance", "is a network already"),
        ("fails", "RuntimeError: no weights"),
        ("leaves", "SystemExit: usage: train.py --data"),
        ("wants", "TypeError: wants() missing 1 required positional argument: 'size'"),
        ("nothing", "returned None; it must return a torch.nn.Module"),
    ],
)
def test_each_mistake_is_one_line(module, attribute, message):
    with pytest.raises(ModelError) as caught:
        load_network(f"{module()}:{attribute}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_failure_names_the_line_that_raised(module):
    name = module()
    line = 1 + CODE.splitlines().index('    raise RuntimeError("no weights\\non the second line")')
    with pytest.raises(ModelError, match=rf"\({name}\.py, line {line}\)"):
        load_network(f"{name}:fails")


def test_missing_modules_are_told_from_modules_that_miss_one(module):
    with pytest.raises(ModelError, match="There is no module 'nowhere'"):
        load_network("nowhere.nets:make")
    inner = module("import nowhere_else")
    with pytest.raises(ModelError, match=f"Importing {inner} failed: ModuleNotFoundError: No module named 'nowhere_e"):
        load_network(f"{inner}:make")
    broken = module("def make(:")
    with pytest.raises(ModelError, match=f"Importing {broken} failed: SyntaxError"):
        load_network(f"{broken}:make")


@pytest.mark.parametrize("text", ["net.safetensors", "candela", "a/b.py:make", "a:b:c", "a.:b", ":make", "a:"])
def test_other_texts_name_no_factory(text):
    assert not names_factory(text)
    with pytest.raises(UsageError, match=r"package\.module:factory"):
        load_network(text)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_replace_the_networks_own(module, tmp_path, suffix):
    path = tmp_path / f"gain{suffix}"
    state = {"scale": torch.tensor([0.25])}
    save_file(state, path) if suffix == ".safetensors" else torch.save({"params": state}, path)
    network = load_network(f"{module()}:Gain", path)
    assert network(torch.ones(1, 3, 2, 2)).unique().tolist() == [0.25]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"other": torch.ones(1)}, "it lacks scale; it has the unknown other"),
        ({"scale": torch.ones(2)}, r"scale \(2,\) \(not \(1,\)\)"),
        ({"scale": torch.tensor([float("nan")])}, "not finite"),
    ],
)
def test_weights_of_another_network_are_refused(module, tmp_path, state, message):
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=message):
        load_network(f"{module()}:Gain", tmp_path / "net.pth")


def test_nothing_in_a_pickle_is_executed(module, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trapped"), "w"))

    torch.save({"scale": torch.ones(1), "trap": Trap()}, tmp_path / "net.pth")
    with pytest.raises(UndimError, match="more than weights"):
        load_network(f"{module()}:Gain", tmp_path / "net.pth")
    assert not (tmp_path / "trapped").exists()


def test_making_a_network_costs_no_random_numbers(module):
    name = module()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_network(f"{name}:drawn")
    assert torch.equal(torch.rand(3), expected)


class Recorder(nn.Module):
    def forward(self, image):
        self.seen = image
        return image


@pytest.mark.parametrize(("height", "width"), [(8, 16), (9, 15), (13, 8), (3, 30), (1, 1)])
def test_padding_reaches_the_multiple_and_is_cropped(height, width):
    network = PaddedNetwork(Recorder(), 8)
    image = torch.rand(2, 3, height, width)
    assert torch.equal(network(image), image)
    seen = network.network.seen
    assert all(side % 8 == 0 for side in seen.shape[-2:])
    assert seen.shape[-2] - height < 8
    assert torch.equal(seen[..., :height, :width], image)
    if height == 13:  # rows 11, 10, 9 mirror row 12
        assert torch.equal(seen[..., 13:, :], image[..., [11, 10, 9], :])


def test_a_multiple_wraps_the_network(module):
    name = module()
    assert isinstance(load_network(f"{name}:Gain", multiple_of=4), PaddedNetwork)
    with pytest.raises(UsageError, match="1 or more"):
        load_network(f"{name}:Gain", multiple_of=0)
