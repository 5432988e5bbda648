"""From a recipe's data section to the crops that training draws."""

from __future__ import annotations

from undim.data.crops import PairCrops, Sampling, Source
from undim.data.sets import Pair, Split, find_pairs
from undim.training.recipe import DataSection, Recipe


def load_crops(recipe: Recipe) -> PairCrops:
    """Decode the training pictures of all data sets of a recipe.

    Raises:
        DataError: if pictures are missing, unreadable or without partner.
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
        jitter=data.jitter,
        mixup=data.mixup,
        turn=data.turn,
        forgive_clipped=data.forgive_clipped,
        view=data.kernels_from_whole,
    )
    return PairCrops(sources, sampling, memory_gb=data.memory_gb)


def find_split(data: DataSection, split: Split) -> list[Pair]:
    """The pairs of a split of the recipe's first data set."""
    return find_pairs(data.name, split, data.root, low=data.low, high=data.high)


def find_held_out(data: DataSection) -> list[Pair]:
    """The pairs that validate a run: of the split `val`, or none where that is learnt from."""
    return find_split(data, "val") if data.validates else []
