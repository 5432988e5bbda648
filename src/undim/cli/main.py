"""The command `undim`: finds the verb, and turns every error about the input into one line and an exit status.

Exit status: 0 all well; 1 some pictures failed; 2 the command could not be carried out: wrong usage, a model or
other input that cannot be used, training that broke off; 130 stopped with Ctrl-C; 143 stopped by SIGTERM.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, cast

import typer
from typer.main import get_command

from undim.cli.hints import tell
from undim.cli.lines import one_line, put, say
from undim.cli.tree import CommandTree, Page, describe
from undim.errors import UndimError, UsageError, suggest
from undim.installed import add_extra
from undim.version import __version__


@dataclass(frozen=True)
class Verb:
    """One word after `undim`; its module is imported only when it is asked for."""

    target: str
    """`module:name` of a function, or of a typer.Typer app for a verb with verbs of its own."""
    summary: str
    """One line for `undim --help`."""
    extra: str | None = None
    """The optional dependencies that it needs, as in `pip install "undim[torch]"`."""


VERBS: dict[str, Verb] = {
    "enhance": Verb("undim.cli.enhance:enhance", "Make dark pictures clear."),
    "video": Verb("undim.cli.video:video", "Make a dark video clear.", extra="video"),
    "serve": Verb("undim.cli.serve:serve", "Serve a page and an HTTP interface.", extra="serve"),
    "batch": Verb("undim.cli.batch:batch", "Make very many dark pictures clear, on one machine or a cluster."),
    "models": Verb("undim.cli.models:models", "List the networks with their parameters and FLOPs."),
    "data": Verb("undim.cli.data:data", "List the known data sets, or check one."),
    "train": Verb("undim.cli.train:train", "Train a network by a recipe.", extra="train"),
    "finetune": Verb("undim.cli.finetune:finetune", "Add ADR to a trained network and train on.", extra="train"),
    "evaluate": Verb("undim.cli.evaluate:evaluate", "Measure a model on a data set.", extra="train"),
    "score": Verb("undim.cli.score:score", "Measure pictures against references.", extra="train"),
    "compare": Verb("undim.cli.compare:compare", "Put models side by side on the same pictures.", extra="train"),
    "study": Verb("undim.cli.study:study", "Compare variants of a recipe over seeds.", extra="train"),
    "paper": Verb("undim.cli.paper:paper", "Write the paper's tables with ours beside them.", extra="train"),
    "redundancy": Verb("undim.cli.redundancy:redundancy", "Find harmful and useless layers.", extra="train"),
    "export": Verb("undim.cli.export:export", "Turn a file of weights into an ONNX file.", extra="torch"),
    "convert": Verb("undim.cli.convert:convert", "Convert a public checkpoint to a file of weights.", extra="torch"),
    "pull": Verb("undim.cli.pull:pull", "Fetch a model that somebody shares on a hub.", extra="hub"),
    "push": Verb("undim.cli.push:push", "Share a model on a hub.", extra="hub"),
    "doctor": Verb("undim.cli.doctor:doctor", "Tell what is installed here, for a report of a fault."),
}

_OPTION = re.compile(r"(--[a-z-]+ )<([^<>\n]*)>")
_METAVARS = {"path": "PATH", "int": "N", "float": "NUMBER"}
"""What stands for an option's value in the help, by a part of the name of its type; NAME for others."""

COMPLETION = "_UNDIM_COMPLETE"
"""Set in the environment by a shell that asks what may stand at the cursor."""
OK, SOME_FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
TERMINATED = 128 + signal.SIGTERM

# Typer brings its own copy of Click from 0.26 on; in both, this is ClickException.
_CommandLineError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (`sys.argv` if None) and return the exit status. Raises nothing about bad input."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with _terminated() as terminated:
        status = _run(words)
    return int(TERMINATED) if status == INTERRUPTED and terminated.is_set() else status


def _run(words: list[str]) -> int:
    try:
        with warnings.catch_warnings():
            # What matters in Pillow's warnings and log about odd files is reported as a failure or a note.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            logging.getLogger("PIL").addHandler(logging.NullHandler())
            with _notes():
                return _dispatch(words)
    except UndimError as error:
        say(f"error: {_flat(tell(error))}")
        return MISUSED
    except _CommandLineError as error:
        context = getattr(error, "ctx", None)
        command = f"undim {words[0]}" if context is None else context.command_path
        say(f"error: {_flat(error.format_message())}{_dash_hint(words)} ({command} --help lists the options)")
        return MISUSED
    except typer.Exit as stop:
        return stop.exit_code
    except OSError as error:
        place = "" if error.filename is None else f"{one_line(os.fsdecode(error.filename))}: "
        say(f"error: {place}{error.strerror or error}")
        return MISUSED
    except (KeyboardInterrupt, typer.Abort):
        say("stopped")
        return INTERRUPTED


class _Notes(logging.Handler):
    """What the library logs, as lines."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {_flat(record.getMessage())}")


@contextmanager
def _notes() -> Iterator[None]:
    logger, handler = logging.getLogger("undim"), _Notes(logging.WARNING)
    if any(isinstance(one, _Notes) for one in logger.handlers):  # a command that another one runs
        yield
        return
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _terminated() -> Iterator[threading.Event]:
    """Let SIGTERM end the command as Ctrl-C does, so that no half-written file stays; yields whether it came.

    Where the process has its own way with the signal, or this is not the main thread, nothing changes.
    """
    event = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        event.set()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield event
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def command_tree() -> CommandTree:
    """All verbs as one command; a verb is imported when it is asked for."""
    return CommandTree({name: verb.summary for name, verb in VERBS.items()}, lambda name: _command(name, VERBS[name]))


def describe_verbs() -> list[Page]:
    """What is told of every verb, and of every verb below one: imports all of them."""
    pages: list[Page] = []
    for name, verb in VERBS.items():
        pages += describe(f"undim {name}", _command(name, verb), _tidy)
    return pages


def _tidy(cell: str) -> str:
    """One cell of a command's help as `--help` shows it."""
    text = _OPTION.sub(_value, re.sub(r"\{([^{}\n]+)\}", lambda found: found[1].upper().removesuffix("..."), cell))
    return re.sub(r"^(  )(\S+) <(list\[)?[^<>\n]*>(.*)$", _argument, f"  {text}").strip()


def _complete(option: str, rest: list[str]) -> int:
    from undim.cli.completion import install_for, script_of

    if option == "--show-completion":
        put(f"{script_of(rest)}\n".encode())
        return OK
    shell, path = install_for(rest)
    put(f"{path}: completion for {shell}, from the next start of the shell on.\n".encode())
    return OK


def _dispatch(words: list[str]) -> int:
    if COMPLETION in os.environ:
        from undim.cli.completion import answer

        return answer(command_tree(), os.environ)
    if not words or words[0] in ("--help", "-h", "help"):
        put(_overview().encode())
        return OK if words else MISUSED
    if words[0] == "--version":
        put(f"undim {__version__}\n".encode())
        return OK
    name, rest = words[0], words[1:]
    if name in ("--show-completion", "--install-completion"):
        return _complete(name, rest)
    if name not in VERBS:
        hint = _hint(name) or suggest(name, VERBS)
        raise UsageError(f"There is no command {name!r}.{hint} Commands: {', '.join(VERBS)}.")
    verb = VERBS[name]
    try:
        result = _command(name, verb).main(rest, prog_name=f"undim {name}", standalone_mode=False)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if verb.extra is None or missing == "undim":
            raise
        raise UsageError(f"undim {name} needs {missing}, which is not installed: {add_extra(verb.extra)}.") from error
    if result == INTERRUPTED:  # what Click makes of Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else OK


def _command(name: str, verb: Verb) -> Any:  # noqa: ANN401 - Click's Command, from one of two packages
    module, _, attribute = verb.target.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    app = target
    if not isinstance(app, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        app.command(name)(target)
    command = get_command(app)
    for one in (command, *getattr(command, "commands", {}).values()):
        one.get_help = partial(_help, one.get_help)
    return command


def _help(get_help: Callable[[Any], str], context: Any) -> str:  # noqa: ANN401 - Click's Context, likewise
    """The help with PATH... in place of {PATH}... and PATH <list[str]>, and NAME in place of <str>."""
    text = re.sub(r"\{([^{}\n]+)\}", lambda found: found[1].upper().removesuffix("..."), get_help(context))
    return re.sub(r"^(  )(\S+) <(list\[)?[^<>\n]*>(.*)$", _argument, _OPTION.sub(_value, text), flags=re.MULTILINE)


def _value(found: re.Match[str]) -> str:
    """An option's value by the name of its type."""
    name = next((name for kind, name in _METAVARS.items() if kind in found[2]), "NAME")
    return f"{found[1]}{name}".ljust(len(found[0]))


def _argument(found: re.Match[str]) -> str:
    """An argument without the name of its type."""
    name = found[2].upper().removesuffix("...") + ("..." if found[3] else "")
    return f"{found[1]}{name}".ljust(len(found[0]) - len(found[4])) + found[4]


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    return (
        f"Usage: undim COMMAND ...\n\nMake dark photographs clear.\n\nCommands:\n{verbs}\n\n"
        "undim COMMAND --help lists its options; undim --version prints the version.\n"
        "undim --install-completion lets the shell complete commands; --show-completion SHELL prints its script.\n"
    )


def _dash_hint(words: Sequence[str]) -> str:
    """What to do where a file was taken for an option."""
    before = words[: words.index("--")] if "--" in words else words
    name = next((word for word in before if word.startswith("-") and word != "-" and os.path.lexists(word)), None)
    if name is None:
        return ""
    return f". To name the file {one_line(name)!r}, put -- before it, or write ./{one_line(name)}"


def _flat(message: str) -> str:
    return " ".join(message.split())


def _hint(name: str) -> str:
    if os.path.lexists(name):
        return f" To enhance a picture: undim enhance {one_line(name)} -o OUT."
    return ""
