"""NAME.json of `undim paper`: one of the paper's tables or figures, with ours beside it."""

from __future__ import annotations

from typing import ClassVar

from undim.results.document import Document, Number, Record, Whole


class PageRow(Record):
    """One figure: the paper's and ours."""

    label: str
    """Of the row."""
    column: str
    paper: Whole | None
    """As printed; null where the paper has no such figure."""
    ours: Whole | None
    spread: Number | None
    """Standard deviation over the seeds; null for one."""
    seeds: tuple[int, ...]
    """Of the trainings, or of the resets where the protocol says so."""
    iterations: int | None
    """Training steps."""
    protocol: str
    """What was measured on what."""
    command: str | None
    """What would make our figure, where there is none; for people, nothing reads it."""
    parameters: int | None
    """Of our network."""


class CommandGroup(Record):
    """Commands that figures want which were not run."""

    first: str
    """Such as a training."""
    then: tuple[str, ...]
    """What comes after it, each by itself."""


class PageDocument(Document):
    """NAME.json; NAME.md is made of it alone."""

    NAME: ClassVar[str] = "page"
    WRITER: ClassVar[str] = "undim paper"
    REMEDY: ClassVar[str] = "delete it"

    name: str
    title: str
    source: str
    rows: tuple[PageRow, ...]
    form: str
    """How figures are formatted, unless `forms` has their column."""
    forms: dict[str, str]
    notes: tuple[str, ...]
    picture: str | None
    """A file beside the page."""
    lead: tuple[str, ...]
    """What the page says before its figures: a sentence, and items of a list."""
    not_run: tuple[CommandGroup, ...] = ()
