"""Run the code blocks of all pages: `make docs-test`.

    python docs/run_blocks.py [--list] [PAGE...]

Each page has a folder of its own, which holds what the pages speak of: photo.jpg, holiday/, scans/, night.mp4, pairs
to train on, ... Its blocks run one after another, Python in one namespace. `LIKE` says what lasts for ever and is
ended, what is shortened, and what cannot run here and why; --list tells it of every line and runs nothing. Lines of
data sets are passed over where $UNDIM_DATA is not set. The quick blocks of the tutorials and README also run in the
tests.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
PROJECT = HERE.parent
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>sh|python)\n(?P<code>.*?)^ *```", re.DOTALL | re.MULTILINE)
IN_TESTS = {
    "add-a-backbone.md": "tests/nets/test_add_a_backbone.py",
    "add-a-data-set.md": "tests/data/test_add_a_data_set.py",
    "add-a-measure.md": "tests/metrics/test_added_measure.py",
    "add-a-picture-format.md": "tests/images/test_add_a_format.py",
    "add-a-runtime.md": "tests/runtimes/test_added_runtime.py",
}
"""Pages that are followed to the letter there."""
PREAMBLES = {
    "redundancy.md": "import torch\nfrom undim import nets\nmodel = nets.create_model('candela_tiny').eval()\n"
    "images = [torch.rand(1, 3, 32, 48) for _ in range(2)]\nimage = images[0]\n",
}
"""What the Python of a page takes for granted: names that its reader brings."""


@dataclass(frozen=True)
class Way:
    """How lines that look so are run."""

    pattern: str
    reason: str = ""
    """Why it cannot run here; empty if it can."""
    adds: str = ""
    """What is added, so that it takes minutes instead of hours."""
    until: str = ""
    """Of what goes on for ever: the text after which it is ended."""
    needs_data: bool = False


LIKE = (
    Way(r"^(pip|git|make|cd|\.venv/bin/pre-commit|docker|python3 -m venv)\b", "installs; make release-check does that"),
    Way(r"^export ", "of the reader's own machine"),
    Way(
        r"s3://|--engine ray|torchrun|-m undim train .*/shared/",
        "needs other machines; tests/batch and tests/study in small",
    ),
    Way(r"hf:|^undim (pull|push)|runs/night", "needs a hub; tests/hub has one"),
    Way(r"mynets|monai", "code of the reader's own; tests/weights/test_foreign.py"),
    Way(r"CIDNet_weights\.pth|cidnet\.safetensors|lol\.pt", "a public checkpoint; tests/weights/test_convert.py"),
    Way(r"^tensorboard", "a program of another project"),
    Way(
        r"^undim study studies(?!.*--dry-run)|undim study measure|studies_here",
        "hours of training; tests/study in small",
    ),
    Way(r"--results ~|make_figures", "needs what was measured before"),
    Way(r"in-\{000", "needs shards; tests/batch"),
    Way(r"list\.parquet", "needs a bucket; tests/batch/test_manifest.py"),
    Way(r"^undim serve", until="is the page"),
    Way(r"--watch", until="watching|done|waiting"),
    Way(r"^undim (train|finetune)(?!.*--dry-run).*(folder|dark)", adds=" --max-minutes 0.2"),
    Way(r"^undim (train|finetune)(?!.*--dry-run)", adds=" --max-minutes 0.2", needs_data=True),
    Way(r"^undim train", needs_data=True),
    Way(r"--data (lol|sice|dicm)|data check lol|runs/candela", needs_data=True),
)
"""The first that fits counts; a line that nothing fits is run as it stands."""


@dataclass(frozen=True)
class Line:
    """One command of a page, or one block of Python."""

    page: Path
    language: str
    code: str

    @property
    def way(self) -> Way:
        """How it is run."""
        if self.page.name in IN_TESTS:
            return Way("", f"{IN_TESTS[self.page.name]} runs it")
        return next((way for way in LIKE if re.search(way.pattern, self.code)), Way(""))


def pages() -> list[Path]:
    """All that a reader sees, but what is generated from the command tree."""
    found = [
        PROJECT / "README.md",
        PROJECT / "CONTRIBUTING.md",
        PROJECT / "examples" / "README.md",
        *HERE.rglob("*.md"),
    ]
    return [path for path in found if path.name != "commands.md" and "results" not in path.parts]


def lines_of(page: Path) -> Iterator[Line]:
    """Commands one by one, continued lines joined; Python block by block."""
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        indent, code = len(block["indent"]), block["code"]
        code = "\n".join(line[indent:] for line in code.splitlines())
        if block["language"] == "python":
            yield Line(page, "python", code)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            if command := re.sub(r"\s+#\s.*$|^#.*$", "", line).strip():
                yield Line(page, "sh", command)


def prepare(folder: Path) -> None:
    """Fill a folder with what the pages speak of."""
    import av

    shutil.copytree(PROJECT / "examples", folder / "examples")
    for name in ("recipes", "studies"):
        (folder / name).symlink_to(PROJECT / name)
    shutil.copytree(HERE / "results", folder / "docs" / "results")
    with Image.open(PROJECT / "examples" / "coffee.png") as opened:
        scene = opened.convert("RGB").crop((0, 0, 480, 320))
    values = np.asarray(scene)
    numbers = np.random.default_rng(0)

    def darkened() -> Image.Image:
        light = values / 255 * 0.15 + numbers.normal(0, 0.01, values.shape)
        return Image.fromarray(np.rint(light.clip(0, 1) * 255).astype(np.uint8))

    for name in ("holiday", "panorama", "camera", "dark", "bright", "clear", "references", "scans", "clips"):
        (folder / name).mkdir()
    for name in (
        "photo.jpg",
        "dark.jpg",
        *(f"{place}/{i}.jpg" for place in ("holiday", "panorama", "camera") for i in (1, 2)),
    ):
        darkened().save(folder / name)
    for number in range(4):
        darkened().save(folder / "dark" / f"{number}.png")
        for place in ("bright", "clear", "references"):
            scene.save(folder / place / f"{number}.png")
    Image.fromarray(values[..., 0].astype(np.uint16) * 40).save(folder / "scans" / "page.tif")
    for name in ("night.mp4", "clips/a.mp4", "holiday/b.mp4", "c.mov"):
        with av.open(str(folder / name), "w") as out:
            stream = out.add_stream("libx264", rate=12)
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
            for _ in range(6):
                small = np.asarray(darkened().resize((160, 96)))
                out.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
            out.mux(stream.encode(None))


def run(line: Line, folder: Path, names: dict[str, object]) -> str:
    """Run one in a folder; what went wrong, or nothing."""
    way = line.way
    if line.language == "python":
        before = Path.cwd()
        os.chdir(folder)
        try:
            exec(compile(line.code, line.page.name, "exec"), names)  # noqa: S102 - the page's own code
        except Exception:
            return traceback.format_exc()
        finally:
            os.chdir(before)
        return ""
    first, pipe, rest = line.code.partition(" | ") if " | " in line.code else (line.code, "", "")
    script = f'undim() {{ {sys.executable} -m undim "$@"; }}\n{first}{way.adds}{pipe}{rest}'
    process = subprocess.Popen(  # noqa: S603 - the page's own command
        ["bash", "-c", script],  # noqa: S607 - whichever the reader has
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    told = ""
    if way.until:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not re.search(way.until, told):
            told += process.stdout.readline()
        os.killpg(process.pid, signal.SIGTERM)
    rest = process.communicate(timeout=1800)[0]
    told += rest
    if way.until:
        return "" if re.search(way.until, told) and "Traceback" not in told else told
    return "" if process.returncode == 0 else told


def main() -> None:
    """Run or list, and end with status 1 if a block failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    has_data = bool(os.environ.get("UNDIM_DATA"))
    failed = ran = left = 0
    begin = time.monotonic()
    for page in options.pages or pages():
        lines = list(lines_of(page.resolve()))
        with tempfile.TemporaryDirectory() as name:
            folder, names = Path(name), {}
            if lines and not options.list:
                prepare(folder)
                exec(PREAMBLES.get(page.name, ""), names)  # noqa: S102 - above
            for line in lines:
                way = line.way
                reason = way.reason or ("$UNDIM_DATA is not set" if way.needs_data and not has_data else "")
                first = (
                    line.code.splitlines()[0]
                    if line.language == "sh"
                    else f"python, {len(line.code.splitlines())} lines"
                )
                left += bool(reason)
                ran += not reason
                if reason or options.list:
                    print(f"{page.name}: {first}: {f'not here: {reason}' if reason else 'runs'}")
                    continue
                started = time.monotonic()
                wrong = run(line, folder, names)
                print(
                    f"{page.name}: {first}: {'FAILED' if wrong else 'ok'}, {time.monotonic() - started:.0f} s",
                    flush=True,
                )
                failed += bool(wrong)
                if wrong:
                    print(wrong)
    did = "would run" if options.list else "ran"
    print(f"{ran} {did}, {failed} failed, {left} cannot run here; {time.monotonic() - begin:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
