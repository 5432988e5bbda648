"""The paper's figures of results: numbers, plots of what was measured, and sheets of pictures left on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from undim.arrays import Bytes
from undim.data.reading import read_rgb
from undim.data.sets import numerically
from undim.images import Picture, write_picture
from undim.paper.commands import Measurement, StudyRun
from undim.paper.measured import Measurements, describe
from undim.paper.networks import ABLATION_DATA, DATA, RECIPES, UNPAIRED, label_of
from undim.paper.pages import Entry, Page, measured_entry
from undim.paper.rows import make_entry
from undim.results.laboratory import DiversityDocument, PoiDocument
from undim.results.page import PageDocument
from undim.results.scores import ScoresDocument
from undim.training.validation import make_sheet

PAPER_GAIN = 12.72
"""dB: PSNR of the trained Restormer on figure 1's picture, from its caption."""
SHEET_ROWS = 2
"""Pictures of each data set on a sheet."""
FOLDER = "folder"
"""Pictures of one's own, as `undim evaluate --data folder` calls them."""
_WHERE = "The data sets' pictures are for research use and not kept here: the sheet is made where they are."
_NO_PLOT = "The plot is left out: matplotlib is not installed."


def make_figure1(ours: Measurements, roots: Sequence[Path], output: Path) -> Page:
    """Pictures that come out better when an attention layer is replaced by a random one."""
    networks = list(dict.fromkeys([RECIPES["Restormer"], *ours.networks(PoiDocument)]))
    entries = []
    told: list[str] = []
    rows: list[list[Bytes]] = []
    for network in networks:
        findings = [(data, one) for name, data, one in ours.all_findings(PoiDocument) if name == network]
        paper = PAPER_GAIN if network == RECIPES["Restormer"] else None
        if not findings:
            making = Measurement(PoiDocument, network, ABLATION_DATA, save_images=True)
            entries.append(Entry(label_of(network), "PSNR as trained, dB", paper, making=making))
        for data, one in findings:
            content = one.content
            seeds = () if one.seed is None else (one.seed,)
            caution = ours.caution(network, content.iterations)
            for number, gain in enumerate(content.result.gains, 1):
                picture = content.pictures[gain.picture]
                seed = "" if one.seed is None else f", seed {one.seed}"
                label = f"{label_of(network)}{seed}, {data} {picture}, {gain.layer} reset"
                entries += [
                    Entry(label, column, of_paper, figure, seeds=seeds, protocol=describe(content), caution=caution)
                    for column, of_paper, figure in (
                        ("PSNR as trained, dB", paper, gain.before),
                        ("PSNR with the random layer, dB", None, gain.after),
                    )
                ]
                if parts := _saved_gain(roots, network, one.seed, data, number):
                    rows.append([read_rgb(part) for part in parts])
                    told.append(
                        f"Row {len(rows)}: {label}: dark, as trained ({gain.before:.2f} dB), with the random layer"
                        f" ({gain.after:.2f} dB), reference."
                    )
    title = "Figure 1: pictures that a reset makes better"
    return _make_page("figure1", title, entries, rows, (*told, "The paper's picture is not named.", _WHERE), output)


def make_figure2(ours: Measurements, roots: Sequence[Path], output: Path) -> Page:
    """Whether generated kernels are alike for different pictures: dynamic convolution against POG."""
    del roots
    column = "cosine distance between pictures' kernels"
    drawn = [
        ours.studies[name]
        for name in ours.ablations()
        if any(cell.diversity_over_training for cell in ours.cells[name])
    ]
    notes = [
        "The paper shows this as a picture without numbers. 0: all pictures get the same kernel, up to its scale.",
        "The plot: means and ranges over seeds over training; below, DMR against PSNR, a dot a training.",
    ]
    picture = None
    if drawn:
        try:
            from undim.paper.plots import draw_figure2
        except ModuleNotFoundError:
            notes.append(_NO_PLOT)
        else:
            picture = "figure2.webp"
            draw_figure2(drawn, ours.cells, output / picture)
    title = "Figure 2 (b): do dynamic kernels degrade to static ones?"
    entries = tuple(_of_kernels(ours, column, "cosine_distance"))
    return Page("figure2", title, entries, ".2g", notes=tuple(notes), picture=picture)


def make_figure5(ours: Measurements, roots: Sequence[Path], output: Path) -> Page:
    """How many directions the kernels of POG and of dynamic convolution span."""
    del roots
    column = "effective rank of pictures' kernels"
    notes = [
        (
            "The paper shows kernels as pictures, without numbers. The effective rank is 1 where all pictures' kernels"
            " are proportional, and at most the number of pictures."
        ),
        (
            "The picture: the most diverse generator of each network of which undim redundancy diversity has measured"
            " something; on the diagonal a picture's kernel minus the mean of all, elsewhere the row's minus the"
            " column's. The dark pictures beside the rows are on the page of undim redundancy report."
        ),
    ]
    picture = None
    grids: dict[str, DiversityDocument] = {}
    for network, data, finding in ours.all_findings(DiversityDocument):
        grids.setdefault(f"{label_of(network)}, {data}", finding.content)
    if grids:
        try:
            from undim.paper.plots import KernelGrid, draw_figure5
        except ModuleNotFoundError:
            notes.append(_NO_PLOT)
        else:
            picture = "figure5.webp"
            found = []
            for title, document in grids.items():
                name, one = max(document.result.layers.items(), key=lambda layer: layer[1].cosine_distance)
                told = f"{title}\n{name}\ncosine distance {one.cosine_distance:.2g}"
                found.append(KernelGrid(told, np.asarray(one.kernels, np.float64)))
            draw_figure5(found, output / picture)
    entries = tuple(_of_kernels(ours, column, "effective_rank"))
    return Page("figure5", "Figure 5: the kernels that pictures get", entries, notes=tuple(notes), picture=picture)


def _of_kernels(ours: Measurements, column: str, measure: str) -> Iterator[Entry]:
    """A row for each variant of each study that generates kernels."""
    for name in dict.fromkeys(["a_restormer", *ours.studies]):
        merged = ours.studies.get(name)
        for variant in ("dynamic", "pog") if merged is None else [row.variant for row in merged.rows]:
            figure = ours.study_figure(name, variant, measure)
            if figure is not None or name == "a_restormer":
                yield make_entry(f"{name}: {variant}", column, None, figure, StudyRun(name))


def make_figure6(ours: Measurements, roots: Sequence[Path], output: Path) -> Page:
    """Networks side by side on pictures with references."""
    return _sheet("figure6", "Figure 6: on LOL-v1 and LOL-v2", ours, roots, output, tuple(DATA))


def make_figure7(ours: Measurements, roots: Sequence[Path], output: Path) -> Page:
    """Networks side by side on pictures without references."""
    return _sheet("figure7", "Figure 7: on pictures without references", ours, roots, output, tuple(UNPAIRED))


def _sheet(name: str, title: str, ours: Measurements, roots: Sequence[Path], output: Path, sets: Sequence[str]) -> Page:
    """The pictures that `undim evaluate --save-images` left: rows are pictures, columns the networks that have them."""
    paired_figure = name == "figure6"
    title_of = "PSNR, dB" if paired_figure else "NIQE"
    rows: list[list[Bytes]] = []
    told: list[str] = []
    entries: list[Entry] = []
    for data in (*sets, FOLDER):
        folders = {path.parent.parent.name: path for root in roots for path in sorted(root.rglob(f"{data}/images"))}
        if data == FOLDER:  # of one's own: with references in one figure, without in the other
            paired = {network: _is_paired(ours, network) for network in folders}
            folders = {network: path for network, path in folders.items() if paired[network] == paired_figure}
        for network in sorted(folders) or ([RECIPES["Restormer+ours"]] if data != FOLDER else []):
            figure = None
            if folders:
                figure = ours.figure(
                    network, data, ScoresDocument, lambda content: content.psnr if paired_figure else content.niqe
                )
            making = Measurement(ScoresDocument, network, data, save_images=True)
            entries.append(make_entry(network, f"{data}: {title_of}", None, figure, making))
        if not folders:
            continue
        shared = set.intersection(*({path.name for path in folder.glob("*.png")} for folder in folders.values()))
        pictures = sorted(shared, key=lambda file: numerically(Path(file).stem))
        for picture in pictures if data == FOLDER else pictures[:SHEET_ROWS]:
            rows.append([read_rgb(folders[network] / picture) for network in sorted(folders)])
            told.append(f"Row {len(rows)}: {data}, {picture.removesuffix('.png')}, by {', '.join(sorted(folders))}.")
    return _make_page(name, title, entries, rows, (*told, _WHERE), output)


def _is_paired(ours: Measurements, network: str) -> bool:
    return any(one.content.psnr is not None for one in ours.findings(network, FOLDER, ScoresDocument))


def _saved_gain(roots: Sequence[Path], network: str, seed: int | None, data: str, number: int) -> list[Path]:
    """What `undim redundancy poi --save-images` left of one gain: dark, as trained, reset, reference."""
    names = [network, *([] if seed is None else [f"{network}-s{seed}"])]
    for root in roots:
        for name in names:
            for folder in sorted(root.rglob(f"{name}/{data}/gains")):
                if parts := sorted(folder.glob(f"{number}_*.png")):
                    return parts
    return []


def _make_page(
    name: str,
    title: str,
    entries: Sequence[Entry],
    rows: Sequence[Sequence[Bytes]],
    notes: Sequence[str],
    output: Path,
) -> Page:
    """The page of a sheet, which is written as NAME.webp; `notes` begin with what its rows show.

    Without rows, the sheet that is there is kept, whose pictures may be on another machine, and with it what was
    measured on them.
    """
    file = f"{name}.webp"
    if rows:
        write_picture(Picture(make_sheet(rows)), output / file, "webp", quality=80)
        return Page(name, title, tuple(entries), notes=tuple(notes), picture=file)
    there = output / f"{name}.json"
    before = PageDocument.read(there) if there.is_file() else None
    if before is None or before.picture != file or not (output / file).is_file():
        return Page(name, title, tuple(entries), notes=tuple(notes))
    fresh = {(entry.label, entry.column): entry for entry in entries}
    merged: dict[tuple[str, str], Entry] = {}
    for row in before.rows:
        key = row.label, row.column
        if row.ours is not None and (key not in fresh or fresh[key].ours is None):
            merged[key] = measured_entry(row)
        elif key in fresh:
            merged[key] = fresh[key]
    merged |= {key: entry for key, entry in fresh.items() if key not in merged}
    told = [note for note in before.notes if note.startswith("Row ")]
    return Page(name, title, tuple(merged.values()), notes=(*told, *notes), picture=file)
