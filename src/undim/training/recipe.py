"""Recipes: every choice of a training run, typed, with unknown keys refused.

A recipe may say `extends: other.yaml`, relative to its own folder: it then states only what differs. Sections are
merged key by key; lists and single values replace what was there.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from undim.errors import RecipeError, suggest
from undim.nets.config import AdrConfig, ConvsConfig, NetworkSpec
from undim.strict_yaml import load_yaml

Count = Annotated[int, Field(ge=1, le=10**9)]
BatchSize = Annotated[int, Field(ge=1, le=10**5)]
Decay = Annotated[float, Field(ge=0, lt=1)]
"""Of a moving average."""


class Section(BaseModel):
    """Base of a recipe's parts: no unknown keys, no infinite values."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AdrSection(Section):
    """How ADR is added to the backbone; leave the section out for none."""

    kernel: Literal["pog", "dynamic", "static"] = "pog"
    where: Literal["decoder", "encoder", "all"] = "decoder"
    bottleneck: int | None = Field(default=None, ge=1)
    embedding: int = Field(default=64, ge=2)
    identity: bool = False
    kernel_size: int = Field(default=1, ge=1)
    reflections: int = Field(default=1, ge=1)
    basis: Literal["householder", "free", "additive"] = "householder"
    mixing: Literal["softmax", "sigmoid", "linear", "constant"] = "softmax"
    balanced: bool = False
    """Whether POG's kernels differ between pictures from the start."""

    def config(self) -> AdrConfig:
        """All of it but how ADR starts."""
        return AdrConfig(**self.model_dump(exclude={"identity", "balanced"}))


class ConvsSection(Section):
    """Which of the backbone's own convolutions are generated for each picture; leave the section out for none."""

    kernel: Literal["pog", "dynamic"] = "dynamic"
    where: str = ".*"
    """Regular expression, searched in the names of the convolutions."""
    embedding: int = Field(default=64, ge=2)


class ModelSection(Section):
    """The network."""

    name: str
    settings: dict[str, Any] = {}
    """Constructor arguments that replace the variant's own."""
    adr: AdrSection | None = None
    convs: ConvsSection | None = None
    start: Path | None = None
    """An Undim .safetensors file whose weights the network starts from; in a recipe's file, relative to that file."""
    fresh: str | None = None
    """Regular expression, searched in the names of weights of `start` that are not taken over."""
    partial: bool = False
    """Whether weights that `start` lacks, such as those of ADR added here, keep their initialisation."""
    freeze: Literal["none", "backbone"] = "none"
    """With "backbone", only the parameters of ADR are trained."""

    def network(self) -> NetworkSpec:
        """What is to be built, which the file of its weights will say, too."""
        adr = None if self.adr is None else self.adr.config()
        convs = None if self.convs is None else ConvsConfig(**self.convs.model_dump())
        return NetworkSpec(self.name, self.settings, adr, convs=convs)

    @field_validator("fresh")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _something_trains(self) -> Self:
        if self.freeze == "backbone" and self.adr is None:
            raise ValueError("freezing the backbone leaves nothing to train without model.adr")
        return self


class DataFolders(Section):
    """Where one data set is, and how its samples count."""

    root: Path | None = None
    """The data set's folder; without it, it is looked for under $UNDIM_DATA."""
    low: Path | None = None
    """Folder of the dark pictures, for `folder` only."""
    high: Path | None = None
    """Folder of the references, for `folder` only."""
    share: float = Field(default=1.0, gt=0)
    """Of the samples, relative to the other data sets' shares."""
    fuse: bool = False
    """Replace what is burnt out in the references by the exposure fusion of both pictures."""


class MoreData(DataFolders):
    """One more data set to learn from."""

    name: str


class DataSection(DataFolders):
    """What it learns from, and how samples are made of it."""

    name: str = "lol-v1"
    """The first data set; its split `val` chooses the best checkpoint."""
    splits: tuple[Literal["train", "val", "val-scenes"], ...] = Field(default=("train",), min_length=1)
    """Of the first data set, what is learnt from. With `val` among them nothing validates and no checkpoint is the
    best one: for a last run whose choices were all made before."""
    also: tuple[MoreData, ...] = ()
    """More data sets to draw samples from."""
    crop: int = Field(default=128, ge=16)
    """Side of a crop in pixels."""
    identity: float = Field(default=0.0, ge=0, le=1)
    """Share of samples that are well-lit pictures to be left as they are."""
    darken: float = Field(default=0.0, ge=0, le=1)
    """Share of samples whose dark picture is computed from the reference."""
    scene_light: float = Field(default=0.0, ge=0, le=1)
    """Of those, the share whose light follows what the picture shows, and that a phone processed."""
    phone: float = Field(default=0.0, ge=0, le=1)
    """Of the other pairs, the share whose dark picture goes through a phone's processing once more."""
    jitter: float = Field(default=0.0, ge=0, le=10)
    """Standard deviation of the natural logarithm of a random gain on the dark pictures."""
    mixup: float = Field(default=0.0, ge=0, le=100)
    """Beta of the distribution by which every second batch blends samples; 0 for none."""
    turn: float = Field(default=0.25, ge=0, le=1)
    """Share of samples whose rows and columns are exchanged."""
    least_frame: float = Field(default=1.0, gt=0, le=1)
    """Below 1, a sample takes a random part of its picture for the whole, with sides of this share of the picture's or
    more: its crop lies in it, and the network is told of no more."""
    forgive_clipped: bool = False
    """Whether pixels that are clipped in the reference alone count nothing in L1 and Charbonnier."""
    kernels_from_whole: int = Field(default=0, ge=0)
    """Shorter side in pixels of a reduced copy of the whole picture, from which the kernels for a crop are generated,
    as they are at inference; 0: from the crop itself."""
    memory_gb: float = Field(default=4.0, ge=0)
    """What decoded pictures may take in memory, in 10^9 bytes; the others lie in a temporary file."""

    @property
    def validates(self) -> bool:
        """Whether a run has its split `val` to validate on."""
        return "val" not in self.splits

    @field_validator("splits")
    @classmethod
    def _each_split_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"name each split once. Got {', '.join(value)}")
        return value


class Phase(Section):
    """One part of the learning rate's schedule."""

    steps: Count
    """Its share of the schedule: the whole is stretched to the run's `steps`."""
    start: float | None = Field(default=None, ge=0, alias="from")
    """Rate at its beginning; without it, where the phase before ended (the first: `lr`)."""
    end: float | None = Field(default=None, ge=0, alias="to")
    """Rate at its end; without it, zero (constant: that of its beginning)."""
    shape: Literal["cosine", "linear", "constant"] = "cosine"

    @model_validator(mode="after")
    def _constant_is_constant(self) -> Self:
        if self.shape == "constant" and self.end is not None and self.end != self.start:
            raise ValueError("a constant phase ends where it begins: leave `to` out")
        return self


class OptimiserSection(Section):
    """Adam or AdamW, its learning rate over the run, and clipping."""

    name: Literal["adamw", "adam"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    """Rate after the warm-up."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: float = Field(default=1e-4, ge=0)
    """Apart from the gradient in AdamW, added to it in Adam; acts on kernels and matrices only."""
    warmup: int = Field(default=200, ge=0)
    """Steps over which the rate rises linearly from zero; it multiplies what the phases say."""
    clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient over all parameters; null for no limit."""
    phases: tuple[Phase, ...] = ()
    """What the rate does after the warm-up; none: one cosine from `lr` to zero."""

    @model_validator(mode="after")
    def _phases_begin_at_lr(self) -> Self:
        if self.phases and self.phases[0].start not in (None, self.lr):
            raise ValueError("the first phase begins at optimiser.lr: leave its `from` out")
        return self


class LossSection(Section):
    """Weights of the loss terms; see `undim.training.losses`."""

    l1: float = Field(default=1.0, ge=0)
    charbonnier: float = Field(default=0.0, ge=0)
    ssim: float = Field(default=0.3, ge=0)
    """Of 1 - SSIM."""
    edge: float = Field(default=0.0, ge=0)
    """Charbonnier distance of the Laplacians, as MPRNet has it."""
    edge_squared: float = Field(default=0.0, ge=0)
    """Mean square distance of the Laplacians, as CIDNet has it."""
    hvi: float = Field(default=0.0, ge=0)
    """Of the sum of all terms above, once more in CIDNet's colour space."""
    places: float = Field(default=0.0, ge=0)
    """Of the mean |ln| ratio of the luma of output and target, over squares of 16 x 16: errors in the dark count."""
    gt_mean: bool = False
    """GT-mean loss (Liao et al., ICCV 2025): where an output's brightness is about right, judge it at its target's."""

    @model_validator(mode="after")
    def _some_term(self) -> Self:
        if not any((self.l1, self.charbonnier, self.ssim, self.edge, self.edge_squared)):
            raise ValueError("at least one of l1, charbonnier, ssim, edge and edge_squared must be above zero")
        return self


class CropStage(Section):
    """One part of a run with its own size of crops, as Restormer grows them."""

    steps: Count
    """Its share: the stages together are stretched to the run's `steps`."""
    crop: int = Field(ge=16)
    """Side in pixels."""
    batch: BatchSize


class Recipe(Section):
    """One training run."""

    model: ModelSection
    data: DataSection = DataSection()
    optimiser: OptimiserSection = OptimiserSection()
    loss: LossSection = LossSection()
    steps: Count
    batch: BatchSize = 8
    """Pictures a step, over all processes and micro-batches together."""
    progressive: tuple[CropStage, ...] = ()
    """Sizes of crops and batches that replace `data.crop` and `batch` as the run goes on."""
    accumulate: Count = 1
    """Micro-batches that a process splits its share of a step into, where the whole does not fit in memory."""
    ema: Decay = 0.999
    """Decay of the exponential moving average of the weights, which is what is validated and shipped."""
    # No 16-mixed: half floats need a gradient scaler, one more state to resume exactly, and bfloat16 runs as fast.
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """auto: bf16-mixed where the machine multiplies bfloat16 in hardware, 32-true elsewhere."""
    steps_on: Literal["auto", "host", "device"] = "auto"
    """Where steps are put together. host: crops are made on the CPU, and each step's loss is waited for. device: crops
    are drawn on the device where the pictures fit there and nothing is done to them that only the host can do, and on
    CUDA the whole step is captured as one graph. auto: device on CUDA in one process, else host."""
    compile: bool = False
    """Whether torch.compile builds the network's kernels; needs a C++ compiler."""
    channels_last: bool = True
    """Memory layout of the weights and so of the features."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    validate_every: Count = 2000
    """Steps."""
    validate_pictures: int | None = Field(default=None, ge=1)
    """At most so many pictures, spread evenly over the split, validate a run; None: all."""
    checkpoint_every: Count = 500
    """Steps."""

    @model_validator(mode="after")
    def _whole_pictures_are_of_use(self) -> Self:
        if self.data.kernels_from_whole:
            adr = self.model.adr
            if self.model.convs is None and (adr is None or adr.kernel == "static"):
                raise ValueError("data.kernels_from_whole needs generated kernels: set model.adr or model.convs")
            if self.data.mixup:
                raise ValueError("data.kernels_from_whole and data.mixup exclude each other")
            if self.compile:
                raise ValueError("data.kernels_from_whole and compile exclude each other")
            if self.data.scene_light:
                raise ValueError("data.kernels_from_whole and data.scene_light exclude each other")
            if self.data.least_frame < 1:
                raise ValueError("data.kernels_from_whole and data.least_frame exclude each other")
        return self

    @model_validator(mode="after")
    def _batches_split_evenly(self) -> Self:
        for batch in {self.batch, *(stage.batch for stage in self.progressive)}:
            if batch % self.accumulate:
                raise ValueError(f"a batch of {batch} does not split evenly: accumulate is {self.accumulate}")
        return self


def load_recipe(path: Path, changes: dict[str, str] | None = None) -> Recipe:
    """Read a YAML recipe.

    Args:
        path: the file.
        changes: dotted key -> value as YAML text, such as {"optimiser.lr": "5e-4"}.

    Raises:
        RecipeError: if the file is not a YAML mapping, a key is unknown (the closest known one is named), a value is
            out of range, or files extend each other in a circle.
    """
    return make_recipe(read_tree(path), changes, owner=str(path))


def make_recipe(tree: dict[str, Any], changes: dict[str, str] | None = None, *, owner: str) -> Recipe:
    """Check a recipe given as a mapping of sections.

    Args:
        tree: as YAML has it; not changed.
        changes: as in `load_recipe`.
        owner: begins the message, such as the file's name.

    Raises:
        RecipeError: as `load_recipe`.
    """
    tree = copy.deepcopy(tree)
    for key, text in (changes or {}).items():
        try:
            value = load_yaml(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"{key} cannot be set to {text!r}: that is not a YAML value.") from error
        _set(tree, key, value)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{owner}: {_explain(error)}") from error


def read_tree(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe file as nested mappings, with what it extends merged in.

    Raises:
        RecipeError: as `load_recipe`, keys and values not yet checked.
    """
    if path.resolve() in extended_by:
        raise RecipeError(f"{path} extends itself, by way of {extended_by[-1].name}.")
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"The recipe {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"The recipe {path} must be a mapping of sections.")
    section = tree.get("model")
    if isinstance(section, dict) and isinstance(section.get("start"), str):
        section["start"] = str((path.parent / section["start"]).resolve())
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise RecipeError(f"{path}: extends names one other recipe. Got {parent!r}.")
    return merge_trees(read_tree(path.parent / parent, (*extended_by, path.resolve())), tree)


def merge_trees(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A mapping of sections with changes: sections are merged key by key, all else replaces what was there."""
    merged = dict(base)
    for key, value in changes.items():
        inner = base.get(key)
        merged[key] = merge_trees(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every default filled in, as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), sort_keys=False)


def find_difference(first: Recipe, second: Recipe) -> str | None:
    """The first key, other than `steps`, in which two recipes differ, with both values; None if there is none."""
    ours, theirs = (flatten_tree(recipe.model_dump(mode="json", by_alias=True)) for recipe in (first, second))
    for key in ours | theirs:
        if key != "steps" and ours.get(key) != theirs.get(key):
            return f"{key} is {ours.get(key)} here and {theirs.get(key)} there"
    return None


def flatten_tree(tree: dict[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, by dotted keys."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= flatten_tree(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _set(tree: dict[str, Any], dotted: str, value: object) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{dotted} cannot be set: {section} is a value, not a section.")
        tree = inner
    # YAML 1.1 reads 1e-4, without a dot, as text.
    tree[last] = float(value) if isinstance(value, str) and _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _known_keys(model: type[BaseModel] = Recipe, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        keys.append(key)
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                keys += _known_keys(candidate, f"{key}.")
    return keys


def _explain(error: ValidationError) -> str:
    errors = error.errors(include_url=False)
    # A misspelt key says more than the missing one that was meant.
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        plain = ".".join(part for part in first["loc"] if isinstance(part, str))  # without places in lists
        return f"there is no key {key!r}.{suggest(plain, _known_keys(), likeness=0.3)}"
    if first["type"] == "value_error":
        return f"{key}: {first['ctx']['error']}." if key else f"{first['ctx']['error']}."
    return f"{key}: {first['msg']} (got {first['input']!r})."
