"""A study file: one recipe, its variants, and the seeds that each is trained from. A variant and a seed are a cell."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from undim.errors import RecipeError, suggest
from undim.images import PICTURE_SUFFIXES
from undim.results.study import PlanDocument
from undim.strict_yaml import load_yaml
from undim.training.recipe import Recipe, Section, flatten_tree, make_recipe, merge_trees, read_tree

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""What names of studies and variants may be: they become names of files."""


class Variant(Section):
    """One way of doing it."""

    about: str = ""
    """What it is, for the report."""
    change: dict[str, Any] = Field(default_factory=dict)
    """Sections of a recipe that differ from the study's, merged as `extends` merges them."""
    after: str | None = None
    """Another variant, whose weights of the same seed at its end this one starts from."""


class Measuring(Section):
    """What is measured of each trained network beside its scores."""

    pictures: int = Field(default=24, ge=2)
    """Pictures of the split val on which layers are reset and kernels compared, spread evenly over it."""
    draws: int = Field(default=3, ge=1)
    """Random re-initialisations of each layer."""
    crop: int | None = Field(default=None, ge=8)
    """Side in pixels of the squares in the middle of these pictures that are taken for it; None: the whole."""
    scored: int | None = Field(default=None, ge=1)
    """At most so many pictures of each split, spread evenly over it, are scored; None: all."""


class StudyFile(Section):
    """What a .yaml study says."""

    about: str = ""
    recipe: Path
    """A recipe file, relative to the study's."""
    common: dict[str, Any] = Field(default_factory=dict)
    """Sections in which all variants differ from the recipe."""
    variants: dict[str, Variant] = Field(min_length=1)
    base: str | None = None
    """The variant that the others are compared with; by default the first."""
    seeds: tuple[int, ...] = Field(min_length=1)
    minutes: float | None = Field(default=None, gt=0)
    """Time for each cell, laid over its schedule; without it, all cells take the recipe's steps."""
    measure: Measuring = Measuring()

    @field_validator("variants")
    @classmethod
    def _names_are_file_names(cls, value: dict[str, Variant]) -> dict[str, Variant]:
        for name in value:
            if not FILE_NAME.fullmatch(name):
                raise ValueError(f"the variant {name!r} becomes the name of a file: use letters, digits and . _ + -")
        return value

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"each seed counts once, got {list(self.seeds)}")
        wanted = {"base": self.base, **{f"variants.{name}.after": each.after for name, each in self.variants.items()}}
        for key, name in wanted.items():
            if name is not None and name not in self.variants:
                raise ValueError(f"{key}: there is no variant {name!r}.{suggest(name, self.variants)}")
        for name in self.variants:
            chain = [name]
            while (before := self.variants[chain[-1]].after) is not None:
                if before in chain:
                    raise ValueError(f"the variant {name!r} would start after itself")
                chain.append(before)
        return self


@dataclass(frozen=True)
class Cell:
    """One training run of a study."""

    variant: str
    recipe: Recipe
    """Without `model.start` where it starts after another cell: that cell's weights are known only once it is run."""
    after: Cell | None
    minutes: float | None
    measure: Measuring

    @property
    def name(self) -> str:
        """Of its files: `VARIANT-sSEED`."""
        return f"{self.variant}-s{self.recipe.seed}"

    @cached_property
    def content(self) -> dict[str, Any]:
        """All that its figures depend on, in values that JSON can hold, without places on this machine.

        What is left at its default is left out, so that keys that later versions add change nothing. Folders of one's
        own are known by what is in them.
        """
        tree = self.recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        data = tree.get("data", {})
        for section in (data, *data.get("also", ())):
            own = [Path(section[key]) for key in ("low", "high") if section.get(key) is not None]
            for key in ("root", "low", "high"):
                section.pop(key, None)
            if own:
                section["files"] = f"SHA-256 {_checksum_of_folders(own)}"
        if self.after is not None:
            tree["model"]["start"] = f"the end of {self.after.name}, {self.after.fingerprint}"
        elif self.recipe.model.start is not None:
            tree["model"]["start"] = f"SHA-256 {_checksum(self.recipe.model.start)}"
        return {
            "recipe": tree,
            "minutes": self.minutes,
            "measure": self.measure.model_dump(mode="json"),
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `content`."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """A study, checked and laid out."""

    name: str
    about: str
    base: str
    variants: dict[str, str]
    """Name -> what it is."""
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    """All variants of the first seed, then of the next: what is there when a study is cut short can be compared."""

    def document(self) -> PlanDocument:
        """What a report must know beside the cells."""
        return PlanDocument(name=self.name, about=self.about, base=self.base, variants=self.variants, seeds=self.seeds)


def load_study(path: Path) -> Plan:
    """Read a study file; its name is the file's.

    Raises:
        RecipeError: if the file or its recipe cannot be read, a key is unknown or a value out of range.
    """
    tree = _read(path)
    try:
        study = StudyFile.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain(error)}") from error
    if not FILE_NAME.fullmatch(path.stem):
        raise RecipeError(f"{path}: the study's name is the file's: use letters, digits and . _ + -.")
    common = merge_trees(read_tree(path.parent / study.recipe), study.common)
    cells: dict[tuple[str, int], Cell] = {}

    def make(name: str, seed: int) -> Cell:
        if (name, seed) not in cells:
            variant = study.variants[name]
            tree = merge_trees(common, {**variant.change, "seed": seed})
            recipe = make_recipe(tree, owner=f"{path}, variant {name}")
            if variant.after is not None and recipe.model.start is not None:
                raise RecipeError(f"{path}, variant {name}: it starts after {variant.after}, so leave model.start out.")
            if recipe.data.splits != ("train",):
                raise RecipeError(
                    f"{path}, variant {name}: a study is judged on val and val-scenes, so leave data.splits out."
                )
            after = None if variant.after is None else make(variant.after, seed)
            cells[name, seed] = Cell(name, recipe, after, study.minutes, study.measure)
        return cells[name, seed]

    ordered = tuple(make(name, seed) for seed in study.seeds for name in study.variants)
    return Plan(
        path.stem,
        study.about,
        study.base or next(iter(study.variants)),
        {name: variant.about for name, variant in study.variants.items()},
        study.seeds,
        ordered,
    )


def find_change(first: dict[str, Any], second: dict[str, Any]) -> str | None:
    """The first key in which the contents of two cells differ, with both values; None if there is none."""
    ours, theirs = flatten_tree(first), flatten_tree(second)
    for key in ours | theirs:
        if ours.get(key) != theirs.get(key):
            return f"{key.removeprefix('recipe.')} is {ours.get(key)} here and {theirs.get(key)} there"
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"The study {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"The study {path} must be a mapping with recipe, variants and seeds.")
    return tree


def _checksum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RecipeError(f"model.start {path} cannot be read: {error.strerror}.") from error


def _checksum_of_folders(folders: Sequence[Path]) -> str:
    """Of the names and contents of the pictures in folders."""
    digest = hashlib.sha256()
    for folder in folders:
        if not folder.is_dir():
            raise RecipeError(f"data: {folder} is not a folder.")
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
                stamp = path.stat()
                digest.update(f"{path.name}\0{_checksum_once(path, stamp.st_size, stamp.st_mtime_ns)}\0".encode())
    return digest.hexdigest()


@cache
def _checksum_once(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 - a file that changed is read again
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RecipeError(f"data: {path} cannot be read: {error.strerror}.") from error


def _explain(error: ValidationError) -> str:
    first = next((one for one in error.errors() if one["type"] == "extra_forbidden"), error.errors()[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = StudyFile.model_fields | Variant.model_fields | Measuring.model_fields
        return f"there is no key {key!r}.{suggest(str(first['loc'][-1]), known, likeness=0.3)}"
    if first["type"] == "value_error":
        return f"{str(first['ctx']['error']).removesuffix('.')}."
    if first["type"] == "missing":
        return f"{key} is missing."
    return f"{key}: {first['msg']} (got {first['input']!r})."
