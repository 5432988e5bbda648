"""Training checkpoints: whole or absent, and loadable without executing anything they contain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from undim.atomic import replacing
from undim.errors import CheckpointError

NAME = "checkpoint.pt"


def save_checkpoint(state: dict[str, Any], folder: Path) -> None:
    """Write the newest checkpoint beside the old one and put it in its place in one step.

    Raises:
        OSError: if it cannot be written; the one before it is intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / NAME) as stream:
        try:
            torch.save(state, stream)
        except RuntimeError as error:  # what torch's archive writer makes of the stream's OSError while it closes
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the newest checkpoint.

    Raises:
        CheckpointError: if there is none or it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise CheckpointError(f"There is nothing to resume: {path} does not exist.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path} cannot be read: {reason}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a checkpoint of a training run.")
    return state
