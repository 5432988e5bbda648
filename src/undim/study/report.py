"""The cells of studies merged into one page: study.json, study.md made of it alone, and plots."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from undim.atomic import write_text
from undim.errors import UsageError
from undim.nets.flops import GIGA
from undim.results.markdown import table
from undim.results.study import (
    PLAIN,
    BaseProgress,
    CellDocument,
    KernelFigures,
    MeasureOverSeeds,
    PairedDifference,
    PlanDocument,
    SplitScores,
    StudiesDocument,
    StudyTable,
    VariantRow,
)
from undim.study.cells import distance_gained, mean_distance, mean_rank, read_cells, read_plan
from undim.study.statistics import Paired, compare_pairs, mean_and_spread


@dataclass(frozen=True)
class Finished:
    """A finished cell, and what it gained where it starts at another's end."""

    cell: CellDocument
    gain: float | None = None
    """PSNR on val since then, dB."""

    @property
    def minutes(self) -> float:
        """Of training."""
        return self.cell.time.seconds[-1] / 60


@dataclass(frozen=True)
class Measure:
    """One figure of a cell."""

    key: str
    title: str
    form: str
    """How a value is formatted."""
    value: Callable[[Finished], float | None]


def _score(split: str, of: Callable[[SplitScores], float | None]) -> Callable[[Finished], float | None]:
    def value(one: Finished) -> float | None:
        scores = one.cell.scores.get(split)
        return None if scores is None else of(scores)

    return value


def _diversity(of: Callable[[Mapping[str, KernelFigures]], float]) -> Callable[[Finished], float | None]:
    def value(one: Finished) -> float | None:
        layers = one.cell.diversity
        return None if layers is None else of(layers)

    return value


def _gain_per_minute(one: Finished) -> float | None:
    return None if one.gain is None else one.gain / one.minutes


SPLIT_TITLES = {
    "val": "val (scattered pictures; choices are made here)",
    "val-scenes": "val-scenes (scenes that training never saw)",
    "test": "test (only reported; nothing is chosen by it)",
}
INTRODUCTION = (
    "Equal data, equal steps or time, crops in equal order; differences are paired by seed, with 95 % confidence"
    " intervals over seeds by Student's t. *Detectable* is the true difference that this many seeds would find in 80 of"
    " 100 repetitions if differences spread as they did here, which few seeds say roughly; bold intervals exclude zero."
    " What is measured are the averaged weights at the end of each run, none chosen. Protocol: output rounded to 8 bit,"
    " RGB, full picture, mean over pictures. Times are as run, beside other cells and whatever else the machine did;"
    " `python benchmarks/training_throughput.py --study STUDY.yaml` times variants' steps in turns."
)
ALL_PLAIN = (
    "All of these networks were trained and measured in float32. Earlier versions of Undim, under bfloat16, drowned in"
    " rounding what generated kernels say of the picture; that touches none of the figures here."
)
DROWNED = (
    "trained in bfloat16 by a version of Undim that drowned in rounding what generated kernels say of the picture, so"
    " that these networks had in effect static kernels with noise"
)
"""A note about cells."""
SCORES = tuple(
    Measure(f"{split}.{name}", title, form, _score(split, of))
    for split in SPLIT_TITLES
    for name, title, form, of in (
        ("psnr", "PSNR, dB", ".2f", lambda scores: scores.psnr),
        ("ssim", "SSIM", ".4f", lambda scores: scores.ssim),
        ("psnr_gt_mean", "GT-mean, dB", ".2f", lambda scores: scores.psnr_gt_mean),
        ("brightness_error", "brightness error", ".3f", lambda scores: scores.brightness_error),
    )
)
REDUNDANCY = (
    Measure("dmr", "DMR, dB", ".2f", lambda one: one.cell.redundancy.dmr),
    Measure("dmr_adr_kept", "DMR with ADR kept, dB", ".2f", lambda one: one.cell.redundancy.dmr_adr_kept),
    Measure("poi", "POI, %", ".1f", lambda one: one.cell.redundancy.poi),
    Measure("cosine_distance", "cosine distance of kernels", ".2g", _diversity(mean_distance)),
    Measure(
        "distance_gained",
        "decades that it grew in training",
        "+.1f",
        lambda one: distance_gained(one.cell.diversity_over_training),
    ),
    Measure("effective_rank", "effective rank of kernels", ".2f", _diversity(mean_rank)),
)
COST = (
    Measure("parameters", "parameters", ",.0f", lambda one: one.cell.cost.parameters),
    Measure("flops", "FLOPs, G", ".3f", lambda one: one.cell.cost.flops / GIGA),
    Measure("seconds_per_step", "s/step, as run", ".3f", lambda one: one.cell.time.seconds_per_step),
    Measure("minutes", "minutes, as run", ".1f", lambda one: one.minutes),
    Measure("gain", "dB gained on val", "+.3f", lambda one: one.gain),
    Measure("gain_per_minute", "dB gained a minute, as run", "+.4f", _gain_per_minute),
)
MEASURES = (*SCORES, *REDUNDANCY, *COST)


def write_study_report(folders: Sequence[Path], output: Path) -> list[str]:
    """Merge the finished cells of studies and write plots, study.md and, last, study.json.

    Args:
        folders: of the studies.
        output: is there.

    Returns:
        What the reader should be told beside: cells that are missing, plots left out.

    Raises:
        UsageError: if a folder holds no study or no finished cell, or two hold studies of one name.
        OSError: if a file cannot be written.
    """
    told: list[str] = []
    studies: list[StudyTable] = []
    trained: dict[str, str] = {}
    for folder in folders:
        cells = list(read_cells(folder))
        study = merge_cells(read_plan(folder), cells)
        if any(study.name == other.name for other in studies):
            raise UsageError(f"{folder} holds a study of the same name as another, {study.name!r}.")
        told += [f"{study.name}: {note}" for note in study.notes if note.startswith("not run")]
        notes = (*study.notes, *_shared(study.name, cells, trained))
        plot = _plot(study, cells, output, told)
        studies.append(study.model_copy(update={"notes": notes, "plot": plot}))
    result = StudiesDocument(studies=tuple(studies))
    write_text(output / "study.md", make_markdown(result))
    result.write(output / "study.json")
    return told


def _shared(name: str, cells: Sequence[CellDocument], trained: dict[str, str]) -> list[str]:
    """Which trainings are an earlier study's; notes down those that are not."""
    same: dict[tuple[str, str], list[int]] = {}
    for cell in cells:
        place = f"{name}: {cell.variant}"
        first = trained.setdefault(cell.fingerprint, place)
        if first != place:
            same.setdefault((cell.variant, first), []).append(cell.seed)
    return [
        f"{variant} of seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}: the same training as"
        f" {first}"
        for (variant, first), seeds in same.items()
    ]


def _plot(study: StudyTable, cells: Sequence[CellDocument], output: Path, told: list[str]) -> str | None:
    try:
        from undim.study.plots import draw_study
    except ModuleNotFoundError as error:
        told.append(f"the plot of {study.name} is left out: {error.name} is not installed")
        return None
    name = f"study_{study.name}.webp"
    draw_study(study, cells, output / name)
    return name


def merge_cells(plan: PlanDocument, cells: Sequence[CellDocument]) -> StudyTable:
    """One study's table.

    Args:
        plan: as `StudyFolder.prepare` notes it.
        cells: finished ones; those that the plan does not have are left out.

    Raises:
        UsageError: if there are none.
    """
    table: dict[str, dict[int, Finished]] = {
        variant: {
            cell.seed: Finished(cell, _gain(cell, cells))
            for cell in cells
            if cell.variant == variant and cell.seed in plan.seeds
        }
        for variant in plan.variants
    }
    there = [one.cell for by_seed in table.values() for one in by_seed.values()]
    if not there:
        raise UsageError(f"No cell of the study {plan.name!r} is finished yet.")
    return StudyTable(
        name=plan.name,
        about=plan.about,
        base=plan.base,
        seeds=plan.seeds,
        rows=tuple(
            VariantRow(
                variant=variant,
                about=plan.variants[variant],
                seeds=tuple(sorted(by_seed)),
                measures=_measures(by_seed, None if variant == plan.base else table[plan.base]),
            )
            for variant, by_seed in table.items()
        ),
        progress=_progress([one.cell for one in table[plan.base].values()]),
        machines=tuple(_machines(there)),
        notes=tuple(_notes(plan, table, there)),
        precisions=tuple(sorted({cell.machine.precision for cell in there})),
    )


def _measures(by_seed: Mapping[int, Finished], base: Mapping[int, Finished] | None) -> dict[str, MeasureOverSeeds]:
    """The measures that a variant has, beside the base's; `base` is None for the base itself."""
    found: dict[str, MeasureOverSeeds] = {}
    for measure in MEASURES:
        values = _values(measure, by_seed)
        if values:
            mean, spread = mean_and_spread(list(values.values()))
            found[measure.key] = MeasureOverSeeds(
                mean=mean,
                spread=spread,
                values={str(seed): value for seed, value in values.items()},
                difference=None if base is None else _difference(compare_pairs(values, _values(measure, base))),
            )
    return found


def _difference(paired: Paired | None) -> PairedDifference | None:
    return None if paired is None else PairedDifference(**vars(paired), excludes_zero=paired.excludes_zero)


def _gain(cell: CellDocument, cells: Sequence[CellDocument]) -> float | None:
    """What a cell that starts where another ends has gained since, in PSNR on val; None for others."""
    start = str(cell.recipe.get("model", {}).get("start", ""))
    before = next((one for one in cells if start == f"the end of {one.name}, {one.fingerprint}"), None)
    ends = [None if one is None else _score("val", lambda scores: scores.psnr)(Finished(one)) for one in (before, cell)]
    return None if ends[0] is None or ends[1] is None else ends[1] - ends[0]


def _values(measure: Measure, by_seed: Mapping[int, Finished]) -> dict[int, float]:
    found = {seed: measure.value(by_seed[seed]) for seed in sorted(by_seed)}
    return {seed: value for seed, value in found.items() if value is not None}


def _progress(base: Sequence[CellDocument]) -> BaseProgress | None:
    """Whether the base was trained for long enough: PSNR on val at the end, and what the last part of it added.

    That part is the last fifth, or begins at the last validation before; what was validated at its end alone has none.
    """
    if not base:
        return None
    ends: list[float] = []
    gains: list[float] = []
    shares: list[float] = []
    for cell in base:
        points = zip(cell.curve.step, cell.curve.psnr, strict=True)
        before = [(step, psnr) for step, psnr in points if step <= 0.8 * cell.steps]
        ends.append(cell.curve.psnr[-1])
        if before:
            gains.append(cell.curve.psnr[-1] - before[-1][1])
            shares.append(1 - before[-1][0] / cell.steps)
    known = len(gains) == len(base)
    return BaseProgress(
        psnr=statistics.fmean(ends),
        last_gain=statistics.fmean(gains) if known else None,
        last_share=statistics.fmean(shares) if known else None,
        steps=base[-1].steps,
    )


def _machines(cells: Sequence[CellDocument]) -> list[str]:
    """Every kind of machine with the number of its cells."""
    kinds: dict[str, int] = {}
    for cell in cells:
        machine = cell.machine
        kind = (
            f"{machine.device}, {machine.precision}, {machine.threads} threads, torch {machine.torch}, undim"
            f" {machine.undim}"
        )
        kinds[kind] = kinds.get(kind, 0) + 1
    return [f"{kind}: {count} cells" for kind, count in kinds.items()]


def _notes(plan: PlanDocument, table: Mapping[str, Mapping[int, Finished]], cells: Sequence[CellDocument]) -> list[str]:
    missing = [f"{variant}-s{seed}" for variant in table for seed in plan.seeds if seed not in table[variant]]
    notes = [f"not run: {', '.join(missing)}"] if missing else []
    drowned = [cell.name for cell in cells if cell.drowned]
    if drowned:
        notes.append(f"{DROWNED}: {', '.join(drowned)}")
    mixed = [
        seed
        for seed in plan.seeds
        if len({by_seed[seed].cell.machine.precision for by_seed in table.values() if seed in by_seed}) > 1
    ]
    if mixed:
        notes.append(f"seeds {mixed}: not all variants were trained in the same precision")
    steps = {variant: sorted({one.cell.steps for one in by_seed.values()}) for variant, by_seed in table.items()}
    if len({tuple(each) for each in steps.values() if each}) > 1:
        told = (
            f"{variant} {' to '.join(map(str, dict.fromkeys((each[0], each[-1]))))}"
            for variant, each in steps.items()
            if each
        )
        notes.append(f"training steps differ: {', '.join(told)}")
    measured = ((cell.redundancy.pictures, cell.redundancy.crop, cell.redundancy.draws) for cell in cells)
    for count, crop, draws in dict.fromkeys(measured):
        parts = "" if crop is None else f"the middle {crop} x {crop} of "
        notes.append(f"DMR and POI over {parts}{count} pictures of val, {draws} draws of each layer")
    scored = (
        ", ".join(f"{len(of.pictures)} pictures of {split}" for split, of in cell.scores.items() if of and of.pictures)
        for cell in cells
    )
    notes += [f"scores over {told}" for told in dict.fromkeys(scored) if told]
    return [*notes, *dict.fromkeys(note for cell in cells for note in cell.notes)]


def make_markdown(result: StudiesDocument) -> str:
    """The text of study.md, from what is in study.json alone."""
    lines = [
        "# Controlled studies",
        "",
        INTRODUCTION,
        "",
        *_precision_lines(result.studies),
    ]
    for study in result.studies:
        lines += _study_lines(study)
    return "\n".join(lines)


def _precision_lines(studies: Sequence[StudyTable]) -> list[str]:
    """In what precision the cells were trained, where the studies say so."""
    if not all(study.precisions for study in studies):
        return []
    other = [study.name for study in studies if study.precisions != (PLAIN,)]
    if not other:
        return [ALL_PLAIN, ""]
    told = (
        f"Trained in bfloat16, at least in part: {', '.join(other)}. Their notes name the cells whose kernels that"
        " touches. All was measured in float32."
    )
    return [told, ""]


def _study_lines(study: StudyTable) -> list[str]:
    lines = [f"## {study.name}", "", *([f"{study.about}.", ""] if study.about else [])]
    progress = study.progress
    if progress is not None:
        if progress.last_gain is None or progress.last_share is None:
            flat = "it was validated at its end alone, so whether its curve is flat there is not known."
        else:
            flat = f"the last {100 * progress.last_share:.0f} % of its training added {progress.last_gain:+.2f} dB."
        ended = f"The base, {study.base}, ends after {progress.steps} steps at {progress.psnr:.2f} dB on val;"
        lines += [f"{ended} {flat}", ""]
    lines += [*(f"- {row.variant}: {row.about}" for row in study.rows if row.about), ""]
    lines += [*_verdicts(study), ""]
    for split, title in SPLIT_TITLES.items():
        shown = [measure for measure in SCORES if measure.key.startswith(f"{split}.")]
        if any(measure.key in row.measures for row in study.rows for measure in shown):
            lines += [f"### {title}", "", *_table(study, shown, differences=True), ""]
    lines += ["### Redundancy and diversity", "", *_table(study, REDUNDANCY, differences=True), ""]
    lines += ["### Cost", "", *_table(study, COST, differences=False), ""]
    differences = [_difference_of(row, measure) for row in study.rows for measure in (*SCORES, *REDUNDANCY)]
    intervals = sum(one is not None and one.interval is not None for one in differences)
    if study.plot is not None:
        lines += [f"![Learning curves, DMR against PSNR, diversity]({study.plot})", ""]
    notes = [*study.machines, *study.notes]
    if intervals:
        notes.append(
            f"each of the {intervals} intervals holds with 95 % by itself: were there no differences at all, about"
            f" {max(1, round(intervals / 20))} would exclude zero"
        )
    return [*lines, *(f"- {line}" for line in notes), ""]


def _verdicts(study: StudyTable) -> list[str]:
    """For each variant, in words, what can be told apart from the base."""
    lines = []
    for row in study.rows:
        parts = []
        for key, title in (("val.psnr", "PSNR"), ("val.psnr_gt_mean", "GT-mean"), ("dmr", "DMR")):
            there = row.measures.get(key)
            difference = None if there is None else there.difference
            if difference is None or difference.interval is None:
                continue
            low, high = difference.interval
            word = "differs" if difference.excludes_zero else "cannot be told apart"
            parts.append(f"{title} {word} ({difference.mean:+.2f} dB, {low:+.2f} to {high:+.2f})")
        if parts:
            lines.append(f"- **{row.variant}** against {study.base}, on val: {'; '.join(parts)}.")
    return lines


def _table(study: StudyTable, measures: Sequence[Measure], *, differences: bool) -> list[str]:
    shown = [measure for measure in measures if any(measure.key in row.measures for row in study.rows)]
    compared = {
        measure.key for measure in shown if differences and any(_difference_of(row, measure) for row in study.rows)
    }
    head = ["variant", "seeds"]
    for measure in shown:
        head += [measure.title, *(["to base [95 %], detectable"] if measure.key in compared else [])]
    rows = []
    for row in study.rows:
        cells = [row.variant, str(len(row.seeds))]
        for measure in shown:
            there = row.measures.get(measure.key)
            cells.append("-" if there is None else _spelled(there.mean, there.spread, measure.form))
            if measure.key in compared:
                cells.append(_spelled_difference(_difference_of(row, measure), measure.form))
        rows.append(cells)
    return table(head, rows)


def _difference_of(row: VariantRow, measure: Measure) -> PairedDifference | None:
    there = row.measures.get(measure.key)
    return None if there is None else there.difference


def _spelled(mean: float, spread: float | None, form: str) -> str:
    return format(mean, form) if not spread else f"{mean:{form}} ± {spread:{form.lstrip('+')}}"


def _spelled_difference(difference: PairedDifference | None, form: str) -> str:
    if difference is None:
        return "-"
    form = form.lstrip("+")
    signed = f"+{form}"
    text = format(difference.mean, signed)
    if difference.interval is None:
        return text
    low, high = difference.interval
    told = f"{text} [{low:{signed}}, {high:{signed}}], {difference.detectable:{form}}"
    return f"**{told}**" if difference.excludes_zero else told
