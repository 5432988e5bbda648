"""What `undim study` leaves: plan.json, cells/CELL.json, and study.json of `undim study report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from undim.errors import UsageError
from undim.results.document import Document, Interval, Number, Record, Whole

PLAIN = "32-true"
"""Lightning's name for float32."""


class PlanDocument(Document):
    """plan.json: what a study is, for those who have its folder alone."""

    NAME: ClassVar[str] = "plan"
    WRITER: ClassVar[str] = "undim study"
    REMEDY: ClassVar[str] = "delete it, and run undim study anew"

    name: str
    about: str
    base: str
    variants: dict[str, str]
    """Name -> what it is."""
    seeds: tuple[int, ...]

    @model_validator(mode="after")
    def _the_base_is_there(self) -> Self:
        if self.base not in self.variants:
            raise ValueError(f"the base {self.base!r} is not among the variants")
        return self


class SplitScores(Record):
    """Means over the pictures of one split; null where none has the measure, or PSNR is infinite."""

    psnr: Number | None
    ssim: Number | None
    psnr_gt_mean: Number | None
    brightness_error: Number | None
    niqe: Number | None = None
    pictures: dict[str, tuple[Number | None, ...]] = Field(default_factory=dict)
    """Each picture's PSNR, SSIM and ln brightness ratio."""


class LayerRedundancy(Record):
    """What resets of one layer showed."""

    dmr: Number | None
    """Null if infinite."""
    poi: Number
    psnr_change: Number


class NetworkRedundancy(Record):
    """DMR and POI of a trained network."""

    pictures: int
    draws: int
    crop: int | None = None
    """Side in pixels of the square in the middle of each picture that was taken; None: the whole."""
    dmr: Number
    dmr_adr_kept: Number
    poi: Number
    layers: dict[str, LayerRedundancy]
    notes: tuple[str, ...] = ()


class KernelFigures(Record):
    """How far one generator's kernels differ between pictures."""

    cosine_distance: Number
    variation: Number
    effective_rank: Number


class KernelsAtStep(Record):
    """The same at one step of the training."""

    step: int
    layers: dict[str, KernelFigures]


class NetworkCost(Record):
    """The size of a network."""

    parameters: int
    adr_parameters: int | None = None
    flops: int
    flops_rule: str = "fvcore"


class LearningCurve(Record):
    """A figure for each validation."""

    step: tuple[int, ...]
    loss: tuple[Number, ...] = ()
    psnr: tuple[Number, ...]
    ssim: tuple[Number, ...] = ()
    psnr_gt_mean: tuple[Number, ...] = ()
    brightness_error: tuple[Number, ...] = ()


class TrainingTime(Record):
    """How long a training took."""

    seconds: tuple[Number, ...]
    """From the beginning to each validation."""
    images_per_second: Number | None = None
    seconds_per_step: Number


class CellMachine(Record):
    """Where and with what a cell was run."""

    device: str
    precision: str
    """Of the training: 32-true, or bf16-mixed."""
    kernels: str | None = None
    """What the generators of kernels were trained in; null in cells of versions where that was the training's."""
    threads: int
    undim: str
    python: str | None = None
    torch: str
    numpy: str | None = None


class CellDocument(Document):
    """cells/VARIANT-sSEED.json: one trained network's measures."""

    NAME: ClassVar[str] = "cell"
    WRITER: ClassVar[str] = "undim study"
    REMEDY: ClassVar[str] = "delete it to run that cell anew"

    format: int = 1
    """The version, where cells had it before documents had a schema."""
    variant: str
    seed: int
    fingerprint: str
    content: dict[str, Any]
    """All that the figures depend on: the recipe, the minutes, what is measured."""
    steps: int
    scores: dict[str, SplitScores | None]
    """By split; null where the data set has no such split."""
    redundancy: NetworkRedundancy
    diversity: dict[str, KernelFigures] | None
    """By generator; null where no kernels are generated."""
    cost: NetworkCost
    notes: tuple[str, ...]
    curve: LearningCurve
    diversity_over_training: tuple[KernelsAtStep, ...]
    time: TrainingTime
    machine: CellMachine

    @classmethod
    def check_version(cls, content: dict[str, Any], path: Path) -> None:
        """See `Document.check_version`."""
        super().check_version(content, path)
        if not {"format", "fingerprint", "content", "variant", "seed"} <= content.keys():
            raise UsageError(f"{path} is not a cell that undim study wrote: delete it.")
        if content["format"] != cls.VERSION:
            raise UsageError(
                f"{path} has format {content['format']}; this version of Undim reads format {cls.VERSION}: update"
                f" Undim, or {cls.REMEDY}."
            )

    @property
    def name(self) -> str:
        """Of its files: `VARIANT-sSEED`."""
        return f"{self.variant}-s{self.seed}"

    @property
    def recipe(self) -> dict[str, Any]:
        """What of the recipe is not its default."""
        found: dict[str, Any] = self.content.get("recipe", {})
        return found

    @property
    def drowned(self) -> bool:
        """Whether its generated kernels were trained in bfloat16, in which what they say of the picture is noise."""
        return self.diversity is not None and PLAIN not in (self.machine.precision, self.machine.kernels)


class PairedDifference(Record):
    """A variant against the base, over the seeds that both have; see `undim.study.statistics.Paired`."""

    seeds: tuple[int, ...]
    mean: Number
    spread: Number | None
    interval: Interval | None
    detectable: Number | None
    excludes_zero: bool


class MeasureOverSeeds(Record):
    """One measure of one variant."""

    mean: Number
    spread: Number | None
    """Standard deviation over seeds; null for one."""
    values: dict[str, Whole]
    """By seed."""
    difference: PairedDifference | None
    """Null for the base."""


class VariantRow(Record):
    """All measures of one variant."""

    variant: str
    about: str
    seeds: tuple[int, ...]
    measures: dict[str, MeasureOverSeeds]


class BaseProgress(Record):
    """Whether the base was trained for long enough."""

    psnr: Number
    """On val at the end, dB."""
    last_gain: Number | None
    """What the last part of the training added, dB."""
    last_share: Number | None
    """How large that part is, 0 to 1."""
    steps: int


class StudyTable(Record):
    """The finished cells of one study, merged."""

    name: str
    about: str
    base: str
    seeds: tuple[int, ...]
    rows: tuple[VariantRow, ...]
    progress: BaseProgress | None
    machines: tuple[str, ...]
    notes: tuple[str, ...]
    precisions: tuple[str, ...] = ()
    """That its cells were trained in; none in files of versions that did not say."""
    plot: str | None = None
    """A file beside the page."""


class StudiesDocument(Document):
    """study.json."""

    NAME: ClassVar[str] = "studies"
    WRITER: ClassVar[str] = "undim study report"
    REMEDY: ClassVar[str] = "run undim study report anew"

    studies: tuple[StudyTable, ...]
