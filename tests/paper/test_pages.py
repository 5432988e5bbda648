"""The paper's figures are the printed ones, ours are those that were measured, and pages are made of their JSON."""

import hashlib
import json
import math
import re
from pathlib import Path

import pytest

from undim.cli.main import main
from undim.cli.paper import MAKERS, NAMES
from undim.nets import list_models
from undim.paper.harm import ALIKE, ALL, CORRELATION, HIGH, LAYERS, LOW, NONE, SOME
from undim.paper.measured import Measurements
from undim.paper.networks import RECIPES
from undim.paper.pages import make_markdown, other_systems, published
from undim.paper.restoration_tables import make_table6
from undim.results.page import PageDocument
from undim.results.study import StudiesDocument
from undim.study.plan import load_study

PROJECT = Path(__file__).parents[2]
COMMITTED = sorted(PROJECT.glob("docs/results/*.json"))


@pytest.fixture
def made(results, tmp_path):
    """Name -> {(label, column): row} of all pages."""
    out = tmp_path / "out"
    assert main(["paper", "all", "--results", str(results), "-o", str(out)]) == 0
    pages = {name: json.loads((out / f"{name}.json").read_text()) for name in NAMES}
    for name in pages:
        assert (out / f"{name}.md").read_text() == make_markdown(PageDocument.read(out / f"{name}.json"))
    return {name: {(row["label"], row["column"]): row for row in page["rows"]} for name, page in pages.items()}


def test_figures_of_the_paper_are_the_printed_ones(made):
    """A sample of each table, typed from the paper."""
    printed = [
        ("table1", "Restormer", "attention: all layers", -5.52),
        ("table1", "Restormer", "feedforward: latent layers", 0.02),
        ("table2", "Restormer, static", "NOL 4", -0.99),
        ("table2", "Restormer, dynamic", "NOL 1", -3.39),
        ("table4", "CIDNet+ours", "LOL-v2-real: DMR, dB", 31.99),
        ("table4", "LLFormer", "LOL-v2-syn: DMR, dB", None),
        ("table5", "PC-0.2", "LOL-v2-real: PSNR, dB", 20.99),
        ("table5", "ZeroQ", "LOL-v1: PSNR, dB", 7.98),
        ("table6", "Retinexformer+ours", "LOL-v1: PSNR, dB", 25.29),
        ("table6", "SNR-Net", "LOL-v2-syn: SSIM", 0.928),
        ("table7", "Restormer + ADR", "PSNR on eval15, dB", 21.60),
        ("table8", "Dm=16", "FLOPs, G", 150.67),
        ("table9", "De=16", "PSNR on eval15, dB", 21.53),
        ("table10", "Restormer", "DICM", None),
    ]
    for name, label, column, figure in printed:
        assert made[name][label, column]["paper"] == figure, (name, label, column)


def test_figures_of_ours_are_those_measured(made):
    row = made["table6"]["Restormer", "LOL-v1: PSNR, dB"]
    assert (row["ours"], row["seeds"], row["iterations"]) == (20.5, [0, 1], 500)
    assert row["spread"] == pytest.approx(0.5**0.5)
    assert row["protocol"] == "undim evaluate, lol-v1 test, 15 pictures"
    assert made["table6"]["tiny", "LOL-v1: PSNR, dB"]["ours"] == 21.5
    assert made["table6"]["tiny", "LOL-v1: PSNR, dB"]["paper"] is None
    assert made["table10"]["tiny", "DICM"]["ours"] == 4.0
    assert made["table1"]["Restormer", "attention: all layers"]["ours"] == -3.5
    assert made["table1"]["Restormer", "attention: latent layers"]["ours"] is None
    assert [made["table2"]["Restormer, static", f"NOL {place}"]["ours"] for place in (1, 2, 6)] == [0, -1, -5]
    assert made["table2"]["Restormer, dynamic", "NOL 1"]["ours"] is None
    assert [made["table2"]["t2_dynamic: static", f"NOL {place}"]["ours"] for place in (1, 2, 6)] == [-0.5, -1.5, -5.5]
    assert made["table2"]["t2_dynamic: dynamic", "NOL 1"]["command"].startswith("undim study studies/t2_dynamic.yaml")
    small = made["table1"]["a_restormer_small: base", "attention: all layers"]
    assert (small["ours"], small["seeds"], small["iterations"], small["paper"]) == (-2.5, [0, 1], 800, None)
    assert "undim study measure" in made["table1"]["a_restormer_small: pog", "attention: all layers"]["command"]
    assert made["table5"]["a_restormer_small: base, quantised, 4 bits", "LOL-v1: DMR, dB"]["ours"] == 20
    assert made["table5"]["a_restormer_small: pog, unchanged", "LOL-v1: PSNR, dB"]["ours"] is None
    assert made["table3"]["Restormer", "POI on the test set, %"]["ours"] == 30
    assert made["table3"]["a_candela_tiny: pog", "POI on val, %"]["ours"] == 30
    row = made["table4"]["a_candela_tiny: pog", "LOL-v1 val: DMR, dB"]
    assert row["protocol"].endswith("lol-v1 val, 2 pictures, 1 draws of each layer")
    assert row["parameters"] == 1
    assert made["table4"]["Restormer", "LOL-v1: DMR, dB"]["ours"] == 33.25
    assert made["table5"]["FPGM", "LOL-v1: DMR, dB"]["ours"] == 30
    assert made["table7"]["candela_tiny: pog", "PSNR on eval15, dB"]["ours"] == 19.5
    assert made["table7"]["candela_tiny: pog", "PSNR on val, dB"]["ours"] == 20.5
    assert made["table6"]["a_candela_tiny: pog", "LOL-v1: PSNR, dB"]["ours"] == 19.5
    assert made["table6"]["a_candela_tiny: pog", "LOL-v1: PSNR, dB"]["seeds"] == [0, 1]
    assert made["table8"]["Dm=8", "PSNR on val, dB"]["ours"] == 20.5
    assert made["figure1"]["Restormer, lol-v1 b, attn reset", "PSNR with the random layer, dB"]["ours"] == 13.5


def test_a_study_on_other_data_stands_in_the_columns_of_that_data(made):
    row = made["table6"]["a_lol_v2_real: base", "LOL-v2-real: PSNR, dB"]
    assert (row["ours"], row["protocol"]) == (17.0, "study a_lol_v2_real, base, lol-v2-real test")
    assert ("a_lol_v2_real: base", "LOL-v1: PSNR, dB") not in made["table6"]
    assert made["table4"]["a_lol_v2_real: pog", "LOL-v2-real val: DMR, dB"]["ours"] == 40
    assert ("a_lol_v2_real: pog", "LOL-v1 val: DMR, dB") not in made["table4"]
    assert not any(label.startswith("lol_v2_real") for label, _ in made["table7"])


def test_networks_of_published_size_stand_in_tables_4_to_9_from_one_cell_on(results, make_cell, make_study, tmp_path):
    adr = {"kernel": "pog", "bottleneck": 4, "embedding": 64}
    model = {"name": "restormer", "adr": adr}
    cell = {**make_cell("pog", 0, 19.0), "content": {"recipe": {"model": model}}, "steps": 2400}
    make_study(results / "studies" / "gpu_restormer", "gpu_restormer", [cell])
    out = tmp_path / "sized"
    for name in ("table4", "table5", "table6", "table7", "table8", "table9"):
        assert main(["paper", name, "--results", str(results), "-o", str(out)]) == 0
        page = json.loads((out / f"{name}.json").read_text())
        rows = {row["column"]: row for row in page["rows"] if row["label"].startswith(("gpu_restormer: pog",))}
        told = [row for row in rows.values() if row["ours"] is not None]
        assert {(row["iterations"], tuple(row["seeds"])) for row in told} == {(2400, (0,))}, name
        psnr = [row["ours"] for column, row in rows.items() if "PSNR" in column and " val" not in column]
        assert psnr == ([18.0] if name != "table4" else [])
        if name in ("table4", "table5", "table7"):
            assert [row["ours"] for column, row in rows.items() if "DMR" in column] == [40.0]
        if name in ("table8", "table9"):
            assert {row["label"] for row in rows.values()} == {"gpu_restormer: pog, Dm=4, De=64"}
        if name != "table4":
            assert (name == "table5") is not any(note.startswith("gpu_...") for note in page["notes"])


def test_harm_is_compared_over_trainings(results, make_cell, make_study, tmp_path):
    changes = [(0.5, -1.0, 0.2, -0.1), (0.1, -0.2, -0.3, -0.4)]  # of four layers in two trainings
    cells = []
    for seed, by_layer in enumerate(changes):
        one = make_cell("static", seed, 20.0)
        layers = {f"l{n}": {"psnr_change": change, "dmr": 30.0, "poi": 10.0} for n, change in enumerate(by_layer)}
        one["redundancy"]["layers"] = layers
        cells.append(one)
    make_study(results / "studies" / "t", "t2_dynamic", cells)
    assert main(["paper", "harm", "--results", str(results), "-o", str(tmp_path)]) == 0
    page = json.loads((tmp_path / "harm.json").read_text())
    rows = {(row["label"], row["column"]): row["ours"] for row in page["rows"]}
    told = {column: rows["t2_dynamic: static", column] for column in (LAYERS, ALL, SOME, NONE)}
    assert told == {LAYERS: 4, ALL: 1, SOME: 1, NONE: 2}
    assert "t2_dynamic: static: harmful in all of 2 trainings: l0." in page["notes"]
    # Ranks 4 1 3 2 and 4 3 2 1: 1 - 6 (0 + 4 + 1 + 1) / (4 (16 - 1))
    assert rows["t2_dynamic: static", ALIKE] == pytest.approx(0.4)
    # Fisher's z of -0.8 and 0: mean -0.5493; Student's t of one degree of freedom: 12.706 x 0.7768 / sqrt 2 = 6.980
    assert rows["a_restormer_small: base", CORRELATION] == pytest.approx(-0.5)
    assert rows["a_restormer_small: base", LOW] == pytest.approx(-1, abs=1e-3)
    assert rows["a_restormer_small: base", HIGH] == pytest.approx(math.tanh(6.980 - 0.5493), abs=1e-6)


def test_counted_flops_agree_with_the_paper(made):
    """By the rule that the paper counts each by, which the row tells where it is not the rule for all."""
    for label in RECIPES:
        row = made["table6"][label, "FLOPs, G"]
        assert row["protocol"].startswith("FLOPs counted by fvcore's rule")
        told = re.search(r"by thop's, as published, ([\d.]+) G", row["protocol"])
        assert (told is None) == label.startswith("Restormer")
        published = float(told[1]) if told else row["ours"]
        assert published == pytest.approx(row["paper"], abs=0.035), label
    # fvcore's own counts of the public networks
    assert made["table6"]["Retinexformer", "FLOPs, G"]["ours"] == pytest.approx(15.568, abs=0.001)
    assert made["table6"]["CIDNet", "FLOPs, G"]["ours"] == pytest.approx(7.369, abs=0.001)


def test_each_figure_that_was_not_run_names_a_command_that_exists(made):
    for rows in made.values():
        for row in rows.values():
            words = (row["command"] or "").split()
            assert (row["ours"] is None) or not words
            for word in words:
                if word.startswith(("recipes/", "studies/")):
                    assert (PROJECT / word).is_file(), word
    for path in (PROJECT / "studies").glob("*.yaml"):
        assert load_study(path).cells[0].recipe.model.name in list_models()


def test_variants_that_tables_ask_for_are_those_of_the_studies():
    wanted = {
        "a_restormer": {"base", "static", "dynamic", "pog"},
        "b_dm": {"base", "dm4", "dm8", "dm16", "dm32"},
        "b_de": {"base", "de16", "de32", "de64"},
        "t2_dynamic": {"static", "dynamic"},
    }
    for name, variants in wanted.items():
        assert set(load_study(PROJECT / "studies" / f"{name}.yaml").variants) == variants


def test_sheets_are_made_of_saved_pictures(results, tmp_path):
    for network, level in (("tiny", 40), ("restormer_base", 200)):
        save(results / network / "dicm" / "images", ["1", "2", "10"], level)
    assert main(["paper", "figure7", "--results", str(results), "-o", str(tmp_path)]) == 0
    sheet, notes = sheet_of(tmp_path, "figure7")
    assert notes[:2] == ["Row 1: dicm, 1, by restormer_base, tiny.", "Row 2: dicm, 2, by restormer_base, tiny."]
    assert sheet.shape == (68, 88, 3)  # two rows of two, with two white pixels around each
    assert sheet[17, 22, 0] == pytest.approx(200, abs=3)
    assert sheet[17, 66, 0] == pytest.approx(40, abs=3)


def save(folder, names, level):
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full((30, 40, 3), level, np.uint8)).save(folder / f"{name}.png")


def sheet_of(folder, name):
    import numpy as np
    from PIL import Image

    page = json.loads((folder / f"{name}.json").read_text())
    return np.asarray(Image.open(folder / page["picture"])).astype(int), page["notes"]


def test_figure_1_shows_the_pictures_that_gain(results, tmp_path):
    for number, level in ((1, 10), (2, 90), (3, 120), (4, 200)):
        save(results / "restormer_base" / "lol-v1" / "gains", [f"1_{number}"], level)
    assert main(["paper", "figure1", "--results", str(results), "-o", str(tmp_path)]) == 0
    sheet, notes = sheet_of(tmp_path, "figure1")
    assert [sheet[17, 22 + 44 * column, 0] for column in range(4)] == pytest.approx([10, 90, 120, 200], abs=3)
    assert notes[0].startswith("Row 1: Restormer, lol-v1 b, attn reset: dark, as trained (12.00 dB), with the random")


def test_pictures_of_ones_own_stand_in_the_figure_they_belong_to(results, make_file, tmp_path):
    for network, psnr in (("tiny", 20.0), ("photo", None)):
        content = {
            "data": "folder",
            "split": None,
            "psnr": psnr,
            "ssim": None,
            "niqe": 3.0,
            "images": [{"name": "cat"}],
        }
        make_file(results / network / "folder" / "results.json", content)
        save(results / network / "folder" / "images", ["cat", "cup", "dog"], 100 if psnr is None else 50)
    assert main(["paper", "figure6", "figure7", "--results", str(results), "-o", str(tmp_path)]) == 0
    paired, notes = sheet_of(tmp_path, "figure6")
    assert paired[17, 22, 0] == pytest.approx(50, abs=3)
    assert notes[2] == "Row 3: folder, dog, by tiny."
    unpaired, _ = sheet_of(tmp_path, "figure7")
    assert unpaired[17, 22, 0] == pytest.approx(100, abs=3)
    assert unpaired.shape == (102, 44, 3)


@pytest.mark.parametrize("elsewhere", ["studies", "tiny"])
def test_a_sheet_stays_where_its_pictures_are_not(results, make_file, tmp_path, elsewhere):
    content = {"data": "folder", "split": None, "psnr": None, "ssim": None, "niqe": 3.0, "images": [{"name": "cat"}]}
    make_file(results / "photo" / "folder" / "results.json", content)
    save(results / "photo" / "folder" / "images", ["cat"], 100)
    assert main(["paper", "figure7", "--results", str(results), "-o", str(tmp_path)]) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("figure7.*")}
    assert main(["paper", "figure7", "--results", str(results / elsewhere), "-o", str(tmp_path)]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("figure7.*")} == before
    rows = json.loads(before["figure7.json"])["rows"]
    assert [row["ours"] for row in rows if row["label"] == "photo"] == [3.0]


def test_plots_are_made_of_studies_and_of_measured_kernels(results, make_file, make_cell, make_study, tmp_path):
    diverse = {"cosine_distance": 0.1, "variation": 0.1, "effective_rank": 2.0}
    layer = {"kind": "pog", "weights": 3, **diverse, "kernels": [[0.0, 1.0, 2.0], [0.5, 1.0, 2.0]]}
    over_training = [{"step": step, "layers": {"p1": {**diverse, "cosine_distance": 0.1 / step}}} for step in (10, 20)]
    cells = [{**make_cell("pog", seed, 20.0), "diversity_over_training": over_training} for seed in (0, 1)]
    make_study(results / "studies" / "a2", "a_restormer_small", cells)
    study = {"split": None, "seeds": [], "pictures": ["a", "b"], "result": {"pictures": 2, "layers": {"p1": layer}}}
    make_file(results / "a_restormer_small.pog-s0" / "lol-v1" / "diversity.json", {"data": "lol-v1", **study})
    assert main(["paper", "figure2", "figure5", "--results", str(results), "-o", str(tmp_path)]) == 0
    for name in ("figure2", "figure5"):
        sheet, _ = sheet_of(tmp_path, name)
        assert sheet.std() > 5
    first = (tmp_path / "figure5.webp").read_bytes()
    assert main(["paper", "figure5", "--results", str(results), "-o", str(tmp_path)]) == 0
    assert (tmp_path / "figure5.webp").read_bytes() == first


def test_table_6_has_every_system_of_the_paper_and_beside_them_what_was_measured_elsewhere():
    labels = {entry.label for entry in make_table6(Measurements([])).entries}
    elsewhere = {row["label"] for row in other_systems()["authors_weights"]["rows"]}
    assert labels == set(published()["table6"]) | elsewhere


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_pages_are_made_of_their_json(path):
    from undim.study.report import make_markdown as make_study

    made = make_study(StudiesDocument.read(path)) if path.stem == "study" else make_markdown(PageDocument.read(path))
    assert path.with_suffix(".md").read_text() == made


def assert_alike(found, expected, place):
    """Equal, numbers up to what processors and versions of libraries differ by."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), place
        for key, value in expected.items():
            assert_alike(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, value in enumerate(expected):
            assert_alike(found[number], value, f"{place}.{number}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-12), place
    else:
        assert found == expected, place


@pytest.mark.slow
def test_committed_pages_are_of_the_committed_measurements():
    ours = Measurements([PROJECT / "docs" / "results"])
    for name, make in MAKERS.items():
        committed = json.loads((PROJECT / "docs" / "results" / f"{name}.json").read_text())
        assert_alike(json.loads(make(ours).document().text()), committed, name)
    studies = json.loads((PROJECT / "docs" / "results" / "study.json").read_text())["studies"]
    assert [study["name"] for study in studies] == sorted(ours.studies)
    for study in studies:
        rows = [json.loads(row.model_dump_json()) for row in ours.studies[study["name"]].rows]
        assert_alike(rows, study["rows"], study["name"])


@pytest.mark.parametrize("path", sorted(PROJECT.glob("src/undim/models/*.onnx")), ids=lambda path: path.stem)
def test_committed_measurements_are_of_the_models_that_are_shipped(path):
    found = sorted(PROJECT.glob(f"docs/results/measured/{path.stem}/*/results.json"))
    assert {result.parent.name for result in found} >= {"lol-v1", "dicm", "mef"}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for result in found:
        assert json.loads(result.read_text())["checkpoint_sha256"] == digest, result.parent.name
