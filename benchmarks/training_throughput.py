"""How much ADR with POG slows training: images per second of a backbone with and without, step by step in turns.

    python benchmarks/training_throughput.py [--data lol-v1] [--rounds 7]

Crops of 256, batch 8, bf16 where the machine has it in hardware (or what --precision says), forward, backward and
the optimiser's step. The second kernel's decode layer is not at zero, as it is at the start with `identity`, so that
every gradient is computed. Beside the ratio stands how far the generated kernels spread over the pictures.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from undim.nets.adr import Adr
from undim.nets.backbone import QkvAttention
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="lol-v1")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="auto", choices=("auto", "32-true", "bf16-mixed"))
    options = parser.parse_args()
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
        crops = load_crops(recipes[0])
        steppers = [Stepper(recipe) for recipe in recipes]
        times: tuple[list[float], list[float]] = ([], [])
        for step in range(options.rounds + 1):
            batch = crops.batch(step, options.batch, options.crop)
            for stepper, spent in zip(steppers, times, strict=True):
                began = time.perf_counter()
                stepper.run(batch, step, 1e-4)
                spent.append(time.perf_counter() - began)
        ratios = [with_adr / base for base, with_adr in zip(times[0][1:], times[1][1:], strict=True)]  # first: warm-up
        speeds = [options.batch / statistics.median(spent[1:]) for spent in times]
        kernels = spread(steppers[1], batch.low, batch.context)
        print(f"| {name} | {speeds[0]:.2f} | {speeds[1]:.2f} | {statistics.median(ratios) - 1:+.1%} | {kernels} |")


if __name__ == "__main__":
    main()
