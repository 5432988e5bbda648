"""Runs a network with ONNX Runtime.

The contract of a model file: input `image`, N x 3 x H x W float32, RGB in [0, 1]; output `enhanced` of the same
shape, not clamped; N, H and W free, H and W at least `MINIMUM_SIDE`.

A file that can be tiled has an entry `tile_overlap` in its header and what `undim.nets.tile_network` says: a second
output `statistics`, and inputs `source`, `rows`, `columns`, `thumbnail` and `given` that all have defaults, so that a
run that feeds only `image` takes it as a whole picture.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from undim.errors import ModelError, PictureError

MINIMUM_SIDE = 8
"""Fewest pixels on a side that a model is asked to take."""

INPUT, OUTPUT = "image", "enhanced"
TILE_INPUTS = ("source", "rows", "columns", "thumbnail", "given")
TILE_OUTPUT = "statistics"
OVERLAP_KEY = "tile_overlap"
"""Entry of the header: how many pixels neighbouring tiles share at least."""
_KEPT_PIXELS = 1_000_000
"""Up to this size a run keeps its memory for the next one, which saves a fifth of the time; above, it gives it back."""
_FATAL = 4
"""ONNX Runtime's log severity at which it prints nothing that is not raised as well."""


class OnnxRuntime:
    """One loaded model on the CPU, for one run at a time: a run already uses all its threads."""

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
        self._running: onnxruntime.RunOptions | None = None
        self._stopped = False

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Enhance N x 3 x H x W float32 RGB in [0, 1]; the result has that shape and is not clamped.

        Raises:
            PictureError: if the run fails, as it does when memory runs out, or was stopped.
        """
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL
        if batch.shape[-2] * batch.shape[-1] > _KEPT_PIXELS:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._running = options
        if self._stopped:
            raise PictureError("was stopped")
        try:
            (enhanced,) = self._session.run([OUTPUT], {INPUT: batch}, options)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise PictureError(_reason(error, batch.shape)) from error
        finally:
            self._running = None
        if enhanced.shape != batch.shape or enhanced.dtype != np.float32:
            raise ModelError(
                f"The model returned {enhanced.dtype} {enhanced.shape} for float32 {batch.shape}; "
                f"{OUTPUT!r} must have the shape and type of {INPUT!r}."
            )
        result: npt.NDArray[np.float32] = enhanced
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


def _reason(error: Exception, shape: tuple[int, ...]) -> str:
    text = _line(error)
    size = f"{shape[3]} x {shape[2]}"
    if isinstance(error, MemoryError) or "alloc" in text.lower() or "memory" in text.lower():
        return f"is {size} pixels, too large for the free memory; make it smaller, or use fewer jobs (--jobs)"
    return f"could not be enhanced at {size} pixels: {text}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
