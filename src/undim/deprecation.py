"""Names that go away: they work for a while, and say what to use instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["UndimDeprecationWarning"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class UndimDeprecationWarning(FutureWarning):
    """Something public of Undim goes away; shown to users, as FutureWarning is, since they are the ones to act.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings():  # to find uses in tests of your own
        ...     warnings.simplefilter("error", UndimDeprecationWarning)
    """


def warn(name: str, *, instead: str, removed_in: str, stacklevel: int = 2) -> None:
    """Warn the caller's caller that a name goes away.

    Args:
        name: as the user wrote it.
        instead: what to use; a name or a short sentence.
        removed_in: the version without it.
        stacklevel: of `warnings.warn`, counted from the caller.
    """
    message = f"{name} is deprecated and goes away in Undim {removed_in}: use {instead}."
    warnings.warn(message, UndimDeprecationWarning, stacklevel=stacklevel + 1)


def deprecated(*, instead: str, removed_in: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Mark a function that goes away: each call warns, with the caller's line.

    Args:
        instead: what to use.
        removed_in: the version without it.

    Examples:
        >>> @deprecated(instead="brighten", removed_in="0.4")
        ... def lighten(value):
        ...     return value + 1
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     lighten(1)
        2
        >>> print(caught[0].message)
        lighten is deprecated and goes away in Undim 0.4: use brighten.
    """

    def mark(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            warn(function.__name__, instead=instead, removed_in=removed_in)
            return function(*args, **kwargs)

        return call

    return mark


def resolve_renamed(
    module: str, name: str, renamed: Mapping[str, str], members: Mapping[str, object], *, removed_in: str
) -> object:
    """What a module's `__getattr__` gives for a name that was changed.

    Args:
        module: its name.
        name: what was asked for.
        renamed: new names by old ones.
        members: the module's own, by name.
        removed_in: the version without the old names.

    Raises:
        AttributeError: if the name is not an old one.
    """
    if name not in renamed:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warn(f"{module}.{name}", instead=f"{module}.{renamed[name]}", removed_in=removed_in, stacklevel=3)
    return members[renamed[name]]
