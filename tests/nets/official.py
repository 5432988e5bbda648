"""Outputs of the public implementations on small random networks, and the key lists of the published sizes."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from zoo import SMALL, SYSTEMS

from undim.nets import create_model, list_models

FIXTURES = Path(__file__).parents[1] / "fixtures"


PUBLISHED = ("cidnet", "restormer", "retinexformer")
RUNNABLE = [name for name in list_models() if name not in (*PUBLISHED, *SYSTEMS, *SMALL)]
"""Registered networks that a quick test can run, but for those of other systems (`zoo`)."""


def build(name):
    """A registered network in which every layer acts: one that starts at zero hides what comes before it."""
    torch.manual_seed(0)
    model = create_model(name).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def load_fixture(name):
    """Configuration, weights, input and output of one fixture."""
    with safe_open(FIXTURES / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        config = json.loads(file.metadata()["config"])
    weights = {key.removeprefix("weight."): value for key, value in tensors.items() if key.startswith("weight.")}
    return config, weights, tensors["input"], tensors["output"]


def assert_public_output(output, expected):
    """Equal to 1e-5, but for few places: where a network decides by comparing colours, rounding decides.

    CIDNet's hue jumps where two channels are equal, and float64 itself differs there from the stored output by 5e-4.
    """
    difference = (output - expected).abs()
    assert difference.quantile(0.998) <= 1e-5
    assert difference.max() <= 1e-3


def official_keys():
    """Name -> shape of the weights of the three published networks."""
    return json.loads((FIXTURES / "official_keys.json").read_text(encoding="utf-8"))
