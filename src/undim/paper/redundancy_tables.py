"""The paper's tables of redundancy: 1 to 5.

Below the paper's rows stand those of networks of ours that were measured: those of studies, over their seeds, are much
smaller and were trained for less long than the paper's.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping

from undim.paper.commands import Measurement, StudyRun
from undim.paper.measured import Figure, Measurements
from undim.paper.networks import ABLATION_DATA, CONVS, DATA, OWN, RECIPES, SMALL_STUDIES, label_of, network_of
from undim.paper.pages import Entry, Page, published
from undim.paper.rows import OTHER_NETWORK, column_of, make_entry, study_entries
from undim.results.laboratory import DmrDocument, PoiDocument, PrunedNetwork, PruneDocument, ResetDocument
from undim.results.scores import ScoresDocument
from undim.results.study import CellDocument

SMALL = (
    "Rows a_restormer_small: the networks of that study, with 8 channels where the paper's have 48 and fewer blocks,"
    " of the seeds that are named; base, static, dynamic and POG differ in nothing but ADR."
)
METHODS = {
    "unchanged": "Restormer",
    "PC-0.1": "PC-0.1",
    "PC-0.2": "PC-0.2",
    "PC-0.3": "PC-0.3",
    "IENNP": "IENNP",
    "FPGM": "FPGM",
}
"""`undim redundancy prune`'s methods, and the paper's names for them in table 5."""
PRUNED: Mapping[str, Callable[[PrunedNetwork], float | None]] = {
    "psnr": lambda row: row.psnr,
    "dmr": lambda row: row.dmr,
}
"""The columns of table 5."""


def make_table1(ours: Measurements) -> Page:
    """Change of PSNR when all attention or all feed-forward layers are reset."""
    groups = {
        f"{kind}, {where}": (f"{kind}: {place}", published()["table1"][kind][where])
        for kind in ("attention", "feedforward")
        for where, place in (("all", "all layers"), ("latent", "latent layers"))
    }
    measured = ours.networks(ResetDocument, ABLATION_DATA)
    networks = list(dict.fromkeys([RECIPES["Restormer"], *OWN, *measured]))
    entries = [
        make_entry(
            label_of(network),
            column,
            paper if network == RECIPES["Restormer"] else None,
            ours.figure(network, ABLATION_DATA, ResetDocument, _group_change(group)),
            None if network in measured else Measurement(ResetDocument, network, ABLATION_DATA),
        )
        for network in networks
        for group, (column, paper) in groups.items()
    ]
    notes = ("The paper does not say which network and data set; Restormer on LOL-v1 is taken.", SMALL)
    return Page(
        "table1", "Table 1: change of PSNR by resetting groups of layers, dB", tuple(entries), "+.2f", notes=notes
    )


def make_table2(ours: Measurements) -> Page:
    """Change of PSNR when the first six attention layers are reset, static against dynamic convolutions."""
    networks = {"static": RECIPES["Restormer"], "dynamic": CONVS}
    entries = [
        make_entry(
            f"Restormer, {kind}",
            f"NOL {place + 1}",
            paper,
            ours.figure(networks[kind], ABLATION_DATA, ResetDocument, _layer_change(place)),
            Measurement(ResetDocument, networks[kind], ABLATION_DATA),
        )
        for kind, figures in published()["table2"].items()
        for place, paper in enumerate(figures)
    ]
    notes = [
        (
            "The paper does not say which six layers; ours are the first six attention layers. The networks of"
            " t2_dynamic are small Restormers; dynamic: their 1x1 convolutions in attention are dynamic."
        )
    ]
    for kind in networks:
        cells = [cell for cell in ours.cells.get("t2_dynamic", []) if cell.variant == kind]
        layers = list(cells[0].redundancy.layers)[:6] if cells else []
        for place in range(6):
            figure = None
            if cells:
                changes = [cell.redundancy.layers[layers[place]].psnr_change for cell in cells]
                figure = _over_cells(changes, cells, f"study t2_dynamic, {kind}, lol-v1 val")
            entries.append(make_entry(f"t2_dynamic: {kind}", f"NOL {place + 1}", None, figure, StudyRun("t2_dynamic")))
        if layers:
            notes.append(f"t2_dynamic: {kind}: {', '.join(layers)}.")
    return Page(
        "table2", "Table 2: change of PSNR by resetting one layer, dB", tuple(entries), "+.2f", notes=tuple(notes)
    )


def make_table3(ours: Measurements) -> Page:
    """Share of pictures that a reset makes better."""
    networks = list(dict.fromkeys([RECIPES["Restormer"], *ours.networks(PoiDocument, ABLATION_DATA)]))
    column = "POI on the test set, %"
    entries = [
        make_entry(
            label_of(network),
            column,
            published()["table3"]["poi"] if network == RECIPES["Restormer"] else None,
            ours.figure(network, ABLATION_DATA, PoiDocument, _mean_poi),
            Measurement(PoiDocument, network, ABLATION_DATA),
        )
        for network in networks
    ]
    entries += study_entries(ours, lambda _: "POI on val, %", "poi")
    notes = (
        'The body of table 3 is missing in the text that is known; its text says "around 30 %".',
        "Means over attention layers.",
    )
    return Page("table3", "Table 3: parameter of interference, POI", tuple(entries), ".1f", notes=notes)


def make_table4(ours: Measurements) -> Page:
    """DMR of networks."""
    entries = [
        make_entry(
            label,
            f"{name}: DMR, dB",
            row[data],
            ours.figure(network_of(label), data, DmrDocument, _mean_ratio),
            Measurement(DmrDocument, network_of(label), data),
        )
        for label, row in published()["table4"].items()
        for data, name in DATA.items()
    ]
    entries += [
        make_entry(
            label_of(network),
            f"{DATA[data]}: DMR, dB",
            None,
            ours.figure(network, data, DmrDocument, _mean_ratio),
        )
        for data in DATA
        for network in ours.networks(DmrDocument, data)
        if network not in map(network_of, published()["table4"])
    ]
    entries += study_entries(ours, lambda data: f"{DATA.get(data, data)} val: DMR, dB", "dmr")
    entries += [
        Entry(f"{study}: {variant}", f"{DATA[ABLATION_DATA]} val: DMR, dB", None, making=StudyRun(study))
        for study in SMALL_STUDIES
        for variant in ("base", "pog")
        if ours.study_figure(study, variant, "dmr") is None
    ]
    notes = (
        OTHER_NETWORK,
        "The paper's are of the test sets; the studies' of val, where their choices are made.",
        (
            "SNR-Net's mask drops every token of LOL-v1, so that its queries and keys have no effect there: its DMR is"
            " of values, projections and norms only. See snr_mask.md."
        ),
    )
    return Page("table4", "Table 4: detection of model redundancy, DMR", tuple(entries), notes=notes)


def make_table5(ours: Measurements) -> Page:
    """PSNR and DMR after pruning and quantisation, against ADR and POG."""
    paper = published()["table5"]
    base, pog = RECIPES["Restormer"], RECIPES["Restormer+ours"]
    entries = []
    for data, name in DATA.items():
        for method, label in METHODS.items():
            for measure, of in PRUNED.items():
                figure = ours.figure(base, data, PruneDocument, _pruned(method, of))
                making = Measurement(PruneDocument, base, data)
                entries.append(make_entry(label, column_of(name, measure), paper[label][data][measure], figure, making))
        for measure in PRUNED:
            entries.append(make_entry("ZeroQ", column_of(name, measure), paper["ZeroQ"][data][measure], None))
            figure = (
                ours.figure(pog, data, ScoresDocument, lambda content: content.psnr)
                if measure == "psnr"
                else ours.figure(pog, data, DmrDocument, _mean_ratio)
            )
            making = Measurement(ScoresDocument if measure == "psnr" else DmrDocument, pog, data)
            entries.append(make_entry("ours", column_of(name, measure), paper["ours"][data][measure], figure, making))
    networks = dict.fromkeys(
        [*(name for name in OWN if name.endswith((".base", ".pog"))), *ours.networks(PruneDocument)]
    )
    entries += [entry for network in networks if network != base for entry in _prunings(ours, network)]
    for study in ours.published_sizes():
        for variant in ("base", "pog"):
            for measure, column in (("test.psnr", column_of("LOL-v1", "psnr")), ("dmr", "LOL-v1 val: DMR, dB")):
                figure = ours.study_figure(study, variant, measure)
                if figure is not None and ours.data_of(study) == ABLATION_DATA:
                    entries.append(make_entry(f"{study}: {variant}", column, None, figure))
    notes = (
        (
            "None is fine-tuned. ZeroQ distils batch-norm statistics, which Restormer does not have: it is not"
            " reproduced; undim redundancy prune measures data-free quantisation to 8, 6 and 4 bits instead."
        ),
        SMALL,
    )
    return Page("table5", "Table 5: other ways to reduce redundancy, Restormer", tuple(entries), notes=notes)


def _prunings(ours: Measurements, network: str) -> Iterator[Entry]:
    """A row for each method on a network that the paper does not have."""
    if network not in ours.networks(PruneDocument):
        making = Measurement(PruneDocument, network, ABLATION_DATA)
        yield Entry(f"{label_of(network)}, unchanged", column_of("LOL-v1", "psnr"), None, making=making)
    for data, name in DATA.items():
        findings = ours.findings(network, data, PruneDocument)
        for method in dict.fromkeys(row.name for one in findings for row in one.content.result.rows):
            for measure, of in PRUNED.items():
                figure = ours.figure(network, data, PruneDocument, _pruned(method, of))
                yield make_entry(f"{label_of(network)}, {method}", column_of(name, measure), None, figure)


def _layer_change(place: int) -> Callable[[ResetDocument], float | None]:
    def value(content: ResetDocument) -> float | None:
        changes = [layer.change for layer in content.result.layers.values()]
        return changes[place] if place < len(changes) else None

    return value


def _group_change(group: str) -> Callable[[ResetDocument], float | None]:
    def value(content: ResetDocument) -> float | None:
        found = content.result.groups.get(group)
        return None if found is None else found.change

    return value


def _mean_ratio(content: DmrDocument) -> float:
    return content.result.mean


def _mean_poi(content: PoiDocument) -> float:
    return statistics.fmean(layer.poi for layer in content.result.layers.values())


def _pruned(method: str, of: Callable[[PrunedNetwork], float | None]) -> Callable[[PruneDocument], float | None]:
    def value(content: PruneDocument) -> float | None:
        return next((of(row) for row in content.result.rows if row.name == method), None)

    return value


def _over_cells(values: list[float], cells: list[CellDocument], protocol: str) -> Figure:
    spread = statistics.stdev(values) if len(values) > 1 else None
    seeds = tuple(sorted(cell.seed for cell in cells))
    return Figure(statistics.fmean(values), spread, seeds, cells[0].steps, protocol)
