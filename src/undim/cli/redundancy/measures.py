"""What more than one verb measures: resumable, with a progress bar, failures of foreign networks in one line."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import nn

from undim.cli.progress import progress
from undim.cli.redundancy.experiment import Experiment, read_tensor, telling
from undim.data.reading import read_rgb
from undim.errors import DataError
from undim.metrics.networks import network_enhancer
from undim.metrics.quality import psnr
from undim.redundancy import (
    DmrResult,
    HarmResult,
    Journal,
    chroma_error,
    diversity,
    dmr,
    harmfulness,
    poi_over_networks,
    reset,
    table_groups,
)
from undim.redundancy.harm import to_pixels
from undim.redundancy.page import Exhibit
from undim.redundancy.reset_walk import evaluating
from undim.redundancy.sites import select
from undim.results.document import finite
from undim.results.laboratory import DiversityDocument, DmrDocument, LayerOverNetworks, PoiDocument, ResetGain

AdrChoice = Literal["reset", "keep", "both"]


def find_dmr(study: Experiment, adr: AdrChoice, journal: str = "dmr") -> DmrResult:
    """DMR of a study's layers, continued from DIR/JOURNAL.jsonl."""
    with Journal(study.folder / f"{journal}.jsonl", study.facts()) as records:
        count = len(select(study.model, study.kind, study.stage).layers)
        if adr == "both":
            count += sum(bool(one.kept) for one in select(study.model, study.kind, study.stage, adr="keep").layers)
        with progress("dmr", count * len(study.cases)) as done, telling(study.name):
            return dmr(
                study.model,
                study.images(),
                kind=study.kind,
                stage=study.stage,
                seeds=study.settings.seeds,
                adr=adr,
                settings=study.settings,
                journal=records,
                done=done,
            )


def find_harm(study: Experiment, journal: str = "harm", *, grouped: bool = True) -> HarmResult:
    """Resets of single layers and, if `grouped`, of groups: what reset and poi share, measured once."""
    groups = table_groups(study.model) if grouped else {}
    with Journal(study.folder / f"{journal}.jsonl", study.facts()) as records:
        count = len(select(study.model, study.kind, study.stage).layers) + len(groups)
        with progress("resetting", count * len(study.cases)) as done, telling(study.name):
            return harmfulness(
                study.model,
                study.pairs(),
                kind=study.kind,
                stage=study.stage,
                seeds=study.settings.seeds,
                groups=groups,
                settings=study.settings,
                journal=records,
                done=done,
            )


def write_dmr(study: Experiment, adr: AdrChoice) -> DmrDocument:
    """Measure and write what the verb dmr does."""
    return study.write(DmrDocument, find_dmr(study, adr).as_document(), adr)


def write_poi(study: Experiment, others: Mapping[str, Experiment]) -> PoiDocument:
    """Measure and write what the verb poi does; `others` are trainings of the same network from other seeds."""
    own = find_harm(study)
    result = own.as_document()
    if others:
        digests = {name: hashlib.sha256(name.encode()).hexdigest()[:8] for name in others}
        found = {study.name: own, **{name: find_harm(one, f"harm-{digests[name]}") for name, one in others.items()}}
        networks = {name: LayerOverNetworks(**figures) for name, figures in poi_over_networks(found).items()}
        result = result.model_copy(update={"networks": networks, "network_names": tuple(found)})
    return study.write(PoiDocument, result)


def find_exhibit(study: Experiment, gain: ResetGain) -> Exhibit:
    """The pictures of one gain: dark, as trained, with the layer reset, and the reference if there is one."""
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


def write_diversity(study: Experiment) -> DiversityDocument:
    """Measure and write what the verb diversity does."""
    with progress("diversity", len(study.cases)) as done, telling(study.name):
        return study.write(DiversityDocument, diversity(study.model, study.images(), done=done).as_document())


def score(study: Experiment, network: nn.Module, done: Callable[[], None] = lambda: None) -> tuple[float | None, float]:
    """Mean PSNR in dB and mean colour error of a network over a study's pictures, as the headline protocol has it.

    PSNR is None where it is infinite.
    """
    enhance = network_enhancer(network)
    found: list[tuple[float, float]] = []
    for case in study.cases:
        if case.low is None or case.high is None:
            raise DataError(f"{study.data} has no references, which PSNR needs.")
        result, reference = enhance(read_rgb(case.low)), read_rgb(case.high)
        found.append((psnr(result, reference), chroma_error(result, reference)))
        done()
    scores, colours = zip(*found, strict=True)
    return finite(statistics.fmean(scores)), statistics.fmean(colours)
