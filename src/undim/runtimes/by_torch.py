"""PyTorch: the network itself, from the file of weights beside the .onnx file; on CUDA where there is one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from undim.arrays import Floats
from undim.cancellation import NEVER, Cancellation
from undim.contract import INPUT, OUTPUT, OWN, TILE_INPUTS, TILE_OUTPUT, Precision
from undim.errors import ModelError
from undim.nets import freeze
from undim.nets.thumbnail import THUMBNAIL
from undim.nets.tile_network import TileNetwork, can_tile
from undim.runtimes.base import Feeds, Runtime, Tiling, check_threads
from undim.runtimes.torch_bfloat16 import cpu_multiplies_bfloat16
from undim.runtimes.torch_capture import CapturedNetwork, Network, Tensors, record_graph
from undim.runtimes.torch_threads import torch_threads
from undim.weights.files import load_model


def computes_bfloat16() -> bool:
    """Whether the GPU, or without one the processor, has instructions for it."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return cpu_multiplies_bfloat16()


def open_model(
    path: str | os.PathLike[str], *, name: str = "torch", threads: int | None = None, precision: Precision = "float32"
) -> TorchRuntime:
    """Load a model; see `undim.runtimes.table.Opener`."""
    return TorchRuntime(path, threads=threads, precision=precision, name=name)


class TorchRuntime(Runtime):
    """A model in PyTorch, frozen, channels last. On CUDA, runs of a shape are recorded as a graph from the second on.

    Args:
        path: a .safetensors file, or an .onnx file beside which lies the one of the same network.
        threads: of each run; those that PyTorch has in the calling thread if None. Other threads, and PyTorch elsewhere
            in the process, keep theirs.
        precision: what to compute in; bfloat16 where autocasting takes it.
        device: "cuda" or "cpu"; the former where there is one, if None.

    Raises:
        ModelError: if there is no file of weights.
        CheckpointError: if that is damaged or foreign.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        precision: Precision = "float32",
        name: str = "torch",
        device: str | None = None,
    ) -> None:
        check_threads(threads)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.name = name
        self.precision = precision
        weights = Path(path).with_suffix(".safetensors")
        if not weights.is_file():
            raise ModelError(f"torch needs {weights}, the weights of the same network as {os.fspath(path)}.")
        self._threads = threads
        network = freeze(load_model(weights)).float()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a form its stub lacks; in place
        self._tiles = TileNetwork(network) if can_tile(network) else None
        self._network = network.to(self._device)
        self._run: Network = self._forward
        if self._device.type == "cuda":
            self._run = CapturedNetwork(self._forward, record_graph)
        if self._tiles is not None:
            self.tiling = Tiling(network.tile_overlap, THUMBNAIL, self._tiles.statistics)
        self._current: Cancellation = NEVER
        for part in network.modules():  # so that the next layer sees that the run is to end
            part.register_forward_pre_hook(self._check)

    def infer(
        self,
        outputs: Sequence[str],
        feeds: Feeds,
        *,
        more: bool,  # noqa: ARG002 - PyTorch keeps none
        cancellation: Cancellation = NEVER,
    ) -> list[Floats]:
        """See `Runtime.infer`."""
        told = {name: torch.tensor(feed, device=self._device) for name, feed in feeds.items() if name != INPUT}
        image = torch.from_numpy(np.ascontiguousarray(feeds[INPUT])).to(self._device)
        told[INPUT] = image.contiguous(memory_format=torch.channels_last)
        if self._tiles is not None and (TILE_OUTPUT in outputs or "source" in feeds):
            told = {**self._defaults(), **told}
        reduced = self.precision != "float32"
        self._current = cancellation
        try:
            with (
                torch_threads(self._threads),
                torch.inference_mode(),
                torch.autocast(self._device.type, torch.bfloat16, enabled=reduced),
            ):
                made = self._run(told)
        finally:
            self._current = NEVER
        found: list[Floats] = [made[output].float().contiguous().cpu().numpy() for output in outputs]
        return found

    def _forward(self, told: Tensors) -> Tensors:
        """Of named tensors on the device; with the inputs for tiles, as a network made for tiles."""
        if self._tiles is None or "source" not in told:
            return {OUTPUT: self._network(told[INPUT])}
        enhanced, statistics = self._tiles(told[INPUT], *(told[name] for name in TILE_INPUTS))
        return {OUTPUT: enhanced, TILE_OUTPUT: statistics}

    def _check(self, *_: nn.Module | tuple[torch.Tensor, ...]) -> None:
        self._current.check()

    def _defaults(self) -> dict[str, torch.Tensor]:
        cell = torch.zeros(1, dtype=torch.int64)
        count = 0 if self.tiling is None else self.tiling.statistics
        pictures = (torch.zeros(1, 3, *THUMBNAIL), torch.zeros(1, count))
        values = (torch.tensor(OWN), cell, cell, torch.ones(1), *pictures)
        return {name: value.to(self._device) for name, value in zip(TILE_INPUTS, values, strict=True)}
