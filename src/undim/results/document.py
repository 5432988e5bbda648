"""What all documents of results share: how they are written, read and versioned, and how damage is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from undim.atomic import write_text
from undim.errors import UsageError

Number = Annotated[float, Field(allow_inf_nan=False)]
"""A figure that JSON can hold. Where a figure may be infinite, the document has null, and its field says so."""
Whole = int | Number
"""A figure that stays a whole number where it is one."""
Interval = tuple[Number, Number]
"""Both ends of a 95 % confidence interval."""
PREFIX = "undim."


class Record(BaseModel):
    """Part of a document. Keys that this version does not know are kept, and written again."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Document(Record):
    """One file of results, written and read by one class.

    The file says first what it is: `"schema": "undim.NAME/VERSION"`. Files of versions of Undim that did not write this
    key are read as version 1, whose other keys they have.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int] = 1
    WRITER: ClassVar[str]
    """The command that writes it."""
    REMEDY: ClassVar[str] = "measure it anew"
    """What to do about a damaged file."""

    @classmethod
    def schema_name(cls) -> str:
        """What stands under the key `schema`."""
        return f"{PREFIX}{cls.NAME}/{cls.VERSION}"

    def as_json(self) -> dict[str, Any]:
        """In values that JSON can hold, as the file has them."""
        return {"schema": self.schema_name(), **self.model_dump(mode="json")}

    def text(self, indent: int | None = 1) -> str:
        """The text of the file; without `indent` it is one line."""
        return json.dumps(self.as_json(), indent=indent, allow_nan=False, ensure_ascii=False) + "\n"

    def write(self, path: Path, indent: int | None = 1) -> None:
        """Write the file, whole or not at all; without `indent`, in one line.

        Raises:
            OSError: if it cannot be written.
        """
        write_text(path, self.text(indent))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            UsageError: if it cannot be read, is another document, of a version that this one does not know, or damaged;
                the message names the file and the first place that is wrong.
        """
        return cls.parse(load_json(path), path)

    @classmethod
    def parse(cls, content: object, path: Path) -> Self:
        """Make a document of a file's content; `path` is for messages. Errors as `read`."""
        if not isinstance(content, dict):
            raise UsageError(f"{path} is not what {cls.WRITER} writes: move it elsewhere.")
        there = {key: value for key, value in content.items() if key != "schema"}
        cls.check_version(content, path)
        try:
            return cls.model_validate(there)
        except ValidationError as error:
            raise UsageError(f"{path} is damaged, {cls.REMEDY}: {explain(error)}.") from error

    @classmethod
    def check_version(cls, content: dict[str, Any], path: Path) -> None:
        """Raise `UsageError` for another document, or one of a version that this Undim does not know."""
        found = content.get("schema", cls.schema_name())
        if found == cls.schema_name():
            return
        name, _, version = str(found).rpartition("/")
        if name != f"{PREFIX}{cls.NAME}":
            raise UsageError(f"{path} is of the kind {found!r}; {cls.schema_name()!r} was expected: move it elsewhere.")
        raise UsageError(
            f"{path} is of version {version} of {name}; this Undim reads version {cls.VERSION}: update Undim, or"
            f" {cls.REMEDY}."
        )


def finite(value: float | None) -> float | None:
    """The value, or None where it is infinite or not a number: JSON has neither."""
    return value if value is not None and math.isfinite(value) else None


def load_json(path: Path) -> object:
    """The content of a JSON file.

    Raises:
        UsageError: if it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: it is not JSON ({error}).") from error


def explain(error: ValidationError) -> str:
    """The first thing that is wrong with a document: its key, and what of it."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
