"""Rows of other systems: from what was measured of their authors' weights, and from what is known of them."""

import pytest

from undim.errors import UsageError
from undim.paper.measured import Measurements
from undim.paper.networks import SMALL_STUDIES, SYSTEMS
from undim.paper.redundancy_tables import make_table4
from undim.paper.restoration_tables import make_table6, make_table10
from undim.results.scores import ScoredPicture, ScoresDocument

PSNR, DMR = "LOL-v1: PSNR, dB", "LOL-v1 val: DMR, dB"


def rows_of(page):
    return {(row.label, row.column): row for row in page.document().rows}


@pytest.fixture
def measured(tmp_path):
    """What `undim evaluate` leaves of a converted checkpoint, on a paired and on an unpaired set."""
    for data, figures in (("lol-v1", {"psnr": 16.5, "ssim": 0.5}), ("dicm", {"psnr": None, "ssim": None})):
        for network, whose in (("ruas", "RUAS (Liu et al.)"), ("zero_dce", "Zero-DCE (Guo et al.)")):
            folder = tmp_path / network / data
            folder.mkdir(parents=True)
            ScoresDocument(
                data=data,
                split="test" if data == "lol-v1" else None,
                weights_of=f"{whose}, licence: none stated",
                niqe=4.5,
                images=(ScoredPicture(name="1"),),
                **figures,
            ).write(folder / "results.json")
    return Measurements([tmp_path])


def test_a_converted_checkpoint_fills_its_row_and_the_row_says_whose_weights_they_are(measured):
    rows = rows_of(make_table6(measured))
    assert rows["RUAS", PSNR].ours == 16.5
    assert rows["RUAS", PSNR].paper == 18.23
    assert "measured with the authors' weights (RUAS (Liu et al.), licence: none stated)" in rows["RUAS", PSNR].protocol
    assert rows["Zero-DCE", PSNR].ours == 16.5
    assert rows["RUAS upe", PSNR].ours == 11.37  # measured elsewhere, with other weights
    assert rows_of(make_table10(measured))["Zero-DCE", "DICM"].ours == 4.5


def test_a_folder_with_other_settings_fills_its_own_row(measured, tmp_path):
    folder = tmp_path / "ruas_upe" / "lol-v1"
    folder.mkdir(parents=True)
    content = (tmp_path / "ruas" / "lol-v1" / "results.json").read_text()
    (folder / "results.json").write_text(content.replace("16.5", "11.5"))
    rows = rows_of(make_table6(Measurements([tmp_path])))
    assert (rows["RUAS", PSNR].ours, rows["RUAS upe", PSNR].ours) == (16.5, 11.5)
    assert "outside this project" not in rows["RUAS upe", PSNR].protocol


def test_figures_of_one_system_do_not_fill_the_row_of_another(measured, tmp_path):
    (tmp_path / "kind").mkdir()
    (tmp_path / "ruas" / "lol-v1").rename(tmp_path / "kind" / "lol-v1")
    with pytest.raises(UsageError, match=r"holds figures of RUAS \(Liu et al\.\), and its folder says kind"):
        Measurements([tmp_path])


def test_scores_of_a_run_elsewhere_say_so():
    rows = rows_of(make_table6(Measurements([])))
    assert (rows["RUAS", PSNR].ours, rows["RUAS upe", PSNR].ours, rows["PairLIE, exponent 0.14", PSNR].ours) == (
        16.45,
        11.37,
        19.52,
    )
    assert "outside this project" in rows["RUAS", PSNR].protocol
    assert rows["KinD", PSNR].ours is None
    assert rows["KinD", PSNR].command == (
        "undim convert CHECKPOINT -o kind.safetensors"
        " && undim evaluate kind.safetensors --data lol-v1 -o RESULTS/kind/lol-v1"
    )


def test_flops_of_all_that_can_be_built_are_counted_and_what_the_printed_ones_count_is_told():
    page = make_table6(Measurements([]))
    rows = rows_of(page)
    for label in SYSTEMS:
        if (label, "FLOPs, G") in rows:
            assert rows[label, "FLOPs, G"].ours > 0
            printed = rows[label, "FLOPs, G"].paper
            told = any(note.startswith(f"FLOPs printed of {label}:") for note in page.notes)
            assert told == (printed is not None)
    assert rows["RUAS", "FLOPs, G"].ours == pytest.approx(0.199, abs=0.001)


def test_systems_that_are_not_built_here_say_what_their_figures_contain():
    notes = " ".join((*make_table6(Measurements([])).notes, *make_table10(Measurements([])).notes))
    for label in ("GSAD", "QuadPrior", "LLFlow", "GLARE"):
        assert f"{label} is measured as foreign code" in notes


def test_table_4_names_the_studies_of_small_networks_until_their_cells_are_there():
    rows = rows_of(make_table4(Measurements([])))
    for study in SMALL_STUDIES:
        for variant in ("base", "pog"):
            assert rows[f"{study}: {variant}", DMR].command.startswith(f"undim study studies/{study}.yaml")
