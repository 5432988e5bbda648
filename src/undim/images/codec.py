"""What a picture format is to Undim: one object that knows its files by their first bytes, decodes and encodes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from undim.errors import PictureError
from undim.images.picture import Metadata, Picture

CheckSize = Callable[[tuple[int, int]], None]
"""Raises PictureError for a width and height that are not to be decoded."""


@dataclass(frozen=True)
class Format:
    """What files of one format hold, for a format that Undim writes.

    Examples:
        >>> from undim.images import FORMATS
        >>> FORMATS["jpg"].alpha, FORMATS["png"].alpha
        (False, True)
    """

    holds: frozenset[str] = frozenset()
    """Names of the fields of `Metadata` that they take byte by byte."""
    alpha: bool = True
    grey: bool = True
    """False where grey is stored as three equal channels."""
    grey_profile: bool = True
    """Whether grey pictures may have a profile of their own."""
    depth: int = 8
    """Most bits per sample."""
    quality: int | None = None
    """Of 100, where none is asked for; None for formats without loss."""
    side: int = 2**31
    """Most pixels in width or height."""


@dataclass(frozen=True)
class Stored:
    """A picture as its file stores it."""

    picture: Picture
    orientation: int = 1
    """How a viewer would turn the stored picture: as in EXIF, 1 to 8."""
    turned: bool = False
    """Whether the library that decoded it has done so."""
    palette: bool = False
    """Whether the file has the colours in a palette, which is RGB also where all of them are grey."""
    lost: tuple[str, ...] = ()
    """What of the file no output takes: names of rows of `undim.images.carried.LOST`."""


class Codec(ABC):
    """One picture format: a subclass in `undim.images.codecs` and a row of `undim.images.formats.CODECS`."""

    name: str
    """The word that chooses it as an output format, and the suffix of new names without its dot."""
    title: str
    """What people call it."""
    suffixes: tuple[str, ...]
    """Lower case, with the dot."""
    writes: Format | None = None
    """None for a format that is read and then written as PNG."""
    readable: bool = True
    """False for one that is known, and named when it is met, but not read."""

    @abstractmethod
    def sniff(self, header: bytes, suffix: str) -> bool:
        """Whether a file is of this format, by its first 64 bytes, and by its suffix only where these do not tell."""

    @abstractmethod
    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """The whole picture; pixels that were not decoded are an error.

        Args:
            stream: seekable, at any position.
            check_size: is to be called with width and height before memory is taken for them.

        Raises:
            PictureError: with the reason, in words that follow the file's name.
            Exception: any other means that the file is damaged.
        """

    def encode(self, picture: Picture, stream: BinaryIO, quality: int | None) -> None:
        """Write a picture that fits `writes` into a binary stream at position 0.

        Raises:
            OSError, ValueError: if that fails.
        """
        raise PictureError(f"cannot be written: {self.title} files are only read")

    def fit(self, metadata: Metadata) -> tuple[Metadata, tuple[str, ...]]:
        """Metadata without what is too long or too damaged for this format, though it takes its kind; with notes."""
        return metadata, ()
