"""A page of results: entries in the paper's layout, as JSON, and as Markdown made of that JSON alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from undim.atomic import write_text
from undim.errors import UsageError


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
    command: str | None = None
    """What would make our figure, where there is none."""
    parameters: int | None = None
    """Of our network."""


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

    def as_dict(self) -> dict[str, Any]:
        """In values that JSON can hold."""
        return {
            "name": self.name,
            "title": self.title,
            "source": published()["source"],
            "rows": [asdict(entry) | {"seeds": list(entry.seeds)} for entry in self.entries],
            "form": self.form,
            "forms": dict(self.forms),
            "notes": list(self.notes),
            "picture": self.picture,
            "lead": list(self.lead),
        }


def as_entry(row: Mapping[str, Any]) -> Entry:
    """The entry that a row of NAME.json holds."""
    return Entry(**{**row, "seeds": tuple(row["seeds"])})


def read_rows(path: Path) -> tuple[Mapping[str, Any], list[Entry]]:
    """NAME.json and its entries; empty if it is not there.

    Raises:
        UsageError: if it cannot be read, or is no page.
    """
    if not path.is_file():
        return {}, []
    try:
        page = json.loads(path.read_text(encoding="utf-8"))
        return page, [as_entry(row) for row in page["rows"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is no page of undim paper: delete it. ({type(error).__name__}: {error})") from error


def published() -> dict[str, Any]:
    """The paper's figures, by table."""
    found: dict[str, Any] = json.loads((files("undim.paper") / "published.json").read_text(encoding="utf-8"))
    return found


def write_page(page: Page, folder: Path) -> None:
    """Write NAME.md and, last, NAME.json.

    Raises:
        OSError: if one cannot be written.
    """
    result = page.as_dict()
    write_text(folder / f"{page.name}.md", make_markdown(result))
    text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(folder / f"{page.name}.json", f"{text}\n")


def make_markdown(page: Mapping[str, Any]) -> str:
    """The text of NAME.md, from what is in NAME.json alone."""
    rows = page["rows"]
    columns = list(dict.fromkeys(row["column"] for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    found = {(row["label"], row["column"]): row for row in rows}
    lines = [f"# {page['title']}", ""]
    if page["lead"]:
        sentence, *items = page["lead"]
        lines += [sentence, "", *(f"- {item}" for item in items), ""]
    lines += ["Each cell: the paper / ours.", ""]
    lines += [f"| | {' | '.join(columns)} |", f"|{' --- |' * (len(columns) + 1)}"]
    for label in labels:
        cells = [_cell(found.get((label, column)), page["forms"].get(column, page["form"])) for column in columns]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines.append("")
    if page["picture"] is not None:
        lines += [f"![{page['title']}]({page['picture']})", ""]
    lines += _listed("How ours were measured", dict.fromkeys(_told(row) for row in rows if row["ours"] is not None))
    missing = dict.fromkeys(row["command"] for row in rows if row["ours"] is None and row["command"])
    lines += _listed("Not run; what would (RESULTS: a folder that --results names)", _once(missing))
    lines += _listed("Notes", page["notes"])
    return "\n".join([*lines, f"Paper: {page['source']}.", ""])


def _cell(row: Mapping[str, Any] | None, form: str) -> str:
    if row is None:
        return ""
    paper = "-" if row["paper"] is None else format(row["paper"], form)
    if row["ours"] is None:
        return f"{paper} / {'not run' if row['command'] else '-'}"
    spread = f" ± {row['spread']:{form.lstrip('+')}}" if row["spread"] else ""
    return f"{paper} / **{row['ours']:{form}}**{spread}"


def _told(row: Mapping[str, Any]) -> str:
    plural = "s" if len(row["seeds"]) > 1 else ""
    seeds = f", seed{plural} {', '.join(map(str, row['seeds']))}" if row["seeds"] else ""
    steps = "" if row["iterations"] is None else f", {row['iterations']} training steps"
    size = "" if row["parameters"] is None else f", {row['parameters']:,} parameters"
    return f"{row['label']}: {row['protocol']}{seeds}{steps}{size}"


def _once(commands: Iterable[str]) -> Iterable[str]:
    """Commands with what comes before several of them, such as a training, once."""
    groups: dict[str, list[str]] = {}
    for command in commands:
        first, _, then = command.partition(" && ")
        groups.setdefault(first, []).append(then)
    for first, followers in groups.items():
        yield "".join([f"`{first}`", *(f"\n  - `{then}`" for then in followers if then)])


def _listed(heading: str, items: Iterable[str]) -> list[str]:
    lines = [f"- {item}" for item in items]
    return [f"## {heading}", "", *lines, ""] if lines else []
