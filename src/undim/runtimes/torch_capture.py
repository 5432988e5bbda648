"""Runs of a network recorded as CUDA graphs, one for each shape of its inputs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]
Network = Callable[[Tensors], Tensors]
Recorder = Callable[[Callable[[], None]], Callable[[], None]]
"""Records what a function does on the device, and returns what does it again with what is in the same places then."""
SHAPES = 4
"""Recordings that are kept, each with the memory of a run; the one that was not used for longest goes first."""


@dataclass(frozen=True)
class _Recording:
    inputs: Tensors
    outputs: Tensors
    replay: Callable[[], None]


class CapturedNetwork:
    """A network whose runs are recorded from the second one of a shape on.

    Where a run cannot be recorded, it is run as it is, from then on every one. Safe to call from several threads, which
    take turns.

    Args:
        network: a function of named tensors on the device; its outputs' shapes follow from its inputs' shapes.
        record: `record_graph`, unless a test says otherwise.
    """

    def __init__(self, network: Network, record: Recorder) -> None:
        self._network = network
        self._record = record
        self._recordings: OrderedDict[tuple[object, ...], _Recording] = OrderedDict()
        self._seen: set[tuple[object, ...]] = set()
        self._turn = Lock()
        self.records = True
        """Whether runs can be recorded, as far as is known."""

    def __call__(self, feeds: Tensors) -> dict[str, Tensor]:
        """The outputs for these inputs, which no later run changes."""
        key = tuple((name, feed.shape, feed.dtype, feed.stride()) for name, feed in sorted(feeds.items()))
        with self._turn:
            recording = self._recordings.get(key)
            if recording is None and self.records and key in self._seen:
                recording = self._try(feeds, key)
            self._seen.add(key)
            if recording is None:
                return dict(self._network(feeds))
            self._recordings.move_to_end(key)
            for name, feed in feeds.items():
                recording.inputs[name].copy_(feed)
            recording.replay()
            return {name: made.clone() for name, made in recording.outputs.items()}

    def _try(self, feeds: Tensors, key: tuple[object, ...]) -> _Recording | None:
        while len(self._recordings) >= SHAPES:
            self._recordings.popitem(last=False)
        inputs = {name: feed.clone() for name, feed in feeds.items()}
        outputs: dict[str, Tensor] = {}

        def whole() -> None:
            outputs.update(self._network(inputs))

        try:
            replay = self._record(whole)
        except torch.OutOfMemoryError:
            return None  # too large to be kept beside others; another shape may fit
        except RuntimeError:
            self.records = False
            return None
        self._recordings[key] = _Recording(inputs, outputs, replay)
        return self._recordings[key]


def record_graph(whole: Callable[[], None]) -> Callable[[], None]:
    """A `Recorder` of CUDA graphs.

    Raises:
        RuntimeError: if something in it cannot be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        whole()
    return graph.replay
