"""What an evaluation leaves behind: results.json, results.md, the worst pictures, and a table for the terminal."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from undim.atomic import write_text
from undim.images import Picture, write_picture
from undim.metrics.evaluation import Case, Evaluation, make_sheet, sheet_order
from undim.metrics.measures import Measure, known_measures
from undim.metrics.protocol import PROTOCOL, PictureScores, Scores
from undim.results.document import finite
from undim.results.markdown import escape, section, table
from undim.results.scores import ClippedGrowth, ScoredPicture, ScoredSubject, ScoresDocument
from undim.version import __version__


@dataclass(frozen=True)
class Column:
    """One measure in the tables."""

    title: str
    form: str
    """How a value is formatted."""
    value: Callable[[PictureScores], float | None]
    overall: Callable[[Scores], float | None]
    caution: str = ""
    """Why it is never a headline; empty where it is one."""
    rms: bool = False
    """Whether the figure over all pictures is a root mean square instead of a mean."""


SCORE_COLUMNS = (
    Column("PSNR, dB", ".2f", lambda image: image.psnr, lambda scores: scores.psnr),
    Column("SSIM", ".4f", lambda image: image.ssim, lambda scores: scores.ssim),
    Column(
        "NIQE",
        ".3f",
        lambda image: image.niqe,
        lambda scores: scores.niqe,
        "of the output alone, lower is better; it does not see wrong brightness or colours",
    ),
    Column(
        "PSNR at matched mean, dB",
        ".2f",
        lambda image: image.psnr_gt_mean,
        lambda scores: scores.psnr_gt_mean,
        "the output is scaled by the reference's brightness, which adds 2 to 4 dB",
    ),
    Column(
        "ln brightness ratio",
        "+.3f",
        lambda image: image.log_brightness_ratio,
        lambda scores: scores.brightness_error,
        "mean luma of output over reference: how much of the PSNR is one number per picture",
        rms=True,
    ),
    Column(
        "input luma",
        ".3f",
        lambda image: image.luma_input,
        lambda scores: scores.luma_input,
        "mean, 0 to 1",
    ),
    Column(
        "output luma",
        ".3f",
        lambda image: image.luma_output,
        lambda scores: scores.luma_output,
        "mean, 0 to 1",
    ),
    Column(
        "growth of clipped pixels, %",
        "+.2f",
        lambda image: image.clipped_growth,
        lambda scores: None if scores.clipped_growth is None else scores.clipped_growth.mean,
        "pixels with a channel of 250 or more, output minus input",
    ),
)


def versions(*packages: str) -> dict[str, str]:
    """Versions of Undim, Python, what the measures are computed with, and the packages named."""
    names = ("numpy", "scipy", "scikit-image", "pillow", *packages)
    return {"undim": __version__, "python": platform.python_version(), **{name: version(name) for name in names}}


def write_report(folder: Path, title: str, subject: ScoredSubject, measured: Evaluation) -> None:
    """Write worst/NAME.png, results.md and, last, results.json.

    Args:
        folder: is there.
        title: heading of results.md.
        subject: what was measured with what.
        measured: the measures.

    Raises:
        OSError, PictureError: if a file cannot be written.
    """
    for case, output in measured.worst:
        write_picture(Picture(make_sheet(case, output)), folder / _sheet_name(case), "png")
    write_text(folder / "results.md", make_markdown(title, subject, measured))
    make_document(subject, measured).write(folder / "results.json")


def make_document(subject: ScoredSubject, measured: Evaluation) -> ScoresDocument:
    """What results.json holds; an infinite PSNR is None there."""
    scores = measured.scores
    growth = scores.clipped_growth
    return ScoresDocument(
        **dict(subject),
        psnr=finite(scores.psnr),
        ssim=scores.ssim,
        niqe=scores.niqe,
        psnr_gt_mean=finite(scores.psnr_gt_mean),
        brightness_error=scores.brightness_error,
        luma_input=scores.luma_input,
        luma_output=scores.luma_output,
        clipped_growth=None if growth is None else ClippedGrowth(**vars(growth)),
        more={key: finite(value) for key, value in scores.more.items()},
        protocol=PROTOCOL,
        worst=tuple(case.name for case, _ in measured.worst),
        images=tuple(as_record(image) for image in scores.images),
    )


def as_record(image: PictureScores) -> ScoredPicture:
    """The measures of one picture as documents hold them; an infinite PSNR is None there."""
    more = {key: finite(value) for key, value in image.more.items()}
    infinite = {"psnr": finite(image.psnr), "psnr_gt_mean": finite(image.psnr_gt_mean)}
    return ScoredPicture(**{**vars(image), **infinite, "more": more})


def make_markdown(title: str, subject: ScoredSubject, measured: Evaluation) -> str:
    """The text of results.md."""
    scores = measured.scores
    shown = shown_columns(scores)
    notes = [*subject.notes, *scores.notes]
    known = {key: value for key, value in subject if key != "notes" and value is not None}
    told = [f"- {key}: {_told(value)}" for key, value in known.items()]
    lines = [
        f"# {escape(title)}",
        "",
        *([f"**{headline(scores)}**", ""] if headline(scores) else []),
        f"Beside it, never as a headline: {figures_beside(scores)}." if headline(scores) else f"{summary(scores)}.",
        "",
        f"Protocol {PROTOCOL}.",
        *told,
        "",
        *_markdown_table(scores, shown),
        "",
        "Never headline figures: "
        + "; ".join(f"{column.title} ({column.caution})" for column in shown if column.caution)
        + ".",
        "",
    ]
    if measured.worst:
        rank = "lowest PSNR" if scores.psnr is not None else "highest NIQE"
        lines += [f"## The worst ({rank})", ""]
        for case, _ in measured.worst:
            name = escape(case.name)
            lines += [f"{name}: {sheet_order(case)}", "", f"![{name}]({_link(case)})", ""]
    return "\n".join([*lines, *section("Notes", map(escape, notes))])


def summary(scores: Scores) -> str:
    """The figures over all pictures in one line: the headline, and in brackets what never is one."""
    first, beside = headline(scores), figures_beside(scores)
    return f"{first} ({beside})" if first and beside else first or beside or "nothing could be measured"


def headline(scores: Scores) -> str:
    """PSNR and SSIM in words; empty without references."""
    if scores.psnr is None or scores.ssim is None:
        return ""
    return f"PSNR {scores.psnr:.2f} dB, SSIM {scores.ssim:.4f}"


def figures_beside(scores: Scores) -> str:
    """The figures that are not a headline, in words."""
    parts: list[str] = []
    if scores.psnr_gt_mean is not None and scores.brightness_error is not None:
        parts += [f"GT-mean PSNR {scores.psnr_gt_mean:.2f} dB", f"brightness error {scores.brightness_error:.3f}"]
    if scores.niqe is not None:
        parts.append(f"NIQE {scores.niqe:.3f}")
    if scores.psnr is None and scores.luma_input is not None and scores.luma_output is not None:
        parts.append(f"mean luma {scores.luma_input:.3f} to {scores.luma_output:.3f}")
    growth = scores.clipped_growth
    if growth is not None:
        parts.append(
            f"growth of clipped pixels {growth.mean:+.2f} %, at worst {growth.worst:+.2f} %, 90th percentile"
            f" {growth.p90:+.2f} %"
        )
    return ", ".join(parts)


def make_table(scores: Scores) -> str:
    """One line a picture and one for all, in columns of equal width."""
    shown = shown_columns(scores)
    rows = [["picture", *(column.title for column in shown)], *_rows(scores, shown)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def shown_columns(scores: Scores) -> list[Column]:
    """The columns that at least one picture has a value for."""
    columns = [*SCORE_COLUMNS, *(_column_of(key, measure) for key, measure in known_measures().items())]
    return [column for column in columns if any(column.value(image) is not None for image in scores.images)]


def _column_of(key: str, measure: Measure) -> Column:
    """Of a measure that was added to those of the protocol; never a headline."""
    return Column(
        measure.title,
        measure.form,
        lambda image: image.more.get(key),
        lambda scores: scores.more.get(key),
        measure.caution or "not of the protocol",
    )


def _rows(scores: Scores, shown: Sequence[Column]) -> list[list[str]]:
    """The cells, pictures first, then the line for all."""
    pictures = [[image.name, *(spell(column, column.value(image)) for column in shown)] for image in scores.images]
    overall = [spell_overall(column, scores) for column in shown]
    return [*pictures, ["all", *overall]]


def spell_overall(column: Column, scores: Scores) -> str:
    """A column's figure over all pictures."""
    text = spell(column, column.overall(scores))
    return f"{text.lstrip('+')} (rms)" if column.rms else text


def _markdown_table(scores: Scores, shown: Sequence[Column]) -> list[str]:
    *pictures, overall = _rows(scores, shown)
    bold = [
        cell if column is not None and column.caution else f"**{cell}**"
        for column, cell in zip([None, *shown], overall, strict=True)
    ]
    head = ["picture", *(column.title for column in shown)]
    return table(head, [*([escape(row[0]), *row[1:]] for row in pictures), bold])


def spell(column: Column, value: float | None) -> str:
    """A value as its column shows it; "-" where there is none."""
    if value is None:
        return "-"
    return "inf" if math.isinf(value) else format(value, column.form)


def _sheet_name(case: Case) -> str:
    return f"worst/{case.name}.png"


def _link(case: Case) -> str:
    return quote(_sheet_name(case))


def _told(fact: object) -> str:
    if isinstance(fact, dict):
        return escape(", ".join(f"{name} {value}" for name, value in fact.items()))
    return escape(str(fact))
