"""Networks as PyTorch modules: layers (POG, ADR, dynamic convolution) and backbones behind one registry."""

from undim.nets import (  # noqa: F401 - each registers its variants
    candela,
    cidnet,
    enlightengan,
    kind,
    llformer,
    pairlie,
    restormer,
    retinexformer,
    retinexmamba,
    retinexnet,
    rsfnet,
    ruas,
    snr_net,
    zero_dce,
)
from undim.nets.adr import Adr, add_adr, replace_convs
from undim.nets.backbone import Backbone
from undim.nets.dynamic_conv import DynamicConv2d
from undim.nets.flops import count_flops
from undim.nets.pog import PogConv2d, freeze
from undim.nets.registry import create_model, list_models

__all__ = [
    "Adr",
    "Backbone",
    "DynamicConv2d",
    "PogConv2d",
    "add_adr",
    "count_flops",
    "create_model",
    "freeze",
    "list_models",
    "replace_convs",
]
