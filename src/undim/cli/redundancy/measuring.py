"""`undim redundancy dmr | reset | poi | diversity`."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Annotated

import typer

from undim.cli.lines import put
from undim.cli.redundancy.experiment import open_experiment
from undim.cli.redundancy.measures import AdrChoice, find_exhibit, find_harm, write_diversity, write_dmr, write_poi
from undim.cli.redundancy.options import Draws, Foreign, Scope, Source
from undim.images import Picture, write_picture
from undim.results.laboratory import ResetDocument


def measure_dmr(
    source: Source,
    foreign: Foreign,
    scope: Scope,
    draws: Draws,
    adr: Annotated[
        AdrChoice, typer.Option(metavar="reset|keep|both", help="Whether a reset attention layer resets its ADR.")
    ] = "both",
) -> None:
    """Measure how far the output moves when each layer is re-initialised (equation 8, table 4)."""
    written = write_dmr(open_experiment(source, draws, scope, foreign), adr)
    put(f"{written.title}: DMR {written.result.mean:.2f} dB\n".encode())


def measure_reset(source: Source, foreign: Foreign, scope: Scope, draws: Draws) -> None:
    """Measure how PSNR changes when layers, and whole groups of them, are reset (tables 1 and 2)."""
    study = open_experiment(source, draws, scope, foreign)
    result = study.write(ResetDocument, find_harm(study).as_document()).result
    groups = ", ".join(f"{name} {one.change:+.2f} dB" for name, one in result.groups.items())
    put(f"reset: {study.title}: {groups or 'no groups'}\n".encode())


def measure_poi(
    source: Source,
    foreign: Foreign,
    scope: Scope,
    draws: Draws,
    also: Annotated[
        list[str] | None, typer.Option(help="A network trained from another seed, to compare with; repeatable.")
    ] = None,
    save_images: Annotated[
        bool, typer.Option("--save-images", help="Keep the pictures that gain most as DIR/gains/N_1.png ... N_4.png.")
    ] = False,
) -> None:
    """Measure which share of the pictures gets better when a layer is reset, and which pictures (table 3, figure 1)."""
    study = open_experiment(source, draws, scope, foreign)
    others = {
        name: open_experiment(dataclasses.replace(source, model=name), draws, scope, foreign) for name in also or []
    }
    result = write_poi(study, others).result
    for number, gain in enumerate(result.gains if save_images else (), 1):
        exhibit = find_exhibit(study, gain)
        for place, (_, pixels) in enumerate(exhibit.pictures, 1):
            path = study.folder / "gains" / f"{number}_{place}.png"
            path.parent.mkdir(exist_ok=True)
            write_picture(Picture(pixels), path, "png")
    shares = [one.poi for one in result.layers.values()]
    put(f"poi: {study.title}: {statistics.fmean(shares):.1f} % on average, at most {max(shares):.1f} %\n".encode())


def measure_diversity(source: Source, foreign: Foreign) -> None:
    """Measure how much generated kernels differ between pictures (figures 2b and 5)."""
    study = open_experiment(source, foreign=foreign)
    result = write_diversity(study).result
    distances = [one.cosine_distance for one in result.layers.values()]
    put(f"diversity: {study.title}: cosine distance {min(distances):.3g} to {max(distances):.3g}\n".encode())
