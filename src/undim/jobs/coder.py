"""Who turns files into pictures and pictures into files: this process, or one that a bad file may take down."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Protocol

from undim.cancellation import NEVER, Cancellation
from undim.images import Picture, encode_picture, read_picture, write_picture


class Coder(Protocol):
    """Reads and writes pictures, as `undim.images` does, which says what arguments, results and errors are."""

    def read(
        self,
        source: str | os.PathLike[str] | bytes,
        suffix: str = "",
        *,
        max_pixels: int,
        on_size: Callable[[int, int], None],
        cancellation: Cancellation = NEVER,
    ) -> Picture:
        """`read_picture`, which also ends when the cancellation is asked, if it can."""

    def encode(
        self, picture: Picture, form: str, quality: int | None, *, cancellation: Cancellation = NEVER
    ) -> tuple[bytes, tuple[str, ...]]:
        """`encode_picture`: the file's content, and the notes."""

    def write(
        self,
        picture: Picture,
        target: str | os.PathLike[str],
        form: str,
        quality: int | None,
        *,
        cancellation: Cancellation = NEVER,
    ) -> tuple[str, ...]:
        """`write_picture`: the notes."""


class _Here:
    """This process: nothing is copied, and what has begun cannot be ended."""

    def read(
        self,
        source: str | os.PathLike[str] | bytes,
        suffix: str = "",
        *,
        max_pixels: int,
        on_size: Callable[[int, int], None],
        cancellation: Cancellation = NEVER,
    ) -> Picture:
        cancellation.check()
        return read_picture(source, max_pixels=max_pixels, on_size=on_size, suffix=suffix)

    def encode(
        self, picture: Picture, form: str, quality: int | None, *, cancellation: Cancellation = NEVER
    ) -> tuple[bytes, tuple[str, ...]]:
        cancellation.check()
        stream = io.BytesIO()
        lost = encode_picture(picture, stream, form, quality)
        return stream.getvalue(), lost

    def write(
        self,
        picture: Picture,
        target: str | os.PathLike[str],
        form: str,
        quality: int | None,
        *,
        cancellation: Cancellation = NEVER,
    ) -> tuple[str, ...]:
        cancellation.check()
        return write_picture(picture, target, form, quality)


HERE: Coder = _Here()
