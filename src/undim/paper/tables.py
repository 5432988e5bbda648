"""The paper's ten tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any

from undim.nets.flops import GIGA
from undim.paper.measured import Figure, Measurements
from undim.paper.pages import Entry, Page, published

DATA = {"lol-v1": "LOL-v1", "lol-v2-real": "LOL-v2-real", "lol-v2-syn": "LOL-v2-syn"}
UNPAIRED = {"dicm": "DICM", "lime": "LIME", "mef": "MEF", "npe": "NPE", "vv": "VV"}
RECIPES = {
    "Restormer": "restormer_base",
    "Restormer+ours": "restormer_pog",
    "Retinexformer": "retinexformer_base",
    "Retinexformer+ours": "retinexformer_pog",
    "CIDNet": "cidnet_base",
    "CIDNet+ours": "cidnet_pog",
}
"""The paper's networks that this project has, and the recipe of each."""
METHODS = {
    "unchanged": "Restormer",
    "PC-0.1": "PC-0.1",
    "PC-0.2": "PC-0.2",
    "PC-0.3": "PC-0.3",
    "IENNP": "IENNP",
    "FPGM": "FPGM",
}
"""`undim redundancy prune`'s methods, and the paper's names for them in table 5."""
ABLATION = {
    "base": "Restormer",
    "static": "Restormer + static conv",
    "dynamic": "Restormer + ADR",
    "pog": "Restormer + ADR + POG",
}
OTHER_NETWORK = (
    "Rows of other systems stand as published; any network joins as package.module:factory with its checkpoint, see"
    " docs/studies.md."
)

Value = Callable[[Mapping[str, Any]], float | None]


def make_table1(ours: Measurements) -> Page:
    """Change of PSNR when all attention or all feed-forward layers are reset."""
    groups = {
        f"{kind}, {where}": (f"{kind}: {place}", published()["table1"][kind][where])
        for kind in ("attention", "feedforward")
        for where, place in (("all", "all layers"), ("latent", "latent layers"))
    }
    networks = list(dict.fromkeys([RECIPES["Restormer"], *ours.networks("reset", "lol-v1")]))
    entries = [
        make_entry(
            "Restormer" if network == RECIPES["Restormer"] else network,
            column,
            paper if network == RECIPES["Restormer"] else None,
            ours.figure(network, "lol-v1", "reset", _group_change(group)),
            redundancy_command("reset", network, "lol-v1"),
        )
        for network in networks
        for group, (column, paper) in groups.items()
    ]
    notes = ("The paper does not say which network and data set; Restormer on LOL-v1 is taken.",)
    return Page(
        "table1", "Table 1: change of PSNR by resetting groups of layers, dB", tuple(entries), "+.2f", notes=notes
    )


def make_table2(ours: Measurements) -> Page:
    """Change of PSNR when the first six attention layers are reset, static against dynamic convolutions."""
    entries = []
    layers: list[str] = []
    for kind, figures in published()["table2"].items():
        cells = [cell for cell in ours.cells.get("t2_dynamic", []) if cell["variant"] == kind]
        for place, paper in enumerate(figures):
            figure = None
            if cells:
                layers = list(cells[0]["redundancy"]["layers"])
                changes = [cell["redundancy"]["layers"][layers[place]]["psnr_change"] for cell in cells]
                figure = _over_cells(changes, cells, f"study t2_dynamic, {kind}: restormer_small, lol-v1 val")
            entries.append(make_entry(kind, f"NOL {place + 1}", paper, figure, study_command("t2_dynamic")))
    notes = [
        (
            "The paper does not say which six layers; ours are the first six attention layers of restormer_small, not"
            " of the published size."
        )
    ]
    if layers:
        notes.append(f"Ours: {', '.join(layers[:6])}.")
    return Page(
        "table2", "Table 2: change of PSNR by resetting one layer, dB", tuple(entries), "+.2f", notes=tuple(notes)
    )


def make_table3(ours: Measurements) -> Page:
    """Share of pictures that a reset makes better."""
    networks = list(dict.fromkeys([RECIPES["Restormer"], *ours.networks("poi", "lol-v1")]))
    column = "POI, mean over attention layers, %"
    entries = [
        make_entry(
            _label(network),
            column,
            published()["table3"]["poi"] if network == RECIPES["Restormer"] else None,
            ours.figure(network, "lol-v1", "poi", _mean_poi),
            redundancy_command("poi", network, "lol-v1"),
        )
        for network in networks
    ]
    entries += _study_entries(ours, column, "poi")
    notes = ('The body of table 3 is missing in the text that is known; its text says "around 30 %".',)
    return Page("table3", "Table 3: parameter of interference, POI", tuple(entries), ".1f", notes=notes)


def make_table4(ours: Measurements) -> Page:
    """DMR of networks."""
    entries = [
        make_entry(
            label,
            f"{name}: DMR, dB",
            row[data],
            ours.figure(_network(label), data, "dmr", lambda content: content["result"]["mean"]),
            redundancy_command("dmr", _network(label), data),
        )
        for label, row in published()["table4"].items()
        for data, name in DATA.items()
    ]
    entries += [
        make_entry(
            network, f"{DATA[data]}: DMR, dB", None, ours.figure(network, data, "dmr", lambda c: c["result"]["mean"])
        )
        for data in DATA
        for network in ours.networks("dmr", data)
        if network not in map(_network, published()["table4"])
    ]
    entries += _study_entries(ours, "LOL-v1: DMR, dB", "dmr")
    return Page("table4", "Table 4: detection of model redundancy, DMR", tuple(entries), notes=(OTHER_NETWORK,))


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
                entries.append(make_entry(label, _column(name, measure), paper[label][data][measure], figure, command))
        for measure in ("psnr", "dmr"):
            entries.append(make_entry("ZeroQ", _column(name, measure), paper["ZeroQ"][data][measure], None))
            figure = (
                ours.figure(pog, data, "results", lambda content: content["psnr"])
                if measure == "psnr"
                else ours.figure(pog, data, "dmr", lambda content: content["result"]["mean"])
            )
            command = evaluate_command(pog, data) if measure == "psnr" else redundancy_command("dmr", pog, data)
            entries.append(make_entry("ours", _column(name, measure), paper["ours"][data][measure], figure, command))
    notes = (
        (
            "None is fine-tuned. ZeroQ distils batch-norm statistics, which Restormer does not have: it is not"
            " reproduced; undim redundancy prune measures data-free quantisation to 8, 6 and 4 bits instead."
        ),
    )
    return Page("table5", "Table 5: other ways to reduce redundancy, Restormer", tuple(entries), notes=notes)


def make_table6(ours: Measurements) -> Page:
    """PSNR and SSIM on the paired data sets."""
    entries = []
    paper = published()["table6"]
    for label, row in paper.items():
        entries.append(make_entry(label, "FLOPs, G", row["flops"], _flops(label)))
        for data, name in DATA.items():
            for measure in ("psnr", "ssim"):
                network = _network(label)
                figure = ours.figure(network, data, "results", _measure(measure))
                entries.append(
                    make_entry(
                        label, _column(name, measure), row[data][measure], figure, evaluate_command(network, data)
                    )
                )
    known = set(map(_network, paper))
    entries += [
        make_entry(
            network, _column(DATA[data], measure), None, ours.figure(network, data, "results", _measure(measure))
        )
        for data in DATA
        for network in ours.networks("results", data)
        if network not in known
        for measure in ("psnr", "ssim")
    ]
    forms = {_column(name, "ssim"): ".3f" for name in DATA.values()}
    notes = (
        OTHER_NETWORK,
        (
            "Ours: no GT-mean, no checkpoint chosen on the test set; the paper does not say how its checkpoints were"
            " chosen."
        ),
        "15 test pictures: differences below about 0.3 dB between single runs are noise.",
    )
    return Page("table6", "Table 6: restoration on paired data sets", tuple(entries), forms=forms, notes=notes)


def make_table7(ours: Measurements) -> Page:
    """The ablation: static convolution, ADR, ADR with POG."""
    entries = []
    others = [name for name in ours.studies if name.startswith("a_") and name not in ("a_restormer", "a_controls")]
    studies = ["a_restormer", *others]
    for study in studies:
        of_paper = study == "a_restormer"
        for variant, label in ABLATION.items():
            row = published()["table7"][label] if of_paper else {"psnr": None}
            name = label if of_paper else f"{study.removeprefix('a_')}: {variant}"
            for split, column in (("test", "PSNR on eval15, dB"), ("val", "PSNR on val, dB")):
                paper = row["psnr"] if split == "test" else None
                figure = ours.study_figure(study, variant, f"{split}.psnr")
                entries.append(make_entry(name, column, paper, figure, study_command(study)))
            figure = ours.study_figure(study, variant, "dmr")
            entries.append(make_entry(name, "DMR on val, dB", None, figure, study_command(study)))
    notes = ("Differences with their intervals over seeds are in study.md; eval15 is only reported.",)
    return Page("table7", "Table 7: ablation of ADR and POG", tuple(entries), notes=notes)


def make_table8(ours: Measurements) -> Page:
    """The width of the bottleneck."""
    variants = {"Restormer": "base", "Dm=4": "dm4", "Dm=8": "dm8", "Dm=16": "dm16", "Dm=32": "dm32"}
    return _sweep(ours, "table8", "Table 8: the bottleneck's width Dm", "b_dm", variants)


def make_table9(ours: Measurements) -> Page:
    """The size of the embeddings."""
    variants = {"Restormer": "base", "De=16": "de16", "De=32": "de32", "De=64": "de64"}
    return _sweep(ours, "table9", "Table 9: the embeddings' size De", "b_de", variants)


def make_table10(ours: Measurements) -> Page:
    """NIQE on pictures without references."""
    networks = list(dict.fromkeys([*RECIPES.values(), "photo", "lol", "tiny", *ours.networks("results")]))
    entries = [
        make_entry(
            _label(network),
            name,
            None,
            ours.figure(network, data, "results", _measure("niqe")),
            evaluate_command(network, data),
        )
        for network in networks
        for data, name in UNPAIRED.items()
    ]
    notes = (
        "The body of table 10 is missing in the text that is known.",
        "NIQE (lower is better) does not see wrong brightness or colours.",
    )
    return Page("table10", "Table 10: NIQE without references", tuple(entries), notes=notes)


def evaluate_command(network: str, data: str) -> str:
    """What measures a network's scores."""
    if network in ("photo", "lol", "tiny"):
        return f"undim evaluate {network} --data {data} -o RESULTS/{network}/{data}"
    return f"{_source(network, data)} --data {data} -o RESULTS/{network}/{data}".replace("VERB", "evaluate")


def redundancy_command(verb: str, network: str, data: str) -> str:
    """What measures a network's redundancy, on the pictures that the paper's tables are about."""
    how = f"{_source(network, data)} --data {data} --split test -o RESULTS/{network}/{data}"
    return how.replace("VERB", f"redundancy {verb}")


def study_command(name: str) -> str:
    """What runs a study."""
    return f"undim study studies/{name}.yaml -o RESULTS/studies/{name}"


def _source(network: str, data: str) -> str:
    """The training that makes a network, where a recipe does, and the verb with what it takes."""
    if network not in RECIPES.values():
        return "undim VERB PACKAGE.MODULE:FACTORY --weights FILE"
    paired = data in DATA
    own = paired and data != "lol-v1"
    run = f"runs/{network}{f'-{data}' if own else ''}"
    change = f" --set data.name={data}" if own else ""
    return f"undim train recipes/{network}.yaml -o {run}{change} && undim VERB {run}"


def make_entry(
    label: str, column: str, paper: float | None, figure: Figure | None, command: str | None = None
) -> Entry:
    """A figure of ours, or none and what would make it, beside the paper's."""
    if figure is None:
        return Entry(label, column, paper, command=command)
    return Entry(label, column, paper, figure.mean, figure.spread, figure.seeds, figure.iterations, figure.protocol)


def _network(label: str) -> str:
    """The name of a row's folder."""
    return RECIPES.get(label, label.lower())


def _label(network: str) -> str:
    return next((label for label, name in RECIPES.items() if name == network), network)


def _column(data: str, measure: str) -> str:
    return f"{data}: {'SSIM' if measure == 'ssim' else f'{measure.upper()}, dB'}"


def _measure(name: str) -> Value:
    return lambda content: content.get(name)


def _group_change(group: str) -> Value:
    def value(content: Mapping[str, Any]) -> float | None:
        found = content["result"]["groups"].get(group)
        return None if found is None else found["change"]

    return value


def _mean_poi(content: Mapping[str, Any]) -> float | None:
    shares = [layer["poi"] for layer in content["result"]["layers"].values()]
    return statistics.fmean(shares)


def _pruned(method: str, measure: str) -> Value:
    def value(content: Mapping[str, Any]) -> float | None:
        return next((row[measure] for row in content["result"]["rows"] if row["name"] == method), None)

    return value


def _flops(label: str) -> Figure | None:
    """Counted, for the networks that this project has."""
    if label not in RECIPES:
        return None
    name, _, kind = RECIPES[label].partition("_")
    figures = json.loads((files("undim") / "networks.json").read_text(encoding="utf-8"))[name]
    count = figures["base" if kind == "base" else "adr"]["flops"] / GIGA
    return Figure(count, None, (), None, f"FLOPs counted by {figures['rule']}'s rule")


def _over_cells(values: list[float], cells: list[dict[str, Any]], protocol: str) -> Figure:
    spread = statistics.stdev(values) if len(values) > 1 else None
    seeds = tuple(sorted(cell["seed"] for cell in cells))
    return Figure(statistics.fmean(values), spread, seeds, cells[0]["steps"], protocol)


def _study_entries(ours: Measurements, column: str, measure: str) -> Iterator[Entry]:
    """A row for each variant of each study."""
    for name, study in ours.studies.items():
        for row in study["rows"]:
            figure = ours.study_figure(name, row["variant"], measure)
            if figure is not None:
                yield make_entry(f"{name}: {row['variant']}", column, None, figure)


def _sweep(ours: Measurements, name: str, title: str, study: str, variants: Mapping[str, str]) -> Page:
    paper = published()[name]
    entries = []
    for label, variant in variants.items():
        row = paper.get(label, {"psnr": None, "flops": None})
        entries += [
            make_entry(
                label,
                f"PSNR on {split}, dB",
                row["psnr"] if split == "eval15" else None,
                ours.study_figure(study, variant, f"{key}.psnr"),
                study_command(study),
            )
            for split, key in (("eval15", "test"), ("val", "val"))
        ]
        figure = ours.study_figure(study, variant, "flops")
        entries.append(make_entry(label, "FLOPs, G", row["flops"], figure, study_command(study)))
    notes = ("The paper's figures are of Restormer, ours of the smallest Candela, whose FLOPs are much smaller.",)
    return Page(name, title, tuple(entries), forms={"FLOPs, G": ".3f"}, notes=notes)
