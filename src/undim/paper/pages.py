"""A page of results: entries in the paper's layout, as JSON, and as Markdown made of that JSON alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from undim.atomic import write_text
from undim.errors import UsageError
from undim.paper.commands import Making, group_commands, spell_commands
from undim.paper.precision import find_caution
from undim.results.markdown import section, table
from undim.results.page import PageDocument, PageRow


@dataclass(frozen=True)
class Entry:
    """One figure: the paper's and ours."""

    label: str
    """Of the row."""
    column: str
    paper: float | None
    """As printed; None where the paper has no such figure."""
    ours: float | None = None
    spread: float | None = None
    """Standard deviation over the seeds; None for one."""
    seeds: tuple[int, ...] = ()
    """Of the trainings, or of the resets where the protocol says so."""
    iterations: int | None = None
    """Training steps."""
    protocol: str = ""
    """What was measured on what."""
    making: Making | None = None
    """What would make our figure, where there is none."""
    parameters: int | None = None
    """Of our network."""
    caution: str = ""
    """What must be said of our figure; the page says it once."""

    def document(self) -> PageRow:
        """The row of NAME.json."""
        return PageRow(
            label=self.label,
            column=self.column,
            paper=self.paper,
            ours=self.ours,
            spread=self.spread,
            seeds=self.seeds,
            iterations=self.iterations,
            protocol=self.protocol,
            command=None if self.making is None else " && ".join(spell_commands(self.making)),
            parameters=self.parameters,
        )


@dataclass(frozen=True)
class Page:
    """One table or figure."""

    name: str
    """Such as "table6"."""
    title: str
    entries: tuple[Entry, ...]
    form: str = ".2f"
    """How figures are formatted, unless `forms` has their column."""
    forms: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    picture: str | None = None
    """A file beside the page."""
    lead: tuple[str, ...] = ()
    """What the page says before its figures: a sentence, and items of a list."""

    def __post_init__(self) -> None:
        """Raise `UsageError` if two entries have one place."""
        seen = set[tuple[str, str]]()
        for entry in self.entries:
            key = entry.label, entry.column
            if key in seen:
                raise UsageError(
                    f"{self.name} would have two figures for {' / '.join(key)}: move one of them elsewhere."
                )
            seen.add(key)

    def document(self) -> PageDocument:
        """What NAME.json holds."""
        missing = dict.fromkeys(one.making for one in self.entries if one.ours is None and one.making is not None)
        cautions = dict.fromkeys(one.caution for one in self.entries if one.ours is not None and one.caution)
        return PageDocument(
            name=self.name,
            title=self.title,
            source=published()["source"],
            rows=tuple(entry.document() for entry in self.entries),
            form=self.form,
            forms=dict(self.forms),
            notes=(*self.notes, *cautions),
            picture=self.picture,
            lead=self.lead,
            not_run=tuple(group_commands(missing)),
        )


def measured_entry(row: PageRow) -> Entry:
    """The entry of a row that has a figure of ours."""
    return Entry(
        row.label,
        row.column,
        row.paper,
        row.ours,
        row.spread,
        row.seeds,
        row.iterations,
        row.protocol,
        parameters=row.parameters,
        caution=find_caution(row.label.partition(",")[0], row.iterations),
    )


def published() -> dict[str, Any]:
    """The paper's figures, by table."""
    found: dict[str, Any] = json.loads((files("undim.paper") / "published.json").read_text(encoding="utf-8"))
    return found


def other_systems() -> dict[str, Any]:
    """What is known of the other systems' figures: what the printed ones count, and scores with authors' weights."""
    found: dict[str, Any] = json.loads((files("undim.paper") / "other_systems.json").read_text(encoding="utf-8"))
    return found


def write_page(page: Page, folder: Path) -> None:
    """Write NAME.md and, last, NAME.json.

    Raises:
        OSError: if one cannot be written.
    """
    document = page.document()
    write_text(folder / f"{page.name}.md", make_markdown(document))
    document.write(folder / f"{page.name}.json")


def make_markdown(page: PageDocument) -> str:
    """The text of NAME.md, from what is in NAME.json alone."""
    columns = list(dict.fromkeys(row.column for row in page.rows))
    labels = list(dict.fromkeys(row.label for row in page.rows))
    found = {(row.label, row.column): row for row in page.rows}
    lines = [f"# {page.title}", ""]
    if page.lead:
        sentence, *items = page.lead
        lines += [sentence, "", *(f"- {item}" for item in items), ""]
    cells = [
        [label, *(_shown(found.get((label, column)), page.forms.get(column, page.form)) for column in columns)]
        for label in labels
    ]
    lines += ["Each cell: the paper / ours.", "", *table(["", *columns], cells), ""]
    if page.picture is not None:
        lines += [f"![{page.title}]({page.picture})", ""]
    lines += section("How ours were measured", dict.fromkeys(_told(row) for row in page.rows if row.ours is not None))
    groups = ("".join([f"`{one.first}`", *(f"\n  - `{then}`" for then in one.then)]) for one in page.not_run)
    lines += section("Not run; what would (RESULTS: a folder that --results names)", groups)
    lines += section("Notes", page.notes)
    return "\n".join([*lines, f"Paper: {page.source}.", ""])


def _shown(row: PageRow | None, form: str) -> str:
    """What stands in the cell of a table."""
    if row is None:
        return ""
    paper = "-" if row.paper is None else format(row.paper, form)
    if row.ours is None:
        return f"{paper} / {'not run' if row.command else '-'}"
    spread = f" ± {row.spread:{form.lstrip('+')}}" if row.spread else ""
    return f"{paper} / **{row.ours:{form}}**{spread}"


def _told(row: PageRow) -> str:
    plural = "s" if len(row.seeds) > 1 else ""
    seeds = f", seed{plural} {', '.join(map(str, row.seeds))}" if row.seeds else ""
    steps = "" if row.iterations is None else f", {row.iterations} training steps"
    size = "" if row.parameters is None else f", {row.parameters:,} parameters"
    return f"{row.label}: {row.protocol}{seeds}{steps}{size}"
