"""What a repository may give: an ONNX file, safetensors, a card and checksums. Looked at before anything is kept."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from undim.contract import INPUT, OUTPUT
from undim.errors import HubError
from undim.hub.reference import Reference
from undim.hub.store import CARD, MODEL_FILES, checksum, read_checksums
from undim.shipped import CHECKSUMS, ONNX, WEIGHTS

PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".tar"})
"""Suffixes of files that execute code when they are opened, or may."""
LARGEST = 2 * 1024**3
"""Bytes of all that is fetched of one model; networks for restoration are far smaller."""
_HEADER_LENGTH = 8
_LONGEST_HEADER = 100_000_000


def choose(sizes: dict[str, int], reference: Reference) -> list[str]:
    """Names of the files to fetch.

    Args:
        sizes: bytes of all files there are, by name.
        reference: for the message.

    Raises:
        HubError: if there is no model, card or list of checksums, or it is too large.
    """
    models = [name for name in MODEL_FILES.values() if name in sizes]
    if not models:
        pickles = [name for name in sizes if is_pickle(name)]
        why = (
            f"only pickles such as {pickles[0]}, which can execute code: undim convert makes weights of one that you"
            " trust"
            if pickles
            else "neither: undim push makes such a repository"
        )
        raise _refused(reference, f"{' or '.join(MODEL_FILES.values())} is what is taken, and it holds {why}")
    if CARD not in sizes:
        raise _refused(
            reference,
            f"it has no card ({CARD}), so nobody knows how it was made and what it may be used for: ask its owner",
        )
    if CHECKSUMS not in sizes:
        raise _refused(reference, f"it has no {CHECKSUMS}, which undim push writes: ask its owner to push it so")
    names = [*models, CARD, CHECKSUMS]
    total = sum(sizes[name] for name in names)
    if total > LARGEST:
        raise _refused(reference, f"it has {total / 1e9:.1f} GB; at most {LARGEST / 1e9:.1f} GB are taken")
    return names


def is_pickle(name: str) -> bool:
    """Whether a file's name is one that pickles have.

    Examples:
        >>> is_pickle("weights/net.PTH"), is_pickle("model.onnx")
        (True, False)
    """
    return PurePosixPath(name.lower()).suffix in PICKLES


def check_folder(folder: Path, reference: Reference) -> None:
    """Raise HubError unless the files of a folder have their checksums and are what their names say."""
    told = read_checksums((folder / CHECKSUMS).read_bytes())
    for suffix, name in MODEL_FILES.items():
        path = folder / name
        if not path.is_file():
            continue
        if name not in told:
            raise _refused(reference, f"{CHECKSUMS} does not list {name}: ask its owner to push it anew")
        if checksum(path) != told[name]:
            raise _refused(
                reference, f"{name} does not have the checksum in {CHECKSUMS}: try again, and tell its owner"
            )
        try:
            check_model_file(path, suffix)
        except ValueError as error:
            raise _refused(reference, f"{name} {error}") from error
    if not (folder / CARD).read_text(encoding="utf-8", errors="replace").strip():
        raise _refused(reference, f"its card ({CARD}) is empty: ask its owner")


def check_model_file(path: Path, suffix: str) -> None:
    """Raise ValueError, saying what the file is not, unless it is what its suffix says. Executes nothing in it."""
    {ONNX: _check_onnx, WEIGHTS: _check_weights}[suffix](path)


def _check_onnx(path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise ValueError("is not an ONNX file that ONNX Runtime takes") from error
    inputs, outputs = ({one.name for one in ends} for ends in (session.get_inputs(), session.get_outputs()))
    if INPUT not in inputs or OUTPUT not in outputs:
        raise ValueError(f"is not a model for Undim: it has no input {INPUT!r} and output {OUTPUT!r}")


def _check_weights(path: Path) -> None:
    """By its header alone, which is JSON: no tensor library is needed."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_HEADER_LENGTH), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - _HEADER_LENGTH):
            raise ValueError("is not a safetensors file")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError) as error:
            raise ValueError("is not a safetensors file") from error
    about = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(about, dict) or "undim" not in about:
        raise ValueError("does not say which network it belongs to, as files of weights that Undim writes do")


def _refused(reference: Reference, why: str) -> HubError:
    return HubError(f"{reference} is not taken: {why}.", code="refused", subject=str(reference))
