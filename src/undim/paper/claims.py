"""What the paper says, claim by claim, beside what our studies say of it, with intervals over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from undim.paper.commands import StudyRun
from undim.paper.harm import find_correlation, to_z
from undim.paper.measured import Measurements, describe
from undim.paper.networks import ABLATION_DATA, RECIPES, label_of
from undim.paper.pages import Entry, Page, published
from undim.results.laboratory import ResetDocument
from undim.results.study import PLAIN
from undim.study.report import ALL_PLAIN
from undim.study.statistics import Paired, compare_pairs

DIFFERENCE, LOW, HIGH, FOUND = "difference", "95 %, from", "to", "smallest that would be found"
TITLE = "What the paper says and what our studies say"
ABLATIONS = ("a_candela_tiny", "a_restormer_small", "a_retinexformer_small", "a_cidnet_small")
"""Studies of table 7 in sizes for CPUs; others that begin with a_ join where they were run."""

JUDGED = 3
"""Seeds that a verdict on networks of published size needs, which come one by one."""
POOLED = 3
"""Backbones that an interval over backbones needs."""


@dataclass(frozen=True)
class Sign:
    """What a claim is about, and which way the difference is to be."""

    measure: str
    """Key of `undim.study.report.MEASURES`; empty for what is not a measure of a study."""
    unit: str
    """As it is written behind a figure."""
    sign: int
    forward: Callable[[float], float] = float
    """What makes of a figure one whose differences spread evenly."""
    backward: Callable[[float], float] = float
    """What makes of such a difference one that is told."""


def _to_decades(value: float) -> float:
    return math.log10(max(value, 1e-12))


HIGHER_PSNR = Sign("val.psnr", " dB", 1)
LOWER_PSNR = Sign("val.psnr", " dB", -1)
HIGHER_MATCHED = Sign("val.psnr_gt_mean", " dB", 1)
LOWER_DMR = Sign("dmr", " dB", -1)
LOWER_POI = Sign("poi", " %", -1)
BECOME_ALIKE = Sign("distance_gained", " decades", -1)
APART_LONGER = Sign("distance_gained", " decades", 1)
APART = Sign("cosine_distance", " decades", 1, _to_decades)
CORRELATION = Sign("", "", -1, to_z, math.tanh)


@dataclass(frozen=True)
class Claim:
    """One sentence that a difference between two variants of a study bears out or not."""

    text: str
    of: Sign
    variant: str
    against: str | None
    """None: against nothing, for measures that are differences themselves."""
    studies: tuple[str, ...]
    paper: float | None = None
    """The difference by the paper's figures, of Restormer on LOL-v1's test set."""


def list_claims() -> tuple[Claim, ...]:
    """The paper's claims that studies can judge."""
    base, static, dynamic, pog = (row["psnr"] for row in published()["table7"].values())
    dmr = {label: row[ABLATION_DATA] for label, row in published()["table4"].items()}
    dm = {label: row["psnr"] for label, row in published()["table8"].items()}
    de = {label: row["psnr"] for label, row in published()["table9"].items()}
    lower = dmr["Restormer+ours"] - dmr["Restormer"]
    controls = ("a_controls",)
    return (
        Claim("ADR with POG raises PSNR", HIGHER_PSNR, "pog", "base", ABLATIONS, pog - base),
        Claim("ADR with POG raises PSNR at matched brightness", HIGHER_MATCHED, "pog", "base", ABLATIONS),
        Claim("ADR with dynamic kernels raises PSNR", HIGHER_PSNR, "dynamic", "base", ABLATIONS, dynamic - base),
        Claim("Dynamic kernels beat static ones", HIGHER_PSNR, "dynamic", "static", ABLATIONS, dynamic - static),
        Claim("POG beats dynamic convolution", HIGHER_PSNR, "pog", "dynamic", ABLATIONS, pog - dynamic),
        Claim("ADR with POG lowers DMR", LOWER_DMR, "pog", "base", ABLATIONS, lower),
        Claim("ADR with POG lowers POI", LOWER_POI, "pog", "base", ABLATIONS),
        Claim("POG keeps kernels apart, more than dynamic convolution", APART, "pog", "dynamic", ABLATIONS),
        Claim("Dynamic convolution's kernels become alike in training", BECOME_ALIKE, "dynamic", None, ABLATIONS),
        Claim("POG's kernels become alike in training less than those", APART_LONGER, "pog", "dynamic", ABLATIONS),
        Claim("POG's basis keeps kernels apart, more than free embeddings", APART, "pog", "free", controls),
        Claim("POG's basis keeps kernels apart, more than none", APART, "pog", "additive", controls),
        Claim("Softmax keeps kernels apart, more than a sigmoid", APART, "pog", "sigmoid", controls),
        Claim("Softmax keeps kernels apart, more than linear weights", APART, "pog", "linear", controls),
        Claim("Softmax raises PSNR, against a sigmoid", HIGHER_PSNR, "pog", "sigmoid", controls),
        Claim("Softmax raises PSNR, against linear weights", HIGHER_PSNR, "pog", "linear", controls),
        Claim("POG's basis raises PSNR, against free embeddings", HIGHER_PSNR, "pog", "free", controls),
        Claim("POG's basis raises PSNR, against no basis", HIGHER_PSNR, "pog", "additive", controls),
        Claim("Kernels for each picture beat one of as many parameters", HIGHER_PSNR, "pog", "static", controls),
        Claim("A bottleneck of 4 is enough to gain", HIGHER_PSNR, "dm4", "base", ("b_dm",), dm["Dm=4"] - base),
        Claim(
            "A bottleneck of 16 is worse than one of 4", LOWER_PSNR, "dm16", "dm4", ("b_dm",), dm["Dm=16"] - dm["Dm=4"]
        ),
        Claim("Embeddings of 64 beat those of 16", HIGHER_PSNR, "de64", "de16", ("b_de",), de["De=64"] - de["De=16"]),
        Claim("Dynamic layers are less redundant, by DMR", LOWER_DMR, "dynamic", "static", ("t2_dynamic",)),
    )


def make_claims(ours: Measurements) -> Page:
    """Each claim, the paper's figure, and ours."""
    entries: list[Entry] = []
    verdicts: list[str] = []
    for claim in list_claims():
        found, said = _of_studies(ours, claim)
        entries += found
        verdicts.append(f"{claim.text}: {said}.")
    more, less = (published()["table1"][kind]["all"] for kind in ("attention", "feedforward"))
    for text, of, value, paper in (
        (
            "Attention layers are more redundant than feedforward layers, by PSNR after resetting all",
            HIGHER_PSNR,
            _attention_against_feedforward,
            more - less,
        ),
        (
            "Harm falls on the pictures that a network does worst on, by rank correlation",
            CORRELATION,
            find_correlation,
            None,
        ),
    ):
        found, verdict = _of_resets(ours, text, of, value, paper)
        entries += found
        verdicts.append(verdict)
    lead = (
        (
            "Confirmed or contradicted: the 95 % interval over seeds excludes zero. Open: it does not, and the claim"
            " may be true of a difference below the smallest that would be found."
        ),
        *verdicts,
    )
    intervals = sum(entry.column == LOW for entry in entries)
    notes = (
        (
            "Judged on val, the last two on the test set, where nothing was chosen by them; by networks that are much"
            " smaller and were trained for much less long than the paper's."
        ),
        (
            "Cosine distances are compared by their logarithms: a decade is a factor of ten. What becomes of them in"
            " training is of the first of ADR's two kernels, since the second is zero at the start. Correlations are"
            " averaged by Fisher's z; see harm.md for what is correlated."
        ),
        (
            "A dynamic layer that is reset averages K random candidate kernels, which comes out smaller than one random"
            " kernel by about the square root of K: resets disturb it less, and its DMR is higher for that alone."
        ),
        (
            "Over backbones: each one's mean difference on LOL-v1 counts once, and Student's interval is over them. It"
            " asks whether a claim holds for backbones like these on average, where an interval over seeds asks whether"
            " it holds for one; few seeds make the means uncertain, which that interval has in it."
        ),
        (
            f"Each interval holds by itself: were all {intervals} differences nothing, about {round(intervals / 20)}"
            " would exclude zero."
        ),
        *([ALL_PLAIN] if _all_plain(ours) else []),
    )
    return Page("claims", TITLE, tuple(entries), "+.3g", {}, notes, lead=lead)


def _all_plain(ours: Measurements) -> bool:
    """Whether all trainings that are judged were in float32."""
    found = {cell.machine.precision for cells in ours.cells.values() for cell in cells}
    return found == {PLAIN}


def _of_studies(ours: Measurements, claim: Claim) -> tuple[list[Entry], str]:
    """Entries of one claim, and what they say of it."""
    entries: list[Entry] = []
    said: list[str] = []
    if claim.paper is not None:
        entries.append(Entry(f"{claim.text}: the paper, Restormer", DIFFERENCE, claim.paper))
    pieces = ours.published_sizes()
    others = [*ours.ablations(), *pieces] if claim.studies is ABLATIONS else []
    means: dict[str, list[float]] = {}
    for study in dict.fromkeys([*claim.studies, *others]):
        values = _values(ours, study, claim.variant, claim.of)
        against = dict.fromkeys(values, 0.0) if claim.against is None else _values(ours, study, claim.against, claim.of)
        paired = compare_pairs(values, against)
        label = f"{claim.text}: {study}"
        if paired is None:
            if study in claim.studies:
                entries.append(Entry(label, DIFFERENCE, None, making=StudyRun(study)))
            continue
        cells = ours.cells[study]
        against_what = "" if claim.against is None else f" against {claim.against}"
        about = f"study {study}, {claim.variant}{against_what}, {claim.of.measure}"
        caution = ours.caution(f"{study}.{claim.variant}", None)
        entries += _entries(label, paired, cells[0].steps, about, claim.of, caution)
        few = study in pieces and len(paired.seeds) < JUDGED
        verdict = "too few seeds, no verdict" if few else _judge(paired, claim.of.sign, claim.paper)
        said.append(f"{verdict} on {study} ({_spell(paired, claim.of)})")
        if ours.data_of(study) == ABLATION_DATA and not few:
            means.setdefault(ours.backbone_of(study), []).append(paired.mean)
    pooled = compare_pairs(
        dict(enumerate(map(statistics.fmean, means.values()))), dict.fromkeys(range(len(means)), 0.0)
    )
    if pooled is not None and len(means) >= POOLED:
        place = f"over {len(means)} backbones"
        about = f"mean of the backbones' differences, {claim.of.measure}, interval over backbones"
        entries += _entries(f"{claim.text}: {place}", replace(pooled, seeds=()), None, about, claim.of)
        said.append(f"{_judge(pooled, claim.of.sign, claim.paper)} {place} ({_spell(pooled, claim.of)})")
    return entries, "; ".join(said) or "not run"


def _values(ours: Measurements, study: str, variant: str, of: Sign) -> dict[int, float]:
    """Seed -> figure, made comparable."""
    rows = ours.studies[study].rows if study in ours.studies else ()
    there = next((one.measures.get(of.measure) for one in rows if one.variant == variant), None)
    return {} if there is None else {int(seed): of.forward(value) for seed, value in there.values.items()}


def _entries(
    label: str, paired: Paired, steps: int | None, protocol: str, of: Sign, caution: str = ""
) -> Iterator[Entry]:
    low, high = paired.interval or (None, None)
    columns = {DIFFERENCE: paired.mean, LOW: low, HIGH: high, FOUND: paired.detectable}
    for column, value in columns.items():
        if value is not None:
            figure = of.backward(value)
            yield Entry(label, column, None, figure, None, paired.seeds, steps, protocol, caution=caution)


def _judge(paired: Paired, sign: int, paper: float | None = None) -> str:
    """The verdict on a claim that the difference has this sign, and is as large as the paper's."""
    if paired.interval is None:
        return "one seed, no verdict" if len(paired.seeds) == 1 else "all seeds alike, no verdict"
    low, high = sorted((sign * paired.interval[0], sign * paired.interval[1]))
    verdict = "confirmed" if low > 0 else "contradicted" if high < 0 else "open"
    smaller = verdict != "contradicted" and paper is not None and high < sign * paper
    return f"{verdict}, but smaller than the paper's {paper:+.2f}" if smaller else verdict


def _spell(paired: Paired, of: Sign) -> str:
    mean = f"{of.backward(paired.mean):+.2f}{of.unit}"
    if paired.interval is None:
        return mean
    low, high = map(of.backward, paired.interval)
    return f"{mean}, {low:+.2f} to {high:+.2f}"


def _attention_against_feedforward(content: ResetDocument) -> float | None:
    """Change of PSNR by resetting all attention layers, less that by resetting all feedforward layers, dB."""
    more, less = (content.result.groups.get(f"{kind}, all") for kind in ("attention", "feedforward"))
    return None if more is None or less is None else more.change - less.change


def _of_resets(
    ours: Measurements,
    text: str,
    of: Sign,
    value: Callable[[ResetDocument], float | None],
    paper: float | None = None,
) -> tuple[list[Entry], str]:
    """Entries of a claim that `undim redundancy reset` judges, and what they say of it."""
    entries = [] if paper is None else [Entry(f"{text}: the paper, Restormer", DIFFERENCE, paper)]
    said = []
    networks = ours.networks(ResetDocument, ABLATION_DATA)
    for network in sorted(networks, key=lambda name: name not in RECIPES.values()):
        findings = ours.findings(network, ABLATION_DATA, ResetDocument)
        found = {
            place if one.seed is None else one.seed: of.forward(figure)
            for place, one in enumerate(findings)
            if (figure := value(one.content)) is not None
        }
        paired = compare_pairs(found, dict.fromkeys(found, 0.0))
        if paired is not None:
            label = label_of(network)
            first = findings[0].content
            caution = ours.caution(network, first.iterations)
            entries += _entries(f"{text}: {label}", paired, first.iterations, describe(first), of, caution)
            said.append(f"{_judge(paired, of.sign, paper)} of {label} ({_spell(paired, of)})")
    return entries, f"{text}: {'; '.join(said) or 'not run'}."
