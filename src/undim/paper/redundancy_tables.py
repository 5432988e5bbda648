"""The paper's tables of redundancy: 1 to 5.

Below the paper's rows stand those of networks of ours that were measured: those of studies, over their seeds, are much
smaller and were trained for less long than the paper's.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from undim.paper.measured import ABLATION_DATA, Figure, Measurements
from undim.paper.pages import Entry, Page, published
from undim.paper.rows import (
    DATA,
    OTHER_NETWORK,
    OWN,
    RECIPES,
    Value,
    column_of,
    evaluate_command,
    label_of,
    make_entry,
    network_of,
    redundancy_command,
    study_command,
    study_entries,
)

CONVS = "restormer_convs"
"""Table 2's second network: Restormer with dynamic convolutions of its own."""
CONVS_COMMAND = (
    "undim train recipes/restormer_base.yaml -o runs/restormer_convs"
    " --set 'model.convs={kernel: dynamic, where: \"attn[.](qkv|project_out)$\"}'"
    " && undim redundancy reset runs/restormer_convs --data lol-v1 --split test -o RESULTS/restormer_convs/lol-v1"
)
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


def make_table1(ours: Measurements) -> Page:
    """Change of PSNR when all attention or all feed-forward layers are reset."""
    groups = {
        f"{kind}, {where}": (f"{kind}: {place}", published()["table1"][kind][where])
        for kind in ("attention", "feedforward")
        for where, place in (("all", "all layers"), ("latent", "latent layers"))
    }
    measured = ours.networks("reset", ABLATION_DATA)
    networks = list(dict.fromkeys([RECIPES["Restormer"], *OWN, *measured]))
    entries = [
        make_entry(
            label_of(network),
            column,
            paper if network == RECIPES["Restormer"] else None,
            ours.figure(network, ABLATION_DATA, "reset", _group_change(group)),
            None if network in measured else redundancy_command("reset", network, ABLATION_DATA),
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
            ours.figure(networks[kind], ABLATION_DATA, "reset", _layer_change(place)),
            redundancy_command("reset", networks[kind], ABLATION_DATA) if kind == "static" else CONVS_COMMAND,
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
        cells = [cell for cell in ours.cells.get("t2_dynamic", []) if cell["variant"] == kind]
        layers = list(cells[0]["redundancy"]["layers"])[:6] if cells else []
        for place in range(6):
            figure = None
            if cells:
                changes = [cell["redundancy"]["layers"][layers[place]]["psnr_change"] for cell in cells]
                figure = _over_cells(changes, cells, f"study t2_dynamic, {kind}, lol-v1 val")
            command = study_command("t2_dynamic")
            entries.append(make_entry(f"t2_dynamic: {kind}", f"NOL {place + 1}", None, figure, command))
        if layers:
            notes.append(f"t2_dynamic: {kind}: {', '.join(layers)}.")
    return Page(
        "table2", "Table 2: change of PSNR by resetting one layer, dB", tuple(entries), "+.2f", notes=tuple(notes)
    )


def make_table3(ours: Measurements) -> Page:
    """Share of pictures that a reset makes better."""
    networks = list(dict.fromkeys([RECIPES["Restormer"], *ours.networks("poi", ABLATION_DATA)]))
    column = "POI on the test set, %"
    entries = [
        make_entry(
            label_of(network),
            column,
            published()["table3"]["poi"] if network == RECIPES["Restormer"] else None,
            ours.figure(network, ABLATION_DATA, "poi", _mean_poi),
            redundancy_command("poi", network, ABLATION_DATA),
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
            ours.figure(network_of(label), data, "dmr", _mean_ratio),
            redundancy_command("dmr", network_of(label), data),
        )
        for label, row in published()["table4"].items()
        for data, name in DATA.items()
    ]
    entries += [
        make_entry(
            label_of(network),
            f"{DATA[data]}: DMR, dB",
            None,
            ours.figure(network, data, "dmr", _mean_ratio),
        )
        for data in DATA
        for network in ours.networks("dmr", data)
        if network not in map(network_of, published()["table4"])
    ]
    entries += study_entries(ours, lambda data: f"{DATA.get(data, data)} val: DMR, dB", "dmr")
    notes = (OTHER_NETWORK, "The paper's are of the test sets; the studies' of val, where their choices are made.")
    return Page("table4", "Table 4: detection of model redundancy, DMR", tuple(entries), notes=notes)


def make_table5(ours: Measurements) -> Page:
    """PSNR and DMR after pruning and quantisation, against ADR and POG."""
    paper = published()["table5"]
    base, pog = RECIPES["Restormer"], RECIPES["Restormer+ours"]
    entries = []
    for data, name in DATA.items():
        for method, label in METHODS.items():
            for measure in ("psnr", "dmr"):
                figure = ours.figure(base, data, "prune", _pruned(method, measure))
                command = redundancy_command("prune", base, data)
                entries.append(
                    make_entry(label, column_of(name, measure), paper[label][data][measure], figure, command)
                )
        for measure in ("psnr", "dmr"):
            entries.append(make_entry("ZeroQ", column_of(name, measure), paper["ZeroQ"][data][measure], None))
            figure = (
                ours.figure(pog, data, "results", lambda content: content["psnr"])
                if measure == "psnr"
                else ours.figure(pog, data, "dmr", _mean_ratio)
            )
            command = evaluate_command(pog, data) if measure == "psnr" else redundancy_command("dmr", pog, data)
            entries.append(make_entry("ours", column_of(name, measure), paper["ours"][data][measure], figure, command))
    networks = dict.fromkeys([*(name for name in OWN if name.endswith((".base", ".pog"))), *ours.networks("prune")])
    entries += [entry for network in networks if network != base for entry in _prunings(ours, network)]
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
    if network not in ours.networks("prune"):
        command = redundancy_command("prune", network, ABLATION_DATA)
        yield Entry(f"{label_of(network)}, unchanged", column_of("LOL-v1", "psnr"), None, command=command)
    for data, name in DATA.items():
        documents = ours.documents.get((network, data, "prune"), [])
        for method in dict.fromkeys(row["name"] for one in documents for row in one.content["result"]["rows"]):
            for measure in ("psnr", "dmr"):
                figure = ours.figure(network, data, "prune", _pruned(method, measure))
                yield make_entry(f"{label_of(network)}, {method}", column_of(name, measure), None, figure)


def _layer_change(place: int) -> Value:
    def value(content: Mapping[str, Any]) -> float | None:
        changes = [layer["change"] for layer in content["result"]["layers"].values()]
        return changes[place] if place < len(changes) else None

    return value


def _group_change(group: str) -> Value:
    def value(content: Mapping[str, Any]) -> float | None:
        found = content["result"]["groups"].get(group)
        return None if found is None else found["change"]

    return value


def _mean_ratio(content: Mapping[str, Any]) -> float:
    mean: float = content["result"]["mean"]
    return mean


def _mean_poi(content: Mapping[str, Any]) -> float | None:
    shares = [layer["poi"] for layer in content["result"]["layers"].values()]
    return statistics.fmean(shares)


def _pruned(method: str, measure: str) -> Value:
    def value(content: Mapping[str, Any]) -> float | None:
        return next((row[measure] for row in content["result"]["rows"] if row["name"] == method), None)

    return value


def _over_cells(values: list[float], cells: list[dict[str, Any]], protocol: str) -> Figure:
    spread = statistics.stdev(values) if len(values) > 1 else None
    seeds = tuple(sorted(cell["seed"] for cell in cells))
    return Figure(statistics.fmean(values), spread, seeds, cells[0]["steps"], protocol)
