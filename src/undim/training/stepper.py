"""One step of training: the same in the loop, in a dry run, and on every process of several."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from undim.data.crops import Batch
from undim.errors import CheckpointError
from undim.nets.cidnet import ColourTransform
from undim.nets.view import look_at_views, told
from undim.training.losses import Constants, recipe_loss
from undim.training.network import build_model, parameter_groups, start_from, update_average
from undim.training.precision import fast_precision
from undim.training.recipe import Recipe


class Stepper:
    """Network, its moving average and optimiser, on the device and in the process group that the environment gives.

    Under `torchrun`, each process takes its share of a step's pictures; gradients are averaged over the processes.

    Args:
        recipe: all choices.
        state: what `state()` returned; `None` begins anew, from `model.start` if the recipe has it.
        fused: whether the optimiser's step is one kernel that takes its rate from the device, as a captured step needs.

    Raises:
        RecipeError: if a batch does not split evenly over the processes and their micro-batches.
        CheckpointError: if the state is not of this recipe's network, or `model.start` does not fit.
    """

    def __init__(self, recipe: Recipe, state: dict[str, Any] | None = None, *, fused: bool = False) -> None:
        from undim.training.processes import join, seed  # it takes seconds to import: no help page waits for it

        self.recipe = recipe
        self.accumulate = recipe.accumulate
        seed(recipe.seed)
        self.network = build_model(recipe.model)
        if state is None and recipe.model.start is not None:
            section = recipe.model
            start_from(self.network, recipe.model.start, partial=section.partial, fresh=section.fresh)
        self.average = build_model(recipe.model)
        self.average.load_state_dict(self.network.state_dict())
        if recipe.channels_last:
            lay_out(self.network)

        self.precision = fast_precision() if recipe.precision == "auto" else recipe.precision
        self.fabric = join(recipe, self.network, self.precision)
        self.average.to(self.fabric.device).requires_grad_(requires_grad=False)
        settings = recipe.optimiser
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        groups = parameter_groups(self.network, settings)
        more = {"fused": True, "capturable": True} if fused else {}
        optimiser = kind(groups, lr=settings.lr, betas=settings.betas, **more)
        module: nn.Module = torch.compile(self.network) if recipe.compile else self.network  # type: ignore[assignment]
        self._model, self._optimiser = self.fabric.setup(module, optimiser)
        colour = next((part for part in self.network.modules() if isinstance(part, ColourTransform)), None)
        self._density = None if colour is None else colour.density_k
        self._constants = Constants.beside(torch.zeros((), device=self.fabric.device))
        if state is not None:
            self._restore(state)

    def run(self, batch: Batch, step: int, rate: float) -> tuple[float, float]:
        """Take one step, unless its loss or gradient is not finite: then the weights stay.

        Args:
            batch: this process's share.
            step: its number, from 0.
            rate: learning rate.

        Returns:
            Mean loss over all processes, and the norm of the gradient before it is clipped.
        """
        # What dropout draws depends on the step alone, as the crops do.
        torch.manual_seed(hash((self.recipe.seed, step, self.fabric.global_rank)) % 2**63)
        loss = float(self.fabric.all_reduce(self._backward(batch), reduce_op="mean"))  # type: ignore[arg-type]
        # After the last backward and before the step. (CIDNet's public code clips what it then sets to zero.)
        limit = self.recipe.optimiser.clip or math.inf
        norm = self.fabric.clip_gradients(self._model, self._optimiser, max_norm=limit, error_if_nonfinite=False)
        size = math.nan if norm is None else float(norm)
        if math.isfinite(loss) and math.isfinite(size):
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            self._optimiser.step()
            update_average(self.average, self.network, step, self.recipe.ema)
        self._optimiser.zero_grad(set_to_none=True)
        return loss, size

    def _backward(self, batch: Batch) -> Tensor:
        """Add up the gradients of the micro-batches; the mean of their losses, which is that of the whole share."""
        self._model.train()
        size = batch.low.shape[0] // self.accumulate
        total = torch.zeros((), device=self.fabric.device)
        for index in range(self.accumulate):
            last = index == self.accumulate - 1
            with self.fabric.no_backward_sync(self._model, enabled=not last):
                loss = self._loss(batch.part(index * size, (index + 1) * size)) / self.accumulate
                self.fabric.backward(loss)
            total += loss.detach()
        return total

    def _loss(self, batch: Batch) -> Tensor:
        low, high = self.fabric.to_device(batch.low), self.fabric.to_device(batch.high)
        context = self.fabric.to_device(batch.context)
        with self._kernels_of(batch, context):
            output = self._model(low, context) if self.network.sees_whole else self._model(low)
        weight = None if batch.weight is None else self.fabric.to_device(batch.weight)
        terms, constants = self.recipe.loss, self._constants
        return recipe_loss(output, high, terms, weight=weight, density=self._density, constants=constants)

    def _kernels_of(self, batch: Batch, context: Tensor) -> AbstractContextManager[None]:
        """Where kernels are generated from the whole pictures, if the batch has them, and not from crops."""
        if not batch.views:
            return nullcontext()
        with self.fabric.autocast():
            return told(self.network, look_at_views(self.network, self.fabric.to_device(batch.views), context))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this."""
        return {
            "model": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self.network.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self._optimiser.load_state_dict(state["optimiser"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError("The checkpoint is not one of this recipe's network.") from error


def lay_out(network: nn.Module) -> None:
    """Store kernels channels-last, in place; only those of four dimensions, which dynamic convolution's are not."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
