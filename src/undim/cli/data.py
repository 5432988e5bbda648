"""`undim data`: the data sets that are known, and whether one on disk is whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from undim.cli.lines import one_line, put, without_codec_noise
from undim.data.check import KINDS, DataReport, check_data
from undim.data.entries import PairedSet, UnpairedSet
from undim.data.sets import SETS, find_pictures, find_place, list_sets
from undim.errors import DataError

SHOWN = 10
"""Problems of one kind that are printed; `--json` gives all."""

data = typer.Typer(
    help="List the known data sets, or check one.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@data.command()
def check(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(list_sets())}.")],
    root: Annotated[Path | None, typer.Option(help="The data set's folder; else it is sought in $UNDIM_DATA.")] = None,
    low: Annotated[Path | None, typer.Option(help="Folder of the dark pictures, for the data set folder.")] = None,
    high: Annotated[Path | None, typer.Option(help="Folder of the references, for the data set folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, with every problem.")] = False,
) -> int:
    """Read every picture of a data set and say what is there, missing or wrong.

    Exit status: 0 usable, 1 some pictures are unreadable, unpaired, ambiguous, of unequal size, or both in training
    and test; 2 wrong usage or no such data set.
    """
    with without_codec_noise():
        report = check_data(name, root, low=low, high=high)
    lines = [f"{report.name} in {' and '.join(map(str, report.folders))}", *_lines(report)]
    put((json.dumps(report.as_dict(), indent=1) if as_json else "\n".join(map(one_line, lines))).encode())
    put(b"\n")
    return 0 if report.usable else 1


@data.command("list")
def list_entries(
    as_json: Annotated[bool, typer.Option("--json", help="Print the entries as JSON.")] = False,
) -> None:
    """List the data sets with their published counts, licence and source, and where they are under $UNDIM_DATA."""
    entries = [
        {
            "name": name,
            "counts": _counts(entry),
            "licence": entry.licence,
            "source": entry.source,
            "found": _found(name),
        }
        for name, entry in SETS.items()
    ]
    if as_json:
        put(f"{json.dumps(entries, indent=1)}\n".encode())
        return
    width = max(map(len, SETS))
    for entry in entries:
        found = (entry["found"] or "not found") if SETS[entry["name"]].folders else "given by its folders"
        facts = f"{entry['counts']}; {entry['licence']}; {found}"
        put(f"{entry['name']:<{width}}  {one_line(facts)}\n{'':<{width}}  {entry['source']}\n".encode())
    if not os.environ.get("UNDIM_DATA"):
        put(b"UNDIM_DATA is not set: nothing was looked for.\n")


def _counts(entry: PairedSet | UnpairedSet) -> str:
    if isinstance(entry, UnpairedSet):
        return f"{entry.count} pictures without references"
    return f"{entry.counts[0]} training and {entry.counts[1]} test pairs" if entry.counts else "any pairs"


def _found(name: str) -> str:
    """The folder under `$UNDIM_DATA`; "" if it is not there."""
    try:
        if isinstance(SETS[name], UnpairedSet):
            return str(find_pictures(name)[0].parent)
        return str(find_place(name).base)
    except DataError:
        return ""


def _lines(report: DataReport) -> list[str]:
    lines = [", ".join(f"{count} {split}" for split, count in report.counts.items()) or "no pairs"]
    for key, count in report.published.items():
        present = report.present[key]
        missing = f", {report.missing[key]} missing" if key in report.missing else ""
        lines.append(f"{key}: {present} of {count} published{missing}")
    for kind in KINDS:
        found = [problem for problem in report.problems if problem.kind == kind]
        if found:
            lines.append(f"{kind}: {len(found)}")
            lines += [f"  {' and '.join(map(str, problem.pictures))} {problem.reason}" for problem in found[:SHOWN]]
            if len(found) > SHOWN:
                lines.append(f"  and {len(found) - SHOWN} more (--json lists all)")
    lines += [f"note: {note}" for note in report.notes]
    lines.append("usable" if report.usable else f"{len(report.problems)} problems")
    return lines
