"""Outputs of the original networks of other systems, with weights that a rule makes from their names."""

import json
import math
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from undim.nets import create_model

FIXTURES = Path(__file__).parents[1] / "fixtures" / "zoo"

WITHOUT_ATTENTION = (
    "enlightengan",
    "kind",
    "pairlie",
    "retinexnet",
    "retinexnet_port",
    "rsfnet",
    "ruas",
    "zero_dce",
)
WITH_ATTENTION = ("llformer", "retinexmamba", "snr_net")
SMALL = tuple(f"{name}_small" for name in WITH_ATTENTION)
SYSTEMS = (*WITHOUT_ATTENTION, *WITH_ATTENTION)
SETTINGS = {
    "kind": {"ratio": 3.5},
    "llformer": {"dim": 8, "num_blocks": (2, 1, 2, 1), "num_refinement_blocks": 1},
    "retinexmamba": {"n_feat": 16, "num_blocks": (1, 2, 1), "d_state": 4},
}
"""Of the networks that the fixtures were made with."""


class Fixture:
    """One file: its tensors, its metadata and the weights that its rule makes."""

    def __init__(self, name):
        with safe_open(FIXTURES / f"{name}.safetensors", "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            metadata = file.metadata()
        self.config = json.loads(metadata["config"])
        self.shapes = json.loads(metadata["keys"])
        self._gain = float(metadata["gain"])

    def image(self, case):
        """The input of case "a" or "b", in [0, 1]."""
        return self.tensors[f"input_{case}"].float() / 255

    def weights(self, special=None):
        """The state dict: stored where stored, else by the file's special rules, else by the general one."""
        return {
            key: self.tensors.get(f"weight.{key}", by_rule(key, shape, self._gain, special))
            for key, shape in self.shapes.items()
        }


def by_rule(key, shape, gain=1.0, special=None):
    """A weight as the fixtures' metadata tell it.

    Args:
        key: its name, which seeds it.
        shape: its shape.
        gain: factor of kernels.
        special: maps a name and the standard normal numbers to the weight, or to None where the rule holds.
    """
    numbers = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(tuple(shape)).astype(np.float32)
    if special is not None and (made := special(key, numbers)) is not None:
        return torch.from_numpy(np.asarray(made, dtype=np.float32))
    if key.endswith("running_var"):
        made = 1 + 0.1 * np.abs(numbers)
    elif len(shape) >= 2 and math.prod(shape) > shape[0]:
        made = numbers * np.float32(gain) / np.float32(math.sqrt(math.prod(shape[1:])))
    elif key.endswith("bias"):
        made = 0.1 * numbers
    else:
        made = 1 + 0.1 * numbers
    return torch.from_numpy(np.asarray(made, dtype=np.float32))


@cache
def official():
    """Name of a system -> its parameters, multiply-adds and the names and shapes of its weights."""
    return json.loads((FIXTURES / "official_keys.json").read_text(encoding="utf-8"))


def load(name, fixture, special=None, **settings):
    """A network with a fixture's weights, evaluating."""
    model = create_model(name, **settings)
    model.load_state_dict(fixture.weights(special))
    return model.eval()


def relative(output, expected):
    """Largest difference as a part of the largest value expected."""
    return ((output - expected).abs().max() / expected.abs().max()).item()


def special(key, numbers):
    """Weights that the fixtures' notes tell apart from the rule."""
    if key.endswith("A_logs"):
        return np.log(np.arange(1, numbers.shape[1] + 1, dtype=np.float32)) + 0.1 * numbers
    if key.endswith("dt_projs_bias"):
        return numbers - 3
    for group, prefix, offset in (("encoder", "e_conv", 1), ("decoder", "d_conv", 5)):
        if key.startswith(f"fuseNet.{group}."):
            index, part = key.split(".")[2:]
            return by_rule(f"fuseNet.{prefix}{int(index) + offset}.{part}", numbers.shape).numpy()
    return None


def fixture_and_network(name):
    fixture = Fixture(name)
    return fixture, load(name, fixture, special, **SETTINGS.get(name, {}))


def compare_case(name, case):
    """How far a network's output lies from the original's, as a part of the largest value."""
    fixture, model = fixture_and_network(name)
    # The map of case b is not the picture's own: so half of the tokens are kept.
    given = (fixture.tensors["mask_b"].float() / 255,) if (name, case) == ("snr_net", "b") else ()
    with torch.no_grad():
        output = model(fixture.image(case), *given)
    if name == "enlightengan":
        output = 2 * output - 1
    return relative(output, fixture.tensors[f"output_{case}"])
