"""How much ADR with POG slows training: images per second of a backbone with and without, step by step in turns.

    python benchmarks/training_throughput.py [--data lol-v1] [--rounds 7]
    python benchmarks/training_throughput.py --study studies/a_cidnet_small.yaml [--rounds 7]

Crops of 256, batch 8, bf16 where the machine has it in hardware (or what --precision says), forward, backward and
the optimiser's step. The second kernel's decode layer is not at zero, as it is at the start with `identity`, so that
every gradient is computed. Beside the ratio stands how far the generated kernels spread over the pictures. With
--study the networks, crops, batch and precision are those of a study's variants, as they start.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from undim.data.crops import Batch
from undim.nets.adr import Adr
from undim.nets.backbone import QkvAttention
from undim.study.plan import load_study
from undim.training.precision import fast_precision
from undim.training.recipe import AdrSection, DataSection, ModelSection, Recipe
from undim.training.samples import load_crops
from undim.training.stepper import Stepper

NETWORKS = {"candela": AdrSection(bottleneck=8, embedding=32), "cidnet": AdrSection(bottleneck=32, embedding=64)}


def spread(stepper: Stepper, images: torch.Tensor, context: torch.Tensor) -> str:
    """Standard deviation over pictures of each generated kernel, relative to its mean size, smallest to largest."""
    seen: list[float] = []

    def look(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, Adr):
            kernels = module.kernels(inputs[0].float())
            seen.extend(float(k.std(0).square().mean().sqrt() / k.square().mean().sqrt()) for k in kernels)

    adrs = [part.adr for part in stepper.network.modules() if isinstance(part, QkvAttention) and part.adr is not None]
    hooks = [adr.register_forward_pre_hook(look) for adr in adrs]
    with torch.no_grad():
        stepper.network(images, context) if stepper.network.sees_whole else stepper.network(images)
    for hook in hooks:
        hook.remove()
    return f"{min(seen):.2%} to {max(seen):.2%} of the kernels' size" if seen else "-"


def time_in_turns(recipes: list[Recipe], rounds: int) -> tuple[list[Stepper], list[list[float]], Batch]:
    """Seconds of each recipe's steps, all on the same crops, one step of each in turns; the first is a warm-up."""
    recipe = recipes[0]
    crops = load_crops(recipe)
    steppers = [Stepper(recipe) for recipe in recipes]
    times: list[list[float]] = [[] for _ in recipes]
    for step in range(rounds + 1):
        batch = crops.batch(step, recipe.batch, recipe.data.crop)
        for stepper, spent in zip(steppers, times, strict=True):
            began = time.perf_counter()
            stepper.run(batch, step, 1e-4)
            spent.append(time.perf_counter() - began)
    return steppers, [spent[1:] for spent in times], batch


def compare(times: list[float], base: list[float]) -> str:
    """The median of paired steps' ratios, as an overhead."""
    return f"{statistics.median(one / other for one, other in zip(times, base, strict=True)) - 1:+.1%}"


def time_study(path: Path, rounds: int) -> None:
    """Print how long the steps of a study's variants take, of its first seed."""
    plan = load_study(path)
    cells = [cell for cell in plan.cells if cell.recipe.seed == plan.seeds[0]]
    cells.sort(key=lambda cell: cell.variant != plan.base)
    recipe = cells[0].recipe
    _, times, _ = time_in_turns([cell.recipe for cell in cells], rounds)
    print(f"{torch.get_num_threads()} threads, crops of {recipe.data.crop}, batch {recipe.batch}, {recipe.precision}")
    print("| variant | images/s | overhead (median of paired steps) |")
    print("|---|---|---|")
    for cell, spent in zip(cells, times, strict=True):
        overhead = "-" if cell is cells[0] else compare(spent, times[0])
        print(f"| {cell.variant} | {recipe.batch / statistics.median(spent):.2f} | {overhead} |")


def main() -> None:
    """Time what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="lol-v1")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="auto", choices=("auto", "32-true", "bf16-mixed"))
    parser.add_argument("--study", type=Path)
    options = parser.parse_args()
    if options.study is not None:
        time_study(options.study, options.rounds)
        return
    precision = fast_precision() if options.precision == "auto" else options.precision
    print(f"{torch.get_num_threads()} threads, crops of {options.crop}, batch {options.batch}, {precision}")
    print("| network | base, images/s | + ADR + POG, images/s | overhead (median of paired steps) | kernels' spread |")
    print("|---|---|---|---|---|")
    for name in options.networks:
        recipes = [
            Recipe.model_validate(
                {
                    "model": ModelSection(name=name, adr=adr),
                    "data": DataSection(name=options.data, crop=options.crop),
                    "precision": precision,
                    "batch": options.batch,
                    "steps": 1000,
                }
            )
            for adr in (None, NETWORKS[name])
        ]
        steppers, times, batch = time_in_turns(recipes, options.rounds)
        speeds = [options.batch / statistics.median(spent) for spent in times]
        kernels = spread(steppers[1], batch.low, batch.context)
        print(f"| {name} | {speeds[0]:.2f} | {speeds[1]:.2f} | {compare(times[1], times[0])} | {kernels} |")


if __name__ == "__main__":
    main()
