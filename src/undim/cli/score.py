"""`undim score`: the scores of pictures that anything has made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undim.cli.lines import put
from undim.cli.progress import progress
from undim.cli.results import prepare
from undim.errors import UsageError
from undim.metrics.evaluation import cases_of_outputs, check_cases, evaluate_cases
from undim.metrics.report import make_document, make_table, summary, versions, write_report
from undim.results.scores import ScoredSubject


def score(
    outputs: Annotated[Path, typer.Argument(metavar="OUT", help="Pictures to measure: a folder or a file.")],
    references: Annotated[Path, typer.Argument(metavar="REF", help="What they should be: a folder or a file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="For results.json and results.md.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    worst: Annotated[int, typer.Option(metavar="N", help="With -o: pictures to show in DIR/worst.")] = 3,
) -> None:
    """Measure pictures against references, as `undim evaluate` does.

    The pictures of two folders are paired by their names without the suffix. PSNR and SSIM are the headline; NIQE,
    PSNR at matched brightness and the brightness error never are.
    """
    if worst < 0:
        raise UsageError(f"--worst is {worst}; allowed: 0 or more.")
    cases = cases_of_outputs(outputs, references)
    with progress("reading", len(cases)) as done:
        check_cases(cases, done)
    if output is not None:
        prepare(output)
    with progress("measuring", len(cases)) as done:
        measured = evaluate_cases(cases, worst=0 if output is None else worst, done=done)
    subject = ScoredSubject(
        outputs=str(outputs),
        references=str(references),
        versions=versions(),
        notes=("checkpoint_sha256 is null: the pictures were there already, and nothing says what made them",),
    )
    if output is not None:
        write_report(output, f"{outputs} against {references} ({len(cases)} pictures)", subject, measured)
    if as_json:
        put(make_document(subject, measured).text().encode())
    else:
        put(f"{make_table(measured.scores)}\n{summary(measured.scores)}\n".encode())
