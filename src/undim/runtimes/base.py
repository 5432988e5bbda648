"""What every runtime offers: a loaded model that keeps `undim.contract`. The runtimes themselves have a file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from undim.arrays import Floats
from undim.cancellation import NEVER, Cancellation
from undim.contract import CROPS, GIVEN, INPUT, OUTPUT, OVERLAP_KEY, TILE_INPUTS, TILE_OUTPUT, Precision
from undim.errors import ModelError, PictureError

Feeds = dict[str, npt.NDArray[np.generic]]
"""Inputs by name: `image`, and those of `TILE_INPUTS` that differ from their defaults."""


class OutOfMemoryError(PictureError):
    """A run needed more memory than there was; a smaller tile may do."""


@dataclass(frozen=True)
class WholePicture:
    """What a tile is told of the picture that it is a part of."""

    thumbnail: Floats
    """1 x 3 x h x w, of the size that `Tiling` tells."""
    statistics: Floats
    """1 x K, what `Runtime.look` returned."""


@dataclass(frozen=True)
class Tiling:
    """What a model file says of itself that can be tiled."""

    overlap: int
    """How many pixels neighbouring tiles share at least; a multiple of 8."""
    thumbnail: tuple[int, int]
    """Height and width of the whole picture's thumbnail."""
    statistics: int
    """K, how many numbers its layers take from the whole picture."""


class Runtime(ABC):
    """One loaded model, for one run at a time: a run already uses all its threads.

    Attributes:
        name: what runs it, one of `undim.runtimes.table.RUNTIMES`.
        precision: what it computes in.
        tiling: how pictures can be cut into tiles that agree; `None` if the file does not tell.
    """

    name: str
    precision: Precision = "float32"
    tiling: Tiling | None = None
    _cancellation: Cancellation = NEVER

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"

    def run(self, batch: Floats, whole: WholePicture | None = None, *, more: bool = False) -> Floats:
        """Enhance N x 3 x H x W float32 RGB in [0, 1]; the result has that shape and is not clamped.

        Args:
            batch: pictures, or tiles of one picture.
            whole: what to tell the tiles; only where `tiling` is not `None`.
            more: whether to keep the memory, since a run of the same size follows.

        Raises:
            OutOfMemoryError: if memory runs out.
            CancelledError: if it was asked to end.
            PictureError: if the run fails otherwise.
        """
        feeds: Feeds = {INPUT: batch}
        if whole is not None:
            feeds |= {"source": np.array(GIVEN), "thumbnail": whole.thumbnail, "given": whole.statistics}
        (enhanced,) = self._ask((OUTPUT,), feeds, more=more)
        _check_output(enhanced, batch)
        return enhanced

    def look(
        self,
        crops: Floats,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        weights: Floats,
        thumbnail: Floats,
        given: Floats | None = None,
    ) -> Floats:
        """The statistics, 1 x K, that crops of a picture have together. Only where `tiling` is not `None`.

        What a layer sees depends on the statistics of those before it: on `given`, or on these crops' own.

        Args:
            crops: N x 3 x H x W as for `run`.
            rows: those of the H / 8 rows of cells that count, counted from 0; neighbours, in order.
            columns: likewise.
            weights: how much each of the N counts, summing to one.
            thumbnail: of the whole picture, as in `WholePicture`.
            given: statistics of the whole picture, 1 x K, for the layers to use; `None` for those of the crops. A file
                exported by an earlier version returns them as they are.

        Raises:
            PictureError: as `run`.
        """
        feeds = _feed_crops(crops, rows, columns, weights, thumbnail)
        if given is not None:
            feeds |= {"source": np.array(GIVEN), "given": given}
        (statistics,) = self._ask((TILE_OUTPUT,), feeds, more=True)
        return statistics

    def look_and_run(
        self,
        crops: Floats,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        weights: Floats,
        thumbnail: Floats,
        *,
        more: bool = False,
    ) -> tuple[Floats, Floats]:
        """What `look` returns, and what `run` makes of the crops if told that, in one run instead of two.

        Args:
            crops: as for `look`.
            rows: as for `look`.
            columns: as for `look`.
            weights: as for `look`.
            thumbnail: as for `look`.
            more: as for `run`.

        Returns:
            The enhanced crops, N x 3 x H x W, and the statistics, 1 x K.

        Raises:
            PictureError: as `run`.
        """
        feeds = _feed_crops(crops, rows, columns, weights, thumbnail)
        enhanced, statistics = self._ask((OUTPUT, TILE_OUTPUT), feeds, more=more)
        _check_output(enhanced, crops)
        return enhanced, statistics

    def share_cores(self) -> None:  # noqa: B027 - most have nothing to do
        """From now on, let the work around the runs have the cores while a run's threads wait for each other.

        A run on its own takes a little longer then. Does nothing where the runtime has no such setting.
        """

    @contextmanager
    def under(self, cancellation: Cancellation) -> Iterator[Self]:
        """While in the block, runs end when the cancellation is asked."""
        self._cancellation = cancellation
        try:
            yield self
        finally:
            self._cancellation = NEVER

    @abstractmethod
    def infer(
        self, outputs: Sequence[str], feeds: Feeds, *, more: bool, cancellation: Cancellation = NEVER
    ) -> list[Floats]:
        """These outputs, each once, for these inputs; any exception is told as a failure of the run.

        Raises soon when the cancellation is asked while it runs. Leaves nothing of this run behind, however it ends.
        """

    def _ask(self, outputs: Sequence[str], feeds: Feeds, *, more: bool) -> list[Floats]:
        self._cancellation.check()
        try:
            return self.infer(outputs, feeds, more=more, cancellation=self._cancellation)
        except Exception as error:  # the runtimes' exceptions share no base class
            self._cancellation.check()
            raise _told(error, feeds[INPUT].shape) from error


def describe(error: Exception) -> str:
    """A runtime's exception in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def check_contract(path: str, inputs: list[str], outputs: list[str], kind: str, shape: list[int | str | None]) -> None:
    """Raise ModelError unless a file keeps the contract.

    Args:
        path: of the file.
        inputs: names of those without default.
        outputs: names.
        kind: type of the elements of the first input, "float" for float32.
        shape: of the first input; what is free is not a number.
    """
    if inputs != [INPUT] or OUTPUT not in outputs:
        raise ModelError(
            f"{path} has inputs {inputs}, outputs {outputs}; an Undim model has input {INPUT!r} and output {OUTPUT!r}."
        )
    if kind != "float" or len(shape) != 4 or shape[1] != 3:
        raise ModelError(f"{path} takes {kind} {shape}; an Undim model takes float N x 3 x H x W.")
    if any(isinstance(side, int) for side in shape[2:]):
        raise ModelError(f"{path} takes only {shape[2]} x {shape[3]}; export it with free height and width.")


def read_tiling(facts: dict[str, str], shapes: dict[str, list[int]]) -> Tiling | None:
    """How a file can be tiled, from the entries of its header and the shapes of its inputs that have defaults."""
    overlap = facts.get(OVERLAP_KEY, "")
    if not overlap.isdecimal() or not set(TILE_INPUTS) <= shapes.keys():
        return None
    _, _, height, width = shapes["thumbnail"]
    return Tiling(int(overlap), (height, width), shapes["given"][1])


def check_threads(threads: int | None) -> None:
    """Raise ModelError unless threads is `None` or at least 1."""
    if threads is not None and threads < 1:
        raise ModelError(f"threads is {threads}; allowed: 1 or more, or None for one per core.")


def _feed_crops(
    crops: Floats, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], weights: Floats, thumbnail: Floats
) -> Feeds:
    """The inputs of a run in which crops tell each other what they have together."""
    feeds: Feeds = {INPUT: crops, "source": np.array(CROPS)}
    feeds |= {"rows": rows, "columns": columns, "weights": weights, "thumbnail": thumbnail}
    return feeds


def _check_output(enhanced: Floats, batch: Floats) -> None:
    if enhanced.shape != batch.shape or enhanced.dtype != np.float32:
        raise ModelError(
            f"The model returned {enhanced.dtype} {enhanced.shape} for float32 {batch.shape}; "
            f"{OUTPUT!r} must have the shape and type of {INPUT!r}."
        )


def _told(error: Exception, shape: tuple[int, ...]) -> PictureError:
    text = describe(error)
    size = f"{shape[3]} x {shape[2]}"
    if isinstance(error, MemoryError) or "alloc" in text.lower() or "memory" in text.lower():
        return OutOfMemoryError(
            f"is {size} pixels, too large for the free memory; make it smaller, or do fewer at once",
            code="out-of-memory",
        )
    return PictureError(f"could not be enhanced at {size} pixels: {text}")
