"""How this Undim was installed, and so what adds an optional part of it."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

Tool = Literal["pip", "uv pip", "uv tool", "pipx"]


@dataclass(frozen=True)
class Installation:
    """Who installed the package, and what from."""

    tool: Tool
    source: str = ""
    """The folder of a clone that it was installed from; empty where it came from an index or an archive."""
    editable: bool = False
    """Whether that clone is what runs."""
    extras: tuple[str, ...] = ()
    """Optional parts that a tool environment was asked for, which the next command has to name again."""


def add_extra(extra: str, installation: Installation | None = None) -> str:
    r"""The command that adds an optional part, such as "heic".

    Args:
        extra: its name in pyproject.toml.
        installation: this one if None.

    Examples:
        >>> add_extra("heic", Installation("pip"))
        'pip install "undim[heic]"'
        >>> add_extra("heic", Installation("uv tool", extras=("video",)))
        'uv tool install "undim[heic,video]"'
        >>> add_extra("heic", Installation("pip", source="/home/me/undim", editable=True))
        'pip install -e "/home/me/undim[heic]"'
    """
    here = find_installation() if installation is None else installation
    extras = sorted({extra, *here.extras}) if here.tool == "uv tool" else [extra]
    flag = "-e " if here.editable else ""
    target = f'{flag}"{here.source or "undim"}[{",".join(extras)}]"'
    commands: Mapping[Tool, str] = {
        "pip": f"pip install {target}",
        "uv pip": f"uv pip install {target}",
        "uv tool": f"uv tool install {target}",
        "pipx": f"pipx runpip undim install {target}",
    }
    return commands[here.tool]


def add_package(package: str, installation: Installation | None = None) -> str:
    """The command that adds a package of another name beside Undim.

    Args:
        package: as an index knows it.
        installation: this one if None.

    Examples:
        >>> add_package("pyvips-binary", Installation("pipx"))
        'pipx inject undim pyvips-binary'
    """
    here = find_installation() if installation is None else installation
    extras = f"[{','.join(sorted(here.extras))}]" if here.extras else ""
    itself = f"{here.source or 'undim'}{extras}"
    commands: Mapping[Tool, str] = {
        "pip": f"pip install {package}",
        "uv pip": f"uv pip install {package}",
        "uv tool": f"uv tool install {shlex.quote(itself)} --with {package}",
        "pipx": f"pipx inject undim {package}",
    }
    return commands[here.tool]


def find_installation(prefix: Path | None = None) -> Installation:
    """How the running package was installed.

    Args:
        prefix: folder of the environment; the interpreter's own if None.
    """
    prefix = Path(sys.prefix) if prefix is None else prefix
    installer, source, editable = _read_record()
    receipt = _read_toml(prefix / "uv-receipt.toml")
    if receipt:
        return Installation("uv tool", source, editable, _extras_of(receipt))
    if (prefix / "pipx_metadata.json").is_file():
        return Installation("pipx", source, editable)
    return Installation("uv pip" if installer == "uv" else "pip", source, editable)


def _read_record() -> tuple[str, str, bool]:
    """Name of the installer, folder of the clone ("" if there is none), and whether that clone runs."""
    from importlib.metadata import PackageNotFoundError, distribution  # slow to import, and seldom needed

    try:
        package = distribution("undim")
    except PackageNotFoundError:  # run from its source alone
        return "", "", False
    installer = (package.read_text("INSTALLER") or "").strip()
    try:
        url = json.loads(package.read_text("direct_url.json") or "{}")
    except ValueError:
        return installer, "", False
    about = url.get("dir_info")
    if not isinstance(about, dict):
        return installer, "", False
    path = unquote(urlsplit(str(url.get("url", ""))).path)
    if sys.platform == "win32":
        path = path.lstrip("/")
    return installer, path if Path(path).is_dir() else "", bool(about.get("editable"))


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _extras_of(receipt: Mapping[str, object]) -> tuple[str, ...]:
    """Optional parts in the receipt that `uv tool install` writes."""
    tool = receipt.get("tool")
    requirements = tool.get("requirements", []) if isinstance(tool, dict) else []
    named = [one for one in requirements if isinstance(one, dict) and one.get("name") == "undim"]
    return tuple(str(extra) for one in named for extra in one.get("extras", ()))
