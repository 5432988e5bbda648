"""What a comparison leaves to look at: one sheet of small pictures, and one HTML page with a slider per picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from undim.arrays import Bytes
from undim.metrics.comparison import INPUT, REFERENCE, Comparison
from undim.metrics.protocol import PictureScores, Scores
from undim.metrics.report import Column, shown_columns, spell, spell_overall
from undim.results.comparison import ComparedModel, ComparedPicture, ComparisonDocument
from undim.results.html import embed, make_page, make_table

LONGEST = 1600
"""Pixels of the longer side of a picture in the page at most."""
SHORTEST = 320
BUDGET = 140e6
"""Pixels in a page that browsers still open without trouble: about 50 MB."""
CELL = 360
"""Width of a picture in the sheet, where there is room."""
SMALLEST_CELL = 48
SHEET_SIDE = 16000
"""Pixels on a side of a sheet at most: WebP ends at 16383."""
_TITLE, _GAP = 22, 4
_TOLD = ("system", "licence", "authors' settings")
"""Of what a file says about itself, what the page repeats."""
_GREY = (128, 128, 128)

_STYLE = """
body { max-width: 78rem; }
.stage { display: grid; position: relative; overflow: hidden; background: #0008; width: fit-content; max-width: 100%;
  --at: 50%; touch-action: pan-y; }
.stage img { grid-area: 1 / 1; display: block; max-width: 100%; height: auto; visibility: hidden; }
.stage img.left, .stage img.right { visibility: visible; }
.stage img.left { z-index: 1; clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.stage::after { content: ""; position: absolute; z-index: 2; top: 0; bottom: 0; left: var(--at); width: 2px;
  margin-left: -1px; background: #fff; box-shadow: 0 0 3px #000; pointer-events: none; }
.look { width: fit-content; max-width: 100%; min-width: min(100%, 24rem); }
.bar { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: .5rem 0; }
.bar input { flex: 1 1 12rem; accent-color: var(--fill); }
select { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--line); padding: .1rem; }
:focus-visible { outline: 2px solid var(--fill); outline-offset: 2px; }
"""
_SCRIPT = """
for (const part of document.querySelectorAll('section')) {
  const stage = part.querySelector('.stage'), [slide] = part.getElementsByTagName('input');
  const [left, right] = part.getElementsByTagName('select');
  if (!slide) continue;
  const show = () => {
    stage.style.setProperty('--at', slide.value + '%');
    slide.setAttribute('aria-valuetext', slide.value + ' % ' + left.value);
    for (const img of stage.children) {
      img.classList.toggle('left', img.dataset.name === left.value);
      img.classList.toggle('right', img.dataset.name === right.value);
    }
  };
  const drag = event => {
    const box = stage.getBoundingClientRect();
    slide.value = Math.round(1000 * (event.clientX - box.left) / box.width) / 10;
    show();
  };
  stage.addEventListener('pointerdown', event => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener('pointermove', event => { if (event.buttons) drag(event); });
  for (const one of [slide, left, right]) one.addEventListener('input', show);
  show();
}
"""


@dataclass
class Gallery:
    """What there is to look at, kept small; filled while a comparison goes on.

    Args:
        side: pixels of the longer side of a picture in the page.
        cell: pixels of the width of a picture in the sheet.
    """

    side: int
    cell: int
    pages: dict[str, dict[str, str]] = field(default_factory=dict)
    """By picture and by what it shows: a data URL."""
    cells: dict[str, dict[str, Image.Image]] = field(default_factory=dict)

    def show(self, picture: str, column: str, pixels: Bytes) -> None:
        """Keep one picture."""
        self.pages.setdefault(picture, {})[column] = embed(pixels, "JPEG", self.side)
        small = Image.fromarray(pixels)
        height = max(1, min(round(small.height * self.cell / small.width), 2 * self.cell))
        self.cells.setdefault(picture, {})[column] = small.resize((self.cell, height), Image.Resampling.LANCZOS)


def make_gallery(pictures: int, columns: int) -> Gallery:
    """A gallery for so many pictures of so many columns, whose page and sheet stay small enough to open."""
    side = math.isqrt(int(BUDGET / max(pictures * columns, 1)))
    across = SHEET_SIDE // max(columns, 1) - _GAP
    down = SHEET_SIDE // (2 * max(pictures, 1))
    return Gallery(min(max(side, SHORTEST), LONGEST), max(min(CELL, across, down), SMALLEST_CELL))


def make_sheet(gallery: Gallery, columns: Sequence[str]) -> tuple[Bytes, int]:
    """All pictures below each other, what became of each beside each other, under titles.

    Returns:
        H x W x 3, 8 bit RGB, and how many pictures are on it: those that `SHEET_SIDE` has room for.
    """
    cell = gallery.cell
    shown = list(columns[: SHEET_SIDE // (cell + _GAP)])
    heights = [max(one.height for one in row.values()) for row in gallery.cells.values()]
    ends = np.cumsum([height + _GAP for height in heights]) + _TITLE
    count = int((ends <= SHEET_SIDE).sum())
    height = int(ends[count - 1]) if count else _TITLE
    sheet = Image.new("RGB", (len(shown) * (cell + _GAP) - _GAP, height), _GREY)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, column in enumerate(shown):
        title = column
        while title and pen.textlength(title, font) > cell - 8:
            title = title[:-1]
        pen.text((place * (cell + _GAP) + 4, 2), title, (255, 255, 255), font)
    top = _TITLE
    for row, tall in zip(list(gallery.cells.values())[:count], heights, strict=False):
        for place, column in enumerate(shown):
            if column in row:
                sheet.paste(row[column], (place * (cell + _GAP), top))
        top += tall + _GAP
    return np.asarray(sheet), count


def make_comparison_page(title: str, comparison: Comparison, gallery: Gallery) -> str:
    """The HTML: a table of the models, then for each picture a slider between two of what there is, and its scores."""
    document = comparison.document
    everything = Scores(tuple(one for scores in comparison.scores.values() for one in scores.images))
    shown = shown_columns(everything)
    first = [column for column in shown if not column.caution]
    beside = [column for column in shown if column.caution]
    body = [
        f"<p class=facts>{escape(_told(document))}</p>",
        make_table(
            ["model", *_titles(first), "s per picture", "MP/s", "memory, MB", "runs in", *_titles(beside)],
            [_model_row(model, comparison.scores[model.name], first, beside) for model in document.models],
        ),
        *(f"<p class=facts>{escape(line)}</p>" for line in _model_notes(document.models)),
        *(f"<p class=facts>{escape(note)}</p>" for note in document.notes),
        *(f"<p class=facts>{escape(line)}</p>" for line in cautions(shown)),
    ]
    found = {(one.picture, one.model): one for one in document.outputs}
    measured = {(one.name, model): one for model, scores in comparison.scores.items() for one in scores.images}
    for picture in document.pictures:
        rows = []
        for model in document.models:
            one = found.get((picture.name, model.name))
            if one is not None:
                seconds = "-" if one.seconds is None else f"{one.seconds:.2f}"
                cells = _cells(measured.get((picture.name, model.name)), shown)
                rows.append([model.name, *cells, seconds, _why(one.failure, model.failure)])
        body += _section(picture, gallery.pages.get(picture.name, {}), list(comparison.scores))
        if rows:
            body.append(make_table(["", *_titles(shown), "s", ""], rows))
        body.append("</section>")
    body.append(f"<script>{_SCRIPT}</script>")
    return make_page(title, body, _STYLE)


def _told(document: ComparisonDocument) -> str:
    threads = f"{document.threads} CPU thread{'s' if document.threads > 1 else ''}"
    return (
        f"Protocol {document.protocol}. Each model ran alone in a process of its own, with {threads}; time is of a"
        " picture without reading and writing files, memory that of the whole process at most."
    )


def cautions(shown: Sequence[Column]) -> Iterator[str]:
    """What is to be known of figures that never are a headline."""
    told = [f"{column.title} ({column.caution})" for column in shown if column.caution]
    if told:
        yield f"Never headline figures: {'; '.join(told)}."


def order_columns(models: Sequence[str], *, references: bool) -> list[str]:
    """What a row of the sheet shows, from left to right."""
    return [INPUT, *models, *([REFERENCE] if references else [])]


def _section(picture: ComparedPicture, there: dict[str, str], models: Sequence[str]) -> Iterator[str]:
    """The head of a picture, and its slider; the section is left open."""
    size = "" if picture.width is None else f" {picture.width} x {picture.height}"
    yield f"<section><h2>{escape(picture.name)}<span class=soft>{size}</span></h2>"
    if picture.failure is not None:
        yield f"<p>{escape(picture.failure)}</p>"
    columns = [name for name in order_columns(models, references=True) if name in there]
    if not columns:
        return
    right = next((name for name in columns if name in models), columns[-1])
    images = "".join(
        f'<img alt="{escape(name)}" data-name="{escape(name)}"{_side(name, right)} src="{there[name]}">'
        for name in columns
    )
    yield f"<div class=look><div class=stage>{images}</div>"
    label = escape(picture.name)
    yield (
        f"<div class=bar>{_choice('left', label, columns, INPUT)}<input type=range min=0 max=100 step=0.1 value=50"
        f' aria-label="{label}: how much of the left">{_choice("right", label, columns, right)}</div></div>'
    )


def _why(failure: str | None, of_model: str | None) -> str:
    """Why an output is missing; what a model as a whole failed of stands at the top."""
    return "" if failure is None else "failed" if failure == of_model else failure


def _side(name: str, right: str) -> str:
    sides = [side for side, chosen in (("left", INPUT), ("right", right)) if name == chosen]
    return f' class="{" ".join(sides)}"' if sides else ""


def _choice(side: str, label: str, columns: Sequence[str], chosen: str) -> str:
    options = "".join(f"<option{' selected' if name == chosen else ''}>{escape(name)}</option>" for name in columns)
    return f'<select aria-label="{label}: {side}">{options}</select>'


def _model_row(model: ComparedModel, scores: Scores, first: Sequence[Column], beside: Sequence[Column]) -> list[str]:
    memory = [one / 1e6 for one in (model.peak_memory, model.peak_device_memory) if one is not None]
    runs = "could not be loaded"
    if model.failure is None:
        runs = f"{model.runtime or '-'}{'' if model.device in (None, 'cpu') else f' on {model.device}'}"
    return [
        model.name,
        *(spell_overall(column, scores) for column in first),
        "-" if model.seconds is None else f"{model.seconds:.2f}",
        "-" if model.megapixels_per_second is None else f"{model.megapixels_per_second:.2f}",
        " + GPU ".join(f"{one:.0f}" for one in memory) or "-",
        runs,
        *(spell_overall(column, scores) for column in beside),
    ]


def _titles(columns: Sequence[Column]) -> list[str]:
    return [column.title for column in columns]


def _model_notes(models: Sequence[ComparedModel]) -> Iterator[str]:
    for model in models:
        told = [
            f"{key}: {model.notes[key]}" for key in ("system", "licence", "authors' settings") if key in model.notes
        ]
        if model.failure is not None:
            told.append(model.failure)
        if told:
            yield f"{model.name}: {'; '.join(told)}."


def _cells(scores: PictureScores | None, shown: Sequence[Column]) -> list[str]:
    return [spell(column, None if scores is None else column.value(scores)) for column in shown]
