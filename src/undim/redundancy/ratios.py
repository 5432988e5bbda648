"""DMR, the detection of model redundancy: how far the output moves when a layer is re-initialised.

Paper: Li et al., "Rethinking Model Redundancy for Low-light Image Enhancement", equation 8.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import scipy
from torch import Tensor, nn

from undim.redundancy.journal import Journal
from undim.redundancy.ledger import Reading, checksum_picture
from undim.redundancy.reset_walk import ResetOutcome, Target, WalkSettings, check_picture, measure_resets
from undim.redundancy.sites import select
from undim.results.document import finite
from undim.results.laboratory import LayerRatios, Ratios

CEILING = 120.0
"""dB that an infinite ratio counts as in means: a difference of 1e-6, which is what two correct computations of one
network differ by."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class DmrResult:
    """The ratios of one network, in dB, and their means.

    A ratio is infinite where the output did not change at all; in every mean it counts, as any above, as `CEILING`, but
    a layer whose every ratio is infinite is infinite in `per_layer`. A picture that the re-initialised network gives
    values for that are not finite has the ratio 0 dB, that of the largest difference there can be.

    Examples:
        >>> from undim.redundancy import DmrResult
        >>> result = DmrResult({"first": ((30.0, 40.0),), "last": ((50.0, 60.0),)}, seeds=(0,))  # of two pictures
        >>> result.mean, result.per_layer["last"]
        (45.0, 55.0)
    """

    ratios: Mapping[str, tuple[tuple[float, ...], ...]]
    """Layer -> for each seed, for each picture, 10 log10(1 / MSE) between the outputs before and after."""
    seeds: tuple[int, ...]
    non_finite: int = 0
    """How many ratios are 0 dB because of values that are not finite."""
    notes: tuple[str, ...] = ()
    kept: DmrResult | None = None
    """With `adr="both"`, if any of the layers has ADR: the same with ADR left as it is."""

    @property
    def mean(self) -> float:
        """DMR: over layers, seeds and pictures."""
        return statistics.fmean(self.per_seed)

    @property
    def per_seed(self) -> tuple[float, ...]:
        """DMR for each seed."""
        return tuple(
            _mean(ratio for by_seed in self.ratios.values() for ratio in by_seed[place])
            for place in range(len(self.seeds))
        )

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the mean over seeds, by Student's t; None for one seed."""
        return confidence_interval(self.per_seed)

    @property
    def per_layer(self) -> dict[str, float]:
        """Mean of each layer over seeds and pictures."""
        return {
            layer: math.inf
            if all(math.isinf(ratio) for ratios in by_seed for ratio in ratios)
            else _mean(ratio for ratios in by_seed for ratio in ratios)
            for layer, by_seed in self.ratios.items()
        }

    @property
    def spread(self) -> dict[str, float | None]:
        """Standard deviation over seeds of each layer's mean; None for one seed."""
        return {
            layer: statistics.stdev([_mean(ratios) for ratios in by_seed]) if len(self.seeds) > 1 else None
            for layer, by_seed in self.ratios.items()
        }

    @property
    def per_image(self) -> tuple[float, ...]:
        """Mean of each picture over layers and seeds, in the pictures' order."""
        columns = zip(*(ratios for by_seed in self.ratios.values() for ratios in by_seed), strict=True)
        return tuple(_mean(column) for column in columns)

    def as_document(self) -> Ratios:
        """All of it as results hold it; infinite ratios are None."""
        return Ratios(
            mean=self.mean,
            interval=self.interval,
            seeds=self.seeds,
            per_seed=self.per_seed,
            layers={
                name: LayerRatios(
                    dmr=finite(value),
                    infinite=math.isinf(value),
                    spread=self.spread[name],
                    ratios=tuple(tuple(map(finite, ratios)) for ratios in self.ratios[name]),
                )
                for name, value in self.per_layer.items()
            },
            per_image=self.per_image,
            non_finite=self.non_finite,
            notes=self.notes,
            adr_kept=None if self.kept is None else self.kept.as_document(),
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it in values that JSON can hold."""
        return self.as_document().model_dump(mode="json")


def dmr(
    model: nn.Module,
    images: Iterable[Tensor],
    *,
    kind: str = "attention",
    stage: str | None = None,
    seeds: Sequence[int] = (0,),
    adr: Literal["reset", "keep", "both"] = "reset",
    settings: WalkSettings | None = None,
    journal: Journal | None = None,
    done: Callable[[], None] = lambda: None,
) -> DmrResult:
    """Measure how redundant a network's layers are (equation 8): lower means that more depends on them.

    Args:
        model: maps N x 3 x H x W in [0, 1] to the same, on any device; left as it is.
        images: 1 x 3 x H x W tensors in [0, 1], sizes may differ; one is held at a time. With a journal, those of a
            sequence are gone through once more before, for their checksums.
        kind: which layers, see `layers`.
        stage: which part of a registered backbone, see `layers`.
        seeds: of the draws; layers and seeds are independent.
        adr: whether resetting an attention layer resets its ADR; "both" measures both, see `DmrResult.kept`.
        settings: how it is done; its seeds are replaced.
        journal: records of an earlier run are taken over, new ones added. It is asked the whole question: weights,
            layers, seeds, what bare parameters start at, pictures.
        done: called once for each layer of each picture (twice with "both").

    Raises:
        ModelError: if there are no such layers, one cannot be re-initialised, or the network fails.
        ShapeError: for a picture of another shape or range.
        UsageError: if the journal holds records of another question; the message names what differs.

    Examples:
        >>> import torch
        >>> from undim.nets import create_model
        >>> from undim.redundancy import dmr
        >>> result = dmr(create_model("candela_tiny"), [torch.rand(1, 3, 16, 16)], stage="latent", seeds=(0, 1))
        >>> result.mean > 0, [len(seeds) for seeds in result.ratios.values()]
        (True, [2])
    """
    settings = replace(settings or WalkSettings(), seeds=tuple(seeds))
    choices: list[Literal["reset", "keep"]] = ["reset", "keep"] if adr == "both" else [adr]
    if adr == "both" and not any(layer.kept for layer in select(model, kind, stage, adr="keep").layers):
        choices = ["reset"]
    selections = [select(model, kind, stage, adr=choice) for choice in choices]
    suffixes = ["", KEPT][: len(choices)]
    targets = [
        Target(f"{layer.name}{suffix}", (layer,))
        for selection, suffix in zip(selections, suffixes, strict=True)
        for layer in selection.layers
        if not (suffix and not layer.kept)  # without ADR, keeping it changes nothing
    ]
    found = measure_resets(_Ratio(), model, images, targets, settings, journal=journal, done=done)
    results = []
    for selection, suffix in zip(selections, suffixes, strict=True):
        names = {layer.name: f"{layer.name}{suffix}" if layer.kept else layer.name for layer in selection.layers}
        results.append(
            DmrResult(
                {name: _tabulate(found.of(key), len(settings.seeds)) for name, key in names.items()},
                settings.seeds,
                sum(one["non_finite"] == 1 for key in names.values() for draws in found.of(key) for one in draws),
                (*selection.notes, *found.notes),
            )
        )
    return results[0] if len(results) == 1 else replace(results[0], kept=results[1])


KEPT = " with ADR kept"


class _Ratio:
    """The measure: how far an output moves."""

    name = "dmr"

    def take_checksums(self, images: Tensor) -> list[str]:
        check_picture(images)
        return [checksum_picture(one) for one in images]

    def take_dark(self, images: Iterable[Tensor]) -> Iterable[Tensor]:
        return images

    def read(self, outcome: ResetOutcome) -> Reading:
        return {"ratio": finite(measure_ratio(outcome)), "non_finite": float(outcome.after is None)}


def _tabulate(readings: Sequence[Sequence[Reading]], seeds: int) -> tuple[tuple[float, ...], ...]:
    """From readings by picture and seed the ratios by seed and picture."""
    by_seed = ([draws[place]["ratio"] for draws in readings] for place in range(seeds))
    return tuple(tuple(math.inf if ratio is None else ratio for ratio in ratios) for ratios in by_seed)


def measure_ratio(outcome: ResetOutcome) -> float:
    """10 log10(1 / MSE) in dB between the outputs before and after; 0 if one is not finite, infinite if equal."""
    if outcome.after is None:
        return 0.0
    error = float((outcome.before.double() - outcome.after.double()).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def confidence_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % confidence interval of the mean, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    critical = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    reach = critical * statistics.stdev(values) / math.sqrt(len(values))
    return mean - reach, mean + reach


def _mean(ratios: Iterable[float]) -> float:
    return statistics.fmean(min(ratio, CEILING) for ratio in ratios)
