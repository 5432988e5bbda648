"""Training pictures in the memory of a device, and crops that are drawn and made there.

What a step draws is a function of seed and step alone, as of `undim.data.crops.PairCrops`, but other numbers: nothing
is copied from the host, so that a step with its sampling can be captured as one CUDA graph. The probabilities and the
order of what is done to a sample are those of `PairCrops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from undim.data.crops import CLIPPED, Batch, PairCrops, Sampling
from undim.errors import DataError
from undim.nets.thumbnail import THUMBNAIL, make_thumbnail
from undim.training.counter import Counter
from undim.training.device_darkening import (
    Darkenings,
    at_thumbnails,
    at_windows,
    darken_batch,
    dim_batch,
    draw_darkenings,
)

SOURCE, KIND, TOP, LEFT, ORIENTATION, GAIN, MIXING, ORDER = 0, 1, 2, 3, 4, 5, 8, 10
"""Streams of draws: the data set; what kind of sample; where; turned and flipped; the gain, two; whether and how
samples are blended; in what order pictures or partners come."""
ORDERS = 2**40
"""Added to the seed for the order of pictures, which goes by epochs and not by steps."""
NOISE = 32
"""Stream of the sensor's noise, two."""
TABLE = 4096
"""Steps of the table that mixup's shares are looked up in."""


@dataclass(frozen=True)
class Plan:
    """What the N samples of a step are, each a tensor of N."""

    picture: Tensor
    kind: Tensor
    """In [0, 1): below `identity` a well-lit picture, below `identity + darken` one that is darkened here."""
    top: Tensor
    left: Tensor
    turned: Tensor
    upside_down: Tensor
    mirrored: Tensor
    gain: Tensor


class DeviceCrops:
    """All pairs of some `PairCrops` on a device.

    Args:
        crops: the pictures and how samples are made of them.
        device: where they are to be.
        thumbnails: whether the network sees whole pictures.

    Raises:
        DataError: if the sampling does what is done on the host alone, see `drawn_on_host`.
    """

    def __init__(self, crops: PairCrops, device: torch.device, *, thumbnails: bool) -> None:
        self.sampling = crops.sampling
        lacking = drawn_on_host(self.sampling)
        if lacking:
            raise DataError(f"{lacking} can be drawn on the host only.")
        count = range(len(crops))
        sides = [crops.highs[index].shape[:2] for index in count]
        self.smallest = min(map(min, sides))
        """Of all sides of all pictures, in pixels."""
        self._heights, self._widths = (torch.tensor(side, device=device) for side in zip(*sides, strict=True))
        sizes = self._heights * self._widths
        self._offsets = sizes.cumsum(0) - sizes
        self._lows, self._highs = (
            torch.cat([torch.from_numpy(np.array(store[index])).view(-1, 3).to(device) for index in count])
            for store in (crops.lows, crops.highs)
        )
        """Pixels of all pictures, one behind the other: P x 3, 8 bit."""
        self._thumbnails = self._make_thumbnails(sides) if thumbnails else None
        self._counts = torch.tensor([len(source.pairs) for source in crops.sources], device=device)
        self._starts = self._counts.cumsum(0) - self._counts
        self._largest = max(len(source.pairs) for source in crops.sources)
        shares = torch.tensor([source.share for source in crops.sources], dtype=torch.float64)
        self._borders = (shares.cumsum(0) / shares.sum())[:-1].float().to(device)
        self._shares = None
        if self.sampling.mixup:
            self._shares = beta_quantiles(self.sampling.mixup).to(device)

    def _make_thumbnails(self, sides: Sequence[Sequence[int]]) -> Tensor:
        """Of all pictures, as far as samples use them: M x (dark, well lit) x (as they are, turned) x 3 x 64 x 96."""
        stores = (self._lows, self._highs) if self.sampling.identity + self.sampling.darken else (self._lows,)
        found: list[Tensor] = []
        start = 0
        for height, width in sides:
            for store in stores:
                picture = store[start : start + height * width].view(height, width, 3).float() / 255
                ways = (picture, picture.transpose(0, 1).contiguous()) if self.sampling.turn else (picture,)
                found += [make_thumbnail(way.permute(2, 0, 1).unsqueeze(0))[0] for way in ways]
            start += height * width
        return torch.stack(found).view(len(sides), len(stores), -1, 3, *THUMBNAIL)

    def draw(self, step: Tensor, size: int, crop: int) -> Batch:
        """The crops of one step; nothing is read from the device or copied to it.

        Args:
            step: its number, a whole number on the device.
            size: N.
            crop: S in pixels.

        Raises:
            DataError: if a picture is smaller than the crop.
        """
        draws = Counter(self.sampling.seed, step)
        plan = self.plan(draws, step, size, crop)
        low, high, context = self._mix(draws, *self._make(draws, plan, crop))
        weight = None
        if self.sampling.forgive_clipped:
            burnt = (high.amax(1, keepdim=True) >= CLIPPED) & (low.amax(1, keepdim=True) < CLIPPED)
            weight = 1 - burnt.float()
        return Batch(low, high, context, weight)

    def plan(self, draws: Counter, step: Tensor, size: int, crop: int) -> Plan:
        """What the samples of a step are.

        Raises:
            DataError: if a picture is smaller than the crop.
        """
        if self.smallest < crop:
            raise DataError(f"Crops of {crop} need larger pictures than one of {self.smallest} pixels on a side.")
        picture = self._pictures(draws, step, size)
        turned, upside_down, mirrored = draws.uniform(ORIENTATION, 3, size).unbind()
        return Plan(
            picture,
            draws.uniform(KIND, size),
            draws.below(TOP, self._heights[picture] - crop + 1),
            draws.below(LEFT, self._widths[picture] - crop + 1),
            turned < self.sampling.turn,
            upside_down < 0.5,
            mirrored < 0.5,
            (self.sampling.jitter * draws.normal(GAIN, size)).exp(),
        )

    def _pictures(self, draws: Counter, step: Tensor, size: int) -> Tensor:
        """A data set's pictures come once an epoch each, in an order of its own."""
        place = step * size + torch.arange(size, device=step.device)
        number = (draws.uniform(SOURCE, size).unsqueeze(1) >= self._borders).sum(1)
        count = self._counts[number]
        epoch, offset = place // count, place % count
        keys = Counter(self.sampling.seed + ORDERS, epoch * len(self._counts) + number).bits(ORDER, self._largest)
        beyond = torch.arange(self._largest, device=step.device) >= count.unsqueeze(1)
        order = (keys + (beyond.long() << 32)).argsort(dim=1, stable=True)
        return self._starts[number] + order.gather(1, offset.unsqueeze(1)).squeeze(1)

    def _make(self, draws: Counter, plan: Plan, crop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Dark crops, targets and thumbnails: N x 3 x S x S twice, N x 3 x 64 x 96."""
        kind, sampling = plan.kind, self.sampling
        well_lit = kind < sampling.identity + sampling.darken
        high = self._cut(self._highs, plan, crop)
        low, context = self._cut(self._lows, plan, crop), self._context(plan, well_lit)
        if sampling.jitter:
            gain = plan.gain.view(-1, 1, 1, 1)
            low, context = (low * gain).clamp(0, 1), _choose(well_lit, context, (context * gain).clamp(0, 1))
        if sampling.identity:
            low = _choose(kind < sampling.identity, high, low)
        if sampling.darken:
            darkened = well_lit & (kind >= sampling.identity)
            draw = draw_darkenings(draws, len(kind))
            noise = draws.normal(NOISE, *high.shape)
            stops, kept = (self._at(maps, plan, crop) for maps in (draw.stops, draw.kept))
            low = _choose(darkened, darken_batch(high, stops, draw, noise), low)
            high = _choose(darkened, dim_batch(high, kept), high)
            context = _choose(darkened, _darken_context(context, draw, plan), context)
        parts = (_choose(plan.turned, part.transpose(2, 3), part) for part in (low, high))
        low, high, context = (_flip(part, plan) for part in (*parts, context))
        return low, high, context

    def _cut(self, pixels: Tensor, plan: Plan, crop: int) -> Tensor:
        """Windows of pictures, N x 3 x S x S in [0, 1]."""
        steps = torch.arange(crop, device=pixels.device)
        width = self._widths[plan.picture].view(-1, 1, 1)
        start = (self._offsets[plan.picture] + plan.left).view(-1, 1, 1) + plan.top.view(-1, 1, 1) * width
        places = start + steps.view(-1, 1) * width + steps  # (N, S, S)
        return (pixels[places].float() / 255).permute(0, 3, 1, 2)  # channels-last in memory

    def _at(self, maps: Tensor, plan: Plan, crop: int) -> Tensor:
        sides = self._heights[plan.picture], self._widths[plan.picture]
        return at_windows(maps, sides, (plan.top, plan.left), crop)

    def _context(self, plan: Plan, well_lit: Tensor) -> Tensor:
        if self._thumbnails is None:  # nothing reads it, but a batch has one
            return torch.zeros(len(plan.kind), 3, *THUMBNAIL, device=plan.kind.device)
        return self._thumbnails[plan.picture, well_lit.long(), plan.turned.long()]

    def _mix(self, draws: Counter, low: Tensor, high: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every second batch blends each sample with another, all by one share."""
        parts = tuple(part.contiguous(memory_format=torch.channels_last) for part in (low, high))
        if self._shares is None:
            return parts[0], parts[1], context.contiguous()
        whether, place = draws.uniform(MIXING, 2).unbind()
        share = _look_up(self._shares, place)
        share = torch.where(whether < 0.5, 1.0, share)
        partners = draws.bits(ORDER, len(low)).argsort(stable=True)
        low, high, context = (share * part + (1 - share) * part[partners] for part in (*parts, context))
        return low, high, context.contiguous()


def drawn_on_host(sampling: Sampling) -> str:
    """What of a recipe's samples is made on the host alone, in words; empty where all of it can be made on a device."""
    found = {
        "light that follows the scene": sampling.darken * sampling.scene_light,
        "a phone's processing": sampling.phone,
        "parts of pictures taken for the whole": sampling.least_frame < 1,
        "views of whole pictures": sampling.view,
    }
    return " and ".join(name for name, share in found.items() if share)


def size_on_device(crops: PairCrops, *, thumbnails: bool) -> int:
    """Bytes that `DeviceCrops` would take."""
    pixels = sum(crops.highs[index].size + crops.lows[index].size for index in range(len(crops)))
    return pixels + (len(crops) * 4 * 3 * THUMBNAIL[0] * THUMBNAIL[1] * 4 if thumbnails else 0)


def beta_quantiles(beta: float) -> Tensor:
    """The share below which a part of 0, 1/4096, ..., 1 of draws of a symmetrical beta distribution lies, float32.

    Its density x^(b-1) (1-x)^(b-1) is summed over the angle a of x = sin^2 a, where it is finite for every b > 0.
    """
    angles = np.linspace(0, np.pi / 2, 2**18 + 1)
    middle = (angles[1:] + angles[:-1]) / 2
    below = np.concatenate(([0.0], np.cumsum((np.sin(middle) * np.cos(middle)) ** (2 * beta - 1))))
    found = np.sin(np.interp(np.linspace(0, 1, TABLE + 1), below / below[-1], angles)) ** 2
    return torch.from_numpy(found.astype(np.float32))


def _look_up(table: Tensor, share: Tensor) -> Tensor:
    """The value of a table at a share of it in [0, 1), one number, interpolated."""
    place = share * (len(table) - 1)
    below = place.long().view(1)  # one place by itself would be read by the host
    return torch.lerp(table[below], table[below + 1], place - below).squeeze(0)


def _darken_context(context: Tensor, draw: Darkenings, plan: Plan) -> Tensor:
    turned = plan.turned.view(-1, 1, 1)
    stops = torch.where(turned, at_thumbnails(draw.stops.transpose(1, 2)), at_thumbnails(draw.stops))
    return darken_batch(context, stops, draw, None)


def _choose(where: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Of N samples, those of `one` where the N booleans say so."""
    return torch.where(where.view(-1, 1, 1, 1), one, other)


def _flip(part: Tensor, plan: Plan) -> Tensor:
    part = _choose(plan.upside_down, part.flip(2), part)
    return _choose(plan.mirrored, part.flip(3), part)
