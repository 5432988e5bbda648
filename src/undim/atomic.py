"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A new file beside `target` that takes its name when the block ends, and vanishes if it raises.

    Its `name` is its path, for writers that open files themselves. Where a file is replaced, its mode and, as far as
    the system allows it, its owner stay.

    Raises:
        OSError: if it cannot be made, filled or moved; a file that was there is intact.
    """
    draft = target.with_name(f".undim-{secrets.token_hex(8)}.tmp")
    try:
        # Not tempfile: its files are readable by their owner only, and the umask is to decide.
        with draft.open("x+b") as stream:
            yield stream
            stream.flush()
            _keep_mode(target, draft)
            os.fsync(stream.fileno())
        draft.replace(target)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.filename is not None and Path(error.filename).name == draft.name:
            # The draft's name says nothing to its reader.
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise


def _keep_mode(target: Path, draft: Path) -> None:
    """Give a draft the mode and owner of the file that it is about to replace."""
    try:
        found = target.stat()
    except OSError:  # a new file, for which the umask decided
        return
    if hasattr(os, "chown"):
        with suppress(OSError):  # only the superuser gives files away; first, since it takes set-user bits off
            os.chown(draft, found.st_uid, found.st_gid)
    with suppress(OSError):
        draft.chmod(stat.S_IMODE(found.st_mode))


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text; the file appears whole or not at all.

    Raises:
        OSError: if it cannot be written; a file that was there is intact.
    """
    with replacing(target) as stream:
        stream.write(text.encode())
