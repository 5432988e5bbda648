"""What rows of the paper's tables are made of: its networks and data sets, commands that make a figure, entries.

Networks of a study are called STUDY.VARIANT, others as their recipe or as their folder is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from undim.paper.measured import ABLATION_DATA, Figure, Measurements
from undim.paper.pages import Entry

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
OWN = tuple(f"a_restormer_small.{variant}" for variant in ("base", "static", "dynamic", "pog"))
"""The networks of a study that stand beside the paper's Restormer: small, alike but for ADR, equally trained."""
OTHER_NETWORK = (
    "Rows of other systems stand as published; any network joins as package.module:factory with its checkpoint, see"
    " docs/studies.md."
)

Value = Callable[[Mapping[str, Any]], float | None]


def evaluate_command(network: str, data: str) -> str:
    """What measures a network's scores."""
    if network in ("photo", "lol", "tiny"):
        return f"undim evaluate {network} --data {data} -o RESULTS/{network}/{data}"
    if "." in network:
        return f"{_measure_study(network)} --only table10 --unpaired {data}"
    return f"{_source(network, data)} --data {data} -o RESULTS/{network}/{data}".replace("VERB", "evaluate")


def redundancy_command(verb: str, network: str, data: str) -> str:
    """What measures a network's redundancy, on the pictures that the paper's tables are about."""
    if "." in network:
        return _measure_study(network)
    how = f"{_source(network, data)} --data {data} --split test -o RESULTS/{network}/{data}"
    return how.replace("VERB", f"redundancy {verb}")


def _measure_study(network: str) -> str:
    study = network.partition(".")[0]
    return f"{study_command(study)} && python docs/measure_study.py RESULTS/studies/{study} -o RESULTS"


def study_command(name: str) -> str:
    """What runs a study."""
    return f"undim study studies/{name}.yaml -o RESULTS/studies/{name}"


def _source(network: str, data: str) -> str:
    """The training that makes a network, where a recipe does, and the verb with what it takes."""
    if network not in RECIPES.values():
        return "undim VERB PACKAGE.MODULE:FACTORY --weights FILE"
    paired = data in DATA
    own = paired and data != ABLATION_DATA
    run = f"runs/{network}{f'-{data}' if own else ''}"
    change = f" --set data.name={data}" if own else ""
    return f"undim train recipes/{network}.yaml -o {run}{change} && undim VERB {run}"


def make_entry(
    label: str, column: str, paper: float | None, figure: Figure | None, command: str | None = None
) -> Entry:
    """A figure of ours, or none and what would make it, beside the paper's."""
    if figure is None:
        return Entry(label, column, paper, command=command)
    return Entry(
        label,
        column,
        paper,
        figure.mean,
        figure.spread,
        figure.seeds,
        figure.iterations,
        figure.protocol,
        parameters=figure.parameters,
    )


def network_of(label: str) -> str:
    """The name of a row's folder."""
    return RECIPES.get(label, label.lower())


def label_of(network: str) -> str:
    """What a network's rows are called: as the paper does, STUDY: VARIANT, or the network's own name."""
    study, dot, variant = network.partition(".")
    return f"{study}: {variant}" if dot else next((row for row, name in RECIPES.items() if name == network), network)


def column_of(data: str, measure: str) -> str:
    """What a column of scores is called."""
    return f"{data}: {'SSIM' if measure == 'ssim' else f'{measure.upper()}, dB'}"


def study_entries(ours: Measurements, column: Callable[[str], str], measure: str) -> Iterator[Entry]:
    """A row for each variant of each study, in the column that its data set has."""
    for name, study in ours.studies.items():
        title = column(ours.data_of(name))
        for row in study["rows"]:
            figure = ours.study_figure(name, row["variant"], measure)
            if figure is not None:
                yield make_entry(f"{name}: {row['variant']}", title, None, figure)
