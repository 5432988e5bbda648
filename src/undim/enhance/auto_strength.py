"""How much a picture needs to be raised, and where: what `strength="auto"` goes by.

A place is dark if its surroundings are, edges kept (a guided filter of the luma by itself, He et al. 2013): a black
coat in a bright room is not. A picture of which hardly anything is dark needs nothing at all. The bounds are those that
tell the dark from the well-lit training pictures of LOL-v1 and SICE.

What is lit is left as it is only where it is brighter than what was dark becomes: a window that stayed at its luma of
0.3 in a wall that was raised to 0.6 would be a grey hole with a bright rim. How far the network raises this picture's
dark places is seen on its reduced copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from undim.arrays import Floats, Pixels, Span
from undim.enhance.planes import enlarge, luma, reduce, regress, to_planes

DARK = 0.12
"""Luma of the surroundings below which a place counts as dark."""
FEW, MANY = 0.05, 0.25
"""Share of dark places up to which a picture is left as it is, and from which on it is raised fully."""
RAISED, KEPT = 0.12, 0.32
"""Luma of the surroundings up to which a place is raised fully, and from which on it is left as it is, at least."""
BOUNDS = tuple(np.linspace(KEPT, 1.2, 23).tolist())
"""What is tried instead of KEPT, where a picture's tones would change their order."""
TONES = 24
"""Levels of the surroundings whose order is looked at."""
RARE = 0.001
"""Share of places below which a level is not looked at."""
FALL = 0.02
"""Luma by which a brighter level may come out below a darker one."""
GRID = 192
"""Longer side of the reduced copy by which surroundings are found."""
RADIUS = 8
"""Of the surroundings, in places of that copy."""
RIDGE = 0.02
"""Variance of the luma that an edge between two surroundings has at least."""


@dataclass(frozen=True)
class Need:
    """What one picture needs."""

    whole: float
    """From 0 (nothing at all) to 1."""
    slope: Floats
    """With `offset`, the luma of the surroundings from a place's own, h x w."""
    offset: Floats
    small: Floats
    """The reduced copy that they are of, 3 x h x w in [0, 1]."""
    kept: float = KEPT
    """Luma of the surroundings from which on a place is left as it is."""

    def following(self, output: Floats) -> Need:
        """The need of a picture whose reduced copy the network makes into this, 3 x h x w, 1 as white."""
        light, output = luma(self.small), output.clip(0, 1)
        levels = np.clip((self.slope * light + self.offset) * TONES, 0, TONES - 1).astype(np.intp).ravel()
        counts = np.bincount(levels, minlength=TONES)
        seen = counts > RARE * light.size
        before, after = (
            np.bincount(levels, values.ravel(), TONES)[seen] / counts[seen] for values in (light, luma(output))
        )
        falls = []
        for bound in BOUNDS:
            share = np.float32(self.whole) * (1 - _smooth_step(before.astype(np.float32), RAISED, bound))
            tones = before + share * (after - before)
            falls.append(float((np.maximum.accumulate(tones) - tones).max(initial=0)))
        # What falls whatever the bound is, such as among dark places alone, is the network's own doing.
        return replace(self, kept=next(b for b, fall in zip(BOUNDS, falls, strict=True) if fall <= min(falls) + FALL))

    def strength(self, pixels: Pixels, size: Span, rows: Span, columns: Span) -> Floats:
        """How far to go from the input to the network's output, h x w in [0, 1], for a part of the picture.

        Args:
            pixels: the part, h x w x 3 or h x w.
            size: height and width of the picture.
            rows: those of the part.
            columns: likewise.
        """
        around = luma(to_planes(pixels)) * enlarge(self.slope, size, rows, columns)
        around += enlarge(self.offset, size, rows, columns)
        return np.float32(self.whole) * (1 - _smooth_step(around, RAISED, self.kept))


def find_need(pixels: Pixels, threads: int | None = None) -> Need:
    """What a picture needs, before it is known what the network makes of it.

    Args:
        pixels: H x W x 3 or H x W.
        threads: how many bands are in work at once; one per core if None.
    """
    height, width = pixels.shape[:2]
    factor = max(1.0, max(height, width) / GRID)
    small, _ = reduce(pixels, (math.ceil(height / factor), math.ceil(width / factor)), threads)
    light = luma(small)
    slope, offset = regress(light, light, RADIUS, RIDGE)
    share = float((slope * light + offset < DARK).mean())
    return Need(float(_smooth_step(np.float32(share), FEW, MANY)), slope, offset, small)


def _smooth_step(values: Floats | np.float32, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high` on, 3 t^2 - 2 t^3 between."""
    t = ((values - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    stepped: Floats = t * t * (3 - 2 * t)
    return stepped
