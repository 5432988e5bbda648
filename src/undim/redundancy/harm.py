"""Which layers harm: pictures that come out better when a trained layer is replaced by a random one.

Paper: Li et al., "Rethinking Model Redundancy for Low-light Image Enhancement", section 3.1, tables 1 to 3, figure 1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy
from torch import Tensor, nn

from undim.arrays import Bytes
from undim.errors import ModelError, ShapeError
from undim.metrics.quality import psnr
from undim.redundancy.journal import Journal
from undim.redundancy.ledger import Reading, checksum_picture
from undim.redundancy.ratios import confidence_interval
from undim.redundancy.reset_walk import ResetOutcome, Target, WalkSettings, check_picture, measure_resets
from undim.redundancy.sites import layers, select
from undim.results.laboratory import Correlation, ResetChange, ResetGain, Resets


@dataclass(frozen=True)
class LayerHarm:
    """What resetting one layer, or one group of layers, does to each picture's PSNR."""

    changes: tuple[tuple[float, ...], ...]
    """For each seed, for each picture: PSNR with the reset layer minus PSNR without, in dB."""

    @property
    def change(self) -> float:
        """Mean change of PSNR in dB, over seeds and pictures; above zero, the layer harms (tables 1 and 2)."""
        return statistics.fmean(self.per_seed)

    @property
    def per_seed(self) -> tuple[float, ...]:
        """Mean change of PSNR in dB for each seed."""
        return tuple(statistics.fmean(changes) for changes in self.changes)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the change over seeds, by Student's t; None for one seed."""
        return confidence_interval(self.per_seed)

    @property
    def poi(self) -> float:
        """Percentage of pictures, over all seeds, whose PSNR rises (table 3)."""
        return 100 * statistics.fmean(change > 0 for changes in self.changes for change in changes)

    @property
    def poi_per_seed(self) -> tuple[float, ...]:
        """The same for each seed."""
        return tuple(100 * statistics.fmean(change > 0 for change in changes) for changes in self.changes)

    @property
    def per_image(self) -> tuple[float, ...]:
        """Mean change of each picture over seeds, in dB."""
        return tuple(statistics.fmean(column) for column in zip(*self.changes, strict=True))

    def as_document(self) -> ResetChange:
        """As results hold it."""
        return ResetChange(
            change=self.change,
            interval=self.interval,
            per_seed=self.per_seed,
            poi=self.poi,
            poi_per_seed=self.poi_per_seed,
            changes=self.changes,
        )


@dataclass(frozen=True)
class Gain:
    """One picture that a reset made better (figure 1)."""

    layer: str
    seed: int
    picture: int
    """Its number, from 0."""
    before: float
    """PSNR of the trained network's output, in dB."""
    after: float


@dataclass(frozen=True)
class HarmResult:
    """Harm by layer, and where it falls."""

    psnr: tuple[float, ...]
    """Of the trained network, for each picture, in dB."""
    layers: Mapping[str, LayerHarm]
    groups: Mapping[str, LayerHarm]
    """Whole groups reset at once, such as "attention, all" (table 1)."""
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def gains(self, count: int = 5) -> list[Gain]:
        """The largest rises of PSNR by resetting one layer, each picture once, the largest first."""
        found = [
            Gain(name, seed, picture, self.psnr[picture], self.psnr[picture] + change)
            for name, layer in self.layers.items()
            for seed, changes in zip(self.seeds, layer.changes, strict=True)
            for picture, change in enumerate(changes)
            if change > 0
        ]
        best: dict[int, Gain] = {}
        for gain in sorted(found, key=lambda one: one.before - one.after):
            best.setdefault(gain.picture, gain)
        return list(best.values())[:count]

    @property
    def correlation(self) -> tuple[float, float] | None:
        """See `correlate_harm`."""
        return correlate_harm(self.psnr, [one.changes for one in self.layers.values()])

    def as_document(self) -> Resets:
        """All of it as results hold it."""
        found = self.correlation
        return Resets(
            psnr=self.psnr,
            mean_psnr=statistics.fmean(self.psnr),
            seeds=self.seeds,
            groups={name: one.as_document() for name, one in self.groups.items()},
            layers={name: one.as_document() for name, one in self.layers.items()},
            gains=tuple(ResetGain(**vars(gain)) for gain in self.gains()),
            correlation=None if found is None else Correlation(spearman=found[0], p=found[1]),
            notes=self.notes,
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it in values that JSON can hold."""
        return self.as_document().model_dump(mode="json")


def harmfulness(
    model: nn.Module,
    pairs: Iterable[tuple[Tensor, Tensor]],
    *,
    kind: str = "attention",
    stage: str | None = None,
    seeds: Sequence[int] = (0,),
    adr: Literal["reset", "keep"] = "reset",
    groups: Mapping[str, Target] | None = None,
    settings: WalkSettings | None = None,
    journal: Journal | None = None,
    done: Callable[[], None] = lambda: None,
) -> HarmResult:
    """Measure how each picture's PSNR changes when layers are reset.

    PSNR is the headline protocol's: outputs clamped to [0, 1] and rounded to 8 bit. An output that is not finite counts
    as black.

    Args:
        model: as in `dmr`.
        pairs: dark picture and reference, 1 x 3 x H x W in [0, 1] each.
        kind: which layers, each reset alone.
        stage: as in `layers`.
        seeds: of the draws.
        adr: whether resetting an attention layer resets its ADR.
        groups: sets of layers to reset at once, see `table_groups`.
        settings: how it is done; its seeds are replaced.
        journal: as in `dmr`.
        done: called once for each layer and group of each picture.

    Raises:
        ModelError: as `dmr`.
        ShapeError: if a pair differs in size, or as `dmr`.
        UsageError: as `dmr`.

    Examples:
        >>> import torch
        >>> from undim.nets import create_model
        >>> from undim.redundancy import harmfulness
        >>> pairs = [(torch.rand(1, 3, 16, 16) / 8, torch.rand(1, 3, 16, 16)) for _ in range(2)]
        >>> result = harmfulness(create_model("candela_tiny"), pairs, stage="latent")
        >>> [len(result.psnr), all(0 <= layer.poi <= 100 for layer in result.layers.values())]
        [2, True]
    """
    settings = replace(settings or WalkSettings(), seeds=tuple(seeds))
    selection = select(model, kind, stage, adr=adr)
    single = [Target(layer.name, (layer,)) for layer in selection.layers]
    several = list((groups or {}).values())
    measure = _PsnrChange(settings.batch)
    found = measure_resets(measure, model, pairs, [*single, *several], settings, journal=journal, done=done)

    def collect(target: Target) -> LayerHarm:
        changes = ([_figure(one, "change") for one in draws] for draws in found.of(target.name))
        return LayerHarm(tuple(zip(*changes, strict=True)))

    return HarmResult(
        tuple(_figure(draws[0], "before") for draws in found.of(single[0].name)),
        {target.name: collect(target) for target in single},
        {target.name: collect(target) for target in several},
        settings.seeds,
        (*selection.notes, *found.notes),
    )


class _PsnrChange:
    """The measure: PSNR before a reset, and what the reset changes in it, in dB.

    Args:
        batch: pictures that run together, at most.
    """

    name = "psnr"

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._references: dict[int, Bytes] = {}
        self._before: dict[int, float] = {}

    def take_checksums(self, pair: tuple[Tensor, Tensor]) -> list[str]:
        _check_pair(*pair)
        check_picture(pair[0])
        return ["/".join(checksum_picture(picture) for picture in pair)]

    def take_dark(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        for number, (low, high) in enumerate(pairs):
            _check_pair(low, high)
            self._references[number] = to_pixels(high)
            self._references.pop(number - self._batch - 1, None)  # its batch is over
            yield low

    def read(self, outcome: ResetOutcome) -> Reading:
        number, reference = outcome.picture, self._references[outcome.picture]
        if number not in self._before:
            self._before[number] = _psnr(outcome.before, reference)
        before = self._before[number]
        return {"before": before, "change": _after(outcome, reference) - before}


def _check_pair(low: Tensor, high: Tensor) -> None:
    if low.shape != high.shape or low.shape[0] != 1:
        raise ShapeError(f"A pair is 1 x 3 x H x W twice. Got {tuple(low.shape)} and {tuple(high.shape)}.")


def _figure(reading: Reading, name: str) -> float:
    value = reading[name]
    return math.nan if value is None else value


def correlate_harm(psnr: Sequence[float], changes: Sequence[Sequence[Sequence[float]]]) -> tuple[float, float] | None:
    """Spearman's rank correlation, over pictures, of PSNR and the mean change by single resets, with its p-value.

    Below zero, harm falls on the pictures that the network does worst on. PSNR is the mean of that before and after:
    the change is after - before, so that a correlation with what was before would be below zero by itself, since
    whatever is random in it counts with opposite signs in the two (Oldham 1962).

    Args:
        psnr: of the trained network, for each picture, in dB.
        changes: for each layer, for each seed, for each picture, in dB.

    Returns:
        None for fewer than three pictures, where one of the two is constant, or a figure is NaN.
    """
    draws = [draw for layer in changes for draw in layer]
    if not draws:
        return None
    mean = [statistics.fmean(column) for column in zip(*draws, strict=True)]
    level = [before + change / 2 for before, change in zip(psnr, mean, strict=True)]
    if len(mean) < 3 or len(set(mean)) == 1 or len(set(level)) == 1:
        return None
    found = scipy.stats.spearmanr(level, mean)
    return None if math.isnan(found.statistic) else (float(found.statistic), float(found.pvalue))


def table_groups(
    model: nn.Module, kinds: Sequence[str] = ("attention", "feedforward"), stages: Sequence[str] = ("latent",)
) -> dict[str, Target]:
    """The groups of table 1: all layers of each kind, and those of each stage, where the network has them.

    Examples:
        >>> from undim.nets import create_model
        >>> from undim.redundancy import table_groups
        >>> list(table_groups(create_model("candela_tiny"), kinds=("attention",)))
        ['attention, all', 'attention, latent']
    """
    found: dict[str, Target] = {}
    for kind in kinds:
        for stage in (None, *stages):
            name = f"{kind}, {'all' if stage is None else stage}"
            try:
                found[name] = Target(name, tuple(layers(model, kind, stage)))
            except ModelError:
                continue
    return found


def poi_over_networks(results: Mapping[str, HarmResult]) -> dict[str, dict[str, float]]:
    """POI of the same layers over networks trained from several seeds: does retraining cure harm?

    Args:
        results: name of a network -> its harm; the layers are those that all have.

    Returns:
        For each layer: mean, smallest and largest POI over networks, and how many of them harm on average (a mean
        change above zero).

    Examples:
        >>> import torch
        >>> from undim.nets import create_model
        >>> from undim.redundancy import harmfulness, poi_over_networks
        >>> pairs = [(torch.rand(1, 3, 16, 16) / 8, torch.rand(1, 3, 16, 16))]
        >>> runs = {f"s{n}": harmfulness(create_model("candela_tiny"), pairs, stage="latent") for n in range(2)}
        >>> [sorted(row) for row in poi_over_networks(runs).values()]
        [['harmful_networks', 'largest', 'mean', 'smallest']]
    """
    common = [
        name for name in next(iter(results.values())).layers if all(name in one.layers for one in results.values())
    ]
    table = {}
    for name in common:
        shares = [one.layers[name].poi for one in results.values()]
        harmed = sum(one.layers[name].change > 0 for one in results.values())
        table[name] = {
            "mean": statistics.fmean(shares),
            "smallest": min(shares),
            "largest": max(shares),
            "harmful_networks": float(harmed),
        }
    return table


def to_pixels(image: Tensor) -> Bytes:
    """1 x 3 x H x W in [0, 1], rounded to H x W x 3 8-bit RGB."""
    rounded: Bytes = (image[0].float() * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return rounded


def _after(outcome: ResetOutcome, reference: Bytes) -> float:
    if outcome.after is None:  # nothing to be seen: a black picture
        return psnr(np.zeros_like(reference), reference)
    return _psnr(outcome.after, reference)


def _psnr(output: Tensor, reference: Bytes) -> float:
    """PSNR in dB of a rounded output; if it equals its reference, that of one value being off by one grey level."""
    pixels = to_pixels(output)
    if np.array_equal(pixels, reference):
        return 10 * float(np.log10(255**2 * reference.size))
    return psnr(pixels, reference)
