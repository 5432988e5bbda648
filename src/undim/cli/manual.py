"""The man page and the reference of commands, made from the command tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from undim.cli.tree import Page

DATE = "2026-11-27"
"""Of the release; a page that said the day it was made on would change every day."""
STATUS = (
    ("0", "All well."),
    ("1", "Something failed or was found wrong, as the command's page says; the rest is finished."),
    ("2", "The command could not be carried out."),
    ("130", "Stopped with Ctrl-C."),
    ("143", "Stopped by SIGTERM."),
)
ENVIRONMENT = (
    ("UNDIM_DATA", "Folder in which data sets are looked for."),
    ("UNDIM_PULL", "Set to 1, it lets names that begin with hf: fetch what was not pulled."),
    ("UNDIM_TOKEN", "Token that requests to undim serve must bear, where --token-file is not given."),
    ("HF_ENDPOINT", "Address of the hub that models are pulled from and pushed to; else huggingface.co."),
    ("HF_TOKEN", "Token for that hub; or hf auth login keeps one."),
    ("XDG_CACHE_HOME", "Folder for what can be made again: which runtime is fastest here, models that were pulled."),
    ("LOCALAPPDATA", "The same on Windows, where XDG_CACHE_HOME is not set."),
    ("CUDA_VISIBLE_DEVICES", "GPUs that undim study may use, all if it is not set."),
    ("ORT_DISABLE_TELEMETRY", "Set to 1 by Undim, so that ONNX Runtime reports nothing to its maker."),
)


def make_man_page(pages: Sequence[Page], version: str) -> str:
    """The page undim(1), as roff with the macros of man(7).

    Args:
        pages: of the commands, in order.
        version: of Undim.
    """
    lines = [f'.TH UNDIM 1 "{DATE}" "Undim {version}" "User Commands"', ".SH NAME"]
    lines += ["undim \\- make dark photographs clear", ".SH SYNOPSIS"]
    for page in pages:
        lines += [f".B {_roff(page.words)}", _roff(page.usage), ".br"]
    lines.pop()
    lines += [".SH DESCRIPTION", "Undim makes dark photographs and videos clear, and trains and measures the networks"]
    lines += ["that do so. Nothing leaves the machine.", ".SH COMMANDS"]
    for page in pages:
        lines += [f".SS {_roff(page.words)} {_roff(page.usage)}"]
        for number, paragraph in enumerate(page.about.split("\n\n")):
            lines += [*([".PP"] if number else []), _roff(paragraph)]
        for name, about in (*page.arguments, *page.options):
            lines += [".TP", f".B {_roff(name)}", _roff(about)]
    for title, rows in (("EXIT STATUS", STATUS), ("ENVIRONMENT", ENVIRONMENT)):
        lines.append(f".SH {title}")
        for name, about in rows:
            lines += [".TP", f".B {name}", _roff(about)]
    return "\n".join(lines) + "\n"


def make_reference(pages: Iterable[Page]) -> str:
    """The commands as Markdown: a heading, the usage and a table of arguments and options each."""
    lines = ["# Commands", "", "Made from the commands themselves by `make pages`; `undim VERB --help` shows the same."]
    for page in pages:
        lines += ["", f"## {page.words}", "", "```text", f"{page.words} {page.usage}", "```", ""]
        lines += ["\n\n".join(_markdown(" ".join(part.split())) for part in page.about.split("\n\n"))]
        if page.arguments or page.options:
            lines += ["", "| argument or option | what it says |", "|---|---|"]
            for name, about in (*page.arguments, *page.options):
                # Tables of Markdown end a cell at a bar, also inside code.
                code = name.replace("|", "\\|")
                lines.append(f"| `{code}` | {_markdown(about)} |")
    lines += ["", "## Exit status", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {name} | {about} |" for name, about in STATUS]
    lines += ["", "## Environment", "", "| variable | what it is for |", "|---|---|"]
    lines += [f"| `{name}` | {about} |" for name, about in ENVIRONMENT]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """The text without what roff would take for its own: backslashes, hyphens that break, a dot at the beginning."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", " ".join(escaped.split()))


def _markdown(text: str) -> str:
    return re.sub(r"([\\|<>*_\[\]])", r"\\\1", " ".join(text.split()))
