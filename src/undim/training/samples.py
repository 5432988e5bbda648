"""From a recipe's data section to the crops that training draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from undim.arrays import Bytes
from undim.data.crops import PairCrops, Sampling, Source
from undim.data.entries import FOLDER
from undim.data.reading import read_rgb
from undim.data.sets import Pair, Split, find_pairs
from undim.errors import DataError
from undim.metrics.evaluation import check_sizes
from undim.training.recipe import DataSection, Recipe
from undim.training.schedule import stages_of

HELD_OUT = 10
"""Of two folders of one's own, one pair in so many validates."""


def load_crops(recipe: Recipe) -> PairCrops:
    """Decode the training pictures of all data sets of a recipe.

    Raises:
        DataError: if pictures are missing, unreadable, without partner or smaller than the largest crops of the run.
    """
    data = recipe.data
    learnt = [pair for split in data.splits for pair in find_split(data, split)]
    sources = [Source(learnt, data.share, fuse=data.fuse)]
    for more in data.also:
        pairs = find_pairs(more.name, "train", more.root, low=more.low, high=more.high)
        sources.append(Source(pairs, more.share, fuse=more.fuse))
    sampling = Sampling(
        seed=recipe.seed,
        identity=data.identity,
        darken=data.darken,
        scene_light=data.scene_light,
        phone=data.phone,
        jitter=data.jitter,
        mixup=data.mixup,
        turn=data.turn,
        least_frame=data.least_frame,
        forgive_clipped=data.forgive_clipped,
        view=data.kernels_from_whole,
    )
    largest = max(crop for crop, *_ in stages_of(recipe))
    return PairCrops(sources, sampling, memory_gb=data.memory_gb, largest_crop=largest)


def find_split(data: DataSection, split: Split) -> list[Pair]:
    """The pairs of a split of the recipe's first data set.

    Of two folders of one's own, every tenth pair, beginning with the first, is `val`, and the others are `train`.

    Raises:
        DataError: as `find_pairs`; of two folders, for another split than these, or for a single pair.
    """
    if data.name == FOLDER.name:
        pairs = find_pairs(data.name, "train", data.root, low=data.low, high=data.high)
        parts = {"val": pairs[::HELD_OUT], "train": [pair for place, pair in enumerate(pairs) if place % HELD_OUT]}
        if split not in parts:
            raise DataError(f"The data set folder has no split {split} beside what is learnt from and validated on.")
        if not parts[split]:
            raise DataError(f"{data.low} and {data.high} hold one pair: give two, of which one validates.")
        return parts[split]
    return find_pairs(data.name, split, data.root, low=data.low, high=data.high)


def find_held_out(recipe: Recipe) -> list[Pair]:
    """The pairs that validate a run: of the split `val`, or none where that is learnt from."""
    pairs = find_split(recipe.data, "val") if recipe.data.validates else []
    return spread_evenly(pairs, recipe.validate_pictures)


def read_held_out(recipe: Recipe) -> list[tuple[Bytes, Bytes]]:
    """The dark picture and the reference of each of `find_held_out`, H x W x 3, 8 bit.

    Raises:
        DataError: naming the file that cannot be read, has another size than its reference, or is too small for SSIM.
    """
    pictures: list[tuple[Bytes, Bytes]] = []
    for pair in find_held_out(recipe):
        low, high = read_rgb(pair.low), read_rgb(pair.high)
        check_sizes({pair.low: low.shape[:2], pair.high: high.shape[:2]}, referenced=True)
        pictures.append((low, high))
    return pictures


def spread_evenly(pairs: Sequence[Pair], count: int | None) -> list[Pair]:
    """At most `count` of the pairs, from the first to the last in equal steps; None: all."""
    places = np.linspace(0, len(pairs) - 1, min(count or len(pairs), len(pairs))).round().astype(int)
    return [pairs[place] for place in places]
