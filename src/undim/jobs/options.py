"""How pictures are to be enhanced, read and written: checked once, whatever front door they came through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from undim.enhance.exposure import check_exposure
from undim.enhance.inputs import check_strength
from undim.enhance.tiling import Tile, check_tile
from undim.errors import UsageError
from undim.images import FORMATS, MAX_PIXELS
from undim.runtimes.precision import PrecisionWish, check_precision
from undim.runtimes.table import DEFAULT_RUNTIME, RuntimeWish, check_runtime
from undim.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    from undim.enhance.enhancer import Enhancer


@dataclass(frozen=True)
class EnhanceOptions:
    """What is the same for all pictures of a run.

    Raises:
        UsageError: for a value that is not allowed; its `subject` is the field's name.
    """

    model: str = DEFAULT_MODEL
    """A shipped model's name, or a model file."""
    strength: float = 1.0
    """0 (the input) to 1 (the network's output)."""
    exposure: float = 0.0
    """-2 to 2 stops."""
    fast: bool = False
    """Whether large pictures go through the network at a reduced size."""
    tile: Tile = "auto"
    """Side of the tiles in pixels, 0 for none, or "auto"."""
    runtime: RuntimeWish = DEFAULT_RUNTIME
    precision: PrecisionWish = "auto"
    threads: int | None = None
    """CPU threads of each picture; one per core if None."""
    form: str | None = None
    """Name of the output format; None for that of the input."""
    quality: int | None = None
    """1 to 100, of formats with loss; None for each format's own."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures are refused."""
    overwrite: bool = False
    """Whether outputs that exist are replaced."""

    def __post_init__(self) -> None:
        check_tile(self.tile)
        check_runtime(self.runtime)
        check_precision(self.precision)
        object.__setattr__(self, "strength", check_strength(self.strength))
        object.__setattr__(self, "exposure", check_exposure(self.exposure))
        if self.form is not None and self.form not in FORMATS:
            raise UsageError(f"There is no output format {self.form!r}; allowed: {', '.join(FORMATS)}.", subject="form")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise _refuse("quality", self.quality, "1 to 100")
        if self.max_pixels < 1:
            raise _refuse("max_pixels", self.max_pixels, "1 or more")
        if self.threads is not None and self.threads < 1:
            raise _refuse("threads", self.threads, "1 or more")


def open_enhancer(options: EnhanceOptions, *, expect_many: bool = False, max_waiting: int | None = None) -> Enhancer:
    """The enhancer that these options ask for.

    Args:
        options: see there.
        expect_many: as of `Enhancer`.
        max_waiting: likewise.

    Raises:
        UndimError: as `Enhancer`.
    """
    from undim.enhance.enhancer import Enhancer  # ONNX Runtime loads only after all usage errors are told

    return Enhancer(
        options.model,
        threads=options.threads,
        tile=options.tile,
        fast=options.fast,
        runtime=options.runtime,
        precision=options.precision,
        expect_many=expect_many,
        max_waiting=max_waiting,
    )


def _refuse(name: str, value: object, allowed: str) -> UsageError:
    return UsageError(f"{name} is {value}; allowed: {allowed}.", code="option", subject=name)
