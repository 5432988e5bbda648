"""Networks as PyTorch modules: layers (POG, ADR, dynamic convolution) and backbones behind one registry."""

from undim.nets import candela, cidnet, restormer, retinexformer  # noqa: F401 - each registers its variants
from undim.nets.adr import add_adr, replace_convs
from undim.nets.backbone import Backbone
from undim.nets.pog import freeze
from undim.nets.registry import create_model, list_models

__all__ = ["Backbone", "add_adr", "create_model", "freeze", "list_models", "replace_convs"]
