"""What several verbs read from their options."""

from __future__ import annotations

import math

from undim.enhance.inputs import Strength, check_strength
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


def read_strength(text: str) -> Strength:
    """What `--strength` says: "auto" or a number from 0 to 1.

    Raises:
        UsageError: if it says something else.
    """
    if text == "auto":
        return "auto"
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if math.isnan(strength):
        raise UsageError(
            f"strength is {text!r}; allowed: 0 (the input) to 1 (fully enhanced), or auto.",
            code="option",
            subject="strength",
        )
    return check_strength(strength)
