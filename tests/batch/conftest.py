import os
from pathlib import Path

import pytest
from dark_pictures import KILLER, write_pictures

import undim

_FAULT = f"""
import os, signal
import undim.batch.stores as stores
plain = stores.read_whole
def read(address, offset=0, length=None):
    content = plain(address, offset, length)
    if content.startswith({KILLER!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    return content
stores.read_whole = read
"""
"""Imported by the interpreter of each worker before the worker itself."""


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "in", ["a.png", "b.jpg", "sub/c.png", "sub/d.webp", "sub/deep/e.bmp"])


@pytest.fixture
def killing(tmp_path, monkeypatch):
    """Let worker processes die of pictures that begin with `KILLER`."""
    folder = tmp_path / "fault"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_FAULT)
    source = Path(undim.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(source))))
