"""What a walk over resets takes over from a journal: the whole question that figures answer, pictures included."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from undim.redundancy.journal import Journal
from undim.redundancy.resetting import Initialisation, find_bare_values
from undim.redundancy.sites import Layer
from undim.weights.files import checksum

Reading = dict[str, float | None]
"""What one reset of one layer showed on one picture: names and figures; infinite ones are None."""
T = TypeVar("T")
_LENGTH = 32
"""Hexadecimal digits of a checksum."""


class Ledger(Generic[T]):
    """Readings that are there, those that come, and the pictures that they are of.

    Without a journal it only keeps the readings; nothing is hashed.

    Args:
        journal: asked the question, so that readings of another one are refused.
        question: what the readings depend on but for the pictures, see `describe_question`; made only if there is a
            journal.
        pictures: each is used once and let go. The checksums of a sequence are part of the question; those of a stream
            are compared as they come.
        take_checksums: of the pictures that one element holds.

    Raises:
        UsageError: as `Journal.ask`, and `pictures` for one that differs.
    """

    def __init__(
        self,
        journal: Journal | None,
        question: Callable[[], Mapping[str, object]],
        pictures: Iterable[T],
        take_checksums: Callable[[T], list[str]],
    ) -> None:
        self.readings: dict[tuple[int, str], list[Reading]] = {}
        """Number of a picture and name of a target -> one reading for each seed."""
        self._journal = journal
        self._pictures = pictures
        self._take = take_checksums
        self._checksums: list[str] = []
        self._listed: list[list[str]] | None = None
        self._seen: dict[int, str] = {}
        if journal is None:
            return
        if isinstance(pictures, Sequence):
            self._listed = [take_checksums(element) for element in pictures]
        every = None if self._listed is None else [one for element in self._listed for one in element]
        journal.ask({**question(), "pictures": every})
        for record in journal.records:
            if "readings" in record:
                self._seen[record["picture"]] = record["checksum"]
                self.readings[record["picture"], record["layer"]] = record["readings"]

    def pictures(self) -> Iterator[T]:
        """The pictures, each one compared with that of the journal before it is given."""
        if self._journal is None:
            yield from self._pictures
            return
        asked: list[str] | None = self._journal.answers("pictures")
        for place, element in enumerate(self._pictures):
            for here in self._take(element) if self._listed is None else self._listed[place]:
                number = len(self._checksums)
                if asked is not None and number >= len(asked):
                    raise self._journal.refuse("number of pictures", len(asked), f"{number + 1} or more")
                there = self._seen.get(number, here) if asked is None else asked[number]
                if there != here:
                    raise self._journal.refuse(f"pictures[{number}]", there, here)
                self._checksums.append(here)
            yield element
        there_are = len(asked) if asked is not None else max(self._seen, default=-1) + 1
        if there_are > len(self._checksums):
            raise self._journal.refuse("number of pictures", there_are, len(self._checksums))
        if asked is None:
            self._journal.add_to_question("pictures", self._checksums)

    def add(self, picture: int, layer: str, readings: list[Reading]) -> None:
        """Take down the readings of all seeds."""
        self.readings[picture, layer] = readings
        if self._journal is not None:
            self._journal.append(
                {"picture": picture, "layer": layer, "checksum": self._checksums[picture], "readings": readings}
            )


def describe_question(
    measure: str,
    model: nn.Module,
    targets: Mapping[str, Sequence[Layer]],
    seeds: Sequence[int],
    initialisation: Initialisation | None = None,
) -> dict[str, object]:
    """What figures of resets depend on, beside the pictures, in values that JSON can hold.

    How the walk is done (reuse of activations, memory, batches, device) is not part of it: it changes no figure.

    Args:
        measure: what is read off the outputs.
        model: its weights and buffers count by their checksum, its structure by that of its printed form.
        targets: names and layers of what is reset together; what a layer keeps, such as its ADR, counts.
        seeds: of the draws.
        initialisation: where bare parameters come from; what they start at with the first seed counts.

    Raises:
        ModelError: if a layer cannot be re-initialised.
    """
    state = model.state_dict()
    weights = {name: value.detach().cpu() for name, value in state.items() if isinstance(value, Tensor)}
    rest = {name: value for name, value in state.items() if name not in weights}
    printed = re.sub(r"0x[0-9a-f]+", "", f"{model!r} {rest!r}")  # addresses differ from run to run
    return {
        "measure": measure,
        "weights": checksum(weights)[:_LENGTH],
        "network": f"{type(model).__name__} {hashlib.sha256(printed.encode()).hexdigest()[:_LENGTH]}",
        "layers": {name: [_describe(layer) for layer in layers] for name, layers in targets.items()},
        "seeds": list(seeds),
        "bare": find_bare_values(model, [*targets.values()], seeds[0], initialisation),
    }


def checksum_picture(picture: Tensor) -> str:
    """A digest of the type, shape and values of a picture on any device."""
    values = picture.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{values.dtype} {tuple(values.shape)}\n".encode())
    digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_LENGTH]


def _describe(layer: Layer) -> str:
    return layer.name + "".join(f" without {kept}" for kept in layer.kept)
