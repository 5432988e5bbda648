"""Outputs of the public implementations on small random networks, and the key lists of the published sizes."""

import json
from pathlib import Path

from safetensors import safe_open

FIXTURES = Path(__file__).parents[1] / "fixtures"


def load_fixture(name):
    """Configuration, weights, input and output of one fixture."""
    with safe_open(FIXTURES / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        config = json.loads(file.metadata()["config"])
    weights = {key.removeprefix("weight."): value for key, value in tensors.items() if key.startswith("weight.")}
    return config, weights, tensors["input"], tensors["output"]


def official_keys():
    """Name -> shape of the weights of the three published networks."""
    return json.loads((FIXTURES / "official_keys.json").read_text(encoding="utf-8"))
