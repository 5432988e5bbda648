"""What the verbs that write a folder of results share."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from undim.errors import UsageError


def prepare(folder: Path) -> None:
    """Make the folder of the results and see that files can be written there, before the work.

    Raises:
        UsageError: if it is a file.
        OSError: if it cannot be made or written to.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder):
        pass


def check_folder(folder: Path) -> None:
    """Raise `UsageError` if the folder of the results is a file."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {folder} is a file: give a folder.")
