"""The folder of a run, and what is written to it when.

    recipe.yaml             every choice, defaults filled in
    last/checkpoint.pt      the newest whole checkpoint
    best.safetensors        the averaged weights of the best validation PSNR (of equal ones, the first), where the run
                            validates
    average.safetensors     the averaged weights at the end
    metrics.csv             one row every 50 steps and every validation
    tensorboard/            the same figures
    sheets/000123.png       dark pictures, outputs and references at that step

Rows are on disk before the checkpoint that follows them; resuming drops what is newer than the checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from undim.atomic import write_text
from undim.errors import CheckpointError, PictureError, RecipeError, TrainingError
from undim.images import Picture, write_picture
from undim.nets import Backbone
from undim.training.checkpoints import NAME as CHECKPOINT
from undim.training.checkpoints import load_checkpoint, save_checkpoint
from undim.training.metrics_file import MetricsFile, Progress, read_rows
from undim.training.network import spec_of
from undim.training.recipe import Recipe, dump_recipe, find_difference, load_recipe
from undim.training.validation import Validation
from undim.weights.files import save_model
from undim.weights.run_files import AVERAGE, BEST

LAST = "last"


def find_state(recipe: Recipe, run: Path, *, resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from; `None` to begin, which includes resuming a run that was killed before its first.

    Raises:
        RecipeError: if the folder holds a run already and `resume` is not set, or one of another recipe.
        CheckpointError: if there is nothing to resume, or what is there is damaged.
    """
    started = (run / LAST / CHECKPOINT).exists()
    if not resume:
        if started:
            raise RecipeError(
                f"{run} holds a run already: resume it, or give another folder.", code="run-exists", subject=str(run)
            )
        return None
    state = None if not started and (run / "recipe.yaml").is_file() else load_checkpoint(run / LAST)
    difference = find_difference(recipe, load_recipe(run / "recipe.yaml"))
    if difference is not None:
        raise RecipeError(
            f"{run} holds a run of another recipe: {difference}. Only steps may change; resuming by"
            f" {run / 'recipe.yaml'} goes on as it was.",
            code="other-recipe",
            subject=str(run),
        )
    return state


class RunFolder:
    """Writes a run's files. On several processes, only the first has one.

    Args:
        run: the folder.
        recipe: of the run.
        state: the checkpoint that the run goes on from; `None` begins.

    Raises:
        TrainingError: from here and from all methods, if the disk is full or refuses otherwise; the last checkpoint
            stays as it was.
        CheckpointError: if the table of a run that goes on is damaged.
    """

    def __init__(self, run: Path, recipe: Recipe, state: dict[str, Any] | None) -> None:
        self.run = run
        self.recipe = recipe
        rows = [] if state is None else read_rows(run / "metrics.csv", state["step"])
        state = state or {}
        self.best: tuple[float, int | None] = state.get("best", (-math.inf, None))
        with self._writing():
            run.mkdir(parents=True, exist_ok=True)
            for draft in run.glob("**/.undim-*.tmp"):  # of a session that was killed while it wrote
                draft.unlink()
            write_text(run / "recipe.yaml", dump_recipe(recipe))
            self.metrics = MetricsFile(run / "metrics.csv", rows=rows, losses=state.get("losses", ()))

    def record(self, progress: Progress, validation: Validation | None, average: Backbone) -> Progress:
        """Note a step; after a validation, also its sheet and, if it is the best so far, the weights.

        Returns:
            The step with what the validation says.
        """
        if validation is not None:
            psnr = validation.figures["psnr"]
            if psnr > self.best[0]:
                self.best = (psnr, progress.step)
                self._save_weights(BEST, average, progress.step, f"best validation PSNR, {psnr:.4f} dB")
            progress = dataclasses.replace(progress, validation=validation.figures, best_step=self.best[1])
        with self._writing():
            self.metrics.add(progress)
            if validation is not None:
                write_picture(Picture(validation.sheet), self.run / "sheets" / f"{progress.step:06d}.png", "png")
                self.metrics.flush()
        return progress

    def checkpoint(self, state: dict[str, Any]) -> None:
        """Write the newest checkpoint: the state of the training, to which the run's own is added."""
        with self._writing():
            self.metrics.flush()
            save_checkpoint({**state, "best": self.best, "losses": list(self.metrics.losses)}, self.run / LAST)

    def finish(self, average: Backbone, steps: int) -> None:
        """Write the averaged weights of the end."""
        self._save_weights(AVERAGE, average, steps, "the end of the run")

    def close(self) -> None:
        """Let go of the files."""
        with self._writing():
            self.metrics.close()

    def kept(self) -> str:
        """A sentence on what is left when training cannot go on."""
        path = self.run / LAST / CHECKPOINT
        return f"The last good checkpoint is {path}." if path.exists() else "There is no checkpoint yet."

    def _save_weights(self, name: str, model: Backbone, steps: int, chosen: str) -> None:
        spec = spec_of(self.recipe, steps)
        spec = dataclasses.replace(spec, notes={**spec.notes, "weights": f"exponential moving average; {chosen}"})
        with self._writing():
            save_model(spec, model, self.run / name, overwrite=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = "" if error.filename is None else f"{error.filename}: "
            raise TrainingError(f"{place}{error.strerror or error}: training cannot go on. {self.kept()}") from error
        except (CheckpointError, PictureError) as error:
            raise TrainingError(f"{error} Training cannot go on. {self.kept()}") from error
