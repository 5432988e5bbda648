"""Fetching a model from a hub."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from undim.errors import HubError
from undim.hub.asking import asking, open_hub, quiet
from undim.hub.contents import check_folder, choose, is_pickle
from undim.hub.reference import Reference
from undim.hub.store import CARD, find_pulled, folder_of, is_whole, record, staging


@dataclass(frozen=True)
class Pulled:
    """A model that is on this machine now.

    Examples:
        >>> from pathlib import Path
        >>> from undim.hub import Pulled, Reference
        >>> one = Pulled(Reference("someone/night", "0" * 40), {".onnx": Path("model.onnx")}, Path("README.md"), "mit")
        >>> str(one.reference).partition("@")[0]  # with the commit it is what Enhancer takes
        'hf:someone/night'
    """

    reference: Reference
    """With the commit: the name to give to `undim.Enhancer`."""
    files: dict[str, Path]
    """By suffix: ".onnx" for the runtimes, ".safetensors" for PyTorch; one of them or both."""
    card: Path
    licence: str
    """As the card's head says, in the hub's words; "" if it does not."""
    left_out: tuple[str, ...] = ()
    """Pickles in the repository, which are not fetched."""


def pull(model: str) -> Pulled:
    """Fetch a model, look at it, and keep it for `undim.Enhancer`. A name without a revision gets the one of today.

    Nothing of it is kept unless the files have the checksums that the repository lists and are what their names say.

    Args:
        model: `hf:owner/name@revision`, also without `hf:` or the revision.

    Raises:
        ModelError: for a name of another form.
        HubError: if the hub cannot be reached or refuses (code "hub" or "offline"), or the repository holds what is not
            taken (code "refused").
        UsageError: if huggingface_hub is not installed.
        OSError: if it cannot be written; what was there before is intact.

    Examples:
        >>> import undim
        >>> from undim.errors import ModelError
        >>> from undim.hub import pull
        >>> enhance = undim.Enhancer(str(pull("someone/night@v1").reference))  # doctest: +SKIP
        >>> try:
        ...     pull("night")
        ... except ModelError as error:
        ...     print(str(error).partition(",")[0])
        A model on a hub is named hf:owner/name@revision
    """
    reference = Reference.read(model)
    api = open_hub()
    with asking(api, reference):
        about = api.model_info(reference.repository, revision=reference.revision or None, files_metadata=True)
    pinned = reference.at(str(about.sha))
    if not pinned.is_pinned:
        raise HubError(f"{api.endpoint} names no commit of {reference}.", code="hub", subject=str(reference))
    sizes = {one.rfilename: one.size or 0 for one in about.siblings or ()}
    names = choose(sizes, pinned)
    if not is_whole(pinned):
        with staging(pinned) as draft:
            for name in names:
                with asking(api, pinned):
                    api.hf_hub_download(pinned.repository, name, revision=pinned.revision, local_dir=draft)
            shutil.rmtree(draft / ".cache", ignore_errors=True)  # huggingface_hub's own notes
            check_folder(draft, pinned)
    record(reference, pinned.revision)
    return Pulled(
        pinned,
        find_pulled(pinned),
        folder_of(pinned) / CARD,
        _licence_of(folder_of(pinned) / CARD),
        tuple(sorted(name for name in sizes if is_pickle(name))),
    )


def _licence_of(card: Path) -> str:
    """What the head of a card says; "" if it says nothing, or is not YAML."""
    from huggingface_hub import ModelCard

    with quiet():
        try:
            told = ModelCard(card.read_text(encoding="utf-8", errors="replace")).data.get("license")
        except (
            Exception
        ):  # YAML of strangers, read by a class that is strict about it; nothing but a line depends on it
            return ""
    return told if isinstance(told, str) else ""
