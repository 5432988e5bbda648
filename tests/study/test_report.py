"""Merging cells: the figures of the page are those of the cells, and missing ones are named."""

import json

import pytest
from scipy import stats

from undim.errors import UsageError
from undim.results.study import CellDocument, KernelsAtStep, PlanDocument, StudiesDocument
from undim.study import report
from undim.study.cells import distance_gained
from undim.study.report import make_markdown, write_study_report

PLAN = {"name": "s", "about": "A test", "base": "base", "variants": {"base": "alone", "pog": ""}, "seeds": [0, 1, 2]}


def merge_cells(plan, cells):
    """The table of a study, as JSON has it."""
    study = report.merge_cells(PlanDocument(**plan), [CellDocument(**cell) for cell in cells])
    return study.model_dump(mode="json")


def page_of(study):
    return make_markdown(StudiesDocument(studies=[study]))


def make_cell(variant, seed, psnr, dmr=40.0, diversity=None):
    scores = {
        "psnr": psnr,
        "ssim": 0.8,
        "psnr_gt_mean": psnr + 3,
        "brightness_error": 0.2,
        "niqe": None,
        "pictures": {},
    }
    return {
        "format": 1,
        "fingerprint": f"{variant}{seed}",
        "content": {},
        "variant": variant,
        "seed": seed,
        "steps": 10,
        "scores": {"val": scores, "val-scenes": None, "test": scores},
        "redundancy": {"pictures": 2, "draws": 1, "dmr": dmr, "dmr_adr_kept": dmr + 1, "poi": 30.0, "layers": {}},
        "diversity": diversity,
        "cost": {"parameters": 1000, "flops": 2**30},
        "curve": {"step": [4, 8, 10], "psnr": [psnr - 2, psnr - 1, psnr]},
        "diversity_over_training": [] if diversity is None else [{"step": 4, "layers": diversity}],
        "time": {"seconds": [1.0, 2.0, 60.0], "seconds_per_step": 0.5},
        "machine": {"device": "cpu", "precision": "32-true", "threads": 1, "torch": "2", "undim": "0"},
        "notes": ["val-scenes: none"],
    }


def made():
    layers = {
        "a": {"cosine_distance": 0.1, "variation": 0.2, "effective_rank": 2.0},
        "b": {"cosine_distance": 0.3, "variation": 0.2, "effective_rank": 4.0},
    }
    return [
        *(make_cell("base", seed, 20.0 + seed, 40 + seed) for seed in (0, 1, 2)),
        *(make_cell("pog", seed, 20.5 + seed + 0.1 * seed, 39.5 + 0.5 * seed, layers) for seed in (0, 1)),
        make_cell("base", 7, 99.0),  # of a seed that the plan no longer has
        make_cell("gone", 0, 99.0),
    ]


def test_rows_hold_mean_spread_and_paired_difference():
    study = merge_cells(PLAN, made())
    base, pog = study["rows"]
    assert base["measures"]["val.psnr"]["mean"] == pytest.approx(21)
    assert base["measures"]["val.psnr"]["spread"] == pytest.approx(1)
    assert base["measures"]["val.psnr"]["difference"] is None
    assert pog["seeds"] == [0, 1]
    difference = pog["measures"]["val.psnr"]["difference"]
    assert difference["seeds"] == [0, 1]
    assert difference["mean"] == pytest.approx(0.55)  # not 21.05 - 21, the difference of the means
    expected = stats.ttest_rel([39.5, 40.0], [40, 41]).confidence_interval(0.95)
    assert pog["measures"]["dmr"]["difference"]["interval"] == pytest.approx((expected.low, expected.high))
    assert pog["measures"]["cosine_distance"]["mean"] == pytest.approx(0.2)
    assert pog["measures"]["minutes"]["mean"] == pytest.approx(1)
    assert "val-scenes.psnr" not in pog["measures"]
    share = {"last_share": pytest.approx(0.2), "last_gain": pytest.approx(1)}
    assert study["progress"] == {"psnr": pytest.approx(21), **share, "steps": 10}
    assert study["notes"][0] == "not run: pog-s2"
    assert study["machines"] == ["cpu, 32-true, 1 threads, torch 2, undim 0: 5 cells"]


def test_what_was_validated_at_its_end_alone_is_not_called_flat():
    cells = made()
    cells[1]["curve"] = {"step": [10], "psnr": [21.0]}
    study = merge_cells(PLAN, cells)
    assert study["progress"] == {"psnr": pytest.approx(21), "last_share": None, "last_gain": None, "steps": 10}
    text = page_of(study)
    assert "ends after 10 steps at 21.00 dB on val; it was validated at its end alone" in text
    assert "+1.00 dB" in page_of(merge_cells(PLAN, made()))


def test_a_study_without_its_base_or_without_cells():
    study = merge_cells(PLAN, [make_cell("pog", 0, 20.0)])
    assert study["progress"] is None
    assert study["rows"][1]["measures"]["val.psnr"]["difference"] is None
    with pytest.raises(UsageError, match="No cell of the study 's' is finished"):
        merge_cells(PLAN, [])


def write_folder(path, plan=PLAN, cells=None):
    (path / "cells").mkdir(parents=True)
    (path / "plan.json").write_text(json.dumps(plan))
    for cell in made() if cells is None else cells:
        (path / "cells" / f"{cell['variant']}-s{cell['seed']}.json").write_text(json.dumps(cell))
    return path


def test_the_page_is_made_of_its_json_alone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    told = write_study_report([write_folder(tmp_path / "s")], out)
    assert told == ["s: not run: pog-s2"]
    result = json.loads((out / "study.json").read_text())
    page = (out / "study.md").read_text()
    assert page == make_markdown(StudiesDocument.read(out / "study.json"))
    assert "| pog | 2 | 21.05 ± 0.78 | +0.55 [" in page
    assert "DMR cannot be told apart (-0.75 dB, -3.93 to +2.43)" in page
    assert "the last 20 % of its training added +1.00 dB" in page
    assert "each of the 6 intervals holds" in page  # of PSNR and GT-mean on two splits, and of both DMR
    assert "PSNR cannot be told apart" not in page or "+0.55 dB" in page
    assert result["studies"][0]["plot"] == "study_s.webp"
    assert (out / "study_s.webp").read_bytes()[8:12] == b"WEBP"


def test_without_matplotlib_the_plot_is_left_out_and_said(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "undim.study.plots", None)
    told = write_study_report([write_folder(tmp_path / "s")], tmp_path)
    assert any("the plot of s is left out" in line for line in told)
    assert json.loads((tmp_path / "study.json").read_text())["studies"][0]["plot"] is None


def test_kernels_that_are_zero_for_all_pictures_are_alike():
    dead = {"cosine_distance": 1.0, "variation": 0.0, "effective_rank": 1.0}
    live = {"cosine_distance": 0.3, "variation": 0.2, "effective_rank": 3.0}
    cells = [make_cell("base", 0, 20.0), make_cell("pog", 0, 20.0, diversity={"a": live, "b": dead})]
    measures = merge_cells(PLAN, cells)["rows"][1]["measures"]
    assert measures["cosine_distance"]["mean"] == pytest.approx(0.15)
    assert measures["effective_rank"]["mean"] == pytest.approx(2)


def test_what_becomes_of_kernels_in_training_is_told_in_decades():
    def layers(first, second):
        return {
            "p1": {"cosine_distance": first, "variation": first, "effective_rank": 1.0},
            "p2": {"cosine_distance": second, "variation": second, "effective_rank": 1.0},
        }

    def at(step, first, second):
        return KernelsAtStep(step=step, layers=layers(first, second))

    grown = [at(0, 1e-4, 0.0), at(9, 1e-2, 0.5)]
    assert distance_gained(grown) == pytest.approx(2)  # the second kernels are zero at the start
    assert distance_gained([grown[1], grown[1]]) is None  # its start was not measured
    assert distance_gained([grown[0], at(9, 0.0, 0.5)]) is None
    assert distance_gained([]) is None


def test_what_starts_where_another_ends_says_what_it_gains_a_minute():
    before, after = make_cell("base", 0, 20.0), make_cell("pog", 0, 20.3)
    after |= {"content": {"recipe": {"model": {"start": "the end of base-s0, base0"}}}, "steps": 5}
    after["time"] = {"seconds": [30.0, 90.0], "seconds_per_step": 0.5}
    study = merge_cells(PLAN, [before, after])
    base, pog = study["rows"]
    assert pog["measures"]["gain"]["mean"] == pytest.approx(0.3)
    assert pog["measures"]["gain_per_minute"]["mean"] == pytest.approx(0.2)
    assert "gain" not in base["measures"]
    assert "training steps differ: base 10, pog 5" in study["notes"]


def test_it_says_how_many_pictures_the_scores_are_of():
    few, more = make_cell("base", 0, 20.0), make_cell("pog", 0, 21.0)
    few["scores"] |= {"val": few["scores"]["val"] | {"pictures": {"1": [20.0, 0.8, 0.1], "2": [20.0, 0.8, 0.1]}}}
    more["scores"] |= {"val": more["scores"]["val"] | {"pictures": {"1": [21.0, 0.8, 0.1]}}}
    notes = merge_cells(PLAN, [few, more])["notes"]
    assert [note for note in notes if note.startswith("scores")] == [
        "scores over 2 pictures of val",
        "scores over 1 pictures of val",
    ]
    assert not any(note.startswith("scores") for note in merge_cells(PLAN, made())["notes"])  # theirs list none


def test_trainings_that_two_studies_share_are_named(tmp_path):
    second = {**PLAN, "name": "t", "variants": {"base": "", "other": ""}}
    cells = [make_cell("base", 0, 20.0), make_cell("other", 0, 21.0)]
    folders = [write_folder(tmp_path / "s"), write_folder(tmp_path / "t", second, cells)]
    write_study_report(folders, tmp_path)
    first, other = json.loads((tmp_path / "study.json").read_text())["studies"]
    assert "base of seed 0: the same training as s: base" in other["notes"]
    assert not any("same training" in note for note in first["notes"])
    assert sum("same training" in note for note in other["notes"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cell: cell.pop("scores"), "scores: Field required"),
        (lambda cell: cell["redundancy"].update(dmr="much"), "redundancy.dmr: Input should be a valid number"),
        (lambda cell: cell["time"].clear(), "time.seconds: Field required"),
    ],
)
def test_damaged_cells_are_named(tmp_path, change, message):
    cell = make_cell("base", 0, 20.0)
    change(cell)
    folder = write_folder(tmp_path / "s", cells=[cell])
    with pytest.raises(UsageError, match=f"base-s0.json is damaged, delete it to run that cell anew: {message}"):
        write_study_report([folder], tmp_path)


def test_a_layer_that_nothing_changes_has_no_dmr():
    cell = make_cell("base", 0, 20.0)
    cell["redundancy"]["layers"] = {"latent": {"dmr": None, "poi": 0.0, "psnr_change": 0.0}}
    assert CellDocument.model_validate(cell).redundancy.layers["latent"].dmr is None


def test_a_plan_whose_base_is_no_variant_is_refused(tmp_path):
    folder = write_folder(tmp_path / "s", {**PLAN, "base": "none"})
    with pytest.raises(
        UsageError,
        match=r"plan.json is damaged, delete it, and run undim study anew: Value error, the base 'none' is not among",
    ):
        write_study_report([folder], tmp_path)


def test_folders_that_hold_no_study_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"plan.json cannot be read"):
        write_study_report([tmp_path], tmp_path)
    first, second = write_folder(tmp_path / "a"), write_folder(tmp_path / "b")
    with pytest.raises(UsageError, match="same name as another, 's'"):
        write_study_report([first, second], tmp_path)
    (first / "cells" / "x.json").write_text('{"format": 1')
    with pytest.raises(UsageError, match=r"x.json cannot be read: it is not JSON"):
        write_study_report([first], tmp_path)
    (first / "cells" / "x.json").write_text(json.dumps({**make_cell("base", 0, 20.0), "format": 2}))
    with pytest.raises(UsageError, match="has format 2"):
        CellDocument.read(first / "cells" / "x.json")
