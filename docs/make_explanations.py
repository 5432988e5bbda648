"""Make the figures of docs/explanation: adr.svg, pog.svg, dmr.svg, tiles.webp and fast.webp.

    python docs/make_explanations.py [adr pog dmr tiles fast]

The first three draw what the studies measured (docs/results/studies). The other two run a shipped model on a picture of
examples/, half in shadow, as benchmarks/tiling.py does. Needs matplotlib, which the extra dev installs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image, ImageDraw

from undim import Enhancer

Bytes = npt.NDArray[np.uint8]
HERE = Path(__file__).parent
TARGET = HERE / "explanation"
STUDIES = HERE / "results" / "studies"
EXAMPLES = HERE.parent / "examples"
BACKBONES = {
    "a_candela_tiny": "Candela tiny",
    "a_restormer_small": "Restormer small",
    "a_retinexformer_small": "Retinexformer small",
    "a_cidnet_small": "CIDNet small",
}
BLUE, ORANGE, GREY = "#3b6fb6", "#d9822b", "#8a8a8a"  # told apart by those who do not see all colours, too
mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "undim", "font.size": 9, "font.family": "sans-serif"}


def cells(study: str) -> list[Mapping]:
    """What a study measured, a cell a network."""
    return [json.loads(path.read_text()) for path in sorted((STUDIES / study / "cells").glob("*.json"))]


def save(figure: Figure, name: str) -> None:
    """As SVG on white, without a date: the same data make the same file."""
    figure.savefig(TARGET / name, metadata={"Date": None}, facecolor="white")


def box(axis: Axes, x: float, y: float, text: str, *, width: float = 1.0, colour: str = "white") -> None:
    """A box of a drawing, its middle at x and y."""
    shape = FancyBboxPatch(
        (x - width / 2, y - 0.3), width, 0.6, boxstyle="round,pad=0.04", facecolor=colour, edgecolor="black"
    )
    axis.add_patch(shape)
    axis.text(x, y, text, ha="center", va="center")


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place of a drawing to another."""
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->"})


def draw_adr() -> None:
    """Where ADR sits, and what it does to DMR."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    drawing, plot = figure.subplots(1, 2, width_ratios=(1.25, 1))
    drawing.set(xlim=(-0.2, 6.6), ylim=(-0.9, 3.0))
    drawing.axis("off")
    for x, text in ((0.5, "makes\nQ, K, V"), (5.9, "attention")):
        box(drawing, x, 2.2, text, width=1.2)
    box(drawing, 2.3, 0.9, "P1\n3C to Dm", width=1.3, colour="#dce7f5")
    box(drawing, 4.1, 0.9, "P2\nDm to 3C", width=1.3, colour="#dce7f5")
    box(drawing, 2.3, -0.5, "kernels for\nthis picture", width=1.9, colour="#fbe7d2")
    arrow(drawing, (1.15, 2.2), (4.75, 2.2))
    drawing.text(4.88, 2.2, "+", ha="center", va="center", fontsize=13)
    arrow(drawing, (5.0, 2.2), (5.26, 2.2))
    arrow(drawing, (1.3, 2.15), (1.62, 1.0))
    arrow(drawing, (2.98, 0.9), (3.42, 0.9))
    arrow(drawing, (4.4, 1.25), (4.84, 2.05))
    arrow(drawing, (2.3, -0.16), (2.3, 0.55))
    arrow(drawing, (3.2, -0.3), (3.9, 0.55))
    drawing.set_title("one attention layer with ADR")
    for place, study in enumerate(BACKBONES):
        for variant, colour, shift in (("base", GREY, -0.12), ("pog", BLUE, 0.12)):
            values = [cell["redundancy"]["dmr_adr_kept"] for cell in cells(study) if cell["variant"] == variant]
            rows = [place + shift] * len(values)
            label = {"base": "backbone", "pog": "with ADR and POG"}[variant] if place == 0 else None
            plot.plot(values, rows, "o", color=colour, alpha=0.7, label=label)
            plot.plot(
                [float(np.mean(values))] * 2, [place + shift - 0.1, place + shift + 0.1], color=colour, linewidth=2
            )
    plot.set_yticks(range(len(BACKBONES)), list(BACKBONES.values()))
    plot.invert_yaxis()
    plot.set(xlabel="DMR, dB, ADR left alone (lower: less redundant)")
    plot.set_title("a dot a seed, a bar the mean")
    plot.grid(alpha=0.3, axis="x")
    plot.legend(fontsize="small")
    save(figure, "adr.svg")


def draw_pog() -> None:
    """How much generated kernels differ from picture to picture, over training."""
    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axis = figure.subplots()
    shown = (
        ("a_candela_tiny", "pog", BLUE, "POG"),
        ("a_candela_tiny", "dynamic", ORANGE, "dynamic convolution"),
        ("a_controls", "sigmoid", "#4f9d69", "POG, sigmoid for softmax"),
        ("a_controls", "linear", GREY, "POG, z / |z| for softmax"),
    )
    for study, variant, colour, label in shown:
        mine = [cell for cell in cells(study) if cell["variant"] == variant]
        for cell in mine:
            over = cell["diversity_over_training"]
            steps = [one["step"] for one in over if one["step"]]
            means = [np.mean([layer["variation"] for layer in one["layers"].values()]) for one in over if one["step"]]
            axis.plot(steps, means, color=colour, alpha=0.6, label=label if cell is mine[0] else None)
    axis.set(
        yscale="log",
        xlabel="steps of training (Candela tiny)",
        ylabel="spread over pictures,\nover the mean kernel (rms)",
    )
    axis.set_title("how much kernels differ from picture to picture; a line a seed")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    save(figure, "pog.svg")


def draw_dmr() -> None:
    """DMR layer by layer, of one network."""
    mine = [cell for cell in cells("a_candela_tiny") if cell["variant"] == "base"]
    layers = list(mine[0]["redundancy"]["layers"])
    figure = Figure(figsize=(6.5, 2.8), layout="constrained")
    axis = figure.subplots()
    means = [float(np.mean([cell["redundancy"]["layers"][layer]["dmr"] for cell in mine])) for layer in layers]
    for row, layer in enumerate(layers):
        values = [cell["redundancy"]["layers"][layer]["dmr"] for cell in mine]
        axis.plot(values, [row] * len(values), "o", color=BLUE, alpha=0.7)
        axis.plot([means[row]] * 2, [row - 0.25, row + 0.25], color=BLUE, linewidth=2)
    axis.set_yticks(range(len(layers)), layers)
    whole = float(np.mean([cell["redundancy"]["dmr"] for cell in mine]))
    axis.axvline(whole, color=ORANGE, label=f"DMR of the network: their mean, {whole:.1f} dB")
    axis.invert_yaxis()
    axis.set(xlabel="PSNR between the output and the output with this layer reset, dB")
    axis.set_title("attention layers of Candela tiny; a dot a seed, a bar the mean")
    axis.legend(fontsize="small", loc="center left")
    axis.grid(alpha=0.3, axis="x")
    save(figure, "dmr.svg")


def shadowed(name: str, side: int) -> Bytes:
    """A picture of examples/ whose right half lies in shadow, its width enlarged to so many pixels, with noise."""
    with Image.open(EXAMPLES / name) as opened:
        image = opened.convert("RGB")
    image = image.resize((side, round(side * image.height / image.width)), Image.Resampling.BICUBIC)
    values = np.asarray(image, np.float32) / 255
    values[:, side // 2 :] *= 0.2
    values += np.random.default_rng(0).normal(0, 0.008, values.shape).astype(np.float32)
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def psnr(one: Bytes, other: Bytes) -> float:
    """In dB."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2)))


def sheet(tiles: list[tuple[str, Bytes]], width: int, columns: int) -> Image.Image:
    """Pictures under their names, each reduced to a width."""
    label, gap = 20, 6
    rows = -(-len(tiles) // columns)
    height = round(width * tiles[0][1].shape[0] / tiles[0][1].shape[1])
    whole = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + label + gap) - gap), "white")
    pen = ImageDraw.Draw(whole)
    for place, (title, pixels) in enumerate(tiles):
        left, top = place % columns * (width + gap), place // columns * (height + label + gap)
        pen.text((left, top + 2), title, fill="black", font_size=13)
        whole.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS), (left, top + label))
    return whole


def difference(one: Bytes, other: Bytes, times: int) -> Bytes:
    """So many times the difference, around grey."""
    return (128 + times * (one.astype(np.int16) - other)).clip(0, 255).astype(np.uint8)


def draw_tiles() -> None:
    """What tiles do that do not know of each other, and what they do that agree."""
    picture, side = shadowed("coffee.png", 1200), 256
    with Enhancer("tiny", tile=0) as enhance:
        whole = enhance(picture)
        alone = np.empty_like(picture)
        for top in range(0, picture.shape[0], side):
            for left in range(0, picture.shape[1], side):
                place = np.s_[top : top + side, left : left + side]
                alone[place] = enhance(np.ascontiguousarray(picture[place]))
    with Enhancer("tiny", tile=side) as enhance:
        agreeing = enhance(picture)
    told = [
        ("the whole picture at once", whole),
        (f"tiles on their own: {psnr(alone, whole):.1f} dB", alone),
        (f"tiles that agree: {psnr(agreeing, whole):.1f} dB", agreeing),
        ("the input, half in shadow", picture),
        ("their difference from the first, twofold", difference(alone, whole, 2)),
        ("likewise", difference(agreeing, whole, 2)),
    ]
    sheet(told, 340, 3).save(TARGET / "tiles.webp", quality=82, method=6)


def draw_fast() -> None:
    """The fast path beside the full one, at full size."""
    picture = shadowed("rocket.jpg", 2400)
    with Enhancer("photo", tile=0) as enhance:
        full, fast = enhance(picture), enhance(picture, fast=True)
    rows, columns = np.s_[420:700], np.s_[1060:1480]
    told = [
        ("the input", picture[rows, columns]),
        ("the full path", full[rows, columns]),
        (f"the fast path: {psnr(fast, full):.1f} dB over the picture", fast[rows, columns]),
    ]
    print(f"fast path: {picture.shape[1]} x {picture.shape[0]}, {psnr(fast, full):.2f} dB")
    sheet(told, 340, 3).save(TARGET / "fast.webp", quality=85, method=6)


FIGURES: dict[str, Callable[[], None]] = {
    "adr": draw_adr,
    "pog": draw_pog,
    "dmr": draw_dmr,
    "tiles": draw_tiles,
    "fast": draw_fast,
}


def main() -> None:
    """Make those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []])
    for name in parser.parse_args().figures or FIGURES:
        FIGURES[name]()
        print(f"{name} made")


if __name__ == "__main__":
    main()
