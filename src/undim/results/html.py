"""HTML pages that need nothing but themselves: one style, tables, pictures as data."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from undim.arrays import Bytes

ALONE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The policy of a page that needs nothing but itself."""
STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5d6872; --line: #d7dde2; --fill: #2f6f9f; --harm: #b5482f;
  --paper: #fbfbfa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5ae; --line: #3a424a; --fill: #6fb0dd;
  --harm: #e58a70; --paper: #15181b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .25rem .8rem .25rem 0; text-align: right;
  border-bottom: 1px solid var(--line); white-space: nowrap; } th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; font-family: ui-monospace, monospace; font-size: .9em; }
.facts, .soft { color: var(--soft); }
"""
"""Of every page, in light and dark."""


def make_page(title: str, body: Sequence[str], style: str = "") -> str:
    """A whole page, which browsers do not let load anything.

    Args:
        title: its heading.
        body: what stands below, as HTML.
        style: rules beside `STYLE`.
    """
    return (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f'<meta http-equiv=Content-Security-Policy content="{ALONE}">'
        f"<style>{STYLE}{style}</style>\n<h1>{escape(title)}</h1>\n" + "\n".join(body) + "\n</html>\n"
    )


def make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls where it is too wide; cells are text."""
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<div class=wide><table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>{lines}</table></div>"
    )


def embed(pixels: Bytes, kind: str = "JPEG", side: int | None = None) -> str:
    """An H x W x 3 8-bit RGB picture as a data URL.

    Args:
        pixels: the picture.
        kind: "JPEG" or "PNG".
        side: its longer side at most, in pixels; larger ones are resized. None keeps every size.
    """
    picture = Image.fromarray(pixels)
    if side is not None and max(picture.size) > side:
        scale = side / max(picture.size)
        width, height = (max(1, round(length * scale)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, kind, quality=88)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
