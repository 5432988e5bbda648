"""All verbs as one tree of commands, each loaded only when it is asked for: for completion, man page and reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class CommandTree(TyperGroup):
    """The command `undim` with its verbs.

    Args:
        summaries: one line of each verb, by name.
        load: gives the command of a verb; raises ModuleNotFoundError where an optional part of Undim is not installed.
    """

    def __init__(self, summaries: Mapping[str, str], load: Callable[[str], Any]) -> None:
        super().__init__(name="undim", help="Make dark photographs clear.")
        self._summaries = summaries
        self._load = load

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - of Click, from one of two packages
        """Names of the verbs, in the order of the overview."""
        return list(self._summaries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - of Click, from one of two packages
        """A verb; without options where it is only listed, or where what it needs is not installed."""
        if cmd_name not in self._summaries:
            return None
        asked_for = [*getattr(ctx, "args", ()), *getattr(ctx, "_protected_args", ())]
        if cmd_name in asked_for:
            try:
                return self._load(cmd_name)
            except ModuleNotFoundError:
                pass  # the verb itself says what to install
        return TyperCommand(cmd_name, help=self._summaries[cmd_name])


@dataclass(frozen=True)
class Page:
    """What is told of one command."""

    words: str
    """As it is called: `undim redundancy dmr`."""
    usage: str
    """What follows these words."""
    about: str
    """Paragraphs, separated by empty lines."""
    arguments: tuple[tuple[str, str], ...]
    """Of each argument its name and its help."""
    options: tuple[tuple[str, str], ...]
    """Of each option its names with what stands for its value, and its help."""


def describe(words: str, command: Any, tidy: Callable[[str], str]) -> Iterator[Page]:  # noqa: ANN401
    """A command, and then the commands below it.

    Args:
        words: as it is called.
        command: of Click.
        tidy: rewrites the first column of help as `undim VERB --help` shows it.
    """
    context = typer.Context(command, info_name=words)
    # Click's formatter wraps to the width of the terminal, which is no business of a page.
    rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            rows[parameter.param_type_name].append((tidy(record[0]), record[1]))
    pieces = [tidy(piece) for piece in command.collect_usage_pieces(context)]
    arguments, options = tuple(rows["argument"]), tuple(rows["option"])
    yield Page(words, " ".join(pieces), (command.help or "").strip(), arguments, options)
    for name, below in getattr(command, "commands", {}).items():
        yield from describe(f"{words} {name}", below, tidy)
