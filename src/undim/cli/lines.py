"""Lines for the terminal: whatever a name or a message contains, it is one line and never wrapped."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer


def one_line(text: str) -> str:
    """The text with line breaks, control characters and undecodable bytes of file names written as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def say(text: str) -> None:
    """Write `undim: text` as one line to standard error."""
    if sys.stderr is not None:  # None where the command was started with it closed
        sys.stderr.write(f"undim: {one_line(text)}\n")
        sys.stderr.flush()


@contextmanager
def without_codec_noise() -> Iterator[None]:
    """Keep libtiff and libvips from writing to file descriptor 2, and Pillow from warning of, what is a failure anyway.

    Python's own standard error stays connected.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with _descriptor_2_closed():
            yield


@contextmanager
def _descriptor_2_closed() -> Iterator[None]:
    stream = sys.__stderr__
    if stream is None:  # closed from the start: the descriptor may by now belong to any file
        yield
        return
    stream.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    connected = os.fdopen(kept, "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
    own = sys.stderr is stream
    try:
        os.dup2(nowhere, 2)
        if own:
            sys.stderr = connected
        yield
    finally:
        if own:
            sys.stderr = stream
        os.dup2(kept, 2)
        os.close(nowhere)
        connected.close()


def put(content: bytes) -> None:
    """Write to standard output. If its reader has gone, say so and end the command with status 1."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except (BrokenPipeError, AttributeError) as error:  # an attribute of None, where it was closed from the start
        # Python would complain once more when it flushes standard output at the end.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        say("error: standard output was closed before everything was written")
        raise typer.Exit(1) from error
