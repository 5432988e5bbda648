"""What the site takes from outside docs/: the model cards, and the project's own files at its root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[1]
CARDS = PROJECT / "src" / "undim" / "models"
DESCRIBED = 160
"""Characters of a page's description that search engines show."""
ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md", "security.md": "SECURITY.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them, with their links made to fit."""
    from mkdocs.structure.files import File

    for card in sorted(CARDS.glob("*.md")):
        text = card.read_text(encoding="utf-8").replace("](../../../docs/", "](../")
        files.append(File.generated(config, f"cards/{card.name}", content=text))
    for name, source in ROOT.items():
        text = (PROJECT / source).read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/", "](", text).replace("](CHANGELOG.md)", "](changelog.md)")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Describe each page to search engines by its first paragraph, where it says nothing else."""
    first = next((part for part in re.split(r"\n\s*\n", markdown) if re.match(r"\s*[\w*`\[(]", part)), "")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`]", r"\1", " ".join(first.split()))
    if plain:
        page.meta.setdefault("description", plain if len(plain) <= DESCRIBED else f"{plain[: DESCRIBED - 1]}…")
    return markdown
