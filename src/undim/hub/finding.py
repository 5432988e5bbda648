"""The file of a model, however it was named: shipped, a path, or pulled from a hub. Nothing is fetched unasked."""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path

from undim.errors import ModelError
from undim.hub.reference import PREFIX, Reference, names_hub
from undim.hub.store import find_pulled, settle
from undim.shipped import ONNX, find_model

ALLOW = "UNDIM_PULL"
"""Set to 1 in the environment, it lets names that begin with `hf:` fetch what is not there."""

_logger = logging.getLogger(__name__)


def find_model_file(model: str | os.PathLike[str], reads: str = ONNX) -> Path:
    """As `undim.shipped.find_model`, and of `hf:owner/name@revision` the file that was pulled.

    Args:
        model: name or path.
        reads: suffix of the files that will do.

    Raises:
        ModelError: if there is no such model or file, it was not pulled (code "not-pulled"), or it has no file of that
            kind.
    """
    if not (isinstance(model, str) and names_hub(model)):
        return find_model(model, reads)
    files = find_pulled_files(model)
    if reads in files:
        return files[reads]
    if reads == ONNX:
        raise ModelError(
            f"{model} holds weights for PyTorch alone: take the runtime torch, or undim export {model} -o FILE.onnx"
            " makes what the others run.",
            code="weights",
            subject=model,
        )
    raise ModelError(f"{model} holds no {reads} file, which this runtime reads.", subject=model)


def find_pulled_files(model: str) -> dict[str, Path]:
    """The files by suffix that were pulled of `hf:owner/name@revision`; fetched now only where the user allows that.

    Says once, in the log, which commit a name without one means.

    Raises:
        ModelError: if the name has another form, or it was not pulled.
        HubError: if it was to be fetched, and could not be.
    """
    reference = Reference.read(model)
    pinned = settle(reference)
    if pinned is None and os.environ.get(ALLOW) == "1":
        from undim.hub.pulling import pull  # speaks to a network; seldom needed

        pinned = pull(model).reference
    if pinned is None:
        raise ModelError(
            f"{model} is not on this machine, and nothing is fetched unasked: undim pull"
            f" {str(reference).removeprefix(PREFIX)} fetches it; {ALLOW}=1 lets such names fetch by themselves.",
            code="not-pulled",
            subject=model,
        )
    if not reference.is_pinned:
        _say_once(f"{model} is {pinned}, as it was pulled; that name always means the same")
    return find_pulled(pinned)


@functools.cache
def _say_once(text: str) -> None:
    _logger.warning("%s", text)
