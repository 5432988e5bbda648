"""What is measured of a trained network: scores, redundancy, diversity of its kernels, cost."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from undim.arrays import Bytes
from undim.data.reading import read_rgb
from undim.data.sets import Pair, Split
from undim.errors import DataError
from undim.metrics.evaluation import Case, check_cases, evaluate_cases
from undim.metrics.networks import network_enhancer, to_tensor
from undim.nets import Backbone, count_flops
from undim.nets.adr import Adr
from undim.nets.dynamic_conv import DynamicKernel, GeneratedConv2d
from undim.nets.pog import PogKernel
from undim.redundancy import WalkSettings, diversity, dmr, harmfulness
from undim.results.document import Record, finite
from undim.results.study import (
    KernelFigures,
    LayerRedundancy,
    LearningCurve,
    NetworkCost,
    NetworkRedundancy,
    SplitScores,
)
from undim.study.plan import Measuring
from undim.training.recipe import Recipe
from undim.training.samples import find_split, spread_evenly
from undim.training.validation import FIGURES

SCORED: tuple[Split, ...] = ("val", "val-scenes", "test")


class NetworkMeasures(Record):
    """All measures of a trained network."""

    scores: dict[str, SplitScores | None]
    """By split; None where the data set has no such split here."""
    redundancy: NetworkRedundancy
    diversity: dict[str, KernelFigures] | None
    """None where no kernels are generated."""
    cost: NetworkCost
    notes: tuple[str, ...]


def measure_network(model: Backbone, recipe: Recipe, measuring: Measuring) -> NetworkMeasures:
    """All measures of a trained network.

    Args:
        model: on any device.
        recipe: that it was trained by; its first data set is measured on.
        measuring: how much.
    """
    scores: dict[str, SplitScores | None] = {}
    notes: list[str] = []
    for split in SCORED:
        try:
            pairs = find_split(recipe.data, split)
        except DataError as error:
            scores[split] = None
            notes.append(f"{split}: {error}")
            continue
        scores[split] = _score(model, spread_evenly(pairs, measuring.scored))
    pairs = spread_evenly(find_split(recipe.data, "val"), measuring.pictures)
    return NetworkMeasures(
        scores=scores,
        redundancy=_redundancy(model, pairs, measuring),
        diversity=measure_diversity(model, pairs, measuring.crop),
        cost=NetworkCost(
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            adr_parameters=_added_parameters(model),
            flops=count_flops(model, rule=model.flops_rule),
            flops_rule=model.flops_rule,
        ),
        notes=tuple(notes),
    )


def measure_diversity(
    model: Backbone, pairs: Sequence[Pair], crop: int | None = None
) -> dict[str, KernelFigures] | None:
    """How much generated kernels differ between the dark pictures, by generator; None without generated kernels.

    Args:
        model: on any device.
        pairs: whose dark pictures are looked at.
        crop: side in pixels of the square in the middle of each; None: the whole.
    """
    if not any(isinstance(module, PogKernel | DynamicKernel) for module in model.modules()):
        return None
    result = diversity(model, (to_tensor(cut_middle(read_rgb(pair.low), crop)) for pair in pairs))
    return {
        name: KernelFigures(
            cosine_distance=one.cosine_distance, variation=one.variation, effective_rank=one.effective_rank
        )
        for name, one in result.layers.items()
    }


def cut_middle(pixels: Bytes, side: int | None) -> Bytes:
    """The square of that side in the middle of an H x W x 3 picture, or what there is of it; None: the whole."""
    if side is None:
        return pixels
    top, left = (max(0, (whole - side) // 2) for whole in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def read_curve(metrics: Path) -> tuple[LearningCurve, list[float], float]:
    """A run's learning curve from its metrics.csv.

    Returns:
        step, mean loss since the validation before, and each figure of the validations; seconds from the beginning to
        each; and the median of images a second, of loading and training together.
    """
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    curve: dict[str, list[float]] = {name: [] for name in ("step", "loss", *FIGURES)}
    seconds: list[float] = []
    losses: list[tuple[int, float]] = []  # steps and mean loss of the rows since the last validation
    before = 0
    for row in rows:
        step = int(row["step"])
        losses.append((step - before, float(row["loss"])))
        before = step
        if row["psnr"]:
            curve["step"].append(step)
            curve["loss"].append(round(sum(n * loss for n, loss in losses) / sum(n for n, _ in losses), 7))
            for name in FIGURES:
                curve[name].append(float(row[name]))
            seconds.append(float(row["seconds"]))
            losses = []
    return (
        LearningCurve.model_validate(curve),
        seconds,
        statistics.median(float(row["images_per_second"]) for row in rows),
    )


def _score(model: Backbone, pairs: Sequence[Pair]) -> SplitScores:
    cases = [Case(pair.name, pair.low, pair.high) for pair in pairs]
    check_cases(cases)
    scores = evaluate_cases(cases, network_enhancer(model)).scores
    return SplitScores(
        psnr=finite(scores.psnr),
        ssim=scores.ssim,
        psnr_gt_mean=finite(scores.psnr_gt_mean),
        brightness_error=scores.brightness_error,
        niqe=scores.niqe,
        pictures={
            image.name: (_short(image.psnr), _short(image.ssim), _short(image.log_brightness_ratio))
            for image in scores.images
        },
    )


def _redundancy(model: Backbone, pairs: Sequence[Pair], measuring: Measuring) -> NetworkRedundancy:
    def both() -> Iterator[tuple[Tensor, Tensor]]:
        for pair in pairs:
            low, high = (cut_middle(read_rgb(path), measuring.crop) for path in (pair.low, pair.high))
            yield to_tensor(low), to_tensor(high)

    seeds = tuple(range(measuring.draws))
    ratios = dmr(model, (low for low, _ in both()), seeds=seeds, adr="both")
    harm = harmfulness(model, both(), seeds=seeds, settings=WalkSettings())
    kept, by_layer = ratios.kept, ratios.per_layer
    return NetworkRedundancy(
        pictures=len(pairs),
        draws=measuring.draws,
        crop=measuring.crop,
        dmr=ratios.mean,
        dmr_adr_kept=ratios.mean if kept is None else kept.mean,
        poi=statistics.fmean(layer.poi for layer in harm.layers.values()),
        layers={
            name: LayerRedundancy(dmr=finite(by_layer[name]), poi=layer.poi, psnr_change=layer.change)
            for name, layer in harm.layers.items()
        },
        notes=tuple(dict.fromkeys((*ratios.notes, *harm.notes))),
    )


def _added_parameters(model: Backbone) -> int:
    """Those of ADR and of generated convolutions, without biases that were there before."""
    added: list[nn.Module] = [module for module in model.modules() if isinstance(module, Adr)]
    added += [module.generator for module in model.modules() if isinstance(module, GeneratedConv2d)]
    return sum(parameter.numel() for module in added for parameter in module.parameters())


def _short(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)
