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
from undim.redundancy.slimming import Proposal, find_blocks, leave_out, propose

__all__ = [
    "BASELINES",
    "DiversityResult",
    "DmrResult",
    "HarmResult",
    "Initialisation",
    "Journal",
    "Layer",
    "Proposal",
    "Settings",
    "chroma_error",
    "diversity",
    "dmr",
    "find_blocks",
    "harmfulness",
    "layers",
    "leave_out",
    "poi_over_networks",
    "propose",
    "prune_filters_l1",
    "prune_filters_median",
    "prune_magnitude",
    "quantise",
    "reset",
    "table_groups",
]
