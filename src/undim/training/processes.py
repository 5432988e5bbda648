"""The devices and processes that train together, by Lightning Fabric."""

from __future__ import annotations

import os

from lightning_fabric import Fabric, seed_everything
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy

from undim.errors import RecipeError
from undim.nets import Backbone
from undim.training.precision import Precision
from undim.training.recipe import Recipe


def seed(number: int) -> None:
    """Seed all of a process's random numbers: Python's, NumPy's and PyTorch's."""
    seed_everything(number, verbose=False)


def join(recipe: Recipe, network: Backbone, precision: Precision) -> Fabric:
    """Devices and processes as the environment says: one process, or those that `torchrun` started.

    Raises:
        RecipeError: if a batch does not split evenly over the processes and their micro-batches.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    for batch in {recipe.batch, *(stage.batch for stage in recipe.progressive)}:
        if batch % (world * recipe.accumulate):
            raise RecipeError(
                f"A batch of {batch} does not split evenly over {world} processes with {recipe.accumulate}"
                " micro-batches each: choose another batch."
            )
    strategy: str | Strategy = "auto"
    if world > 1:
        # Parameters that nothing reads get no gradient, which DDP has to be told.
        strategy = DDPStrategy(find_unused_parameters=bool(network.unread))
    fabric = Fabric(precision=precision, devices=here, num_nodes=world // here, strategy=strategy)
    fabric.launch()
    return fabric
