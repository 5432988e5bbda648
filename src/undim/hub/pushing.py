"""Giving a model to a hub: its files under their fixed names, with card and checksums, in one commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from undim.errors import UsageError
from undim.hub.asking import asking, open_hub, quiet
from undim.hub.contents import check_model_file
from undim.hub.reference import Reference
from undim.hub.store import CARD, MODEL_FILES, write_checksums
from undim.shipped import CHECKSUMS

LIBRARY = "undim"


@dataclass(frozen=True)
class Pushed:
    """A model that is on a hub now.

    Examples:
        >>> from undim.hub import Pushed, Reference
        >>> Pushed(Reference("someone/night", "0" * 40), ("model.onnx",)).reference.is_pinned
        True
    """

    reference: Reference
    """With the commit that was made."""
    files: tuple[str, ...]
    """Names in the repository."""


def push(file: Path, repository: str, *, card: Path | None = None, licence: str = "", public: bool = False) -> Pushed:
    """Upload a model in one commit, with what lies beside it: the other file of the same network, and its card.

    Of night.onnx these are night.safetensors, if it is there, and night.md. In the repository they are model.onnx,
    model.safetensors and README.md, and SHA256SUMS lists their checksums.

    Args:
        file: an .onnx file that keeps `undim.contract`, or a .safetensors file that Undim wrote.
        repository: owner/name; made if it is not there, and private then unless `public`.
        card: Markdown that says how the model was made and what it may be used for; the one beside the file if None.
        licence: for the head of a card that does not say it, in the hub's words, such as "cc-by-nc-4.0".
        public: whether a repository that is made now is public.

    Raises:
        UsageError: if the file is not a model, or there is no card or licence; nothing was sent.
        HubError: if the hub cannot be reached or refuses.

    Examples:
        >>> from pathlib import Path
        >>> from undim.errors import UsageError
        >>> from undim.hub import push
        >>> push(Path("night.onnx"), "someone/night", licence="cc-by-nc-4.0")  # doctest: +SKIP
        >>> try:
        ...     push(Path("night.pth"), "someone/night")
        ... except UsageError as error:
        ...     print(str(error).partition(":")[0])
        .onnx and .safetensors files are pushed, never pickles
    """
    reference = Reference.read(repository)
    if reference.revision:
        raise UsageError(f"A model is pushed to owner/name, which makes a new revision. Got {repository!r}.")
    files = _files_of(Path(file))
    api = open_hub()
    told = _complete(_read_card(Path(file), card), licence)
    from huggingface_hub import CommitOperationAdd

    additions = [CommitOperationAdd(name, path) for name, path in sorted(files.items())]
    additions += [
        CommitOperationAdd(CARD, told.encode()),
        CommitOperationAdd(CHECKSUMS, write_checksums(files).encode()),
    ]
    with asking(api, reference):
        api.create_repo(reference.repository, private=not public, exist_ok=True)
        commit = api.create_commit(reference.repository, additions, commit_message=f"Undim model {Path(file).stem}")
    return Pushed(reference.at(str(commit.oid)), tuple(one.path_in_repo for one in additions))


def _files_of(file: Path) -> dict[str, Path]:
    """The files of one network, by the names that they get."""
    if file.suffix not in MODEL_FILES:
        raise UsageError(
            f"{' and '.join(MODEL_FILES)} files are pushed, never pickles: undim convert makes the latter of a"
            f" checkpoint. Got {file}."
        )
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    found = {}
    for suffix, name in MODEL_FILES.items():
        path = file.with_suffix(suffix)
        if path.is_file():
            try:
                check_model_file(path, suffix)
            except ValueError as error:
                raise UsageError(f"{path} {error}.") from error
            found[name] = path
    return found


def _read_card(file: Path, card: Path | None) -> str:
    path = file.with_suffix(".md") if card is None else card
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"A model is pushed with a card that says how it was made and what it may be used for; {path} cannot be"
            " read.",
            code="no-card",
        ) from error
    if not text.strip():
        raise UsageError(f"The card {path} is empty.", code="no-card")
    return text


def _complete(text: str, licence: str) -> str:
    """A card whose head says the licence and that the model is for Undim."""
    from huggingface_hub import ModelCard

    try:
        with quiet():
            card = ModelCard(text)
    except Exception as error:  # YAML that is not, or values that the hub's own class refuses
        raise UsageError("The head of the card, between its lines of ---, is not YAML that a hub takes.") from error
    if licence:
        card.data["license"] = licence
    elif not card.data.get("license"):
        raise UsageError(
            "The card does not say the licence: put 'license: ...' into its head, or give it.", code="no-licence"
        )
    card.data["library_name"] = card.data.get("library_name") or LIBRARY
    return str(card)
