"""What the command line adds to an error of the library: the option that helps, by the error's code."""

from __future__ import annotations

from undim.errors import UndimError

HINTS = {
    "output-exists": "--overwrite replaces it",
    "output-is-input": "--overwrite replaces it",
    "too-large": "--max-pixels N allows larger ones",
    "out-of-memory": "--jobs 1 does one at a time",
    "bare-parameter": "--bare 'REGEX=NUMBER' gives it",
    "column": "--column NAME names it",
    "factory-only": "--weights and --multiple-of belong to package.module:factory",
    "file-exists": "--overwrite replaces it",
    "folders": "--low and --high belong to --data folder; other sets take --root",
    "needs-conversion": "--weights takes it, with package.module:factory",
    "no-card": "--card FILE",
    "no-cluster": "--engine ray",
    "no-adr": "--adr none",
    "no-device": "--device auto or --device cpu",
    "no-licence": "--licence NAME",
    "no-root": "--root DIR gives it",
    "no-splits": "--split is for sets with references: leave it out",
    "other-recipe": "undim train RUN/recipe.yaml -o RUN --resume",
    "run-exists": "--resume continues it",
    "two-folders": "--low DIR --high DIR",
    "unknown-split": "--split takes one of them",
    "worker-memory": "--memory GB allows more",
    "video": "undim video makes a video clear",
}
"""By code, what to add in brackets."""


def with_hint(message: str, code: str, subject: str = "") -> str:
    """The message, with the option that it is about or that helps in brackets.

    Args:
        message: of an error, or the reason of an outcome.
        code: of `UndimError`; "option" for a value that an option gave.
        subject: of `UndimError`; with "option" the name of the argument.
    """
    hint = f"--{subject.replace('_', '-')}" if code == "option" and subject else HINTS.get(code)
    if hint is None:
        return message
    stop = "." if message.endswith(".") else ""
    return f"{message.removesuffix('.')} ({hint}){stop}"


def tell(error: UndimError) -> str:
    """An error as the command line tells it."""
    return with_hint(str(error), error.code, error.subject)
