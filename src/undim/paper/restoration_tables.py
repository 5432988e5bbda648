"""The paper's tables of restoration: 6 to 10."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from undim.nets.flops import GIGA
from undim.paper.commands import Measurement, StudyRun
from undim.paper.measured import Figure, Measurements
from undim.paper.networks import (
    ABLATION_DATA,
    DATA,
    RECIPES,
    SHIPPED,
    SYSTEMS,
    UNPAIRED,
    UNPAIRED_SYSTEMS,
    label_of,
    network_of,
)
from undim.paper.pages import Entry, Page, other_systems, published
from undim.paper.rows import OTHER_NETWORK, column_of, foreign_notes, make_entry
from undim.results.scores import ScoresDocument

ABLATION = {
    "base": "Restormer",
    "static": "Restormer + static conv",
    "dynamic": "Restormer + ADR",
    "pog": "Restormer + ADR + POG",
}
SCORES: Mapping[str, Callable[[ScoresDocument], float | None]] = {
    "psnr": lambda content: content.psnr,
    "ssim": lambda content: content.ssim,
}
"""The columns of table 6."""
BASES = "without ADR"
"""What the paper's Restormer and our smallest Candela are called in tables 8 and 9."""
PIECES = (
    "gpu_...: networks in their published sizes, trained for far fewer steps than the paper's: as many as each row"
    " says. From fewer than three seeds they are single runs, and no claim is judged by them."
)
PAIR = ("base", "pog")
"""A study's variants that stand beside the paper's networks, without and with ADR and POG."""


def make_table6(ours: Measurements) -> Page:
    """PSNR and SSIM on the paired data sets."""
    entries = []
    paper = published()["table6"]
    others = other_systems()
    elsewhere = {(row["label"], measure): row for row in others["authors_weights"]["rows"] for measure in SCORES}
    for label, row in paper.items():
        entries.append(make_entry(label, "FLOPs, G", row["flops"], _flops(label)))
        for data, name in DATA.items():
            for measure, of in SCORES.items():
                network = network_of(label)
                figure = ours.figure(network, data, ScoresDocument, of)
                if figure is None and data == ABLATION_DATA:
                    figure = _measured_elsewhere(elsewhere.get((label, measure)), measure)
                making = Measurement(ScoresDocument, network, data)
                entries.append(make_entry(label, column_of(name, measure), row[data][measure], figure, making))
    beside = [row for row in others["authors_weights"]["rows"] if row["label"] not in paper]
    entries += _rows_elsewhere(ours, beside)
    known = {*map(network_of, paper), *(row["network"] for row in beside)}
    entries += [
        make_entry(
            label_of(network), column_of(DATA[data], measure), None, ours.figure(network, data, ScoresDocument, of)
        )
        for data in DATA
        for network in ours.networks(ScoresDocument, data)
        if network not in known
        for measure, of in SCORES.items()
    ]
    for study in [*ours.ablations(), *ours.published_sizes()]:
        title = DATA.get(ours.data_of(study))
        columns = {"flops": "FLOPs, G"} | {f"test.{one}": column_of(title, one) for one in SCORES if title}
        entries += [
            make_entry(f"{study}: {variant}", column, None, figure)
            for variant in PAIR
            for measure, column in columns.items()
            if (figure := ours.study_figure(study, variant, measure)) is not None
        ]
    forms = {column_of(name, "ssim"): ".3f" for name in DATA.values()}
    notes = (
        OTHER_NETWORK,
        (
            "Ours: no GT-mean, no checkpoint chosen on the test set; the paper does not say how its checkpoints were"
            " chosen."
        ),
        "15 test pictures: differences below about 0.3 dB between single runs are noise.",
        (
            "a_...: networks of the studies, much smaller and trained for much less long than the paper's; study.md has"
            " the intervals of their differences."
        ),
        *([PIECES] if ours.published_sizes() else []),
        (
            "FLOPs of ours: convolutions, linear layers, matrix products and norms, by fvcore's rule, at 256 x 256,"
            " one for each multiply-add, / 2^30. The printed column mixes rules and sizes, so compare ours only."
        ),
        *(f"FLOPs printed of {label}: {text}." for label, text in others["flops"].items()),
        *foreign_notes(paper),
    )
    return Page("table6", "Table 6: restoration on paired data sets", tuple(entries), forms=forms, notes=notes)


def _measured_elsewhere(row: Mapping[str, Any] | None, measure: str) -> Figure | None:
    """A score that was measured with the authors' weights, but not by this project's commands."""
    if row is None:
        return None
    told = other_systems()["authors_weights"]
    weights = f"measured with the authors' weights ({row['file']}, licence: {row['licence']})"
    return Figure(row[measure], None, (), None, f"{weights} on {told['on']}, by {told['by']}")


def _rows_elsewhere(ours: Measurements, rows: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Rows that the paper does not have: what was measured here, or else elsewhere."""
    for row in rows:
        network = row["network"]
        yield make_entry(row["label"], "FLOPs, G", None, _count(row.get("architecture", network)))
        for data, name in DATA.items():
            for measure, of in SCORES.items():
                figure = ours.figure(network, data, ScoresDocument, of)
                if figure is None and data == ABLATION_DATA:
                    figure = _measured_elsewhere(row, measure)
                if figure is not None:
                    yield make_entry(row["label"], column_of(name, measure), None, figure)


def make_table7(ours: Measurements) -> Page:
    """The ablation: static convolution, ADR, ADR with POG."""
    entries = []
    others = [name for name in ours.ablations() if name != "a_restormer" and ours.data_of(name) == ABLATION_DATA]
    pieces = [name for name in ours.published_sizes() if ours.data_of(name) == ABLATION_DATA]
    studies = ["a_restormer", *others, *pieces]
    for study in studies:
        of_paper = study == "a_restormer"
        for variant, label in ABLATION.items():
            row = published()["table7"][label] if of_paper else {"psnr": None}
            name = label if of_paper else f"{study.removeprefix('a_')}: {variant}"
            for split, column in (("test", "PSNR on eval15, dB"), ("val", "PSNR on val, dB")):
                paper = row["psnr"] if split == "test" else None
                figure = ours.study_figure(study, variant, f"{split}.psnr")
                entries.append(make_entry(name, column, paper, figure, StudyRun(study)))
            figure = ours.study_figure(study, variant, "dmr")
            entries.append(make_entry(name, "DMR on val, dB", None, figure, StudyRun(study)))
    notes = ["Differences with their intervals over seeds are in study.md; eval15 is only reported."]
    notes += [PIECES] if pieces else []
    return Page("table7", "Table 7: ablation of ADR and POG", tuple(entries), notes=tuple(notes))


def make_table8(ours: Measurements) -> Page:
    """The width of the bottleneck."""
    variants = {BASES: "base", "Dm=4": "dm4", "Dm=8": "dm8", "Dm=16": "dm16", "Dm=32": "dm32"}
    return _sweep(ours, "table8", "Table 8: the bottleneck's width Dm", "b_dm", variants)


def make_table9(ours: Measurements) -> Page:
    """The size of the embeddings."""
    variants = {BASES: "base", "De=16": "de16", "De=32": "de32", "De=64": "de64"}
    return _sweep(ours, "table9", "Table 9: the embeddings' size De", "b_de", variants)


def make_table10(ours: Measurements) -> Page:
    """NIQE on pictures without references."""
    others = map(network_of, UNPAIRED_SYSTEMS)
    networks = list(dict.fromkeys([*others, *RECIPES.values(), *SHIPPED, *ours.networks(ScoresDocument)]))
    called = {network_of(label): label for label in UNPAIRED_SYSTEMS}
    entries = [
        make_entry(
            called.get(network) or label_of(network),
            name,
            None,
            ours.figure(network, data, ScoresDocument, lambda content: content.niqe),
            Measurement(ScoresDocument, network, data),
        )
        for network in networks
        for data, name in UNPAIRED.items()
    ]
    notes = (
        "The body of table 10 is missing in the text that is known.",
        "NIQE (lower is better) does not see wrong brightness or colours.",
        "The bounds of what photo takes for lit already were set by looking at DICM and MEF; see its card.",
        *foreign_notes(UNPAIRED_SYSTEMS),
    )
    return Page("table10", "Table 10: NIQE without references", tuple(entries), notes=notes)


def _sized_pairs(ours: Measurements) -> Iterator[Entry]:
    """Networks of published size without ADR and with POG, each called by its Dm and De."""
    columns = {"test.psnr": "PSNR on eval15, dB", "val.psnr": "PSNR on val, dB", "flops": "FLOPs, G"}
    for study in ours.published_sizes():
        if ours.data_of(study) != ABLATION_DATA:
            continue
        for variant in PAIR:
            cell = next((cell for cell in ours.cells[study] if cell.variant == variant), None)
            if cell is None:
                continue
            adr = cell.recipe.get("model", {}).get("adr") or {}
            sizes = f", Dm={adr['bottleneck']}, De={adr.get('embedding', 64)}" if "bottleneck" in adr else ""
            for measure, column in columns.items():
                figure = ours.study_figure(study, variant, measure)
                yield make_entry(f"{study}: {variant}{sizes}", column, None, figure)


def _flops(label: str) -> Figure | None:
    """Counted, for the networks that this project has."""
    if label in SYSTEMS:
        return _count(SYSTEMS[label])
    if label not in RECIPES:
        return None
    name, _, kind = RECIPES[label].partition("_")
    return _count(name, "base" if kind == "base" else "adr")


def _count(name: str, kind: str = "base") -> Figure:
    figures = json.loads((files("undim") / "networks.json").read_text(encoding="utf-8"))[name]
    by_fvcore, published = (figures[kind][key] / GIGA for key in ("flops_by_fvcore", "flops"))
    other = "" if figures["rule"] == "fvcore" else f"; by {figures['rule']}'s, as published, {published:.2f} G"
    return Figure(by_fvcore, None, (), None, f"FLOPs counted by fvcore's rule{other}")


def _sweep(ours: Measurements, name: str, title: str, study: str, variants: Mapping[str, str]) -> Page:
    paper = published()[name]
    entries = []
    for label, variant in variants.items():
        row = paper.get("Restormer" if label == BASES else label, {"psnr": None, "flops": None})
        entries += [
            make_entry(
                label,
                f"PSNR on {split}, dB",
                row["psnr"] if split == "eval15" else None,
                ours.study_figure(study, variant, f"{key}.psnr"),
                StudyRun(study),
            )
            for split, key in (("eval15", "test"), ("val", "val"))
        ]
        figure = ours.study_figure(study, variant, "flops")
        entries.append(make_entry(label, "FLOPs, G", row["flops"], figure, StudyRun(study)))
    entries += _sized_pairs(ours)
    notes = (
        *([PIECES] if ours.published_sizes() else []),
        (
            "The paper's figures are of Restormer, ours of the smallest Candela, whose FLOPs are much smaller: compare"
            " differences between rows, not the figures beside each other."
        ),
    )
    return Page(name, title, tuple(entries), forms={"FLOPs, G": ".3f"}, notes=notes)
