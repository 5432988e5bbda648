"""The contract of a model file: names and numbers that its writer and all its runtimes agree on.

Input `image`, N x 3 x H x W float32, RGB in [0, 1]; output `enhanced` of the same shape, not clamped; N, H and W free,
H and W at least `MINIMUM_SIDE`.

A file that can be tiled has an entry `tile_overlap` in its header and what `undim.nets.tile_network` says: a second
output `statistics`, and inputs `source`, `rows`, `columns`, `weights`, `thumbnail` and `given` that all have defaults,
so that a run that feeds only `image` takes it as a whole picture.
"""

from __future__ import annotations

from typing import Literal

MINIMUM_SIDE = 8
"""Fewest pixels on a side that a model is asked to take."""

INPUT, OUTPUT = "image", "enhanced"
TILE_INPUTS = ("source", "rows", "columns", "weights", "thumbnail", "given")
TILE_OUTPUT = "statistics"
OVERLAP_KEY = "tile_overlap"
"""Entry of the header: how many pixels neighbouring tiles share at least."""
OWN, CROPS, GIVEN = 0, 1, 2
"""Values of `source`, from where layers take what they see of the whole picture: from their own input; from all
pictures of the batch together, as crops of one; from what is given."""
CELL = 8
"""Pixels on a side of the cells that pictures are cut along: the networks halve the size three times."""

Precision = Literal["float32", "bfloat16"]
"""What a network computes in; its input and output are float32 always."""
