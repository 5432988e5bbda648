"""Shell completion: the script that a shell reads, where it is put, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typer.completion import (  # type: ignore[attr-defined]
    completion_init,
    get_completion_script,
    install,
    shell_complete,
)

from undim.errors import UsageError, suggest

VARIABLE = "_UNDIM_COMPLETE"
"""Of the environment: set by the scripts when they ask."""
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def answer(tree: Any, environment: Mapping[str, str]) -> int:  # noqa: ANN401 - of Click, from one of two packages
    """Write what may stand at the cursor to standard output, and return an exit status."""
    completion_init()
    return int(shell_complete(tree, {}, "undim", VARIABLE, environment[VARIABLE]))


def script_of(words: Sequence[str]) -> str:
    """The script for a shell.

    Args:
        words: what follows --show-completion: one name of `SHELLS`.

    Raises:
        UsageError: for anything else.
    """
    return get_completion_script(prog_name="undim", complete_var=VARIABLE, shell=_shell_of(words, "--show-completion"))


def install_for(words: Sequence[str]) -> tuple[str, str]:
    """Put the script where the shell reads it at its start, and return the shell and the file.

    Args:
        words: what follows --install-completion: one name of `SHELLS`; the shell that runs if there is none.

    Raises:
        UsageError: for anything else, or if no shell is found.
    """
    if words:
        shell, path = install(shell=_shell_of(words, "--install-completion"), prog_name="undim", complete_var=VARIABLE)
        return str(shell), str(path)
    try:
        shell, path = install(prog_name="undim", complete_var=VARIABLE)
    except Exception as error:  # what Click raises when it does not know the shell, of one of two packages
        if not type(error).__module__.startswith(("click", "typer")):
            raise
        raise UsageError(f"Which shell this is was not found: name one of {', '.join(SHELLS)}.") from error
    return str(shell), str(path)


def _shell_of(words: Sequence[str], option: str) -> str:
    if len(words) == 1 and words[0] in SHELLS:
        return words[0]
    given = f"Got {' '.join(words)!r}.{suggest(words[0], SHELLS)} " if words else ""
    raise UsageError(f"{option} takes the name of a shell. {given}Known: {', '.join(SHELLS)}.")
