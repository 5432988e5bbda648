"""What the command line adds to an error of a room below: which of its options the error is about."""

from __future__ import annotations

from undim.errors import UndimError

HINTS = {
    "bare-parameter": "--bare 'REGEX=NUMBER' gives it",
    "factory-only": "--weights and --multiple-of belong to package.module:factory",
    "folders": "--low and --high belong to --data folder; other sets take --root",
    "no-adr": "--adr none",
    "no-device": "--device auto or --device cpu",
    "no-root": "--root DIR gives it",
    "no-splits": "--split is for sets with references: leave it out",
    "two-folders": "--low DIR --high DIR",
    "needs-conversion": "--weights takes it, with package.module:factory",
    "run-exists": "--resume continues it",
    "file-exists": "--overwrite replaces it",
    "other-recipe": "undim train RUN/recipe.yaml -o RUN --resume",
    "unknown-split": "--split takes one of them",
}
"""Code of an error -> the option in question."""


def add_hint(error: UndimError) -> str:
    """The message of an error, and in brackets the option that it is about, if it is about one."""
    hint = HINTS.get(error.code)
    return str(error) if hint is None else f"{error} ({hint})"
