"""What would make a figure that is not there: a typed value, of which a page makes commands for its readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from undim.paper.networks import ABLATION_DATA, CONVS, DATA, RECIPES, SHIPPED, SYSTEMS
from undim.results.laboratory import DiversityDocument, DmrDocument, PoiDocument, PruneDocument, ResetDocument
from undim.results.page import CommandGroup
from undim.results.scores import ScoresDocument

MeasuredKind = (
    type[ScoresDocument]
    | type[DmrDocument]
    | type[ResetDocument]
    | type[PoiDocument]
    | type[PruneDocument]
    | type[DiversityDocument]
)
"""What the pages are made of beside studies."""


@dataclass(frozen=True)
class StudyRun:
    """A study is to be run."""

    study: str


@dataclass(frozen=True)
class Measurement:
    """A network is to be measured, on the pictures that the paper's tables are about, after it is trained."""

    kind: MeasuredKind
    network: str
    data: str
    save_images: bool = False

    @property
    def run(self) -> str | None:
        """The name of the training's folder; None for a network that no recipe here trains."""
        if self.network not in (*RECIPES.values(), CONVS):
            return None
        return f"{self.network}-{self.data}" if self.on_own_data else self.network

    @property
    def on_own_data(self) -> bool:
        """Whether a network for this data set is trained on it, and not on the ablations'."""
        return self.data in DATA and self.data != ABLATION_DATA


Making = StudyRun | Measurement


def spell_commands(making: Making) -> tuple[str, ...]:
    """The commands, one after another. RESULTS stands for a folder of results."""
    if isinstance(making, StudyRun):
        return (_study_command(making.study),)
    study, dot, _ = making.network.partition(".")
    if dot:
        measure = f"undim study measure RESULTS/studies/{study} -o RESULTS"
        if making.kind is ScoresDocument:
            measure += f" --only table10 --unpaired {making.data}"
        return _study_command(study), measure + _images(making)
    measure = f"undim {_verb(making.kind)} {_model(making)} --data {making.data}"
    if making.kind is not ScoresDocument:
        measure += " --split test"
    measure += f" -o RESULTS/{making.network}/{making.data}{_images(making)}"
    before = _training_command(making) or _convert_command(making)
    return (measure,) if before is None else (before, measure)


def group_commands(wanted: Iterable[Making]) -> Iterator[CommandGroup]:
    """The commands of several, with what comes before some of them, such as a training, once."""
    groups: dict[str, dict[str, None]] = {}
    for making in wanted:
        first, *then = spell_commands(making)
        groups.setdefault(first, {}).update(dict.fromkeys(then))
    for first, followers in groups.items():
        yield CommandGroup(first=first, then=tuple(followers))


def _study_command(study: str) -> str:
    return f"undim study studies/{study}.yaml -o RESULTS/studies/{study}"


def _verb(kind: MeasuredKind) -> str:
    return "evaluate" if kind is ScoresDocument else f"redundancy {kind.NAME}"


def _model(making: Measurement) -> str:
    if making.run is not None:
        return f"runs/{making.run}"
    if making.network in SHIPPED and making.kind is ScoresDocument:
        return making.network
    if making.network in SYSTEMS.values():
        return f"{making.network}.safetensors"
    return "PACKAGE.MODULE:FACTORY --weights FILE"


def _convert_command(making: Measurement) -> str | None:
    """Of another system that can be built here: what makes a file of its authors' weights."""
    if making.network not in SYSTEMS.values():
        return None
    return f"undim convert CHECKPOINT -o {making.network}.safetensors"


def _training_command(making: Measurement) -> str | None:
    if making.run is None:
        return None
    recipe, change = making.network, ""
    if making.network == CONVS:
        recipe = RECIPES["Restormer"]
        change = " --set 'model.convs={kernel: dynamic, where: \"attn[.](qkv|project_out)$\"}'"
    elif making.on_own_data:
        change = f" --set data.name={making.data}"
    return f"undim train recipes/{recipe}.yaml -o runs/{making.run}{change}"


def _images(making: Measurement) -> str:
    return " --save-images" if making.save_images else ""
