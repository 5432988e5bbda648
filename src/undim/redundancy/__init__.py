"""The redundancy laboratory: which parameters of a restoration network are harmful, useless or needed."""

from undim.redundancy.harm import HarmResult, harmfulness, poi_over_networks, table_groups
from undim.redundancy.journal import Journal
from undim.redundancy.kernels import DiversityResult, diversity
from undim.redundancy.passes import Settings
from undim.redundancy.pruning import (
    BASELINES,
    chroma_error,
    prune_filters_l1,
    prune_filters_median,
    prune_magnitude,
    quantise,
)
from undim.redundancy.ratios import DmrResult, dmr
from undim.redundancy.resetting import Initialisation, reset
from undim.redundancy.sites import Layer, layers

__all__ = [
    "BASELINES",
    "DiversityResult",
    "DmrResult",
    "HarmResult",
    "Initialisation",
    "Journal",
    "Layer",
    "Settings",
    "chroma_error",
    "diversity",
    "dmr",
    "harmfulness",
    "layers",
    "poi_over_networks",
    "prune_filters_l1",
    "prune_filters_median",
    "prune_magnitude",
    "quantise",
    "reset",
    "table_groups",
]
