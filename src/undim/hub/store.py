"""Where pulled models lie: a folder for each commit, which appears whole or not at all, and a record of revisions.

Below `undim.machine.cache_folder`: `hub/OWNER/NAME/COMMIT/` holds `MODEL_FILES`, `CARD` and the checksums;
`hub/OWNER/NAME/revisions/` holds a file for each revision, which says what commit it was when it was pulled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from undim.atomic import write_text
from undim.errors import ModelError
from undim.hub.reference import PREFIX, Reference
from undim.machine import cache_folder
from undim.shipped import CHECKSUMS, ONNX, WEIGHTS

MODEL_FILES = {ONNX: "model.onnx", WEIGHTS: "model.safetensors"}
"""By suffix, the one name that each kind of file has in a repository."""
CARD = "README.md"
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def folder_of(reference: Reference) -> Path:
    """The folder, perhaps not there, of all commits of a repository; or of one, if the reference is pinned."""
    return cache_folder().joinpath("hub", *reference.repository.split("/"), reference.revision)


def settle(reference: Reference) -> Reference | None:
    """The commit that a reference meant when it was pulled; None if it never was."""
    pinned = reference if reference.is_pinned else reference.at(_recall(reference))
    return pinned if pinned.is_pinned and folder_of(pinned).is_dir() else None


def find_pulled(reference: Reference) -> dict[str, Path]:
    """The model files of a pinned reference, by suffix; each is what was pulled.

    Raises:
        ModelError: if one has changed since (code "damaged").
    """
    folder = folder_of(reference)
    listed = folder / CHECKSUMS
    checksums = read_checksums(listed.read_bytes()) if listed.is_file() else {}
    found = {suffix: folder / name for suffix, name in MODEL_FILES.items() if (folder / name).is_file()}
    for path in found.values():
        if checksum(path) != checksums.get(path.name):
            raise ModelError(
                f"{path} has changed since it was pulled: undim pull {str(reference).removeprefix(PREFIX)} fetches it"
                " anew.",
                code="damaged",
                subject=str(reference),
            )
    return found


def is_whole(reference: Reference) -> bool:
    """Whether a pinned reference is there as it was pulled."""
    try:
        return bool(find_pulled(reference))
    except (ModelError, OSError):
        return False


def record(reference: Reference, commit: str) -> None:
    """Remember which commit a revision was."""
    known = {"revision": reference.revision, "commit": commit}
    target = _record_of(reference)
    target.parent.mkdir(exist_ok=True)
    write_text(target, f"{json.dumps(known, indent=1)}\n")


@contextlib.contextmanager
def staging(reference: Reference) -> Iterator[Path]:
    """An empty folder that takes the place of a pinned reference's when the block ends, and vanishes if it raises."""
    target = folder_of(reference)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".undim-{secrets.token_hex(8)}.tmp")
    draft.mkdir()
    try:
        yield draft
        if not is_whole(reference):  # else another process was faster, whose files may be in use by now
            if target.exists():
                target.replace(draft.with_suffix(".old"))
            try:
                draft.replace(target)
            except OSError:
                if not is_whole(reference):  # or faster since
                    raise
    finally:
        for left in (draft, draft.with_suffix(".old")):
            shutil.rmtree(left, ignore_errors=True)
        for parent in (target.parent, target.parent.parent):  # which stay where anything is in them
            with contextlib.suppress(OSError):
                parent.rmdir()


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_checksums(content: bytes) -> Mapping[str, str]:
    r"""By name, from a list in the format of `sha256sum`.

    Examples:
        >>> read_checksums(b"0" * 64 + b"  model.onnx\n") == {"model.onnx": "0" * 64}
        True
    """
    lines = content.decode("utf-8", "replace").splitlines()
    return {found[2]: found[1] for line in lines if (found := _LINE.fullmatch(line))}


def write_checksums(files: Mapping[str, Path]) -> str:
    """The list, of files by the names that they have in a repository."""
    return "".join(f"{checksum(path)}  {name}\n" for name, path in sorted(files.items()))


def _record_of(reference: Reference) -> Path:
    """The file that says which commit a revision was; revisions may hold what names of files may not."""
    name = hashlib.sha256(reference.revision.encode()).hexdigest()[:16]
    return folder_of(reference.at("")) / "revisions" / f"{name}.json"


def _recall(reference: Reference) -> str:
    """The commit that a revision was; "" if it was not pulled or the record is damaged."""
    try:
        known = json.loads(_record_of(reference).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    commit = known.get("commit") if isinstance(known, dict) else None
    return commit if isinstance(commit, str) else ""
