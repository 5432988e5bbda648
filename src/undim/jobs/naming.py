"""What an output is called, by the name of its picture: the same from every front door."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, TypeVar

from undim.images.formats import has_picture_suffix
from undim.images.writing import written_format

Name = TypeVar("Name", bound=PurePath)


def name_output(relative: Name, form: str | None, read: str | None) -> tuple[Name, str | None]:
    """The output's name and the name of its format.

    Args:
        relative: the picture's own name, with its folders.
        form: the format that was asked for; None keeps the picture's, or PNG where that is not written.
        read: the format of the picture's content; None where it cannot be told.
    """
    if form is not None:
        return with_suffix(relative, form), form
    if read is not None and written_format(read) != read:
        return with_suffix(relative, "png"), "png"
    return relative, read


def with_suffix(relative: Name, name: str) -> Name:
    """The picture's suffix replaced; after another suffix, as in `scan.2024`, it is added."""
    stem = relative.stem if has_picture_suffix(relative.name) else relative.name
    return relative.with_name(f"{stem}.{name}")


@dataclass(frozen=True)
class Wish(Generic[Name]):
    """What a picture would become."""

    source: str
    target: Name | None
    """None for one that becomes nothing."""
    settled: bool = False
    """Whether it has that name from an earlier plan, and keeps it."""


def tell_apart(
    wishes: Sequence[Wish[Name]], identity: Callable[[Name], str], owners: Mapping[str, str]
) -> list[Name | str | None]:
    """Names of which no two are one: with old suffixes in them, or else why there is none for a picture.

    Args:
        wishes: of all pictures.
        identity: what is equal for names of one file.
        owners: sources of names that are taken, by the name's identity.

    Returns:
        For each wish its name, the reason (text) why it has none, or None where none was wished.
    """
    names = [wish.target for wish in wishes]
    sources = [wish.source for wish in wishes]
    for place in _clashing(names, sources, identity, owners):
        name = names[place]
        if name is not None and not wishes[place].settled:
            names[place] = _with_old_suffix(sources[place], name)
    # A name with its old suffix may be that of another picture, which then makes way in the same manner.
    for place in _clashing(names, sources, identity, owners):
        name, wish = names[place], wishes[place]
        if name is not None and not wish.settled and name == wish.target:
            names[place] = _with_old_suffix(sources[place], name)
    found: list[Name | str | None] = list(names)
    first: dict[str, str] = {}
    for place in _clashing(names, sources, identity, owners):
        name, wish = names[place], wishes[place]
        if name is None or wish.settled:
            continue
        other = owners.get(identity(name)) or first.setdefault(identity(name), wish.source)
        others = other if other != wish.source else "another picture"
        found[place] = f"would become {str(wish.target)!r}, as {others} would; rename one, or give it another folder"
    return found


def _clashing(
    names: Sequence[Name | None],
    sources: Sequence[str],
    identity: Callable[[Name], str],
    owners: Mapping[str, str],
) -> list[int]:
    """Places of the names that another one is too, or that belong to another picture already."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name is not None:
            groups.setdefault(identity(name), []).append(place)
    return sorted(
        place
        for key, places in groups.items()
        for place in places
        if len(places) > 1 or owners.get(key, sources[place]) != sources[place]
    )


def _with_old_suffix(source: str, target: Name) -> Name:
    """`IMG_1.heic` that would become `IMG_1.png`: `IMG_1.heic.png`."""
    old = PurePath(source)
    return target.with_name(f"{old.stem}{old.suffix}{target.suffix}")
