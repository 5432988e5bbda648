"""The paper's figures of results: 1, 2 and 5 as numbers, 6 and 7 as sheets of pictures made on the user's machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from undim.data.reading import read_rgb
from undim.data.sets import numerically
from undim.images import Picture, write_picture
from undim.metrics.quality import Pixels
from undim.paper.measured import Measurements, describe
from undim.paper.pages import Entry, Page
from undim.paper.rows import DATA, RECIPES, UNPAIRED, evaluate_command, make_entry, redundancy_command, study_command
from undim.training.validation import make_sheet

PAPER_GAIN = 12.72
"""dB: PSNR of the trained Restormer on figure 1's picture, from its caption."""
SHOWN = 2
"""Pictures of each data set on a sheet."""
_PICTURES = (
    "Pictures: undim redundancy report writes a page that shows them, on your machine, as the data sets' terms ask."
)


def make_figure1(ours: Measurements) -> Page:
    """Pictures that come out better when an attention layer is replaced by a random one."""
    networks = list(dict.fromkeys([RECIPES["Restormer"], *ours.networks("poi", "lol-v1")]))
    entries = []
    for network in networks:
        documents = ours.documents.get((network, "lol-v1", "poi"), [])
        paper = PAPER_GAIN if network == RECIPES["Restormer"] else None
        if not documents:
            command = redundancy_command("poi", network, "lol-v1")
            entries.append(Entry(network, "PSNR as trained, dB", paper, command=command))
        for document in documents:
            content = document.content
            seeds = () if document.seed is None else (document.seed,)
            for gain in content["result"]["gains"]:
                label = f"{network}, {content['pictures'][gain['picture']]}, {gain['layer']} reset"
                told = describe(content, "poi")
                entries += [
                    Entry(label, "PSNR as trained, dB", paper, gain["before"], seeds=seeds, protocol=told),
                    Entry(label, "PSNR with the random layer, dB", None, gain["after"], seeds=seeds, protocol=told),
                ]
    notes = ("The paper's picture is not named.", _PICTURES)
    return Page("figure1", "Figure 1: pictures that a reset makes better", tuple(entries), notes=notes)


def make_figure2(ours: Measurements) -> Page:
    """Whether generated kernels are alike for different pictures: dynamic convolution against POG."""
    column = "cosine distance between pictures' kernels"
    entries = []
    for name in dict.fromkeys(["a_restormer", *ours.studies]):
        for variant in ("dynamic", "pog"):
            figure = ours.study_figure(name, variant, "cosine_distance")
            if figure is not None or name == "a_restormer":
                entries.append(make_entry(f"{name}: {variant}", column, None, figure, study_command(name)))
    notes = (
        "The paper shows this as a picture without numbers. 0: all pictures get the same kernel, up to its scale.",
        "Over training, and for the controls of POG, see study.md.",
    )
    return Page(
        "figure2", "Figure 2 (b): do dynamic kernels degrade to static ones?", tuple(entries), ".2g", notes=notes
    )


def make_figure5(ours: Measurements) -> Page:
    """How many directions the kernels of POG and of dynamic convolution span."""
    column = "effective rank of pictures' kernels"
    entries = []
    for name in dict.fromkeys(["a_restormer", *ours.studies]):
        for variant in ("dynamic", "pog"):
            figure = ours.study_figure(name, variant, "effective_rank")
            if figure is not None or name == "a_restormer":
                entries.append(make_entry(f"{name}: {variant}", column, None, figure, study_command(name)))
    notes = (
        (
            "The paper shows kernels as pictures, without numbers. The effective rank is 1 where all pictures' kernels"
            " are proportional, and at most the number of pictures."
        ),
        _PICTURES,
    )
    return Page("figure5", "Figure 5: the kernels that pictures get", tuple(entries), notes=notes)


def make_figure6(ours: Measurements, roots: Sequence[Path], output: Path) -> Page:
    """Networks side by side on pictures with references."""
    return _sheet("figure6", "Figure 6: on LOL-v1 and LOL-v2", ours, roots, output, tuple(DATA))


def make_figure7(ours: Measurements, roots: Sequence[Path], output: Path) -> Page:
    """Networks side by side on pictures without references."""
    return _sheet("figure7", "Figure 7: on pictures without references", ours, roots, output, tuple(UNPAIRED))


def _sheet(name: str, title: str, ours: Measurements, roots: Sequence[Path], output: Path, sets: Sequence[str]) -> Page:
    """The pictures that `undim evaluate --save-images` left: rows are pictures, columns the networks that have them."""
    title_of, key = ("PSNR, dB", "psnr") if name == "figure6" else ("NIQE", "niqe")
    rows: list[list[Pixels]] = []
    told: list[str] = []
    entries: list[Entry] = []
    for data in sets:
        folders = {path.parent.parent.name: path for root in roots for path in sorted(root.rglob(f"{data}/images"))}
        for network in sorted(folders) or [RECIPES["Restormer+ours"]]:
            figure = ours.figure(network, data, "results", lambda content: content.get(key)) if folders else None
            command = f"{evaluate_command(network, data)} --save-images"
            entries.append(make_entry(network, f"{data}: {title_of}", None, figure, command))
        if not folders:
            continue
        shared = set.intersection(*({path.name for path in folder.glob("*.png")} for folder in folders.values()))
        for picture in sorted(shared, key=lambda file: numerically(Path(file).stem))[:SHOWN]:
            rows.append([read_rgb(folders[network] / picture) for network in sorted(folders)])
            told.append(f"Row {len(rows)}: {data}, {picture.removesuffix('.png')}, by {', '.join(sorted(folders))}.")
    if rows:
        write_picture(Picture(make_sheet(rows)), output / f"{name}.png", "png")
    notes = (*told, "The data sets' pictures are for research use and not kept here: the sheet is made where they are.")
    return Page(name, title, tuple(entries), notes=notes, picture=f"{name}.png" if rows else None)
