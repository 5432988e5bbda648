"""One look for all pictures of a series: a burst, a time-lapse, a panorama's parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from undim.enhance.survey import average
from undim.errors import PictureError, UsageError
from undim.images import read_picture
from undim.jobs.plan import STREAM, Task
from undim.runtimes.base import WholePicture

if TYPE_CHECKING:
    from undim.enhance.enhancer import Enhancer


def check_series(tasks: Sequence[Task]) -> None:
    """Raise UsageError if a picture can be read only once."""
    if any(task.source == STREAM for task in tasks):
        raise UsageError("A series is looked at first, and standard input can be read only once: give files.")


def find_common_look(
    tasks: Sequence[Task], enhancer: Enhancer, max_pixels: int, done: Callable[[], None] = lambda: None
) -> WholePicture | None:
    """What all pictures of a series are to share; None where none of them can be read.

    What cannot be read is passed over here, and told when its turn comes.

    Args:
        tasks: of the series.
        enhancer: of a network that can be tiled.
        max_pixels: larger pictures are passed over.
        done: called after each picture.

    Raises:
        ModelError: if the model cannot be tiled.
    """
    looks: list[WholePicture] = []
    for task in tasks:
        with suppress(PictureError):
            if task.refusal is None:
                looks.append(enhancer.survey(read_picture(task.source, max_pixels=max_pixels).pixels))
        done()
    return average(looks) if looks else None
