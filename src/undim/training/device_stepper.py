"""A whole step of training as a function of tensors on the device, captured as one CUDA graph where there is CUDA.

On the host it is launched and no more: the loss and the gradient's norm stay on the device until somebody asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from undim.data.crops import Batch
from undim.training.device_crops import DeviceCrops
from undim.training.network import average_share, paired_parameters
from undim.training.recipe import Recipe
from undim.training.stepper import Stepper

WARM_UP = 3
"""Steps of a size that are run as they are before one is captured: libraries choose kernels and memory in them."""
ON_HOST, ON_GPU = threading.RLock(), threading.RLock()
"""Held by whoever seeds the random numbers there, until they are drawn: cells of a study may share a process."""


class DeviceStepper(Stepper):
    """A `Stepper` whose steps stay on the device.

    A step whose loss or gradient is not finite leaves weights, average and optimiser as they are and is counted.

    Args:
        recipe: all choices.
        state: as for `Stepper`.
        notify: called with a sentence where a step cannot be captured.

    Raises:
        RecipeError: as `Stepper`.
        CheckpointError: as `Stepper`.
    """

    def __init__(
        self, recipe: Recipe, state: dict[str, Any] | None = None, notify: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(recipe, state, fused=True)
        device = self.fabric.device
        self._notify = notify
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        self._rate = torch.zeros((), device=device)
        self._share = torch.zeros((), device=device)
        self._not_finite = torch.zeros((), device=device)
        skipped = 0 if state is None else int(state.get("skipped", 0))
        self._skipped = torch.full((), skipped, dtype=torch.int64, device=device)
        self._told = torch.zeros(2, device=device)
        optimiser = self._optimiser.optimizer
        for group in optimiser.param_groups:  # a checkpoint of the host's steps says otherwise
            group |= {"lr": self._rate, "fused": True, "capturable": True, "foreach": False}
        for values in optimiser.state.values():
            values["step"] = values["step"].to(device, torch.float32)
        optimiser.found_inf = self._not_finite  # where fused steps look, as of a scaler
        self._trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self._pairs = paired_parameters(self.average, self.network)
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._captured: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        self._inputs: dict[tuple[int, int], Batch] = {}
        self._warm: dict[tuple[int, int], int] = {}
        self.captures = self._stream is not None
        """Whether steps are captured."""

    def launch(self, crops: DeviceCrops | Batch, step: int, rate: float, size: int, crop: int) -> Tensor:
        """Begin one step, and wait for nothing.

        Args:
            crops: the pictures on the device, or the step's batch on the host.
            step: its number, from 0.
            rate: learning rate.
            size: of the batch.
            crop: side of the crops in pixels.

        Returns:
            Loss and norm of the gradient before it is clipped: two numbers on the device, which the next step replaces.
        """
        self._number.fill_(step)
        self._rate.fill_(rate)
        self._share.fill_(average_share(step, self.recipe.ema))
        key = (size, crop)
        batch = None if isinstance(crops, DeviceCrops) else self._take_in(crops, key)

        def whole() -> None:
            self.run_on_device(batch or crops.draw(self._number, size, crop))  # type: ignore[union-attr]

        with ON_HOST if self._stream is None else ON_GPU:
            self._seed(step)
            if self.captures and key not in self._captured and self._warm.get(key, 0) >= WARM_UP:
                self._capture(whole, key)
            if key in self._captured:
                self._captured[key].replay()
            else:
                whole()
        self._warm[key] = self._warm.get(key, 0) + 1
        return self._told

    def run_on_device(self, batch: Batch) -> None:
        """The step as a function of tensors on the device, of which nothing is read.

        Args:
            batch: on the device.
        """
        loss = self._backward(batch)
        gradients = [parameter.grad for parameter in self._trained if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = loss.isfinite() & norm.isfinite()
        if self.recipe.optimiser.clip is not None:
            torch._foreach_mul_(gradients, (self.recipe.optimiser.clip / (norm + 1e-6)).clamp_max(1.0))
        self._not_finite.copy_(~finite)
        self._optimiser.optimizer.step()
        with torch.no_grad():
            targets, sources = self._pairs
            moves = list(torch._foreach_sub(sources, targets))
            torch._foreach_mul_(moves, self._share * finite)
            torch._foreach_add_(targets, moves)
        self._skipped.add_(~finite)
        self._told.copy_(torch.stack((loss, norm)))
        self._optimiser.optimizer.zero_grad(set_to_none=True)

    @property
    def skipped(self) -> int:
        """Steps so far that were not finite. Waits for the device."""
        return int(self._skipped)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this; rates are numbers, so that the host's steps can go on from it."""
        state = super().state()
        for group in state["optimiser"]["param_groups"]:
            group |= {"lr": self.recipe.optimiser.lr}
        return {**state, "skipped": self.skipped}

    def _seed(self, step: int) -> None:
        """What dropout draws depends on the step alone; a captured step takes the seed that is set when it starts."""
        seed = hash((self.recipe.seed, step, 0)) % 2**63
        if self._stream is None:
            torch.manual_seed(seed)
        else:
            torch.cuda.manual_seed(seed)

    def _take_in(self, batch: Batch, key: tuple[int, int]) -> Batch:
        """A batch of the host's on the device: where steps are captured, always at the same place."""
        if batch.views or not self.captures:
            if batch.views and self.captures:
                self._give_up("the kernels of whole pictures follow their sizes")
            return batch
        device = self.fabric.device
        if key not in self._inputs:
            low, high, context = (
                torch.empty_like(part, device=device) for part in (batch.low, batch.high, batch.context)
            )
            weight = None if batch.weight is None else torch.empty_like(batch.weight, device=device)
            self._inputs[key] = Batch(low, high, context, weight)
        there = self._inputs[key]
        for name in ("low", "high", "context", "weight"):
            part = getattr(batch, name)
            if part is not None:
                getattr(there, name).copy_(part.pin_memory(), non_blocking=True)
        return there

    def _capture(self, whole: Callable[[], None], key: tuple[int, int]) -> None:
        """Record one step; what cannot be recorded is from now on run as it is."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                whole()
        except RuntimeError as error:
            self._optimiser.optimizer.zero_grad(set_to_none=True)
            self._give_up(str(error).splitlines()[0])
            return
        self._captured[key] = graph

    def _give_up(self, reason: str) -> None:
        self.captures = False
        if self._notify is not None:
            self._notify(f"The step cannot be captured ({reason}): its kernels are launched one by one.")


def device_stream(device: torch.device) -> AbstractContextManager[object]:
    """A stream of its own for the calling thread's work on a GPU, which captures need; on other devices nothing."""
    return torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()
