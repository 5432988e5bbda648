"""Training crops: pictures decoded once; crops are drawn by step number alone, so a resumed run sees the same."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from undim.arrays import Bytes, Floats
from undim.data.darkening import at_window, darken, dim, draw_darkening, draw_sensor
from undim.data.fusion import fuse_highlights
from undim.data.phone import draw_processing, process
from undim.data.reading import read_rgb
from undim.data.scene_light import draw_scene_light, find_surroundings, spread_haze
from undim.data.sets import Pair
from undim.data.store import PixelStore
from undim.errors import DataError
from undim.nets.thumbnail import THUMBNAIL, make_thumbnail
from undim.srgb import decode_srgb, encode_srgb

CLIPPED = 250 / 255
"""Value from which on a channel counts as clipped."""


@dataclass(frozen=True)
class Batch:
    """Crops of pictures with the thumbnails of the whole pictures."""

    low: Tensor
    """N x 3 x S x S, float32 in [0, 1]."""
    high: Tensor
    """N x 3 x S x S, float32 in [0, 1]."""
    context: Tensor
    """N x 3 x 64 x 96, float32 in [0, 1], of the dark pictures."""
    weight: Tensor | None = None
    """N x 1 x S x S in [0, 1], how much a pixel counts in the loss; `None`: all alike."""
    views: tuple[Tensor, ...] = ()
    """N of 3 x h x w, float32 in [0, 1]: the whole dark pictures, reduced; none without `Sampling.view`."""

    def part(self, start: int, end: int) -> Batch:
        """The samples `start` to `end`, without the last."""
        weight = None if self.weight is None else self.weight[start:end]
        return Batch(self.low[start:end], self.high[start:end], self.context[start:end], weight, self.views[start:end])


@dataclass(frozen=True)
class Source:
    """Pairs of one data set."""

    pairs: Sequence[Pair]
    share: float = 1.0
    """Of the samples, relative to the other sources'."""
    fuse: bool = False
    """Whether burnt-out parts of the references are replaced, see `fuse_highlights`."""


@dataclass(frozen=True)
class Sampling:
    """How samples are made of pictures."""

    seed: int = 0
    identity: float = 0.0
    """Probability that a sample is the reference itself as input and as target: well-lit pictures to be left alone."""
    darken: float = 0.0
    """Probability that a sample's dark picture is computed from its reference, see `undim.data.darkening`."""
    scene_light: float = 0.0
    """Of those, the share whose light follows the picture (see `undim.data.scene_light`) and that a phone processed."""
    phone: float = 0.0
    """Probability that a pair's dark picture goes through a phone's processing once more, see `undim.data.phone`."""
    jitter: float = 0.0
    """Standard deviation of the natural logarithm of a gain on the dark picture."""
    mixup: float = 0.0
    """Beta of the distribution by which half of the batches blend pairs of samples; 0 for none."""
    turn: float = 0.25
    """Probability that a sample's rows and columns are exchanged."""
    least_frame: float = 1.0
    """In (0, 1]: the part of a picture that a sample takes for the whole has sides of this share or more of the
    picture's, all shares alike often. Not of well-lit pictures, nor of what is computed from them, nor with `view`."""
    forgive_clipped: bool = False
    """Whether pixels that are clipped in the target and not in the dark picture count nothing in the loss."""
    view: int = 0
    """Shorter side in pixels of the reduced whole pictures that samples come with; 0 for none. Not with `mixup`."""


@runtime_checkable
class Remembering(Protocol):
    """A network that stores the scenes it is trained on."""

    def remember(self, thumbnails: Tensor, references: Tensor) -> None:
        """Store M x 3 x 64 x 96 thumbnails of dark pictures and M x 3 mean colours of their references."""


class PairCrops:
    """Pairs held decoded (about 1.4 MB a pair of 600x400), and random crops of them.

    What a step draws depends on the seed and the step's number only.

    Args:
        sources: the data sets.
        sampling: how samples are drawn.
        memory_gb: how much is held in memory, in units of 10^9 bytes; the rest lies in a file.
        largest_crop: side in pixels of the largest crops that will be asked for.

    Raises:
        DataError: if there is no pair, the two pictures of one differ in size, or the largest crop does not fit.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        sampling: Sampling | None = None,
        *,
        memory_gb: float = 4.0,
        largest_crop: int = 1,
    ) -> None:
        if not sources or not all(source.pairs for source in sources):
            raise DataError("There is no picture to train on.")
        self.sampling = sampling or Sampling()
        self.sources = sources
        self._starts = np.cumsum([0, *(len(source.pairs) for source in sources)])
        shares = np.array([source.share for source in sources], float)
        self._borders = np.cumsum(shares / shares.sum())
        pairs = self._pairs = [pair for source in sources for pair in source.pairs]
        self._largest_crop = largest_crop
        budget = memory_gb * 1e9 / 2
        self.lows = PixelStore([partial(read_rgb, pair.low) for pair in pairs], budget)
        targets: list[Callable[[], Bytes]] = []
        for index, source in enumerate(sources):
            for place, pair in enumerate(source.pairs):
                targets.append(partial(self._read_target, int(self._starts[index]) + place, pair, fuse=source.fuse))
        self.highs = PixelStore(targets, budget)
        self._thumbnails: dict[tuple[int, bool, bool], Floats] = {}
        self._views: dict[tuple[int, bool], npt.NDArray[np.float16]] = {}
        self._surroundings: dict[int, tuple[Bytes, Floats]] = {}
        """See `_find_surroundings`."""

    def _read_target(self, index: int, pair: Pair, *, fuse: bool) -> Bytes:
        low, high = self.lows[index], read_rgb(pair.high)
        if low.shape != high.shape:
            raise DataError(f"{pair.low} and {pair.high} differ in size: {low.shape[:2]} and {high.shape[:2]}.")
        _check_fits(self._largest_crop, pair, low)
        return fuse_highlights(low, high) if fuse else high

    def __len__(self) -> int:
        return len(self.lows)

    def teach(self, *networks: object) -> None:
        """Let those networks that remember scenes (see `Remembering`) store these."""
        learners = [network for network in networks if isinstance(network, Remembering)]
        if learners:
            count = range(len(self))
            thumbnails = torch.from_numpy(
                np.stack([self.thumbnail(index, well_lit=False, turned=False) for index in count])
            )
            means = np.stack([self.highs[index].reshape(-1, 3).mean(0) / 255 for index in count])
            for network in learners:
                network.remember(thumbnails.permute(0, 3, 1, 2), torch.from_numpy(means).float())

    def ahead(self, requests: Iterable[tuple[int, int, int]], *, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The batches of the given (step, size, crop), each made by a thread while the one before is used."""
        line: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=2)
        stopped = threading.Event()

        def put(item: Batch | BaseException | None) -> None:
            while not stopped.is_set():
                try:
                    line.put(item, timeout=0.2)
                except queue.Full:
                    continue
                return

        def work() -> None:
            try:
                for step, size, crop in requests:
                    if stopped.is_set():
                        return
                    put(self.batch(step, size, crop, rank=rank, world=world))
                put(None)
            except Exception as error:
                put(error)

        worker = threading.Thread(target=work, name="undim-crops", daemon=True)
        worker.start()
        try:
            while (item := line.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            worker.join()

    def batch(self, step: int, size: int, crop: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The crops of one step.

        Args:
            step: the step's number, from 0.
            size: N, of the whole batch over all processes.
            crop: S in pixels.
            rank: this process's number; it gets the samples rank, rank + world, ... of the batch.
            world: number of processes; divides `size`.

        Raises:
            DataError: if a picture is smaller than the crop.
        """
        mixing = self._mixing(step, size)
        wanted = list(range(rank, size, world))
        needed = sorted({*wanted, *(int(mixing[1][place]) for place in wanted)}) if mixing else wanted
        samples = {place: self._sample(step * size + place, crop) for place in needed}
        if mixing is not None:
            share, partners = mixing
            samples = {place: _blend(samples[place], samples[int(partners[place])], share) for place in wanted}
        lows, highs, contexts, *views = zip(*(samples[place] for place in wanted), strict=True)
        low, high = _to_tensor(lows), _to_tensor(highs)
        weight = None
        if self.sampling.forgive_clipped:
            burnt = (high.amax(1, keepdim=True) >= CLIPPED) & (low.amax(1, keepdim=True) < CLIPPED)
            weight = 1 - burnt.float()
        wholes = tuple(_to_tensor([view])[0] for view in (views[0] if views else ()))
        return Batch(low, high, _to_tensor(contexts).contiguous(), weight, wholes)

    def _mixing(self, step: int, size: int) -> tuple[float, npt.NDArray[np.int64]] | None:
        rng = np.random.default_rng((self.sampling.seed, step, 2))
        if not self.sampling.mixup or rng.random() < 0.5:
            return None
        return float(rng.beta(self.sampling.mixup, self.sampling.mixup)), rng.permutation(size)

    def _index(self, place: int, rng: np.random.Generator) -> int:
        """The picture of one sample; a single source's pictures are drawn once an epoch, in an order of its own."""
        number = int(np.searchsorted(self._borders, rng.random(), side="right")) if len(self.sources) > 1 else 0
        first = int(self._starts[min(number, len(self.sources) - 1)])
        count = int(self._starts[min(number, len(self.sources) - 1) + 1]) - first
        epoch, offset = divmod(place, count)
        return first + int(np.random.default_rng((self.sampling.seed, epoch, 1)).permutation(count)[offset])

    def _sample(self, place: int, crop: int) -> tuple[Floats, ...]:
        """Dark crop, target, thumbnail and, if asked for, view, H x W x 3 each, of the sample with this number."""
        rng = np.random.default_rng((self.sampling.seed, place))
        index, kind = self._index(place, rng), rng.random()
        height, width = self.highs[index].shape[:2]
        _check_fits(crop, self._pairs[index], self.highs[index])
        frame = self._draw_frame((height, width), crop, rng, kind)
        rows, columns = frame or (slice(0, height), slice(0, width))
        top = rows.start + int(rng.integers(rows.stop - rows.start - crop + 1))
        left = columns.start + int(rng.integers(columns.stop - columns.start - crop + 1))
        turned, upside_down, mirrored = rng.random() < self.sampling.turn, rng.random() < 0.5, rng.random() < 0.5
        gain = np.float32(np.exp(self.sampling.jitter * rng.standard_normal()))
        window = (slice(top, top + crop), slice(left, left + crop))
        high: Floats = self.highs[index][window].astype(np.float32) / np.float32(255)
        views: list[Floats] = []
        if self.sampling.view:
            views = [self._view(index, well_lit=kind < self.sampling.identity + self.sampling.darken, turned=turned)]
        if kind < self.sampling.identity:
            low, context = high, self.thumbnail(index, well_lit=True, turned=turned)
        elif kind < self.sampling.identity + self.sampling.darken * self.sampling.scene_light:
            low, high, context = self._relight(index, window, rng, turned=turned)
        elif kind < self.sampling.identity + self.sampling.darken:
            draw = draw_darkening(rng)
            place_of = partial(at_window, size=(height, width), window=(top, left, crop, crop))
            low = darken(high, place_of(draw.stops), draw, rng)
            high = dim(high, place_of(draw.kept))
            stops = draw.stops.T if turned else draw.stops
            context = self.thumbnail(index, well_lit=True, turned=turned)
            context = darken(context, at_window(stops, THUMBNAIL), draw, None)
            views = [darken(view, at_window(stops, view.shape[:2]), draw, None) for view in views]
        else:
            low = self.lows[index][window].astype(np.float32) / np.float32(255)
            context = self.thumbnail(index, well_lit=False, turned=turned, frame=frame)
            if self.sampling.jitter:
                low, context, *views = ((part * gain).clip(0, 1) for part in (low, context, *views))
            if self.sampling.phone and rng.random() < self.sampling.phone:
                low = process(low, draw_processing(rng), rng)
        if turned:
            low, high = low.swapaxes(0, 1), high.swapaxes(0, 1)
        parts = (low, high, context, *views)
        for flipped, axis in ((upside_down, 0), (mirrored, 1)):
            if flipped:
                parts = tuple(np.flip(part, axis) for part in parts)
        return parts

    def _draw_frame(
        self, size: tuple[int, int], crop: int, rng: np.random.Generator, kind: float
    ) -> tuple[slice, slice] | None:
        """Rows and columns of the part of a picture of that size that a sample takes for the whole; None: all of it.

        The corner of a well-lit picture may look like a dark picture, which is not to be left alone.
        """
        if self.sampling.least_frame == 1 or kind < self.sampling.identity + self.sampling.darken:
            return None
        shares = rng.uniform(self.sampling.least_frame, 1, 2)
        sides = [max(crop, round(share * whole)) for share, whole in zip(shares, size, strict=True)]
        starts = [int(rng.integers(whole - side + 1)) for side, whole in zip(sides, size, strict=True)]
        rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        return rows, columns

    def _relight(
        self, index: int, window: tuple[slice, slice], rng: np.random.Generator, *, turned: bool
    ) -> tuple[Floats, Floats, Floats]:
        """Dark crop, target and thumbnail of a reference that loses light along its own regions."""
        around, small = self._find_surroundings(index)
        size = around.shape[0], around.shape[1]
        light, sensor, processing = draw_scene_light(rng, small), draw_sensor(rng), draw_processing(rng)
        rows, columns = _places(size)
        near: Floats = around[window].astype(np.float32) / np.float32(255)
        stops = light.stops(near, rows[window[0]], columns[window[1]])
        context = self.thumbnail(index, well_lit=True, turned=False)
        context = darken(context, light.stops(small, *_places(THUMBNAIL)), sensor, None)
        veil = None
        if light.haze:
            haze = spread_haze(decode_srgb(context), light.haze)
            context = encode_srgb((decode_srgb(context) + haze).clip(0, 1))
            place = (window[0].start, window[1].start, *stops.shape)
            veil = np.stack([at_window(haze[..., colour], size, place) for colour in range(3)], axis=2)
        if turned:
            context = make_thumbnail(_to_tensor([context.swapaxes(0, 1)]))[0].permute(1, 2, 0).numpy()
        target: Floats = self.highs[index][window].astype(np.float32) / np.float32(255)
        low = process(darken(target, stops, sensor, rng, veil), processing, rng)
        return low, dim(target, light.kept(stops)), context

    def _find_surroundings(self, index: int) -> tuple[Bytes, Floats]:
        """Of the reference: the whole, H x W, 8 bit, and its thumbnail, in [0, 1]."""
        if index not in self._surroundings:
            found = find_surroundings(self.highs[index])
            image = _to_tensor([found[..., None].astype(np.float32) / np.float32(255)])
            self._surroundings[index] = found, make_thumbnail(image)[0, 0].numpy()
        return self._surroundings[index]

    def thumbnail(
        self, index: int, *, well_lit: bool, turned: bool, frame: tuple[slice, slice] | None = None
    ) -> Floats:
        """`make_thumbnail` of one picture, 64 x 96 x 3 in [0, 1].

        Args:
            index: of the pair.
            well_lit: of the reference, not of the dark picture.
            turned: of the picture with rows and columns exchanged.
            frame: rows and columns of the part that stands for the whole; None: all of it.
        """
        store = self.highs if well_lit else self.lows
        if frame is not None:
            return _reduce(store[index][frame], turned=turned)
        key = (index, well_lit, turned)
        if key not in self._thumbnails:
            self._thumbnails[key] = _reduce(store[index], turned=turned)
        return self._thumbnails[key]

    def _view(self, index: int, *, well_lit: bool, turned: bool) -> Floats:
        key = (index, well_lit)
        if key not in self._views:
            pixels = (self.highs if well_lit else self.lows)[index]
            scale = min(1.0, self.sampling.view / min(pixels.shape[:2]))
            height, width = (max(8, 8 * int(side * scale / 8)) for side in pixels.shape[:2])
            image = _to_tensor([pixels.astype(np.float32) / np.float32(255)])
            small = make_thumbnail(image, (height, width))[0].permute(1, 2, 0)
            self._views[key] = small.numpy().astype(np.float16)  # finer than 8 bit in the dark, at half the memory
        view: Floats = self._views[key].astype(np.float32)
        return view.swapaxes(0, 1) if turned else view


def _check_fits(crop: int, pair: Pair, pixels: Bytes) -> None:
    height, width = pixels.shape[:2]
    if min(height, width) < crop:
        raise DataError(f"Crops of {crop} do not fit into {pair.low}, which is {width} x {height}.")


def _reduce(pixels: Bytes, *, turned: bool) -> Floats:
    """`make_thumbnail` of H x W x 3, 8 bit, or of it with rows and columns exchanged."""
    picture: Floats = pixels.astype(np.float32) / np.float32(255)
    image = _to_tensor([picture.swapaxes(0, 1) if turned else picture])
    thumbnail: Floats = make_thumbnail(image)[0].permute(1, 2, 0).numpy()
    return thumbnail


def _places(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Where the middles of rows and columns lie, from 0 to 1 over the picture."""
    rows, columns = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side) for side in size)
    return rows, columns


def _blend(first: tuple[Floats, ...], second: tuple[Floats, ...], share: float) -> tuple[Floats, ...]:
    return tuple(share * one + (1 - share) * other for one, other in zip(first, second, strict=True))


def _to_tensor(pictures: Sequence[Floats]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # channels-last in memory
