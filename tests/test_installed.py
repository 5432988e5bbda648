"""What adds an optional part, for each way of installing."""

import json
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest

import undim
from undim.installed import Installation, add_extra, add_package, find_installation


class Record(Distribution):
    """Files of a package's .dist-info."""

    def __init__(self, **texts):
        self.texts = {name.replace("__", "."): text for name, text in texts.items()}

    def read_text(self, filename):
        return self.texts.get(filename)

    def locate_file(self, path):
        raise NotImplementedError


@pytest.fixture
def record(monkeypatch):
    def set_record(installer, url=None):
        files = {"INSTALLER": f"{installer}\n"}
        if url is not None:
            files["direct_url__json"] = json.dumps(url)
        monkeypatch.setattr("importlib.metadata.distribution", lambda _: Record(**files))

    return set_record


@pytest.mark.parametrize(
    ("found", "extra", "package"),
    [
        (Installation("pip"), 'pip install "undim[heic]"', "pip install pooch"),
        (Installation("uv pip"), 'uv pip install "undim[heic]"', "uv pip install pooch"),
        (
            Installation("uv tool", extras=("video", "raw")),
            'uv tool install "undim[heic,raw,video]"',
            "uv tool install 'undim[raw,video]' --with pooch",
        ),
        (Installation("pipx"), 'pipx runpip undim install "undim[heic]"', "pipx inject undim pooch"),
        (Installation("pip", "/a b/undim"), 'pip install "/a b/undim[heic]"', "pip install pooch"),
        (Installation("pip", "/c", editable=True), 'pip install -e "/c[heic]"', "pip install pooch"),
    ],
)
def test_commands(found, extra, package):
    assert add_extra("heic", found) == extra
    assert add_package("pooch", found) == package


def test_pip_and_uv(record, tmp_path):
    record("pip")
    assert find_installation(tmp_path) == Installation("pip")
    record("uv")
    assert find_installation(tmp_path) == Installation("uv pip")


def test_a_clone(record, tmp_path):
    clone = tmp_path / "my clone"
    clone.mkdir()
    record("pip", {"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert find_installation(tmp_path) == Installation("pip", str(clone), editable=True)
    clone.rmdir()  # a clone that was deleted cannot be installed from
    assert find_installation(tmp_path).source == ""


def test_an_archive_is_not_a_clone(record, tmp_path):
    record("pip", {"url": "https://example.org/undim.whl", "archive_info": {}})
    assert find_installation(tmp_path) == Installation("pip")


def test_tool_environments(record, tmp_path):
    record("uv")
    receipt = tmp_path / "uv-receipt.toml"
    receipt.write_text('[tool]\nrequirements = [{ name = "undim", extras = ["video"] }, { name = "pooch" }]\n')
    assert find_installation(tmp_path) == Installation("uv tool", extras=("video",))
    receipt.write_text("not toml =")
    assert find_installation(tmp_path) == Installation("uv pip")
    (tmp_path / "pipx_metadata.json").write_text("{}")
    assert find_installation(tmp_path) == Installation("pipx")


def test_no_message_holds_the_command_of_one_tool_alone():
    """What is told to install Undim's parts comes from add_extra and add_package; a GPU's package replaces another."""
    inside = Path(undim.__file__).parent
    told = {
        path.relative_to(inside).as_posix(): [line.strip() for line in path.read_text(encoding="utf-8").splitlines()
                                              if "pip install" in line and not line.strip().startswith(("#", '"""'))]
        for path in sorted(inside.rglob("*.py"))
        if path.name != "installed.py"
    }  # fmt: skip
    assert {path: lines for path, lines in told.items() if lines and path != "runtimes/table.py"} == {}
    assert all("onnxruntime" in line for line in told["runtimes/table.py"])


def test_run_from_source_alone(monkeypatch, tmp_path):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", absent)
    assert find_installation(tmp_path) == Installation("pip")
