"""Beyond table 3: does training from another seed cure harmful layers, and whom does harm hit?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import scipy

from undim.paper.commands import Measurement
from undim.paper.measured import Figure, Measurements
from undim.paper.networks import ABLATION_DATA, OWN, label_of
from undim.paper.pages import Entry, Page
from undim.paper.rows import make_entry
from undim.redundancy.harm import correlate_harm
from undim.redundancy.ratios import confidence_interval
from undim.results.laboratory import ResetDocument

LAYERS, ALL, SOME, NONE = "attention layers", "harmful in all", "in some", "in none"
ALIKE = "rank correlation of layers' changes between seeds"
FORMS = dict.fromkeys((LAYERS, ALL, SOME, NONE), ".0f")
CORRELATION, LOW, HIGH = "rank correlation of a picture's PSNR and its change", "95 %, from", "to"
SURE = 0.999999
"""A rank correlation of 1 is counted as this."""


def make_harm(ours: Measurements) -> Page:
    """How many layers harm in all, some or none of the networks that were trained from several seeds."""
    entries: list[Entry] = []
    notes = [
        (
            "A layer is harmful in a network if resetting it raises PSNR on average over pictures and draws. If that"
            " were a coin's toss for each training, one layer in 2^seeds would harm in all."
        ),
        (
            "The last correlation, over the pictures of one network, is of the mean of PSNR before and after and the"
            " change, and the mean over seeds with Student's interval, both of Fisher's z; below zero, harm falls on"
            " the pictures that the network does worst on, as the paper says. With PSNR before alone it would be below"
            " zero by itself, since the change is after minus before (Oldham 1962)."
        ),
    ]
    for study, merged in ours.studies.items():
        for row in merged.rows:
            cells = [cell for cell in ours.cells[study] if cell.variant == row.variant]
            changes = [{name: layer.psnr_change for name, layer in cell.redundancy.layers.items()} for cell in cells]
            if len(changes) > 1:
                label = f"{study}: {row.variant}"
                protocol = f"study {study}, {row.variant}, {ours.data_of(study)} val"
                seeds = tuple(cell.seed for cell in cells)
                entries += _over_seeds(label, changes, seeds, cells[0].steps, protocol)
                notes += _named(label, changes)
    networks = dict.fromkeys([*OWN, *ours.networks(ResetDocument, ABLATION_DATA)])
    for network in networks:
        entries += _whom(ours, network)
    return Page("harm", "Beyond table 3: is harm cured by training again?", tuple(entries), ".2f", FORMS, tuple(notes))


def _over_seeds(
    label: str, changes: Sequence[Mapping[str, float]], seeds: tuple[int, ...], steps: int, protocol: str
) -> Iterator[Entry]:
    """Entries of one network, from the changes of PSNR by its layers in each of its trainings."""
    harmed = [sum(one[name] > 0 for one in changes) for name in changes[0]]
    counts = {
        LAYERS: len(harmed),
        ALL: sum(count == len(changes) for count in harmed),
        SOME: sum(0 < count < len(changes) for count in harmed),
        NONE: harmed.count(0),
    }
    for column, count in counts.items():
        yield Entry(label, column, None, count, None, seeds, steps, protocol)
    alike = [
        float(scipy.stats.spearmanr(list(one.values()), [other[name] for name in one]).statistic)
        for one, other in combinations(changes, 2)
        if min(len(set(one.values())), len(set(other.values()))) > 1
    ]
    if alike and len(harmed) > 2:
        spread = statistics.stdev(alike) if len(alike) > 1 else None
        yield Entry(label, ALIKE, None, statistics.fmean(alike), spread, seeds, steps, protocol)


def _named(label: str, changes: Sequence[Mapping[str, float]]) -> Iterator[str]:
    always = [name for name in changes[0] if all(one[name] > 0 for one in changes)]
    if always:
        yield f"{label}: harmful in all of {len(changes)} trainings: {', '.join(always)}."


def _whom(ours: Measurements, network: str) -> Iterator[Entry]:
    """Whether harm falls on the pictures that the networks do worst on, over the seeds that were measured."""
    label = label_of(network)
    findings = ours.findings(network, ABLATION_DATA, ResetDocument)
    values = [to_z(value) for one in findings if (value := find_correlation(one.content)) is not None]
    bounds = confidence_interval(values)
    figure = ours.figure(network, ABLATION_DATA, ResetDocument, find_correlation)
    if figure is not None:
        figure = replace(figure, mean=math.tanh(statistics.fmean(values)))
    yield make_entry(label, CORRELATION, None, figure, Measurement(ResetDocument, network, ABLATION_DATA))
    if bounds is not None and figure is not None:
        for column, bound in zip((LOW, HIGH), bounds, strict=True):
            yield make_entry(
                label, column, None, Figure(math.tanh(bound), None, figure.seeds, figure.iterations, figure.protocol)
            )


def find_correlation(content: ResetDocument) -> float | None:
    """Of what `undim redundancy reset` measured, see `undim.redundancy.harm.correlate_harm`."""
    result = content.result
    found = correlate_harm(result.psnr, [layer.changes for layer in result.layers.values()])
    return None if found is None else found[0]


def to_z(correlation: float) -> float:
    """Fisher's z, whose means and intervals stay correlations when they are turned back."""
    return math.atanh(max(-SURE, min(SURE, correlation)))
