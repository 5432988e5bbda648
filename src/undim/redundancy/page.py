"""One self-contained HTML page of the laboratory's results: tables, charts drawn as SVG, pictures embedded."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from undim.arrays import Bytes
from undim.redundancy.kernel_grid import GRID, draw_cells, order_by_likeness
from undim.redundancy.tables import (
    DIVERSITY_HEAD,
    GROUPS_HEAD,
    decibels,
    diversity_rows,
    group_rows,
    slim_rows,
    spelled_interval,
    tell_correlation,
)
from undim.results import html
from undim.results.html import make_table
from undim.results.laboratory import (
    AnyLaboratoryDocument,
    DiversityDocument,
    DmrDocument,
    KernelDiversity,
    PoiDocument,
    PruneDocument,
    ResetDocument,
    SlimDocument,
)

PICTURE_SIDE = 320
"""Pixels of the longer side of an embedded picture, if it is not smaller."""
_BAR, _GAP, _CHART, _VALUE = 18, 6, 320, 60
_LETTER = 7.3
"""Width in pixels of a letter of a chart's names."""
_NAME = 34
"""Letters of a name that are shown."""
_ENLARGED = 1.25
"""How much larger charts are drawn where there is room."""

_STYLE = """
svg { display: block; max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px ui-monospace, monospace; }
svg .soft { fill: var(--soft); } .bar { fill: var(--fill); } .harm { fill: var(--harm); }
.axis { stroke: var(--line); } .whisker { stroke: var(--ink); }
.row { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5rem; margin: .5rem 0 1.5rem; }
figure { margin: 0; } figure img { width: 100%; display: block; } figcaption { color: var(--soft); }
@media (max-width: 40rem) { .row { grid-template-columns: repeat(2, 1fr); } }
.kernels { display: grid; gap: 2px; max-width: 40rem; }
.kernels img { width: 100%; aspect-ratio: 1; display: block; image-rendering: pixelated; }
"""


@dataclass(frozen=True)
class Exhibit:
    """One picture that a reset made better, to look at."""

    caption: str
    pictures: tuple[tuple[str, Bytes], ...]
    """Captions and H x W x 3 8-bit RGB pictures."""


def make_page(
    title: str,
    documents: Sequence[AnyLaboratoryDocument],
    exhibits: Sequence[Exhibit] = (),
    thumbnails: Sequence[Bytes] = (),
) -> str:
    """The HTML of a report.

    Args:
        title: its heading.
        documents: what the verbs measured, in the page's order.
        exhibits: shown with the verb poi.
        thumbnails: of the first `GRID` pictures, H x W x 3 8-bit RGB; with them, the verb diversity shows its grid.
    """
    sections: list[str] = []
    for document in documents:
        sections += [f"<h2>{escape(_HEADINGS[document.NAME])}</h2>", *_section(document)]
        if isinstance(document, PoiDocument):
            sections += [_exhibit(one) for one in exhibits]
        if isinstance(document, DiversityDocument) and thumbnails:
            sections += _kernel_grid(document.result, thumbnails)
        sections += [f"<p class=facts>{escape(note)}</p>" for note in document.notes]
    told = _facts(documents[0]) if documents else ""
    return html.make_page(title, [told, *sections], _STYLE)


def draw_bars(
    values: Mapping[str, float | None],
    *,
    unit: str,
    spread: Mapping[str, float | None] | None = None,
    harmful_above: float | None = None,
) -> str:
    """Horizontal bars, one for each name, as SVG; None is drawn as infinite, over the whole width.

    Args:
        values: what to draw.
        unit: said beneath.
        spread: half the length of a whisker for each name.
        harmful_above: values above it get the colour of harm.
    """
    known = {name: value for name, value in values.items() if value is not None}
    reaches = {name: (spread or {}).get(name) or 0.0 for name in known}
    low = min([0.0, *(value - reaches[name] for name, value in known.items() if value < 0)])
    high = max([0.0, *(value + reaches[name] for name, value in known.items())])
    scale = _CHART / ((high - low) or 1.0)
    begin = _LETTER * min(max(map(len, values), default=0), _NAME) + 8
    zero = begin - low * scale
    height = len(values) * (_BAR + _GAP) + 24
    parts: list[str] = []
    for place, (name, value) in enumerate(values.items()):
        top = place * (_BAR + _GAP)
        end = begin + _CHART if value is None else zero + value * scale
        harm = harmful_above is not None and value is not None and value > harmful_above
        left, width = min(zero, end), max(abs(end - zero), 0.5)
        middle = top + _BAR / 2
        label = name if len(name) <= _NAME else f"...{name[3 - _NAME :]}"
        told = "infinite" if value is None else decibels(value, sign=low < 0)
        parts.append(
            f'<text x="{begin - 8:.1f}" y="{middle + 4:.1f}" text-anchor="end"><title>{escape(name)}</title>'
            f'{escape(label)}</text><rect class="{"harm" if harm else "bar"}" x="{left:.1f}" y="{top}"'
            f' width="{width:.1f}" height="{_BAR}"/>'
            f'<text class="soft" x="{begin + _CHART + 8:.1f}" y="{middle + 4:.1f}">{told}</text>'
        )
        reach = reaches.get(name)
        if reach and value is not None:
            parts.append(
                f'<line class="whisker" x1="{end - reach * scale:.1f}" x2="{end + reach * scale:.1f}"'
                f' y1="{middle:.1f}" y2="{middle:.1f}"/>'
            )
    parts.append(f'<line class="axis" x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height - 22}"/>')
    parts.append(f'<text class="soft" x="{begin:.1f}" y="{height - 4}">{escape(unit)}</text>')
    return _svg(begin + _CHART + _VALUE, height, parts)


def draw_histogram(values: Sequence[float], *, unit: str, bins: int = 16) -> str:
    """A histogram with counts on top of its bars, as SVG."""
    counts, edges = np.histogram(values, bins=min(bins, max(len(set(values)), 1)))
    width, height = _CHART, 150
    step = width / len(counts)
    parts: list[str] = []
    for place, count in enumerate(counts.tolist()):
        tall = 110 * count / max(counts.max(), 1)
        parts.append(
            f'<rect class="bar" x="{place * step + 1:.1f}" y="{125 - tall:.1f}" width="{step - 2:.1f}"'
            f' height="{tall:.1f}"/>'
        )
        if count:
            parts.append(
                f'<text class="soft" x="{(place + 0.5) * step:.1f}" y="{121 - tall:.1f}" text-anchor="middle">{count}'
                "</text>"
            )
    parts.append(f'<line class="axis" x1="0" x2="{width}" y1="125" y2="125"/>')
    parts.append(f'<text class="soft" x="0" y="143">{edges[0]:.2f}</text>')
    parts.append(f'<text class="soft" x="{width}" y="143" text-anchor="end">{edges[-1]:.2f} {escape(unit)}</text>')
    return _svg(width + 10, height, parts)


def embed(pixels: Bytes, kind: str = "JPEG") -> str:
    """A picture as a data URL, downsized to `PICTURE_SIDE` (JPEG) or as it is (PNG)."""
    return html.embed(pixels, kind, PICTURE_SIDE if kind == "JPEG" else None)


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<div class=wide><svg viewBox="0 0 {width:.0f} {height:.0f}" width="{_ENLARGED * width:.0f}"'
        f' role="img">{"".join(parts)}</svg></div>'
    )


def _facts(document: AnyLaboratoryDocument) -> str:
    told: dict[str, object] = {key: getattr(document, key) for key in ("model", "data", "split", "device")}
    told["pictures"] = len(document.pictures)
    told["seeds"] = ", ".join(map(str, document.seeds))
    return f"<p class=facts>{escape('; '.join(f'{key}: {value}' for key, value in told.items() if value))}</p>"


def _section(document: AnyLaboratoryDocument) -> Iterator[str]:
    match document:
        case DmrDocument():
            return _dmr(document)
        case ResetDocument():
            return _reset(document)
        case PoiDocument():
            return _poi(document)
        case DiversityDocument():
            return iter([make_table(DIVERSITY_HEAD, diversity_rows(document.result))])
        case PruneDocument():
            return _prune(document)
        case SlimDocument():
            return _slim(document)


def _dmr(document: DmrDocument) -> Iterator[str]:
    result = document.result
    yield (
        f"<p><b>DMR {result.mean:.2f} dB</b> (95 % over seeds: {spelled_interval(result.interval)}). Each bar:"
        " how little the output moves when that layer is re-initialised; shorter means that more depends on it.</p>"
    )
    layers = result.layers
    spread = {name: one.spread for name, one in layers.items()}
    yield draw_bars(
        {name: one.dmr for name, one in layers.items()}, unit="dB; whisker: spread over seeds", spread=spread
    )
    kept = result.adr_kept
    if kept is not None:
        yield f"<p>With ADR left as trained: {kept.mean:.2f} dB ({spelled_interval(kept.interval)}).</p>"
        yield draw_bars({name: one.dmr for name, one in kept.layers.items()}, unit="dB, ADR kept")
    yield "<p>By picture, mean over layers:</p>"
    yield draw_histogram(result.per_image, unit="dB")


def _reset(document: ResetDocument) -> Iterator[str]:
    result = document.result
    yield f"<p>PSNR as trained: {result.mean_psnr:.2f} dB. Whole groups reset at once (table 1):</p>"
    yield make_table(GROUPS_HEAD, group_rows(result, str))
    yield "<p>One layer at a time (table 2):</p>"
    changes = {name: one.change for name, one in result.layers.items()}
    yield draw_bars(changes, unit="change of PSNR in dB; to the right, the layer harms", harmful_above=0.0)


def _poi(document: PoiDocument) -> Iterator[str]:
    result = document.result
    shares = {name: one.poi for name, one in result.layers.items()}
    yield f"<p>Pictures that get better by a reset: {statistics.fmean(shares.values()):.1f} % on average.</p>"
    yield draw_bars(shares, unit="POI, % of pictures", harmful_above=50.0)
    per_image = [
        statistics.fmean(changes[place] for one in result.layers.values() for changes in one.changes)
        for place in range(len(result.psnr))
    ]
    yield "<p>By picture, mean change of PSNR over single resets:</p>"
    yield draw_histogram(per_image, unit="dB")
    if result.correlation is not None:
        yield f"<p>{tell_correlation(result.correlation)}</p>"


def _kernel_grid(result: KernelDiversity, thumbnails: Sequence[Bytes]) -> Iterator[str]:
    name, one = max(result.layers.items(), key=lambda entry: entry[1].cosine_distance)
    kernels = np.asarray(one.kernels[:GRID], np.float64)
    order = order_by_likeness(kernels)
    heads = [f'<img alt="" src="{embed(thumbnails[place])}">' for place in order]
    cells = draw_cells(kernels[order].tolist())
    body = [*("<span></span>", *heads)]
    for head, line in zip(heads, cells, strict=True):
        body += [head, *(f'<img alt="" src="{embed(cell, "PNG")}">' for cell in line)]
    yield (
        f"<p>The most diverse, {escape(name)}, as in the paper's figure 5: on the diagonal the first"
        f" {kernels.shape[1]} weights of each picture's kernel minus their mean over pictures; elsewhere the row's"
        " minus the column's. Blue is below zero, red above, all on one scale, roots of the values; pictures ordered by"
        " their kernels' first principal component, brightened to be seen.</p>"
        f'<div class=kernels style="grid-template-columns: repeat({len(order) + 1}, 1fr)">{"".join(body)}</div>'
    )


def _prune(document: PruneDocument) -> Iterator[str]:
    rows = [
        [one.name, decibels(one.psnr), decibels(one.dmr), spelled_interval(one.interval), f"{one.chroma:.2f}"]
        for one in document.result.rows
    ]
    yield make_table(["method", "PSNR, dB", "DMR, dB", "95 % over seeds", "colour error"], rows)


def _slim(document: SlimDocument) -> Iterator[str]:
    yield make_table(["network", "parameters", "G multiply-adds", "time, ms", "PSNR, dB"], slim_rows(document, str))
    yield make_table(["left out or made narrower", "why"], [[one.name, one.reason] for one in document.result.steps])


def _exhibit(exhibit: Exhibit) -> str:
    figures = "".join(
        f'<figure><img alt="" src="{embed(pixels)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for caption, pixels in exhibit.pictures
    )
    return f"<p>{escape(exhibit.caption)}</p><div class=row>{figures}</div>"


_HEADINGS = {
    "dmr": "Redundancy by layer (DMR)",
    "reset": "PSNR when layers are reset",
    "poi": "Harmful layers (POI)",
    "diversity": "Diversity of generated kernels",
    "prune": "Pruning and quantisation (table 5)",
    "slim": "The slimmed network",
}
