"""Make docs/external-links.txt: every address outside the project that its pages and docstrings name, and where.

    python docs/make_links.py

Nothing is fetched: the list is for people and for checkers of links, such as `lychee docs/external-links.txt`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).parent
PROJECT = HERE.parent
TARGET = HERE / "external-links.txt"
ADDRESS = re.compile(r"""https?://[^\s<>"'`\[\]{})|\\]+""")
OWN = re.compile(
    r"^(127\.0\.0\.1|localhost|0\.0\.0\.0|undim|host|address)$|(^|\.)example(\.(org|com|net))?$", re.IGNORECASE
)
"""Hosts that stand for the reader's own machine, or for nobody's."""


def sources() -> list[Path]:
    """Files whose text a reader meets: pages, cards, docstrings, and what the site is made by."""
    places = (
        "*.md",
        "*.cff",
        "*.yml",
        "*.toml",
        ".github/**/*.*",
        "docs/**/*.md",
        "examples/*.md",
        "src/undim/**/*.md",
        "src/undim/**/*.py",
    )
    return sorted(path for place in places for path in PROJECT.glob(place))


def text_of(path: Path) -> str:
    """What a reader sees of a file: of a module its docstrings, which the site shows."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return "\n".join(ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, kinds))


def addresses_in(text: str) -> Iterator[str]:
    """Those that lead out of the project, without the full stop or comma after them.

    Examples:
        >>> list(addresses_in("See https://a.org/x, or (http://127.0.0.1:8000)."))
        ['https://a.org/x']
    """
    for found in ADDRESS.findall(text):
        address = found.rstrip(".,;:!?*")
        if not OWN.search(urlsplit(address).hostname or ""):
            yield address


def make_list() -> str:
    """A line for each address: it, and the files that name it."""
    places = defaultdict(set)
    for path in sources():
        for address in addresses_in(text_of(path)):
            places[address].add(path.relative_to(PROJECT).as_posix())
    return "".join(f"{address}  {', '.join(sorted(named))}\n" for address, named in sorted(places.items()))


def main() -> None:
    """Write it."""
    TARGET.write_text(make_list(), encoding="utf-8")


if __name__ == "__main__":
    main()
