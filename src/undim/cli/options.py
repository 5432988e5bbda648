"""What several verbs read from their options."""

from __future__ import annotations

from undim.enhance.tiling import Tile, check_tile
from undim.errors import UsageError


def read_tile(text: str) -> Tile:
    """What `--tile` says: "auto", 0 or a side in pixels.

    Raises:
        UsageError: if it says something else.
    """
    tile: Tile = int(text) if text.isascii() and text.isdecimal() else "auto"
    if tile == "auto" != text:
        raise UsageError(
            f"tile is {text!r}; allowed: auto, 0 (never cut a picture), or a side in pixels.",
            code="option",
            subject="tile",
        )
    check_tile(tile)
    return tile
