"""`undim pull`: a model from a hub onto this machine, checked."""

from __future__ import annotations

from typing import Annotated

import typer

from undim.cli.lines import one_line, say
from undim.hub.pulling import pull as fetch
from undim.hub.reference import Reference


def pull(
    model: Annotated[
        str, typer.Argument(help="OWNER/NAME@REVISION; the revision is a commit, tag or branch, and may be left out.")
    ],
) -> None:
    """Fetch a model that somebody shares on a hub, check it, and keep it for --model hf:OWNER/NAME@REVISION.

    ONNX and safetensors files are taken, with a card and checksums; pickles never. Without a revision it is the one of
    today, which is told and remembered. Nothing else in Undim fetches, unless UNDIM_PULL=1 is set. HF_ENDPOINT names
    another hub than huggingface.co, HF_TOKEN holds the token for what is private.
    """
    pulled = fetch(model)
    size = sum(path.stat().st_size for path in pulled.files.values()) / 1e6
    names = ", ".join(path.name for path in pulled.files.values())
    typer.echo(f"{pulled.reference}: {names}, {size:.1f} MB, licence: {one_line(pulled.licence) or 'not stated'}")
    typer.echo(f"card: {pulled.card}")
    if not Reference.read(model).is_pinned:
        say(f"note: {model} is {pulled.reference} today; give that name to mean the same always")
    if pulled.left_out:
        say(f"note: pickles, which can execute code, were left out: {', '.join(pulled.left_out)}")
