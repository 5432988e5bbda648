"""One cell in a process of its own: train, or go on training, then measure, then write the cell's file.

    python -m undim.study.worker < JOB

The first line of standard input is the job. When the rest of it ends, whoever started the process is gone, and so is
the process at once: nothing that it was writing takes its place half-written.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from undim.errors import UndimError
from undim.nets import Backbone
from undim.redundancy import Journal
from undim.results.study import PLAIN, CellDocument, CellMachine, KernelsAtStep, TrainingTime
from undim.study.measures import measure_diversity, measure_network, read_curve
from undim.study.plan import Measuring
from undim.training.device_stepper import ON_HOST
from undim.training.loop import train_network
from undim.training.metrics_file import Progress
from undim.training.precision import fast_precision
from undim.training.recipe import Recipe
from undim.training.run_folder import LAST
from undim.training.samples import find_split, spread_evenly
from undim.version import __version__

FAILED, MISUSED, ORPHANED, BUSY = 1, 2, 3, 75
"""Exit statuses: a fault; an error about what was given; the starter is gone; another process has the cell."""
PATIENCE = 10.0
"""Seconds to wait for the lock of a process whose starter was killed a moment ago."""


class Job(BaseModel):
    """What a worker is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: str
    recipe: Recipe
    run: Path
    """Folder of the training run."""
    result: Path
    """The cell's file."""
    fingerprint: str
    content: dict[str, Any]
    minutes: float | None
    measure: Measuring
    threads: int


def run_cell(
    job: Job, note: Callable[[str], None] | None = None, report: Callable[[Progress], None] | None = None
) -> None:
    """Train and measure; what is there of an earlier attempt is gone on from.

    Args:
        job: what to do.
        note: takes what is said on the way; by default it goes to standard error.
        report: called after each step of the training.

    Raises:
        UndimError: as `train_network`.
        Timeout: if another process works on the cell.
    """
    say = note or _note
    job.run.mkdir(parents=True, exist_ok=True)
    with FileLock(job.run / "lock", timeout=PATIENCE):
        if job.result.exists():
            return
        torch.set_num_threads(job.threads)
        begun = (job.run / "recipe.yaml").is_file()
        pairs = spread_evenly(find_split(job.recipe.data, "val"), job.measure.pictures)
        with Journal(job.run / "diversity.jsonl", {"fingerprint": job.fingerprint}) as journal:

            def inspect(step: int, network: Backbone) -> None:
                found = measure_diversity(network, pairs, job.measure.crop)
                if found is not None:
                    journal.append(KernelsAtStep(step=step, layers=found).model_dump())

            network, steps = train_network(
                job.recipe,
                job.run,
                resume=begun,
                max_minutes=job.minutes,
                report=report,
                notify=say,
                inspect=inspect,
            )
            # Steps that a killed process had done after its last checkpoint are done again: the last record counts.
            over_training = {one.step: one for one in map(KernelsAtStep.model_validate, journal.records)}
        say("trained; measuring")
        torch.backends.cudnn.allow_tf32 = False  # figures in float32, as on the CPU
        with ON_HOST:  # resets draw weights, and cells may share the process
            measures = measure_network(network, job.recipe, job.measure)
        curve, seconds, images_per_second = read_curve(job.run / "metrics.csv")
        cell = CellDocument(
            variant=job.variant,
            seed=job.recipe.seed,
            fingerprint=job.fingerprint,
            content=job.content,
            steps=steps,
            scores=measures.scores,
            redundancy=measures.redundancy,
            diversity=measures.diversity,
            cost=measures.cost,
            notes=measures.notes,
            curve=curve,
            diversity_over_training=tuple(over_training[step] for step in (0, *curve.step) if step in over_training),
            time=TrainingTime(
                seconds=tuple(seconds),
                images_per_second=images_per_second,
                seconds_per_step=job.recipe.batch / images_per_second,
            ),
            machine=describe_machine(job.recipe, job.threads),
        )
        draft = job.run / job.result.name
        cell.write(draft, indent=None)
        draft.replace(job.result)
        shutil.rmtree(job.run / LAST, ignore_errors=True)  # large, and of no more use


def describe_machine(recipe: Recipe, threads: int) -> CellMachine:
    """Where and with what a cell was run."""
    cuda = torch.cuda.is_available()
    return CellMachine(
        device=torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        precision=fast_precision() if recipe.precision == "auto" else recipe.precision,
        kernels=PLAIN,  # whatever the training's precision
        threads=threads,
        undim=__version__,
        python=platform.python_version(),
        torch=version("torch"),
        numpy=version("numpy"),
    )


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _end_with_starter() -> None:
    """Wait for the end of standard input, then end."""
    while os.read(0, 1):  # not by sys.stdin, whose lock would be held when the interpreter ends
        pass
    os._exit(ORPHANED)


def main() -> int:
    """Carry out the job on standard input; the exit status says how it ended, the last line on standard error why."""
    job = Job.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        run_cell(job)
    except Timeout:
        _note("another process is at work on it")
        return BUSY
    except UndimError as error:
        _note(" ".join(str(error).split()))
        return MISUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
