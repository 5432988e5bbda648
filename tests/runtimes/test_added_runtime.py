"""A runtime of another package, added as docs/add-a-runtime.md says."""

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest

from undim import Enhancer
from undim.cancellation import NEVER
from undim.cli.main import main
from undim.errors import UsageError
from undim.runtimes import table
from undim.runtimes.base import Runtime
from undim.runtimes.table import RuntimeRow, open_runtime


class Doubling(Runtime):
    """enhanced = 2 * image, whatever the file is."""

    def __init__(self, name):
        self.name = name

    def infer(self, outputs, feeds, *, more, cancellation=NEVER):  # noqa: ARG002
        return [2 * feeds["image"] for _ in outputs]


@pytest.fixture
def added(monkeypatch):
    module = ModuleType("my_package")
    module.open_model = lambda path, *, name, threads, precision: Doubling(name)  # noqa: ARG005
    module.ROW = RuntimeRow("my_package:open_model")
    module.ABSENT = RuntimeRow("my_package:open_model", packages=("no_such_module",), remedy="pip install it")
    monkeypatch.setitem(sys.modules, "my_package", module)
    found = [
        EntryPoint(name, f"my_package:{row}", table.ENTRY_POINTS)
        for name, row in (("mine", "ROW"), ("other", "ABSENT"))
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: found if group == table.ENTRY_POINTS else [])
    table.known_runtimes.cache_clear()
    yield
    table.known_runtimes.cache_clear()


def test_it_is_known_by_its_name(added, gain, dark):
    np.testing.assert_array_equal(Enhancer(gain, runtime="mine")(dark), np.clip(2 * dark.astype(int), 0, 255))
    assert str(open_runtime("mine", gain)) == "mine float32"


def test_what_it_lacks_is_told(added, gain):
    with pytest.raises(UsageError, match=r"The runtime other is not installed: pip install it"):
        Enhancer(gain, runtime="other")
    with pytest.raises(UsageError, match=r"Known: auto, .*mine"):
        Enhancer(gain, runtime="neither")


def test_on_the_command_line(added, gain, dark, tmp_path):
    from PIL import Image

    Image.fromarray(dark).save(tmp_path / "dark.png")
    words = ["enhance", str(tmp_path / "dark.png"), "-o", str(tmp_path / "clear.png"), "--model", str(gain)]
    assert main([*words, "--runtime", "mine"]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "clear.png")), np.clip(2 * dark.astype(int), 0, 255))
