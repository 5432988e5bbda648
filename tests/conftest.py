"""A tiny model file for every test that enhances. Being here also puts `tiny_models` on the import path."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: on pictures this small, threads cost more than they give

# Tests interrupt commands, which start with Ctrl-C ignored where the tests do: a shell's background jobs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from tiny_models import save_gain


@pytest.fixture(scope="session")
def gain(tmp_path_factory):
    """Path of a model that computes 0.5 * image + 0.41."""
    return save_gain(tmp_path_factory.mktemp("models") / "gain.onnx")
