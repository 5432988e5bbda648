"""CPU seconds of one thread that the small variants of other systems take: a training step, and a picture.

    python benchmarks/other_systems.py

A step is of 4 crops of 64 x 64 with AdamW, without and with ADR and POG, the fastest of four; a picture is 600 x 400.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from undim.nets import add_adr, create_model
from undim.nets.backbone import Backbone

NETWORKS = ("snr_net_small", "llformer_small", "retinexmamba_small")
ROUNDS = 4


def measure(work: Callable[[], object]) -> float:
    """CPU seconds of all threads."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def time_step(model: Backbone) -> float:
    """A training step, the fastest of some."""
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
    crops = torch.rand(4, 3, 64, 64)

    def step() -> None:
        optimiser.zero_grad()
        (model(crops) - crops).abs().mean().backward()
        optimiser.step()

    return min(measure(step) for _ in range(ROUNDS))


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| network | step, s | with ADR and POG, s | picture, s |\n|---|---|---|---|")
    for name in NETWORKS:
        model = create_model(name)
        steps = [time_step(each) for each in (model, add_adr(create_model(name), kernel="pog"))]
        with torch.no_grad():
            picture = measure(partial(model.eval(), torch.rand(1, 3, 400, 600)))
        print(f"| {name} | {steps[0]:.2f} | {steps[1]:.2f} | {picture:.1f} |", flush=True)


if __name__ == "__main__":
    main()
