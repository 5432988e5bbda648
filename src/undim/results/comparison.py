"""compare.json of `undim compare`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from undim.results.document import Document, Number, Record
from undim.results.scores import ScoredPicture


class ComparedModel(Record):
    """One model, and what it took."""

    name: str
    """What the page calls it, and the folder of its outputs."""
    model: str
    """As it was given."""
    runtime: str | None = None
    """What ran it, with the precision; null if it could not be loaded."""
    device: str | None = None
    file: str | None = None
    sha256: str | None = None
    notes: dict[str, str] = Field(default_factory=dict)
    """What the file says about itself, such as its licence."""
    load_seconds: Number | None = None
    seconds: Number | None = None
    """Of one picture, the mean; without reading and writing files."""
    megapixels_per_second: Number | None = None
    peak_memory: int | None = None
    """Bytes of its process at most, Python and libraries included; null where the system does not tell."""
    peak_device_memory: int | None = None
    """Bytes on a GPU at most."""
    pictures: int = 0
    """How many it was measured on."""
    psnr: Number | None = None
    """dB, the mean; null without references, or where an output equals its reference."""
    ssim: Number | None = None
    niqe: Number | None = None
    failure: str | None = None
    """Why it could not be loaded."""


class ComparedPicture(Record):
    """One picture that was given."""

    name: str
    path: str
    width: int | None = None
    height: int | None = None
    reference: str | None = None
    failure: str | None = None
    """Why it, or its reference, could not be taken."""


class ComparedOutput(Record):
    """What one model made of one picture."""

    picture: str
    model: str
    seconds: Number | None = None
    output: str | None = None
    """The file, from the document's folder; null if it failed."""
    scores: ScoredPicture | None = None
    failure: str | None = None


class ComparisonDocument(Document):
    """Models on the same pictures: what each made of each, how good it is, time and memory."""

    NAME: ClassVar[str] = "comparison"
    WRITER: ClassVar[str] = "undim compare"

    models: tuple[ComparedModel, ...]
    pictures: tuple[ComparedPicture, ...]
    outputs: tuple[ComparedOutput, ...]
    threads: int
    """CPU threads of each model."""
    protocol: str
    versions: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
