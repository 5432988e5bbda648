"""`undim redundancy report`."""

from __future__ import annotations

import json
from typing import Any

import torch

from undim.atomic import write_text
from undim.cli.lines import put, say
from undim.cli.redundancy.measures import find_harm, write_diversity, write_dmr, write_poi
from undim.cli.redundancy.options import Draws, Foreign, Scope, Source
from undim.cli.redundancy.study import Study, open_study, read_tensor
from undim.errors import ModelError
from undim.redundancy import reset
from undim.redundancy.harm import Gain, to_pixels
from undim.redundancy.kernel_grid import GRID, brighten
from undim.redundancy.page import Exhibit, make_page
from undim.redundancy.passes import evaluating


def make_report(source: Source, foreign: Foreign, scope: Scope, draws: Draws) -> None:
    """Measure with dmr, reset, poi and diversity, and make one page of it, DIR/report.html.

    What the folder holds of the same study is taken over, prune.json and slim.json included.
    """
    study = open_study(source, draws, scope, foreign)
    studies: dict[str, dict[str, Any]] = {"dmr": write_dmr(study, "both")}
    exhibits: list[Exhibit] = []
    if all(case.high is not None for case in study.cases):
        harm = find_harm(study)
        studies["reset"] = study.write("reset", harm.as_dict())
        studies["poi"] = write_poi(study, {})
        exhibits = [_exhibit(study, gain) for gain in harm.gains(3)]
    try:
        studies["diversity"] = write_diversity(study)
    except ModelError as error:  # a network that generates no kernels, or a single picture
        say(str(error))
    thumbnails = [brighten(to_pixels(read_tensor(case.low))) for case in study.cases[:GRID]]
    for verb in ("prune", "slim"):
        there = study.folder / f"{verb}.json"
        if there.is_file():
            studies[verb] = json.loads(there.read_text(encoding="utf-8"))
    write_text(study.folder / "report.html", make_page(f"Redundancy of {study.title}", studies, exhibits, thumbnails))
    put(f"report: {study.folder / 'report.html'}\n".encode())


def _exhibit(study: Study, gain: Gain) -> Exhibit:
    case = study.cases[gain.picture]
    low, device = read_tensor(case.low), next(study.model.parameters()).device
    with torch.no_grad(), evaluating(study.model):
        before = study.model(low.to(device)).clamp(0, 1)
        with reset(study.model, gain.layer, gain.seed, initialisation=study.settings.initialisation):
            after = study.model(low.to(device)).clamp(0, 1)
    pictures = [
        ("dark picture", to_pixels(low)),
        (f"as trained, {gain.before:.2f} dB", to_pixels(before)),
        (f"{gain.layer} reset, {gain.after:.2f} dB", to_pixels(after)),
        *([] if case.high is None else [("reference", to_pixels(read_tensor(case.high)))]),
    ]
    return Exhibit(f"Picture {case.name}: better with random weights in {gain.layer}.", tuple(pictures))
