"""No verb, in no runtime, connects or resolves anything or leaves files outside the cache, seen by system calls.

What each command does is watched with strace, under a home folder that was empty before.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import undim
from undim.runtimes.table import RUNTIMES, is_installed
from undim.shipped import MODELS_FOLDER

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (apt install strace)")

RUNS = [name for name in RUNTIMES if is_installed(name)]
ENHANCE = [["enhance", "pictures", "-o", "out", "--model", "tiny", "--runtime", name] for name in [*RUNS, "auto"]]
OTHERS = [
    ["batch", "pictures", "batch", "--model", "tiny", "--workers", "1"],
    ["models"],
    ["data", "list"],
    ["score", "low", "high", "-o", "scores"],
    ["evaluate", "tiny", "--data", "folder", "--low", "low", "--high", "high", "-o", "results"],
    ["redundancy", "dmr", "tiny", "--data", "folder", "--low", "low", "--high", "high", "--limit", "1", "-o", "dmr"],
    ["export", str(MODELS_FOLDER / "tiny.safetensors"), "-o", "tiny.onnx"],
    ["train", "recipe.yaml", "-o", "run"],
    ["paper", "table7", "-o", "pages", "--no-measure"],
    ["video", "clip.mp4", "-o", "clear.mp4", "--model", "tiny"],
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with pictures, pairs, a recipe and a video."""
    folder = tmp_path_factory.mktemp("silence")
    rng = np.random.default_rng(0)
    for name in ("1.png", "2.png", "3.png"):
        high = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        for side, pixels in (("low", high // 4), ("high", high), ("pictures", high // 5)):
            (folder / side).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / side / name)
    (folder / "recipe.yaml").write_text(
        "model: {name: candela_tiny}\n"
        f"data: {{name: folder, low: {folder / 'low'}, high: {folder / 'high'}, crop: 16}}\n"
        "optimiser: {lr: 1.0e-3, warmup: 1}\nsteps: 1\nbatch: 1\nprecision: 32-true\n"
    )
    av = pytest.importorskip("av")
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 60, (64, 64, 3), dtype=np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return folder


def watch(words, place, home):
    """Run a command with this home; returns (exit status, standard error, system calls that connect or resolve)."""
    log = home.parent / "calls.txt"
    kept = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home.parent / "tmp"), "LANG": "C.UTF-8"}
    (home.parent / "tmp").mkdir(exist_ok=True)
    source = {
        "PYTHONPATH": str(Path(undim.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    trace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,openat,open", "-o", str(log)]
    run = subprocess.run(
        [*trace, sys.executable, "-m", "undim", *words], cwd=place, env=kept | source, capture_output=True, check=False
    )
    calls = log.read_text(errors="replace").splitlines()
    reaching = [call for call in calls if re.search(r"AF_INET|\"/etc/(resolv\.conf|hosts)\"", call)]
    return run.returncode, run.stderr.decode(), reaching


def left_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("words", [*ENHANCE, *OTHERS], ids=lambda words: " ".join(words[:2] + words[-1:]))
def test_nothing_is_sent_and_nothing_is_left(words, place, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    status, err, reaching = watch(words, place, home)
    assert status == 0, err
    assert reaching == []
    assert [path for path in left_in(home) if not path.startswith(".cache/undim/")] == []
    assert left_in(tmp_path / "tmp") == []


@pytest.mark.slow
def test_the_watch_sees_a_look_up_and_a_file(place, tmp_path):
    """The test's own instrument: a program that does what is looked for is caught."""
    home = tmp_path / "home"
    home.mkdir()
    log = tmp_path / "calls.txt"
    code = (
        "import socket, pathlib; (pathlib.Path.home() / 'id').write_text('x')\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9))"
    )
    trace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,openat,open", "-o", str(log)]
    subprocess.run([*trace, sys.executable, "-c", code], env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, check=True)
    assert "AF_INET" in log.read_text()
    assert left_in(home) == ["id"]
