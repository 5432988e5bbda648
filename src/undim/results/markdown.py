"""Markdown: text that means nothing but itself, tables, lists of notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_SIGNS = "\\|*_[]<>`"


def escape(text: str) -> str:
    """Text that does not end a cell of a table or begin anything else in Markdown, on one line."""
    plain = " ".join(text.split())
    for letter in _SIGNS:
        plain = plain.replace(letter, f"\\{letter}")
    return plain


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table.

    Args:
        head: titles of the columns, the first of which may be empty; like the cells, they are Markdown already, see
            `escape`.
        rows: cells, as many each.
    """
    titles = " | ".join(head).lstrip()
    return [f"| {titles} |", *(f"| {' | '.join(row)} |" for row in (["---"] * len(head), *rows))]


def section(heading: str, items: Iterable[str]) -> list[str]:
    """A heading of the second order and a list under it, with an empty line after each; nothing without items."""
    lines = [f"- {item}" for item in items]
    return [f"## {heading}", "", *lines, ""] if lines else []
