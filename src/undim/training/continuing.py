"""Training on from weights: what a recipe says of a network that starts from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from undim.errors import UsageError
from undim.weights.files import ModelSpec

DEFAULTS: dict[str, Any] = {"steps": 5000, "optimiser": {"lr": 2e-4, "warmup": 100}, "validate_every": 500}
"""The recipe where none is given: a fifth of the rate that Candela is trained with from the beginning."""


def model_section(checkpoint: Path, spec: ModelSpec, given: Mapping[str, object], *, freeze: bool) -> dict[str, Any]:
    """The recipe's section for a network that starts from a checkpoint.

    Args:
        checkpoint: its file.
        spec: what the file holds.
        given: options of ADR, by the names of the recipe's keys; the kernel "none" adds none.
        freeze: whether ADR alone is trained.

    Raises:
        UsageError: if ADR is asked for and there is one already, or options of it are given and it is not wanted.
    """
    added: dict[str, object] | None = {"kernel": "pog", **given, "identity": True}
    if spec.adr is not None:
        if given:
            raise UsageError(f"{checkpoint} has ADR already ({spec.adr.kernel}): leave the options of ADR out.")
        added = dataclasses.asdict(spec.adr)
    elif given.get("kernel") == "none":
        if len(given) > 1 or freeze:
            raise UsageError(
                "Without ADR there is nothing to freeze, place or size: leave the other options of ADR out.",
                code="no-adr",
            )
        added = None
    return {
        "name": spec.architecture,
        "settings": spec.overrides,
        "adr": added,
        "convs": None if spec.convs is None else dataclasses.asdict(spec.convs),
        "start": str(checkpoint.resolve()),
        "partial": spec.adr is None and added is not None,
        "freeze": "backbone" if freeze else "none",
    }
