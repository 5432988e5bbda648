"""What studies say of the paper's claims: the sign of an interval over seeds, and its place to the paper's figure."""

import json

import pytest

from undim.cli.main import main
from undim.paper.claims import DIFFERENCE, FOUND, HIGH, LOW, list_claims
from undim.study.plan import load_study
from undim.study.report import MEASURES


def make(make_cell, figures):
    """Cells of variants whose PSNR by seed is given."""
    return [make_cell(variant, seed, psnr) for variant, values in figures.items() for seed, psnr in enumerate(values)]


@pytest.fixture
def judge(make_cell, make_study, tmp_path, capsys):
    """Figures of a study's variants -> the page's rows and what it says of each claim."""

    def judged(study, figures, change=lambda _cell: None):
        cells = make(make_cell, figures)
        for cell in cells:
            change(cell)
        make_study(tmp_path / "results" / study, study, cells)
        assert main(["paper", "claims", "--results", str(tmp_path / "results"), "-o", str(tmp_path)]) == 0
        page = json.loads((tmp_path / "claims.json").read_text())
        said = dict(item.rstrip(".").split(": ", 1) for item in page["lead"][1:])
        return {(row["label"], row["column"]): row for row in page["rows"]}, said

    return judged


def test_an_interval_above_zero_confirms_and_below_the_papers_is_called_smaller(judge):
    rows, said = judge("a_candela_tiny", {"base": (20.0, 21.0), "pog": (20.30, 21.32)})
    # Differences 0.30 and 0.32: Student's t of one degree of freedom, 12.706 x 0.01414 / sqrt 2 = 0.127
    label = "ADR with POG raises PSNR: a_candela_tiny"
    assert rows[label, DIFFERENCE]["ours"] == pytest.approx(0.31)
    assert rows[label, LOW]["ours"] == pytest.approx(0.31 - 0.127, abs=1e-3)
    assert rows[label, HIGH]["ours"] == pytest.approx(0.31 + 0.127, abs=1e-3)
    assert rows[label, FOUND]["ours"] > 0
    assert rows["ADR with POG raises PSNR: the paper, Restormer", DIFFERENCE]["paper"] == pytest.approx(21.88 - 20.91)
    expected = "confirmed, but smaller than the paper's +0.97 on a_candela_tiny (+0.31 dB, +0.18 to +0.44)"
    assert said["ADR with POG raises PSNR"] == expected
    assert said["POG beats dynamic convolution"] == "not run"


@pytest.mark.parametrize(
    ("pog", "verdict"),
    [
        ((19.70, 20.68), "contradicted on"),
        ((20.30, 20.90), "open on"),  # 0.30 and -0.10: from -2.4 to +2.6, which holds the paper's 0.97
        ((20.05, 20.95), "open, but smaller than the paper's +0.97 on"),  # from -0.64 to +0.64
        ((21.50, 22.52), "confirmed on"),
        ((21.50,), "one seed, no verdict on"),
    ],
)
def test_verdicts(judge, pog, verdict):
    _, said = judge("a_candela_tiny", {"base": (20.0, 21.0), "pog": pog})
    assert said["ADR with POG raises PSNR"].startswith(f"{verdict} a_candela_tiny")


def test_distances_of_kernels_are_compared_by_their_logarithms(judge):
    def kernels(cell):
        distance = {"base": 0.1, "dynamic": 1e-3, "pog": 1e-5 * (1 + cell["seed"])}[cell["variant"]]
        cell["diversity"] = {"p1": {"cosine_distance": distance, "variation": 0.1, "effective_rank": 1.0}}

    figures = dict.fromkeys(("base", "dynamic", "pog"), (20.0, 21.0))
    _, said = judge("a_candela_tiny", figures, kernels)
    # log10 of 0.01 and 0.02: mean -1.849; 12.706 x 0.2129 / sqrt 2 = 1.912
    told = said["POG keeps kernels apart, more than dynamic convolution"]
    assert told == "open on a_candela_tiny (-1.85 decades, -3.76 to +0.06)"


def test_kernels_that_become_alike_in_training(judge):
    def train(cell):
        end = {"base": 1.0, "dynamic": 1e-2 * (1 + 0.1 * cell["seed"]), "pog": 1e-1 * (1 + 0.2 * cell["seed"])}
        cell["diversity_over_training"] = [
            {"step": step, "layers": {"p1": {"cosine_distance": distance, "variation": 0.1, "effective_rank": 1.0}}}
            for step, distance in ((0, 1.0), (3000, end[cell["variant"]]))
        ]

    figures = dict.fromkeys(("base", "dynamic", "pog"), (20.0, 21.0))
    _, said = judge("a_candela_tiny", figures, train)
    told = said["Dynamic convolution's kernels become alike in training"]
    # -2 and log10 of 0.011: mean -1.979; 12.706 x 0.02927 / sqrt 2 = 0.263
    assert told == "confirmed on a_candela_tiny (-1.98 decades, -2.24 to -1.72)"
    # 1 and 1 + log10 of 1.2 / 1.1: mean 1.0189; 12.706 x 0.02672 / sqrt 2 = 0.240
    told = said["POG's kernels become alike in training less than those"]
    assert told == "confirmed on a_candela_tiny (+1.02 decades, +0.78 to +1.26)"


def test_where_the_paper_has_less_a_fall_confirms(judge):
    def fall(cell):
        cell["redundancy"]["dmr"] = {"base": 40.0, "pog": 34.0 + 0.01 * cell["seed"]}[cell["variant"]]

    _, said = judge("a_other", {"base": (20.0, 21.0), "pog": (20.0, 21.0)}, fall)
    assert said["ADR with POG lowers DMR"].startswith("confirmed on a_other (-6.0")


def test_backbones_that_agree_are_judged_together(judge):
    def of(name):
        return lambda cell: cell.update(content={"recipe": {"model": {"name": name}}})

    backbones = ("candela", 0.2), ("cidnet", 0.3), ("cidnet_small", 0.3)  # the last two are of one architecture
    for name, gain in backbones:
        _, said = judge(f"a_{name}", {"base": (20.0, 21.0), "pog": (20.0, 21.0 + 2 * gain)}, of(name))
        assert "over" not in said["ADR with POG raises PSNR"]
    rows, said = judge("a_three", {"base": (20.0, 21.0), "pog": (20.0, 21.8)}, of("restormer"))
    # Means 0.2, 0.3 and 0.4: 0.3 +- 4.303 x 0.1 / sqrt 3 = 0.248, while each by itself is open
    label = "ADR with POG raises PSNR: over 3 backbones"
    assert rows[label, DIFFERENCE]["ours"] == pytest.approx(0.3)
    assert rows[label, LOW]["ours"] == pytest.approx(0.3 - 0.2484, abs=1e-3)
    assert rows[label, HIGH]["ours"] == pytest.approx(0.3 + 0.2484, abs=1e-3)
    assert said["ADR with POG raises PSNR"].endswith(
        "confirmed, but smaller than the paper's +0.97 over 3 backbones (+0.30 dB, +0.05 to +0.55)"
    )


def test_claims_that_resets_judge(results, tmp_path):
    assert main(["paper", "claims", "--results", str(results), "-o", str(tmp_path)]) == 0
    page = json.loads((tmp_path / "claims.json").read_text())
    said = {item.partition(", by ")[0]: item for item in page["lead"]}
    harm = said["Harm falls on the pictures that a network does worst on"]
    assert "open of a_restormer_small: base (-0.50, -1.00 to +1.00)" in harm
    layers = said["Attention layers are more redundant than feedforward layers"]
    assert layers.endswith("not run.")  # all feedforward layers were not reset in any of these


def test_all_feedforward_layers_against_all_attention_layers(make_file, make_resets, tmp_path):
    resets, reset_change = make_resets
    for seed, changes in ((0, (-2.0, -3.0)), (1, (-2.5, -3.6))):
        groups = {
            f"{kind}, all": reset_change(change)
            for kind, change in zip(("attention", "feedforward"), changes, strict=True)
        }
        content = {"data": "lol-v1", "split": "test", "seeds": [0], "pictures": ["1"]}
        content["result"] = resets([20.0], groups, {})
        make_file(tmp_path / "in" / f"net.pog-s{seed}" / "lol-v1" / "reset.json", content)
    assert main(["paper", "claims", "--results", str(tmp_path / "in"), "-o", str(tmp_path)]) == 0
    page = json.loads((tmp_path / "claims.json").read_text())
    # 1.0 and 1.1: 1.05 +- 12.706 x 0.0707 / sqrt 2
    assert any("resetting all: confirmed of net: pog (+1.05 dB, +0.41 to +1.69)" in item for item in page["lead"])


def test_claims_name_variants_and_measures_that_there_are(request):
    folder = request.config.rootpath / "studies"
    measures = {measure.key for measure in MEASURES}
    for claim in list_claims():
        assert claim.of.measure in measures
        for study in claim.studies:
            assert {claim.variant, claim.against} - {None} <= set(load_study(folder / f"{study}.yaml").variants), study


def test_networks_of_published_size_are_judged_from_three_seeds_on(judge):
    _, said = judge("gpu_cidnet", {"base": (20.0, 21.0), "pog": (21.50, 22.52)})
    assert said["ADR with POG raises PSNR"] == "too few seeds, no verdict on gpu_cidnet (+1.51 dB, +1.38 to +1.64)"
    _, said = judge("gpu_cidnet", {"base": (20.0, 21.0, 20.5), "pog": (21.50, 22.52, 22.0)})
    assert said["ADR with POG raises PSNR"].startswith("confirmed on gpu_cidnet")
