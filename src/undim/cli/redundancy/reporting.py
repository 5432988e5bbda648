"""`undim redundancy report`."""

from __future__ import annotations

from undim.atomic import write_text
from undim.cli.lines import put, say
from undim.cli.redundancy.experiment import open_experiment, read_tensor
from undim.cli.redundancy.measures import find_exhibit, find_harm, write_diversity, write_dmr, write_poi
from undim.cli.redundancy.options import Draws, Foreign, Scope, Source
from undim.errors import ModelError
from undim.redundancy.harm import to_pixels
from undim.redundancy.kernel_grid import GRID, brighten
from undim.redundancy.page import Exhibit, make_page
from undim.results.laboratory import AnyLaboratoryDocument, PruneDocument, ResetDocument, SlimDocument


def make_report(source: Source, foreign: Foreign, scope: Scope, draws: Draws) -> None:
    """Measure with dmr, reset, poi and diversity, and make one page of it, DIR/report.html.

    What the folder holds of the same study is taken over, prune.json and slim.json included.
    """
    study = open_experiment(source, draws, scope, foreign)
    documents: list[AnyLaboratoryDocument] = [write_dmr(study, "both")]
    exhibits: list[Exhibit] = []
    if all(case.high is not None for case in study.cases):
        harm = find_harm(study)
        documents.append(study.write(ResetDocument, harm.as_document()))
        poi = write_poi(study, {})
        documents.append(poi)
        exhibits = [find_exhibit(study, gain) for gain in poi.result.gains[:3]]
    try:
        documents.append(write_diversity(study))
    except ModelError as error:  # a network that generates no kernels, or a single picture
        say(str(error))
    thumbnails = [brighten(to_pixels(read_tensor(case.low))) for case in study.cases[:GRID]]
    for kind in (PruneDocument, SlimDocument):
        there = study.folder / f"{kind.NAME}.json"
        if there.is_file():
            documents.append(kind.read(there))
    write_text(study.folder / "report.html", make_page(f"Redundancy of {study.title}", documents, exhibits, thumbnails))
    put(f"report: {study.folder / 'report.html'}\n".encode())
