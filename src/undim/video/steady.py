"""What frames share: the look of the scene, smoothed over time and begun anew at cuts.

What the network takes from the whole picture (gains, attention maps, generated kernels) would differ a little from
frame to frame and make the video flicker. It is taken from a frame now and then, and all frames follow it slowly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from undim.arrays import Floats, Pixels
from undim.enhance.tiling import shrink
from undim.runtimes.base import WholePicture

FOLLOW = 1.0
"""Seconds after which a change of the scene has come through to 63 %."""
PAUSE = 0.4
"""Seconds between two frames that are looked at."""
CUT = 0.5
"""Mean change of the thumbnail from one frame to the next, relative to its mean, that is a cut."""
STILL = 0.02
"""Mean change of a coarse thumbnail since the last look, relative to its mean, that may be noise alone."""
THUMBNAIL = (32, 48)
"""Height and width of the thumbnails that are compared."""
COARSE = 8
"""Places of a thumbnail, on a side, that one of a coarse thumbnail stands for."""
_BLACK = 0.01


class SteadyLook:
    """The look of each frame of a video, in the order of time.

    Args:
        survey: gives the look of one frame, as `Enhancer.survey` does.

    Attributes:
        cuts: how many cuts there were so far.
    """

    def __init__(self, survey: Callable[[Pixels], WholePicture]) -> None:
        self._survey = survey
        self._before: Floats | None = None
        self._seen = np.zeros((), np.float32)
        self._target: WholePicture | None = None
        self._look: WholePicture | None = None
        self._looked_at = self._time = -math.inf
        self.cuts = 0

    def __call__(self, pixels: Pixels, time: float) -> WholePicture:
        """The look of the next frame.

        Args:
            pixels: H x W x 3.
            time: in seconds.
        """
        thumbnail = shrink(pixels, THUMBNAIL)
        cut = self._before is not None and is_cut(self._before, thumbnail)
        self.cuts += cut
        if cut or self._look is None or self._target is None:
            self._target = self._look = self._survey(pixels)
            self._looked_at, self._seen = time, _coarse(thumbnail)
        elif (time - self._looked_at >= PAUSE or time < self._time) and _moved(self._seen, _coarse(thumbnail), STILL):
            self._target = self._survey(pixels)
            self._looked_at, self._seen = time, _coarse(thumbnail)
        step = 0.0 if cut else 1 - math.exp(-max(0.0, time - self._time) / FOLLOW)
        self._look = _towards(self._look, self._target, step)
        self._before, self._time = thumbnail, time
        return self._look


def is_cut(before: Floats, after: Floats) -> bool:
    """Whether two frames, as thumbnails of one shape in [0, 1], are of different scenes."""
    return _moved(before, after, CUT)


def _moved(before: Floats, after: Floats, bound: float) -> bool:
    return bool(np.abs(after - before).mean() > bound * (min(before.mean(), after.mean()) + _BLACK))


def _coarse(thumbnail: Floats) -> Floats:
    height, width = (side // COARSE for side in THUMBNAIL)
    means: Floats = thumbnail.reshape(-1, height, COARSE, width, COARSE).mean((2, 4))
    return means


def _towards(look: WholePicture, target: WholePicture, step: float) -> WholePicture:
    share = np.float32(step)
    return WholePicture(
        look.thumbnail + share * (target.thumbnail - look.thumbnail),
        look.statistics + share * (target.statistics - look.statistics),
    )
