"""Recipes: every choice of a training run, typed, with unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from undim.errors import RecipeError, suggest


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


class ModelSection(Section):
    """The network."""

    name: str
    settings: dict[str, Any] = {}
    """Constructor arguments that replace the variant's own."""
    adr: AdrSection | None = None
    start: Path | None = None
    """An Undim .safetensors file whose weights the network starts from; relative to the working directory."""
    partial: bool = False
    """Whether weights that `start` lacks, such as those of ADR added here, keep their initialisation."""


class DataSection(Section):
    """What it learns from."""

    name: str = "lol-v1"
    root: Path | None = None
    """The data set's folder; without it, it is looked for under $UNDIM_DATA."""
    crop: int = Field(default=128, ge=16)
    """Side of a crop in pixels."""
    identity: float = Field(default=0.0, ge=0, le=1)
    """Share of samples that are well-lit pictures to be left as they are."""


class OptimiserSection(Section):
    """AdamW with warm-up and a cosine to zero."""

    lr: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup: int = Field(default=200, ge=0)
    """Steps over which the rate rises linearly from zero."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient over all parameters."""


class LossSection(Section):
    """Weights of the loss terms."""

    l1: float = Field(default=1.0, ge=0)
    ssim: float = Field(default=0.3, ge=0)


class Recipe(Section):
    """One training run."""

    model: ModelSection
    data: DataSection = DataSection()
    optimiser: OptimiserSection = OptimiserSection()
    loss: LossSection = LossSection()
    steps: int = Field(ge=1)
    batch: int = Field(default=8, ge=1)
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the exponential moving average of the weights, which is what is validated and shipped."""
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    seed: int = Field(default=0, ge=0)
    validate_every: int = Field(default=2000, ge=1)
    """Steps."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps."""


def load_recipe(path: Path, changes: dict[str, str] | None = None) -> Recipe:
    """Read a YAML recipe.

    Args:
        path: the file.
        changes: dotted key -> value as YAML text, such as {"optimiser.lr": "5e-4"}.

    Raises:
        RecipeError: if the file is no YAML mapping, a key is unknown (the closest known one is named) or a value is out
            of range.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"The recipe {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"The recipe {path} must be a mapping of sections.")
    for key, text in (changes or {}).items():
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"{key} cannot be set to {text!r}: that is no YAML value.") from error
        _set(tree, key, value)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain(error)}") from error


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every default filled in, as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def find_difference(first: Recipe, second: Recipe) -> str | None:
    """The first key, other than `steps`, in which two recipes differ, with both values; None if there is none."""
    ours, theirs = _flatten(first.model_dump(mode="json")), _flatten(second.model_dump(mode="json"))
    for key in ours | theirs:
        if key != "steps" and ours.get(key) != theirs.get(key):
            return f"{key} is {ours.get(key)} here and {theirs.get(key)} there"
    return None


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
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
        keys.append(prefix + name)
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                keys += _known_keys(candidate, f"{prefix}{name}.")
    return keys


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"there is no key {key!r}.{suggest(key, _known_keys(), likeness=0.3)}"
    return f"{key}: {first['msg']} (got {first['input']!r})."
