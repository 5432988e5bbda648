"""`undim serve`: the HTTP service and its page."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Annotated, cast

import typer

from undim.cli.lines import say
from undim.cli.options import read_tile
from undim.errors import UsageError
from undim.jobs.options import EnhanceOptions
from undim.runtimes.precision import PrecisionWish
from undim.runtimes.table import DEFAULT_RUNTIME
from undim.serve.log import Log, LogFormat
from undim.serve.server import address_of, is_local, listen
from undim.serve.server import serve as run
from undim.serve.settings import MEBI, Settings, read_models, read_token

MAX_PIXELS = 120_000_000
"""Default of `--max-pixels`, against uploads that unpack to more than fits; the largest phones take 108 megapixels."""
EVERYWHERE = {"//0.0.0.0:": "192.0.2.1", "//[::]:": "2001:db8::1"}
"""What stands in an address for all of this machine's own -> an address of documentation, which is far from here."""


def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="0 for any that is free.")] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|[NAME=]FILE",
            help="What is offered, the first as the default; may be given several times. Default: all shipped models.",
        ),
    ] = None,
    resident: Annotated[int, typer.Option(metavar="N", help="Models loaded at a time.")] = 1,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Pictures in the network at a time; default: by cores, at least 2.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Of each worker; default: as for undim enhance.")
    ] = None,
    decoders: Annotated[
        int | None, typer.Option(metavar="N", help="Processes that decode and encode; default: one per core.")
    ] = None,
    queue: Annotated[int, typer.Option(metavar="N", help="Requests that may wait.")] = 32,
    max_body: Annotated[int, typer.Option(metavar="MIB", help="Of a request's body.")] = 64,
    max_pixels: Annotated[int, typer.Option(metavar="N", help="Refuse larger pictures.")] = MAX_PIXELS,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="For one picture.")] = 300.0,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", help="For a client that makes no progress, and for a request's head.")
    ] = 20.0,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="For pictures in work when the service is stopped.")
    ] = 20.0,
    token_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Requests must bear the token in it; or set UNDIM_TOKEN in the environment."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="A web origin whose pages may use it; may be given several times."),
    ] = None,
    runtime: Annotated[str, typer.Option(metavar="NAME", help="As for undim enhance.")] = DEFAULT_RUNTIME,
    precision: Annotated[str, typer.Option(metavar="auto|float32|bfloat16", help="As for undim enhance.")] = "auto",
    tile: Annotated[str, typer.Option(metavar="auto|0|N", help="As for undim enhance.")] = "auto",
    log_format: Annotated[str, typer.Option(metavar="json|text", help="Of the lines on standard error.")] = "json",
) -> int:
    """Make dark pictures clear over HTTP, and on a page in the browser.

    POST a file's content to /v1/enhance and get the picture that undim enhance would write. Nothing is kept and nothing
    leaves the machine; unless --host says otherwise, only this machine can reach it.

    SIGTERM and Ctrl-C finish what is in work. Exit status: 0 stopped, 2 wrong usage, or a port that is taken.
    """
    if log_format not in ("json", "text"):
        raise UsageError(f"--log-format is {log_format!r}; allowed: json, text.")
    if not 0 <= port <= 65535:
        raise UsageError(f"--port is {port}; allowed: 0 to 65535.")
    settings = Settings(
        options=EnhanceOptions(
            runtime=runtime,
            precision=cast("PrecisionWish", precision),
            tile=read_tile(tile),
            max_pixels=max_pixels,
        ),
        models=read_models(model or []),
        resident=resident,
        workers=workers,
        threads=threads,
        decoders=decoders,
        queue=queue,
        max_body=max_body * MEBI,
        timeout=timeout,
        patience=patience,
        grace=grace,
        token=read_token(token_file),
        cors=tuple(cors or ()),
    )
    listener = listen(host, port)
    place = _for_others(address_of(listener), listener.family)
    if not is_local(listener) and settings.token is None:
        say(f"note: {place} can be reached from other machines, and no token is asked for (--token-file)")
    say(f"{place} is the page; pictures go to {place}/v1/enhance; Ctrl-C stops")
    run(settings, listener, Log(cast("LogFormat", log_format)))
    say("stopped")
    return 0


def _for_others(place: str, family: int) -> str:
    """The address as other machines can open it, also where the service listens on all of this machine's."""
    for everywhere, far in EVERYWHERE.items():
        if everywhere in place:
            return place.replace(everywhere, everywhere[:2] + _own_address(family, far) + ":")
    return place


def _own_address(family: int, far: str) -> str:
    """This machine's address on the way to `far`, else its name."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((far, 9))  # by UDP it chooses a way, and sends nothing
        own: str = probe.getsockname()[0]
        return f"[{own}]" if ":" in own else own
    return socket.gethostname()
