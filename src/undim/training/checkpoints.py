"""Training checkpoints: whole or absent, and loadable without executing anything they contain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from undim.atomic import replacing
from undim.errors import CheckpointError

NAME = "last.ckpt"


def save_checkpoint(state: dict[str, Any], folder: Path) -> None:
    """Write the newest checkpoint beside the old one and put it in its place in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(folder / NAME) as stream:
            torch.save(state, stream)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint in {folder} could not be written ({error.strerror}); the one before it is intact."
        ) from error


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the newest checkpoint of a run."""
    path = folder / NAME
    if not path.is_file():
        raise CheckpointError(f"There is nothing to resume: {path} does not exist.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path} cannot be read: {reason}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of a training run.")
    return state
