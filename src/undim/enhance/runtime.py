"""Runs a network with ONNX Runtime.

The contract of a model file: input `image`, N x 3 x H x W float32, RGB in [0, 1]; output `enhanced` of the same
shape, not clamped; N, H and W free, H and W at least `MINIMUM_SIDE`.

A file that can be tiled has an entry `tile_overlap` in its header and what `undim.nets.tile_network` says: a second
output `statistics`, and inputs `source`, `rows`, `columns`, `weights`, `thumbnail` and `given` that all have defaults,
so that a run that feeds only `image` takes it as a whole picture.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from undim.enhance.tiling import Floats
from undim.errors import ModelError, PictureError

MINIMUM_SIDE = 8
"""Fewest pixels on a side that a model is asked to take."""

INPUT, OUTPUT = "image", "enhanced"
TILE_INPUTS = ("source", "rows", "columns", "weights", "thumbnail", "given")
TILE_OUTPUT = "statistics"
OVERLAP_KEY = "tile_overlap"
"""Entry of the header: how many pixels neighbouring tiles share at least."""
_CROPS, _GIVEN = 1, 2
"""Values of `source`: as in `undim.nets.whole_picture`, which this path cannot import."""
_KEPT_PIXELS = 1_000_000
"""Up to this size a run keeps its memory for the next one, which saves a fifth of the time; above, it gives it back."""
_FATAL = 4
"""ONNX Runtime's log severity at which it prints nothing that is not raised as well."""


class OutOfMemoryError(PictureError):
    """A run needed more memory than there was; a smaller tile may do."""


@dataclass(frozen=True)
class WholePicture:
    """What a tile is told of the picture that it is a part of."""

    thumbnail: Floats
    """1 x 3 x h x w, of the size that `Tiling` tells."""
    statistics: Floats
    """1 x K, what `OnnxRuntime.look` returned."""


@dataclass(frozen=True)
class Tiling:
    """What a model file says of itself that can be tiled."""

    overlap: int
    """How many pixels neighbouring tiles share at least; a multiple of 8."""
    thumbnail: tuple[int, int]
    """Height and width of the whole picture's thumbnail."""
    statistics: int
    """K, how many numbers its layers take from the whole picture."""


class OnnxRuntime:
    """One loaded model on the CPU, for one run at a time: a run already uses all its threads.

    Attributes:
        tiling: how pictures can be cut into tiles that agree; `None` if the file does not tell.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ModelError(f"threads is {threads}; allowed: 1 or more, or None for one per core.")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads or 0
        options.enable_mem_pattern = False  # pictures differ in size, and plans per shape would pile up
        try:
            self._session = onnxruntime.InferenceSession(
                os.fspath(Path(path)), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise ModelError(f"{os.fspath(path)} is not a model that ONNX Runtime loads: {_line(error)}") from error
        self._check_contract(os.fspath(path))
        self.tiling = self._read_tiling()
        self._running: onnxruntime.RunOptions | None = None
        self._stopped = False

    def run(self, batch: Floats, whole: WholePicture | None = None, *, more: bool = False) -> Floats:
        """Enhance N x 3 x H x W float32 RGB in [0, 1]; the result has that shape and is not clamped.

        Args:
            batch: pictures, or tiles of one picture.
            whole: what to tell the tiles; only where `tiling` is not `None`.
            more: whether to keep the memory, since a run of the same size follows.

        Raises:
            OutOfMemoryError: if memory runs out.
            PictureError: if the run fails otherwise or was stopped.
        """
        feeds: dict[str, npt.NDArray[np.generic]] = {INPUT: batch}
        if whole is not None:
            given = (np.array(_GIVEN), None, None, None, whole.thumbnail, whole.statistics)
            feeds |= {name: value for name, value in zip(TILE_INPUTS, given, strict=True) if value is not None}
        enhanced = self._run(OUTPUT, feeds, more=more)
        if enhanced.shape != batch.shape or enhanced.dtype != np.float32:
            raise ModelError(
                f"The model returned {enhanced.dtype} {enhanced.shape} for float32 {batch.shape}; "
                f"{OUTPUT!r} must have the shape and type of {INPUT!r}."
            )
        return enhanced

    def look(
        self,
        crops: Floats,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        weights: Floats,
        thumbnail: Floats,
    ) -> Floats:
        """The statistics, 1 x K, that crops of a picture have together. Only where `tiling` is not `None`.

        Args:
            crops: N x 3 x H x W as for `run`.
            rows: those of the H / 8 rows of cells that count, counted from 0.
            columns: likewise.
            weights: how much each of the N counts, summing to one.
            thumbnail: of the whole picture, as in `WholePicture`.

        Raises:
            PictureError: as `run`.
        """
        given = (np.array(_CROPS), rows, columns, weights, thumbnail)
        return self._run(TILE_OUTPUT, {INPUT: crops, **dict(zip(TILE_INPUTS[:5], given, strict=True))}, more=True)

    def _run(self, output: str, feeds: dict[str, npt.NDArray[np.generic]], *, more: bool) -> Floats:
        batch = feeds[INPUT]
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL
        if not more and batch.size > 3 * _KEPT_PIXELS:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._running = options
        if self._stopped:
            raise PictureError("was stopped")
        try:
            result: Floats = self._session.run([output], feeds, options)[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise _told(error, batch.shape) from error
        finally:
            self._running = None
        return result

    def stop(self) -> None:
        """End the run in progress, if any, and refuse further ones. May be called from any thread."""
        self._stopped = True
        running = self._running
        if running is not None:
            running.terminate = True

    def _check_contract(self, path: str) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = f"inputs {[node.name for node in inputs]}, outputs {[node.name for node in outputs]}"
        if [node.name for node in inputs] != [INPUT] or OUTPUT not in [node.name for node in outputs]:
            raise ModelError(f"{path} has {found}; an Undim model has input {INPUT!r} and output {OUTPUT!r}.")
        shape = inputs[0].shape
        if inputs[0].type != "tensor(float)" or len(shape) != 4 or shape[1] != 3:
            raise ModelError(f"{path} takes {inputs[0].type} {shape}; an Undim model takes float N x 3 x H x W.")
        if any(isinstance(side, int) for side in shape[2:]):
            raise ModelError(f"{path} takes only {shape[2]} x {shape[3]}; export it with free height and width.")

    def _read_tiling(self) -> Tiling | None:
        facts = self._session.get_modelmeta().custom_metadata_map
        shapes = {node.name: node.shape for node in self._session.get_overridable_initializers()}
        overlap = facts.get(OVERLAP_KEY, "")
        if not overlap.isdecimal() or not set(TILE_INPUTS) <= shapes.keys():
            return None
        _, _, height, width = shapes["thumbnail"]
        return Tiling(int(overlap), (height, width), shapes["given"][1])


def _told(error: Exception, shape: tuple[int, ...]) -> PictureError:
    text = _line(error)
    size = f"{shape[3]} x {shape[2]}"
    if isinstance(error, MemoryError) or "alloc" in text.lower() or "memory" in text.lower():
        return OutOfMemoryError(
            f"is {size} pixels, too large for the free memory; make it smaller, or use fewer jobs (--jobs)"
        )
    return PictureError(f"could not be enhanced at {size} pixels: {text}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
