"""Make docs/undim.1 and docs/reference/commands.md from the command tree, and the checksums of the shipped models.

    python docs/make_command_pages.py

It imports every verb, so all optional parts must be installed. `tests/test_pages.py` finds pages that are out of date.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from undim.cli.main import describe_verbs
from undim.cli.manual import make_man_page, make_reference
from undim.shipped import CHECKSUMS, MODELS_FOLDER, ONNX, WEIGHTS
from undim.version import __version__

HERE = Path(__file__).parent


def make_checksums() -> str:
    """What `sha256sum --check` reads."""
    paths = sorted(path for path in MODELS_FOLDER.iterdir() if path.suffix in (ONNX, WEIGHTS))
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)


def make_pages() -> dict[Path, str]:
    """What stands in each file."""
    pages = describe_verbs()
    return {
        HERE / "undim.1": make_man_page(pages, __version__),
        HERE / "reference" / "commands.md": make_reference(pages),
        MODELS_FOLDER / CHECKSUMS: make_checksums(),
    }


def main() -> None:
    """Write them."""
    for path, text in make_pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
