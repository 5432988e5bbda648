"""`undim doctor`: what is installed here and whether it is whole, for a report of a fault."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
from collections.abc import Callable, Iterator
from typing import Annotated, TypedDict

import typer

from undim.images.codec import Codec
from undim.images.codecs.unread import Unread
from undim.images.formats import CODECS
from undim.installed import add_extra, find_installation
from undim.machine import count_cores, free_memory
from undim.runtimes.choice import recall_fastest
from undim.runtimes.table import DEFAULT_RUNTIME, chosen_precision, is_installed, known_runtimes
from undim.shipped import DEFAULT_MODEL, MODELS_FOLDER, ONNX, list_shipped_models, recorded_checksums
from undim.version import __version__

SCHEMA = "undim.doctor/1"
NEEDS = {"heic": ("pi_heif", "heic"), "raw": ("rawpy", "raw")}
"""Formats that an optional part reads: its module, and its name."""


class ModelFile(TypedDict):
    """A file of a shipped model."""

    sha256: str
    state: str
    """"whole", "changed" against the checksum it was shipped with, "missing", or "unknown" where that is not listed."""


class RuntimeState(TypedDict):
    """A runtime."""

    installed: bool
    precision: dict[str, str]
    """What `--precision auto` means for each shipped model; empty if it is not installed."""


class FormatState(TypedDict):
    """A format of pictures."""

    reads: bool
    writes: bool
    remedy: str
    """What to install where it could be read; empty where nothing is missing."""


class Report(TypedDict):
    """All of it. Nothing in it names a person, a machine, a folder or a picture."""

    schema: str
    undim: str
    installed_by: str
    editable: bool
    python: str
    system: str
    processor: str
    cores: int
    free_memory_bytes: int | None
    packages: dict[str, str]
    """Versions of what Undim can use, of those that are there."""
    missing_packages: list[str]
    runtimes: dict[str, RuntimeState]
    auto_runtime: dict[str, str]
    """What `--runtime auto` takes for the default model, for small and for large work."""
    formats: dict[str, FormatState]
    models: dict[str, ModelFile]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for a program or a report.")] = False,
) -> None:
    """Tell versions, runtimes, memory, formats, and whether the shipped models are as they were shipped.

    Paste the output into a report of a fault: nothing in it names you, your machine, your folders or your pictures.

    Exit status: 0 all well, 1 a model file is changed or missing.
    """
    report = examine()
    broken = [name for name, file in report["models"].items() if file["state"] in ("changed", "missing")]
    typer.echo(json.dumps(report, indent=1) if as_json else "\n".join(_lines(report)))
    if broken:
        raise typer.Exit(1)


def examine() -> Report:
    """Look at this installation; no model is loaded, nothing is measured or fetched."""
    installation = find_installation()
    packages = {name: version for name in _requirements() if (version := _version(name)) is not None}
    return Report(
        schema=SCHEMA,
        undim=__version__,
        installed_by=installation.tool,
        editable=installation.editable,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=count_cores(),
        free_memory_bytes=free_memory(),
        packages=packages,
        missing_packages=[name for name in _requirements() if name not in packages],
        runtimes={name: _runtime(name) for name in known_runtimes()},
        auto_runtime={"small": DEFAULT_RUNTIME, "large": _fastest()},
        formats={codec.name: _format(codec) for codec in CODECS},
        models=dict(_models()),
    )


def _requirements() -> list[str]:
    """Names of the packages that the package says it needs, for the base and for every optional part but dev."""
    try:
        lines = importlib.metadata.requires("undim") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    names = (
        re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if not re.search(r"extra == .(dev|docs)", line)
    )
    return sorted({name for name in names if name != "undim"})


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", errors="replace") as lines:  # noqa: PTH123 - not a file of the user's
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _runtime(name: str) -> RuntimeState:
    if not is_installed(name):
        return RuntimeState(installed=False, precision={})
    found = {model: chosen_precision(name, MODELS_FOLDER / f"{model}{ONNX}") for model in list_shipped_models()}
    return RuntimeState(installed=True, precision=dict(found))


def _fastest() -> str:
    path = MODELS_FOLDER / f"{DEFAULT_MODEL}{ONNX}"
    if not path.is_file():
        return "unknown: the default model is missing"
    return recall_fastest(path) or "measured at its first use"


def _format(codec: Codec) -> FormatState:
    module, extra = NEEDS.get(codec.name, ("", ""))
    writes = codec.writes is not None
    if module and importlib.util.find_spec(module) is None:
        # The name of a folder would stand in the command for a clone.
        return FormatState(reads=False, writes=writes, remedy=re.sub(r'"[^"]*\[', '"undim[', add_extra(extra)))
    return FormatState(reads=not isinstance(codec, Unread), writes=writes, remedy="")


def _models() -> Iterator[tuple[str, ModelFile]]:
    recorded = recorded_checksums()
    there = {path.name for path in MODELS_FOLDER.iterdir() if path.suffix in (ONNX, ".safetensors")}
    for name in sorted({*recorded, *there}):
        if name not in there:
            yield name, ModelFile(sha256="", state="missing")
            continue
        digest = hashlib.sha256((MODELS_FOLDER / name).read_bytes()).hexdigest()
        known = recorded.get(name)
        yield name, ModelFile(sha256=digest, state=_state(digest, known))


def _state(digest: str, known: str | None) -> str:
    return "unknown" if known is None else "whole" if digest == known else "changed"


def _lines(report: Report) -> Iterator[str]:
    free = report["free_memory_bytes"]
    memory = "unknown" if free is None else f"{free / 1e9:.1f} GB"
    clone = ", from a clone" if report["editable"] else ""
    yield f"undim      {report['undim']} (installed by {report['installed_by']}{clone})"
    yield f"python     {report['python']} on {report['system']}"
    yield f"processor  {report['processor']}, {report['cores']} cores, {memory} of memory free"
    yield "packages   " + ", ".join(f"{name} {version}" for name, version in report["packages"].items())
    if report["missing_packages"]:
        yield f"not here   {', '.join(report['missing_packages'])}"
    yield ""
    for name, runtime in report["runtimes"].items():
        models = ", ".join(f"{model} in {precision}" for model, precision in runtime["precision"].items())
        yield f"runtime    {name}: {models if runtime['installed'] else 'not installed'}"
    yield f"auto       small work: {report['auto_runtime']['small']}; large: {report['auto_runtime']['large']}"
    yield ""
    told: list[tuple[str, Callable[[FormatState], bool]]] = [
        ("reads", lambda form: form["reads"]),
        ("writes", lambda form: form["writes"]),
    ]
    for word, holds in told:
        yield f"{word:<10} {', '.join(name for name, form in report['formats'].items() if holds(form))}"
    for name, form in report["formats"].items():
        if form["remedy"]:
            yield f"not read   {name}: {form['remedy']}"
    yield ""
    for name, file in report["models"].items():
        yield f"model      {name}: {file['state']}, SHA-256 {file['sha256'][:16] or '-'}"
