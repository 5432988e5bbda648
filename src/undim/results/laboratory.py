"""VERB.json of `undim redundancy`: dmr, reset, poi, diversity, prune and slim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Generic, Self, TypeVar

from pydantic import Field, model_validator

from undim.results.document import Document, Interval, Number, Record

ResultT = TypeVar("ResultT", bound=Record)


class LaboratoryDocument(Document, Generic[ResultT]):
    """What one verb measured of one network on one set of pictures."""

    WRITER: ClassVar[str] = "undim redundancy"

    verb: str = ""
    title: str = ""
    model: str | None = None
    file: str | None = None
    """The weights' file."""
    seed: int | None = None
    """Of the training, as the weights' file notes it."""
    iterations: int | None = None
    """Training steps, as the weights' file notes them."""
    sha256: str | None = None
    """Of the weights' file."""
    data: str
    split: str | None = None
    pictures: tuple[str, ...]
    """Their names."""
    kind: str | None = None
    """Which layers were reset."""
    stage: str | None = None
    adr: str | None = None
    """Whether resetting an attention layer reset its ADR."""
    seeds: tuple[int, ...]
    """Of the draws."""
    device: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    result: ResultT


class LayerRatios(Record):
    """DMR of one layer, dB."""

    dmr: Number | None
    """Null if infinite."""
    infinite: bool
    spread: Number | None
    """Standard deviation over seeds; null for one."""
    ratios: tuple[tuple[Number | None, ...], ...]
    """For each seed, for each picture; null if infinite."""


class Ratios(Record):
    """DMR of a network, dB; see `undim.redundancy.ratios.DmrResult`."""

    mean: Number
    interval: Interval | None
    seeds: tuple[int, ...]
    per_seed: tuple[Number, ...]
    layers: dict[str, LayerRatios]
    per_image: tuple[Number, ...]
    non_finite: int
    notes: tuple[str, ...] = ()
    adr_kept: Ratios | None
    """The same with ADR left as it was trained."""


class DmrDocument(LaboratoryDocument[Ratios]):
    """dmr.json."""

    NAME: ClassVar[str] = "dmr"


class ResetChange(Record):
    """What resetting one layer, or one group of layers, does to PSNR; see `undim.redundancy.harm.LayerHarm`."""

    change: Number
    """Mean over seeds and pictures, dB."""
    interval: Interval | None
    per_seed: tuple[Number, ...]
    poi: Number
    """Percentage of pictures whose PSNR rises."""
    poi_per_seed: tuple[Number, ...]
    changes: tuple[tuple[Number, ...], ...]
    """For each seed, for each picture."""


class ResetGain(Record):
    """One picture that a reset made better."""

    layer: str
    seed: int
    picture: int
    """Its number, from 0."""
    before: Number
    after: Number


class Correlation(Record):
    """Spearman's rank correlation and its p-value."""

    spearman: Number
    p: Number


class LayerOverNetworks(Record):
    """POI of one layer over networks trained from several seeds."""

    mean: Number
    smallest: Number
    largest: Number
    harmful_networks: Number
    """How many of them it harms on average."""


class Resets(Record):
    """What reset and poi measure; see `undim.redundancy.harm.HarmResult`."""

    psnr: tuple[Number, ...]
    """Of the trained network, for each picture, dB."""
    mean_psnr: Number
    seeds: tuple[int, ...]
    groups: dict[str, ResetChange]
    layers: dict[str, ResetChange]
    gains: tuple[ResetGain, ...]
    correlation: Correlation | None
    notes: tuple[str, ...] = ()
    networks: dict[str, LayerOverNetworks] | None = None
    network_names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _a_change_for_each_picture(self) -> Self:
        for name, layer in self.layers.items():
            if any(len(draw) != len(self.psnr) for draw in layer.changes):
                raise ValueError(f"{name} has not a change for each of {len(self.psnr)} pictures")
        return self


class ResetDocument(LaboratoryDocument[Resets]):
    """reset.json."""

    NAME: ClassVar[str] = "reset"


class PoiDocument(LaboratoryDocument[Resets]):
    """poi.json."""

    NAME: ClassVar[str] = "poi"


class GeneratorDiversity(Record):
    """How far one generator's kernels differ between pictures; see `undim.redundancy.kernels.Diversity`."""

    kind: str
    weights: int
    cosine_distance: Number
    variation: Number
    effective_rank: Number
    kernels: tuple[tuple[Number, ...], ...]
    """The first weights of each picture's kernel; none where only the most diverse generator's were kept."""


class KernelDiversity(Record):
    """Diversity of every generator by its name."""

    pictures: int
    layers: dict[str, GeneratorDiversity]


class DiversityDocument(LaboratoryDocument[KernelDiversity]):
    """diversity.json."""

    NAME: ClassVar[str] = "diversity"


class PrunedNetwork(Record):
    """A network after one method of pruning or quantisation."""

    name: str
    psnr: Number | None
    """Null if infinite."""
    chroma: Number
    """Mean distance in the a*b* plane of CIE Lab."""
    dmr: Number | None
    interval: Interval | None
    non_finite: int


class Prunings(Record):
    """A row for each method."""

    rows: tuple[PrunedNetwork, ...]


class PruneDocument(LaboratoryDocument[Prunings]):
    """prune.json."""

    NAME: ClassVar[str] = "prune"


class SlimmedNetwork(Record):
    """A network before, between or after the steps of slimming."""

    name: str
    parameters: int
    gflops: Number
    milliseconds: Number
    psnr: Number | None
    """Null if infinite."""
    chroma: Number


class SlimStep(Record):
    """What was left out or made narrower, and why."""

    name: str
    reason: str


class Slimming(Record):
    """What slimming did."""

    rows: tuple[SlimmedNetwork, ...]
    steps: tuple[SlimStep, ...]
    saved: Number
    """Share of the multiply-adds."""


class SlimDocument(LaboratoryDocument[Slimming]):
    """slim.json."""

    NAME: ClassVar[str] = "slim"


AnyLaboratoryDocument = DmrDocument | ResetDocument | PoiDocument | DiversityDocument | PruneDocument | SlimDocument
LABORATORY: Mapping[str, type[AnyLaboratoryDocument]] = {
    one.NAME: one for one in (DmrDocument, ResetDocument, PoiDocument, DiversityDocument, PruneDocument, SlimDocument)
}
"""By verb."""
