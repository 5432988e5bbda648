"""The redundancy laboratory: which parameters of a restoration network are harmful, useless or needed."""

from undim.deprecation import resolve_renamed
from undim.redundancy.cutting import Cut, cut_down
from undim.redundancy.harm import HarmResult, harmfulness, poi_over_networks, table_groups
from undim.redundancy.journal import Journal
from undim.redundancy.kernels import DiversityResult, bottleneck_energy, diversity
from undim.redundancy.pruning import (
    BASELINES,
    chroma_error,
    prune_filters_l1,
    prune_filters_median,
    prune_magnitude,
    quantise,
)
from undim.redundancy.ratios import DmrResult, dmr
from undim.redundancy.reset_walk import WalkSettings
from undim.redundancy.resetting import Initialisation, reset
from undim.redundancy.sites import Layer, layers
from undim.redundancy.slimming import Evidence, Proposal, propose, units

__all__ = [
    "BASELINES",
    "Cut",
    "DiversityResult",
    "DmrResult",
    "Evidence",
    "HarmResult",
    "Initialisation",
    "Journal",
    "Layer",
    "Proposal",
    "WalkSettings",
    "bottleneck_energy",
    "chroma_error",
    "cut_down",
    "diversity",
    "dmr",
    "harmfulness",
    "layers",
    "poi_over_networks",
    "propose",
    "prune_filters_l1",
    "prune_filters_median",
    "prune_magnitude",
    "quantise",
    "reset",
    "table_groups",
    "units",
]


def __getattr__(name: str) -> object:
    renamed = {"Settings": "WalkSettings", "Measured": "Evidence"}
    return resolve_renamed(__name__, name, renamed, globals(), removed_in="0.4")
