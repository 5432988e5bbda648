"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A new file beside `target` that takes its name when the block ends, and vanishes if it raises.

    Raises:
        OSError: if it cannot be made, filled or moved; a file that was there is intact.
    """
    draft = target.with_name(f".undim-{secrets.token_hex(8)}.tmp")
    # Not tempfile: its files are readable by their owner only, and the umask is to decide.
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text; the file appears whole or not at all.

    Raises:
        OSError: if it cannot be written; a file that was there is intact.
    """
    with replacing(target) as stream:
        stream.write(text.encode())
