"""Formats that are known but not read: they are named as failures, never passed over."""

from __future__ import annotations

from typing import BinaryIO

from undim.errors import PictureError
from undim.images.codec import CheckSize, Codec, Stored


class Unread(Codec):
    """A format by its first bytes."""

    readable = False

    def __init__(self, name: str, title: str, suffixes: tuple[str, ...], starts: tuple[bytes, ...]) -> None:
        self.name, self.title, self.suffixes, self._starts = name, title, suffixes, starts

    def sniff(self, header: bytes, suffix: str) -> bool:
        """One of the starts."""
        return header.startswith(self._starts)

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """Never."""
        raise PictureError(
            f"is a {self.title} picture, which this version does not read; convert it to TIFF or PNG first",
            code="not-a-picture",
        )
