"""Results as they come, one line of JSON each, so that a run that was killed continues."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from undim.errors import UsageError

FORMAT = 1
_FORMAT, _QUESTION = "format", "question"
_SHOWN = 80
"""Letters of a value that a message shows."""


class Journal:
    """A file of records; the first line holds the facts of the run, and what was measured. A context manager.

    Args:
        path: begun where it is not there, else continued.
        facts: what the records depend on, in values that JSON can hold. What measures with the journal adds what it
            knows itself (see `ask`), so that an empty mapping will do.

    Raises:
        UsageError: if the file holds records of other facts, or something else than records (code
            "other-question"); or if a fact has one of the names that the journal keeps for itself.
        OSError: if it cannot be written.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from undim.redundancy import Journal
        >>> with tempfile.TemporaryDirectory() as place, Journal(Path(place, "dmr.jsonl"), {"on": "val"}) as journal:
        ...     journal.records
        []
    """

    def __init__(self, path: Path, facts: Mapping[str, object]) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        """Those that were there, and those appended since."""
        kept = [name for name in (_FORMAT, _QUESTION) if name in facts]
        if kept:
            raise UsageError(f"A journal keeps the name {kept[0]!r} for itself: give the fact another name.")
        self._facts: dict[str, Any] = _as_json({_FORMAT: FORMAT, **facts})
        self._question: dict[str, Any] | None = None
        lines = _whole_lines(path)
        if lines:
            head, *self.records = (_parse(line, path) for line in lines)
            self._question = head.pop(_QUESTION, None)
            for record in [one for one in self.records if one.keys() == {_QUESTION}]:
                self._question = {**(self._question or {}), **record[_QUESTION]}
                self.records.remove(record)
            if not self.records and _FORMAT in head:
                lines = []  # of a run that ended before its first result: there is nothing to lose
            else:
                self._refuse_other(head, self._facts)
        self._stream = path.open("ab")
        self._stream.truncate(sum(map(len, lines)))
        if not lines:
            self._begin(None)

    def ask(self, question: Mapping[str, object]) -> None:
        """Say what the records to come depend on, beside the facts.

        The first question of a journal is written into its first line; from then on only the same one is answered.

        Args:
            question: in values that JSON can hold; what is None is not known (yet) and fits anything.

        Raises:
            UsageError: if the journal holds records of another question (code "other-question"); the message names
                what differs, with both values.
        """
        asked = _as_json(question)
        if not self.records:
            self._begin(asked)
        elif self._question is None:
            raise UsageError(
                f"{self.path} holds results that do not say of which layers, seeds and pictures they are: an earlier"
                " version of Undim wrote them, or something else did. Give another place, or delete the file to begin"
                " anew.",
                code="other-question",
                subject=str(self.path),
            )
        else:
            unknown = {key for one in (self._question, asked) for key, value in one.items() if value is None}
            known = ({key: one[key] for key in one if key not in unknown} for one in (self._question, asked))
            self._refuse_other(*known)

    def answers(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """A fact of the question that the records are of; None where it is not known."""
        return None if self._question is None else self._question.get(name)

    def add_to_question(self, name: str, value: object) -> None:
        """Write down a fact of the question that was not known when it was asked."""
        self._question = {**(self._question or {}), name: _as_json(value)}
        self._write({_QUESTION: {name: value}})

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; it is on disk when this returns."""
        self._write(record)
        self.records.append(record)

    def find(self, **keys: object) -> dict[str, Any] | None:
        """The first record that has these values."""
        return next((one for one in self.records if all(one.get(key) == value for key, value in keys.items())), None)

    def refuse(self, name: str, there: object, here: object) -> UsageError:
        """The error about a fact that differs, to be raised."""
        return UsageError(
            f"{self.path} holds results with {name} = {_short(there)}, and this run has {_short(here)}: give another"
            " place for the results, or delete the file to begin anew.",
            code="other-question",
            subject=str(self.path),
        )

    def _refuse_other(self, there: dict[str, Any], here: dict[str, Any]) -> None:
        for key in there | here:
            difference = _find_difference(key, there.get(key), here.get(key))
            if difference is not None:
                raise self.refuse(*difference)

    def _begin(self, question: dict[str, Any] | None) -> None:
        """Write the first line; whatever the file held is gone."""
        self._question = question
        self._stream.truncate(0)
        self._write(self._facts if question is None else {**self._facts, _QUESTION: question})

    def _write(self, record: Mapping[str, object]) -> None:
        self._stream.write(json.dumps(record).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def _as_json(value: object) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value as it will be when read again: tuples are lists, and so on."""
    return json.loads(json.dumps(value))


def _whole_lines(path: Path) -> Sequence[bytes]:
    """The lines that were written to their end; a last one that was not is dropped."""
    if not path.is_file():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _parse(line: bytes, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path} holds a line that is not JSON: delete the file to begin anew.") from error
    if not isinstance(record, dict):
        raise UsageError(f"{path} is not a file of results: give another place for them.")
    return record


def _find_difference(name: str, there: object, here: object) -> tuple[str, object, object] | None:
    """The name and both values of the first thing that differs: of long lists and mappings, what differs in them."""
    if there == here:
        return None
    if max(len(json.dumps(there)), len(json.dumps(here))) < _SHOWN:
        return name, there, here
    if isinstance(there, dict) and isinstance(here, dict):
        for key in there | here:
            if there.get(key) != here.get(key):
                return _find_difference(f"{name}.{key}", there.get(key), here.get(key))
    if isinstance(there, list) and isinstance(here, list):
        for place, (one, other) in enumerate(zip(there, here, strict=False)):
            if one != other:
                return _find_difference(f"{name}[{place}]", one, other)
        return f"number of {name}", len(there), len(here)
    return name, there, here


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < _SHOWN else f"{text[: _SHOWN - 3]}..."
