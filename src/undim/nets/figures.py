"""Parameters and FLOPs of every registered network, kept with the package so that they can be read without torch.

`python -m undim.nets.figures` writes them anew; a test compares them with the networks.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import torch

from undim.nets import add_adr, create_model, list_models
from undim.nets.backbone import Backbone
from undim.nets.flops import count_flops
from undim.nets.registry import REGISTRY

SIZE = 256
"""Height and width in pixels of the picture that FLOPs are counted for."""


def measure() -> dict[str, dict[str, object]]:
    """Figures of each registered network by name, alone and with ADR (POG, the backbone's published bottleneck).

    Networks without attention have none with ADR.
    """
    return {name: _figures(name) for name in list_models()}


def _figures(name: str) -> dict[str, object]:
    with torch.device("meta"):
        model = create_model(name)
        extended = add_adr(create_model(name)) if model.attention_sites() else None
    return {
        "summary": REGISTRY[name].summary,
        "size": SIZE,
        "rule": model.flops_rule,
        "bottleneck": model.adr_bottleneck,
        "base": _cost(model),
        "adr": None if extended is None else _cost(extended),
    }


def _cost(model: Backbone) -> dict[str, int]:
    """Parameters; FLOPs by the rule of the published figure, and by fvcore's, which serves to compare networks."""
    published = count_flops(model, SIZE, model.flops_rule)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "flops": published,
        "flops_by_fvcore": published if model.flops_rule == "fvcore" else count_flops(model, SIZE, "fvcore"),
    }


def main() -> None:
    """Write `networks.json` beside the package's modules."""
    target = Path(str(files("undim") / "networks.json"))
    target.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
