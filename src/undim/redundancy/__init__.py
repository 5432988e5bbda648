"""The redundancy laboratory: which parameters of a restoration network are harmful, useless or needed."""

from undim.redundancy.passes import Settings
from undim.redundancy.ratios import DmrResult, dmr
from undim.redundancy.resetting import Initialisation, reset
from undim.redundancy.sites import Layer, layers

__all__ = ["DmrResult", "Initialisation", "Layer", "Settings", "dmr", "layers", "reset"]
