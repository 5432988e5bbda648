"""Small dark pictures for batches, and what a batch made of them."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

import undim
from undim.batch.drive import Batch
from undim.batch.report import read_report
from undim.jobs.options import EnhanceOptions

KILLER = b"ends its worker"
"""What a picture's file begins with that ends its worker where the fixture `killing` is."""
OPTIONS = EnhanceOptions(model="tiny", threads=1)

_FAULT = f"""
import os, pathlib, signal
import undim.batch.stores as stores
plain = stores.read_whole
doomed = {{"worker": os.getpid, "parent": os.getppid}}
def read(address, offset=0, length=None):
    content = plain(address, offset, length)
    if content.startswith({KILLER!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    order = pathlib.Path(__file__).with_name(os.path.basename(address))
    if order.exists():
        who = order.read_text()
        order.unlink()
        os.kill(doomed[who](), signal.SIGKILL)
    return content
stores.read_whole = read
"""
"""Imported by the interpreter of each worker before the worker itself."""


def lay_fault(folder, patch):
    """Let worker processes that start from now on die of pictures that begin with `KILLER`.

    A file "worker" or "parent" in the folder, by a picture's name, ends the one or the other when that picture is next
    read, and is gone then.
    """
    (folder / "sitecustomize.py").write_text(_FAULT)
    patch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(Path(undim.__file__).parents[1]))))


def write_pictures(folder, names, size=(40, 24), seed=0):
    """Small dark pictures of these names."""
    rng = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def contents(folder):
    """Content by name of all files but the report's."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and ".undim" not in path.parts
    }


def batch(source, destination, **changes):
    """A batch with the smallest model and one worker."""
    return Batch(str(source), str(destination), **{"workers": 1, "options": OPTIONS, **changes})


def rows(destination):
    """The report of a destination, by key."""
    return {record.key: record for record in read_report(f"{destination}/.undim/report.jsonl")}
