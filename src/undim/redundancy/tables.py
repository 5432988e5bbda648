"""The laboratory's results as Markdown, with the paper's figures beside them where it has any."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from undim.results.laboratory import (
    AnyLaboratoryDocument,
    Correlation,
    DiversityDocument,
    DmrDocument,
    KernelDiversity,
    PoiDocument,
    PruneDocument,
    ResetDocument,
    Resets,
    SlimDocument,
)
from undim.results.markdown import escape, section, table

PAPER_GROUPS = {
    "attention, all": -5.52,
    "attention, latent": 0.02,
    "feedforward, all": -6.58,
    "feedforward, latent": 0.02,
}
"""Table 1: change of PSNR in dB on Restormer, on a data set that the paper does not name there."""
PAPER_POI = 30.0
"""Percent: section 3.1 says "around 30 %"; the body of table 3 is missing in the text that is known."""
PAPER_BASELINES = {
    "unchanged": (20.91, 48.94),
    "PC-0.1": (20.94, 49.21),
    "PC-0.2": (20.83, 50.00),
    "PC-0.3": (20.66, 51.55),
    "IENNP": (18.52, 49.21),
    "FPGM": (18.07, 48.89),
    "ZeroQ": (7.98, None),
}
"""Table 5, LOL-v1: PSNR in dB and DMR of Restormer; ZeroQ's bits are not said."""
GROUPS_HEAD = ("group", "change of PSNR, dB", "95 % over seeds", "the paper's Restormer")
DIVERSITY_HEAD = ("generator", "kind", "weights", "cosine distance", "variation", "effective rank")


def make_markdown(document: AnyLaboratoryDocument) -> str:
    """The text of VERB.md for what VERB.json holds."""
    facts = {
        key: getattr(document, key) for key in ("model", "data", "split", "kind", "stage", "adr", "seeds", "device")
    }
    return "\n".join(
        [
            f"# {escape(document.title)}",
            "",
            *(f"- {key}: {escape(_told(value))}" for key, value in facts.items() if value not in (None, "", ())),
            f"- pictures: {len(document.pictures)}",
            "",
            *_body(document),
            *section("Notes", map(escape, document.notes)),
        ]
    )


def _body(document: AnyLaboratoryDocument) -> list[str]:
    match document:
        case DmrDocument():
            return _dmr(document)
        case ResetDocument():
            return _reset(document)
        case PoiDocument():
            return _poi(document)
        case DiversityDocument():
            return _diversity(document)
        case PruneDocument():
            return _prune(document)
        case SlimDocument():
            return _slim(document)


def decibels(value: float | None, *, sign: bool = False) -> str:
    """Two decimals, never -0.00; "inf" for what JSON has as null."""
    return "inf" if value is None else format(round(value, 2) + 0.0, "+.2f" if sign else ".2f")


def spelled_interval(bounds: Sequence[float] | None, form: str = ".2f") -> str:
    """Both ends of a confidence interval; "-" for one seed."""
    return "-" if bounds is None else f"{format(bounds[0], form)} to {format(bounds[1], form)}"


def group_rows(result: Resets, shown: Callable[[str], str]) -> list[list[str]]:
    """The cells under `GROUPS_HEAD`, one row a group; `shown` makes of its name what the page can hold."""
    return [
        [
            shown(name),
            decibels(one.change, sign=True),
            spelled_interval(one.interval, "+.2f"),
            decibels(PAPER_GROUPS[name], sign=True) if name in PAPER_GROUPS else "-",
        ]
        for name, one in result.groups.items()
    ]


def _dmr(document: DmrDocument) -> list[str]:
    result = document.result
    kept = result.adr_kept
    lines = [
        (
            f"**DMR {result.mean:.2f} dB** (95 % interval over seeds: {spelled_interval(result.interval)});"
            " lower is less redundant. The paper's networks lie between 28 and 51 dB."
        ),
        "",
    ]
    if kept is not None:
        lines += [f"With ADR left as trained: {kept.mean:.2f} dB ({spelled_interval(kept.interval)}).", ""]
    head = ["layer", "DMR, dB", "spread over seeds", *([] if kept is None else ["ADR kept, dB"])]
    rows = [
        [
            escape(name),
            decibels(one.dmr),
            "-" if one.spread is None else f"{one.spread:.2f}",
            *([] if kept is None else [decibels(kept.layers[name].dmr)]),
        ]
        for name, one in result.layers.items()
    ]
    lines += [*table(head, rows), ""]
    images = [[escape(name), f"{value:.2f}"] for name, value in zip(document.pictures, result.per_image, strict=True)]
    lines += [*table(["picture", "mean over layers, dB"], images), ""]
    if result.non_finite:
        lines += [f"{result.non_finite} outputs were not finite and count as 0 dB.", ""]
    return lines


def _reset(document: ResetDocument) -> list[str]:
    result = document.result
    rows = [
        [escape(name), decibels(one.change, sign=True), spelled_interval(one.interval, "+.2f")]
        for name, one in result.layers.items()
    ]
    return [
        f"PSNR as trained: {result.mean_psnr:.2f} dB.",
        "",
        "## Groups reset at once (table 1)",
        "",
        *table(GROUPS_HEAD, group_rows(result, escape)),
        "",
        "## One layer at a time (table 2)",
        "",
        *table(["layer", "change of PSNR, dB", "95 % over seeds"], rows),
        "",
    ]


def _poi(document: PoiDocument) -> list[str]:
    result, pictures = document.result, document.pictures
    lines = [
        (
            f"POI is the percentage of pictures whose PSNR rises when the layer is reset; the paper has around"
            f" {PAPER_POI:.0f} %."
        ),
        "",
    ]
    rows = [
        [
            escape(name),
            f"{one.poi:.1f}",
            f"{min(one.poi_per_seed):.1f} to {max(one.poi_per_seed):.1f}",
            decibels(one.change, sign=True),
        ]
        for name, one in result.layers.items()
    ]
    lines += [*table(["layer", "POI, %", "seeds", "change of PSNR, dB"], rows), ""]
    if result.gains:
        lines += ["## Pictures that gain most (figure 1)", ""]
        rows = [
            [
                escape(pictures[gain.picture]),
                escape(gain.layer),
                str(gain.seed),
                f"{gain.before:.2f}",
                f"{gain.after:.2f}",
            ]
            for gain in result.gains
        ]
        lines += [*table(["picture", "layer reset", "seed", "PSNR before, dB", "after, dB"], rows), ""]
    if result.correlation is not None:
        lines += [tell_correlation(result.correlation), ""]
    if result.networks:
        lines += ["## The same layers in other networks: does retraining cure it?", ""]
        rows = [
            [
                escape(name),
                f"{one.mean:.1f}",
                f"{one.smallest:.1f} to {one.largest:.1f}",
                f"{one.harmful_networks:.0f} of {len(result.network_names)}",
            ]
            for name, one in result.networks.items()
        ]
        lines += [*table(["layer", "mean POI, %", "networks", "harmful on average"], rows), ""]
    return lines


def diversity_rows(result: KernelDiversity) -> list[list[str]]:
    """The cells under `DIVERSITY_HEAD`, one row a generator, its name as it is."""
    return [
        [
            name,
            one.kind,
            str(one.weights),
            f"{one.cosine_distance:.3g}",
            f"{100 * one.variation:.2g} %",
            f"{one.effective_rank:.2f}",
        ]
        for name, one in result.layers.items()
    ]


def _diversity(document: DiversityDocument) -> list[str]:
    result = document.result
    rows = [[escape(name), *cells] for name, *cells in diversity_rows(result)]
    return [
        (
            f"How far the kernels of {result.pictures} pictures differ: mean pairwise cosine distance; standard"
            " deviation over pictures relative to the mean kernel; effective rank, 1 if all are proportional."
        ),
        "",
        *table(DIVERSITY_HEAD, rows),
        "",
    ]


def _prune(document: PruneDocument) -> list[str]:
    rows = []
    for one in document.result.rows:
        paper = PAPER_BASELINES.get(one.name)
        told = "-" if paper is None else f"{paper[0]:.2f} / {'-' if paper[1] is None else f'{paper[1]:.2f}'}"
        figures = [decibels(one.psnr), decibels(one.dmr), spelled_interval(one.interval), f"{one.chroma:.2f}"]
        rows.append([escape(one.name), *figures, told])
    head = ["method", "PSNR, dB", "DMR, dB", "95 % over seeds", "colour error", "the paper's Restormer, PSNR / DMR"]
    return [
        *table(head, rows),
        "",
        (
            "None is fine-tuned. Colour error: mean distance in the a\\*b\\* plane of CIE Lab. Quantisation is"
            " data-free: weights by channel, activations by the picture's own extremes at the time, nothing calibrated."
        ),
        "",
    ]


def slim_rows(document: SlimDocument, shown: Callable[[str], str]) -> list[list[str]]:
    """A row for each network: its name, parameters, multiply-adds, time and PSNR."""
    return [
        [
            shown(one.name),
            f"{one.parameters:,}",
            f"{one.gflops:.3f}",
            f"{one.milliseconds:.1f}",
            decibels(one.psnr),
        ]
        for one in document.result.rows
    ]


def _slim(document: SlimDocument) -> list[str]:
    head = ["network", "parameters", "G multiply-adds at 256 x 256", "time, ms", "PSNR, dB"]
    steps = [[escape(one.name), escape(one.reason)] for one in document.result.steps]
    return [
        *table(head, slim_rows(document, escape)),
        "",
        "## What was left out or made narrower, in this order",
        "",
        *table(["what", "why"], steps),
        "",
    ]


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def tell_correlation(found: Correlation) -> str:
    """What `undim.redundancy.harm.correlate_harm` found, as a sentence."""
    return (
        "Rank correlation of a picture's PSNR, the mean of before and after, and its mean change:"
        f" {found.spearman:+.2f} (p = {found.p:.2g}); below zero, harm falls on the pictures that the network"
        " does worst on."
    )
