"""The training loop, on Lightning Fabric.

Fabric gives devices, precision and process groups and leaves the loop to us: the loop is where exact resuming, the time
budget and the choice of crops live, and a trainer that owns the loop would have to be bent for each of them.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import lightning_fabric
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.atomic import write_text
from undim.data.crops import PairCrops, read_rgb
from undim.data.sets import Pair, Split, find_pairs
from undim.errors import CheckpointError, RecipeError, TrainingError
from undim.metrics.networks import network_enhancer
from undim.metrics.quality import Pixels, brightness_error, log_brightness_ratio, psnr
from undim.nets import Backbone, add_adr, create_model
from undim.training.checkpoints import NAME as CHECKPOINT
from undim.training.checkpoints import load_checkpoint, save_checkpoint
from undim.training.losses import ssim_index
from undim.training.recipe import (
    LossSection,
    ModelSection,
    OptimiserSection,
    Recipe,
    dump_recipe,
    find_difference,
    load_recipe,
)
from undim.weights.files import AdrSpec, ModelSpec, check_state, load_model


@dataclass(frozen=True)
class Progress:
    """What one step reports."""

    step: int
    steps: int
    loss: float
    rate: float
    """Learning rate."""
    seconds: float
    """Since the beginning, resumed sessions added up."""
    validation: dict[str, float] | None = None


def build_model(section: ModelSection) -> Backbone:
    """The network that a recipe names, with ADR where it says so."""
    model = create_model(section.name, **section.settings)
    if section.adr is not None:
        add_adr(model, **section.adr.model_dump())
    return model


def start_from(model: Backbone, path: Path, *, partial: bool = False) -> None:
    """Give a network the weights of an Undim file.

    Args:
        model: the network, changed in place.
        path: a .safetensors file.
        partial: whether weights that the file lacks keep their initialisation; what the file has must fit always.

    Raises:
        CheckpointError: if the file is absent or damaged, or does not fit; the first differences are named.
    """
    weights = load_model(path).state_dict()
    expected = model.state_dict()
    lacking = {} if not partial else {name: tensor for name, tensor in expected.items() if name not in weights}
    try:
        check_state({**weights, **lacking}, expected, str(path))
    except CheckpointError as error:
        lacks = not partial and expected.keys() - weights.keys()
        hint = " To keep the initialisation of what it lacks, set model.partial to true." if lacks else ""
        raise CheckpointError(f"{error}{hint}") from error
    model.load_state_dict(weights, strict=False)


def spec_of(recipe: Recipe, steps: int) -> ModelSpec:
    """What a run's weights belong to, with what they were trained on."""
    section = recipe.model
    adr = None if section.adr is None else AdrSpec(**section.adr.model_dump(exclude={"identity"}))
    notes = {
        "data": f"{recipe.data.name}, split train",
        "steps": f"{steps} of batch {recipe.batch}, crops of {recipe.data.crop}",
        "seed": str(recipe.seed),
    }
    return ModelSpec(section.name, section.settings, adr, notes)


def loss_function(output: Tensor, target: Tensor, weights: LossSection) -> Tensor:
    """Weighted sum of the recipe's terms, over N x 3 x H x W in float32."""
    output = output.float()
    loss = weights.l1 * F.l1_loss(output, target)
    if weights.ssim:
        loss = loss + weights.ssim * (1 - ssim_index(output, target))
    return loss


def rate_at(step: int, progress: float, settings: OptimiserSection) -> float:
    """Learning rate: linear warm-up by steps, then a cosine from `lr` to zero over the progress 0..1."""
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    return settings.lr * warm * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the averaged weights towards the model's; the decay grows from 0.1 at first to `decay`."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    sources = dict(model.named_parameters())
    pairs = [(target, sources[name]) for name, target in average.named_parameters()]
    torch._foreach_lerp_([t for t, _ in pairs], [s for _, s in pairs], weight)


def validate(model: nn.Module, pairs: list[tuple[Pixels, Pixels]]) -> dict[str, float]:
    """PSNR in dB and brightness error (rms of the log ratio of mean luma) over pairs of 8-bit pictures."""
    enhance = network_enhancer(model)
    results = [(enhance(low), high) for low, high in pairs]
    return {
        "psnr": float(np.mean([psnr(output, high) for output, high in results])),
        "brightness_error": brightness_error([log_brightness_ratio(output, high) for output, high in results]),
    }


def train_network(
    recipe: Recipe,
    run: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[Backbone, int]:
    """Train by a recipe.

    Args:
        recipe: all choices.
        run: folder of the run; it receives recipe.yaml, metrics.csv and last.ckpt.
        resume: continue from the run's last checkpoint, to the same weights as an unbroken run (with `max_minutes` the
            learning rate follows the clock, and no two runs are the same).
        max_minutes: time budget over all sessions of the run; the learning rate's cosine is laid over it if it ends
            before the steps do.
        report: called after each step.

    Returns:
        The network with its averaged weights, in evaluation mode, and the number of steps done.

    Raises:
        TrainingError: if the loss or its gradient is not finite; the last checkpoint stays.
        RecipeError: if the run folder holds a run already and `resume` is not set, or one of another recipe.
        CheckpointError: if there is nothing to resume, what is there is damaged, or `model.start` does not fit.
    """
    state = _start(recipe, run, resume=resume)
    fabric = lightning_fabric.Fabric(precision=recipe.precision, devices=1)
    fabric.seed_everything(recipe.seed, verbose=False)
    network = build_model(recipe.model)
    if state is None and recipe.model.start is not None:
        start_from(network, recipe.model.start, partial=recipe.model.partial)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = build_model(recipe.model)
    average.load_state_dict(network.state_dict())
    average.to(fabric.device).requires_grad_(requires_grad=False)
    optimiser = torch.optim.AdamW(
        parameter_groups(network, recipe.optimiser), lr=recipe.optimiser.lr, betas=recipe.optimiser.betas
    )
    model, optimiser = fabric.setup(network, optimiser)

    crops = PairCrops(_pairs(recipe, "train"), seed=recipe.seed, identity=recipe.data.identity)
    held_out = [(read_rgb(pair.low), read_rgb(pair.high)) for pair in _pairs(recipe, "val")]
    first, elapsed = 0, 0.0
    if state is None:
        run.mkdir(parents=True, exist_ok=True)
        write_text(run / "recipe.yaml", dump_recipe(recipe))
    else:
        try:
            network.load_state_dict(state["model"])
            average.load_state_dict(state["average"])
            optimiser.load_state_dict(state["optimiser"])
            first, elapsed = int(state["step"]), float(state["seconds"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"The checkpoint in {run} is not one of this recipe's network.") from error

    budget = math.inf if max_minutes is None else 60 * max_minutes
    started = monotonic() - elapsed
    log = MetricsFile(run / "metrics.csv", resume_at=first if resume else None)
    done, rate = first, 0.0
    while done < recipe.steps:
        seconds = monotonic() - started
        progress = max(done / recipe.steps, seconds / budget)
        if progress >= 1:
            break
        rate = rate_at(done, progress, recipe.optimiser)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = crops.batch(done, recipe.batch, recipe.data.crop)
        low, high, context = (fabric.to_device(tensor) for tensor in (batch.low, batch.high, batch.context))
        model.train()
        output = model(low, context) if network.sees_whole else model(low)
        loss = loss_function(output, high, recipe.loss)
        value = float(loss.detach())
        fabric.backward(loss)
        norm = fabric.clip_gradients(model, optimiser, max_norm=recipe.optimiser.clip, error_if_nonfinite=False)
        if not (math.isfinite(value) and norm is not None and bool(torch.isfinite(norm))):
            log.flush()
            kept = "The last checkpoint" if (run / CHECKPOINT).exists() else "Nothing was saved yet"
            raise TrainingError(
                f"The loss is {value} at step {done} and its gradient's norm {norm}: lower optimiser.lr."
                f" {kept}: {run / CHECKPOINT}."
            )
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        update_average(average, network, done, recipe.ema)

        done += 1
        validation = None
        if done % recipe.validate_every == 0 or done == recipe.steps:
            validation = validate(average, held_out)
        log.add(done, value, rate, monotonic() - started, validation)
        if report is not None:
            report(Progress(done, recipe.steps, value, rate, monotonic() - started, validation))
        if done % recipe.checkpoint_every == 0 and done < recipe.steps:
            log.flush()  # before the checkpoint: resuming drops rows that are too new, and cannot invent lost ones
            _save(run, network, average, optimiser, done, monotonic() - started)
    if first < done < recipe.steps and done % recipe.validate_every:
        log.add(done, None, rate, monotonic() - started, validate(average, held_out))
    log.flush()
    _save(run, network, average, optimiser, done, monotonic() - started)
    return average.eval(), done


def _start(recipe: Recipe, run: Path, *, resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from, if any, once the run's folder is seen to fit."""
    if not resume:
        if (run / CHECKPOINT).exists():
            raise RecipeError(f"{run} holds a run already: continue it with --resume, or give another folder.")
        return None
    state = load_checkpoint(run)
    difference = find_difference(recipe, load_recipe(run / "recipe.yaml"))
    if difference is not None:
        raise RecipeError(f"{run} holds a run of another recipe: {difference}. Only steps may change.")
    return state


class MetricsFile:
    """metrics.csv: one row a step that was validated or is a multiple of 50, the mean loss since the row before.

    Args:
        path: the file.
        resume_at: keep the rows up to this step and append; `None` starts anew.
    """

    columns = ("step", "loss", "rate", "seconds", "psnr", "brightness_error")

    def __init__(self, path: Path, *, resume_at: int | None) -> None:
        self.path = path
        self.rows: list[list[str]] = []
        self.losses: list[float] = []
        if resume_at is not None and path.is_file():
            with path.open(newline="") as file:
                self.rows = [row for row in list(csv.reader(file))[1:] if int(row[0]) <= resume_at]

    def add(
        self, step: int, loss: float | None, rate: float, seconds: float, validation: dict[str, float] | None
    ) -> None:
        """Note one step; without a loss, a validation after a step that was noted before."""
        if loss is not None:
            self.losses.append(loss)
        if validation is None and step % 50:
            return
        measured = validation or {}
        figures = [f"{measured[key]:.4f}" if key in measured else "" for key in ("psnr", "brightness_error")]
        self.rows.append(
            [str(step), f"{np.mean(self.losses):.5f}" if self.losses else "", f"{rate:.3e}", f"{seconds:.1f}", *figures]
        )
        self.losses.clear()

    def flush(self) -> None:
        """Write the file anew."""
        text = io.StringIO()
        csv.writer(text).writerows([self.columns, *self.rows])
        write_text(self.path, text.getvalue())


def _pairs(recipe: Recipe, split: Split) -> list[Pair]:
    return find_pairs(recipe.data.name, split, recipe.data.root)


def parameter_groups(network: nn.Module, settings: OptimiserSection) -> Iterator[dict[str, Any]]:
    """Weight decay acts on matrices and kernels only.

    Biases, one temperature a head, and POG's embeddings, whose length has no effect, are left to the loss.
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        kernel = parameter.ndim > 1 and parameter.numel() > parameter.shape[0]
        (decayed if kernel and not name.endswith("embeddings") else others).append(parameter)
    yield {"params": decayed, "weight_decay": settings.weight_decay}
    yield {"params": others, "weight_decay": 0.0}


def _save(
    run: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    state = {
        "model": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    save_checkpoint(state, run)
