"""The errors Undim raises: each message says what was received, what is allowed and what to do."""

import difflib
from collections.abc import Iterable


def suggest(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """Give " Did you mean 'x'?" with the known word nearest to `word`, for use in a message; "" if none is near.

    Args:
        word: what was given.
        known: what is allowed.
        likeness: from 0 to 1, how near a word must be.
    """
    near = difflib.get_close_matches(word, known, n=1, cutoff=likeness)
    return f" Did you mean {near[0]!r}?" if near else ""


class UndimError(Exception):
    """Base of all errors that are about what the user gave, not about a fault in Undim.

    The command line prints the message as one line and exits with a non-zero status.

    Args:
        message: what was received, what is allowed and what to do.
        code: what kind of error it is, for programs: a word that does not change, such as "too-large". A front door
            adds its own words by it, such as the option to give; empty where nothing is to be added.
        subject: what the error is about, such as the name of an argument, a path or a model; empty if nothing is named.
    """

    def __init__(self, message: str = "", *, code: str = "", subject: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.subject = subject


class PictureError(UndimError):
    """A picture cannot be read, is too large, or cannot be written."""


class CancelledError(PictureError):
    """A call was asked to end before it was through, or its deadline passed (code "cancelled" or "deadline")."""


class VideoError(UndimError):
    """A video cannot be read, or cannot be written in the format that was asked for."""


class UsageError(UndimError):
    """Options or paths that do not fit together."""


class ModelError(UndimError):
    """An unknown model name, or a model that does not offer what is asked of it."""


class HubError(UndimError):
    """A hub that cannot be reached or refuses, or a repository that holds what is not taken."""


class CheckpointError(UndimError):
    """A file of weights that is unreadable, foreign or does not fit its network."""


class ShapeError(UndimError, ValueError):
    """A tensor or array whose shape, dtype or value range is not the documented one."""


class DataError(UndimError):
    """A data set that is absent, incomplete or laid out in an unknown way."""


class RecipeError(UndimError):
    """A training recipe with an unknown key or a value out of range."""


class TrainingError(UndimError):
    """Training cannot go on; what was saved last stays."""
