"""`undim push`: a model to a hub, with its card and checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undim.hub.pushing import push as give


def push(
    file: Annotated[Path, typer.Argument(help="An .onnx file, or a .safetensors file that Undim wrote.")],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; made if it is not there.")],
    card: Annotated[
        Path | None, typer.Option(help="Markdown on how it was made; the .md file beside FILE if not given.")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="For a card that does not say it, in the hub's words, such as cc-by-nc-4.0.")
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a repository that is made now.")] = False,
) -> None:
    """Share a model on a hub in one commit: FILE, the other file of the same network beside it, card and checksums.

    HF_ENDPOINT names another hub than huggingface.co; HF_TOKEN, or hf auth login, says who you are.
    """
    pushed = give(file, repository, card=card, licence=licence, public=public)
    typer.echo(f"{pushed.reference}: {', '.join(pushed.files)}")
