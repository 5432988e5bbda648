"""Study files: what they lay out, what they refuse, and what a cell's fingerprint depends on."""

import pytest

from undim.errors import RecipeError
from undim.study.plan import find_change, load_study


def cell(path, name):
    return next(one for one in load_study(path).cells if one.name == name)


def test_variants_and_seeds_are_laid_out_seed_by_seed(study_file):
    plan = load_study(study_file)
    assert [one.name for one in plan.cells] == ["base-s0", "pog-s0", "further-s0", "base-s1", "pog-s1", "further-s1"]
    assert plan.base == "base"
    pog = cell(study_file, "pog-s1").recipe
    assert (pog.model.adr.bottleneck, pog.steps, pog.seed, pog.data.crop) == (4, 6, 1, 16)
    assert cell(study_file, "base-s1").recipe.model.adr is None
    assert cell(study_file, "further-s1").after == plan.cells[3]


def test_fingerprints_tell_recipes_apart_and_not_places(study_file, tmp_path):
    prints = [one.fingerprint for one in load_study(study_file).cells]
    assert len(set(prints)) == 6
    recipe = tmp_path / "tiny.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("root: ", "root: /somewhere/else"))
    assert [one.fingerprint for one in load_study(study_file).cells] == prints
    before = cell(study_file, "base-s0").content
    recipe.write_text(text.replace("lr: 2.0e-3", "lr: 1.0e-3"))  # the default: it is left out of the content
    assert find_change(cell(study_file, "base-s0").content, before) == "optimiser.lr is None here and 0.002 there"
    # What starts after another cell changes with that cell.
    changed = {one.name: one.fingerprint for one in load_study(study_file).cells}
    assert not set(changed.values()) & set(prints)


def test_folders_of_ones_own_count_by_what_is_in_them(study_file, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    text = recipe.read_text()
    start = text.index("data: {")
    for name in ("a", "b"):
        for side in ("low", "high"):
            (tmp_path / name / side).mkdir(parents=True)
            (tmp_path / name / side / "1.png").write_bytes(b"one")

    def fingerprint(name):
        section = f"data: {{name: folder, low: {tmp_path}/{name}/low, high: {tmp_path}/{name}/high, crop: 16}}\n"
        recipe.write_text(text[:start] + section + text[text.index("\n", start) + 1 :])
        return cell(study_file, "base-s0").fingerprint

    first = fingerprint("a")
    assert fingerprint("b") == first  # wherever they are
    (tmp_path / "b" / "low" / "1.png").write_bytes(b"two")
    assert fingerprint("b") != first
    with pytest.raises(RecipeError, match="c/low is not a folder"):
        fingerprint("c")


def test_weights_to_start_from_count_by_their_content(study_file, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(recipe.read_text().replace("model: {", "model: {start: a.safetensors, "))
    study_file.write_text(study_file.read_text().replace("further: {after: base, change: {steps: 2}}", ""))
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        _ = cell(study_file, "base-s0").fingerprint
    (tmp_path / "a.safetensors").write_bytes(b"one")
    first = cell(study_file, "base-s0").fingerprint
    (tmp_path / "a.safetensors").write_bytes(b"two")
    assert cell(study_file, "base-s0").fingerprint != first


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [0, 1]", "seed: [0, 1]", r"there is no key 'seed'. Did you mean 'seeds'"),
        ("seeds: [0, 1]", "seeds: [1, 1]", r"each seed counts once"),
        ("seeds: [0, 1]", "seeds: []", r"seeds: .*at least 1"),
        ("seeds: [0, 1]", "", r"kernels.yaml: seeds is missing"),
        ("seeds: [0, 1]", "seeds: [0]\nseeds: [1]", r"the key 'seeds' stands twice"),
        ("  pog:", "  base:", r"the key 'base' stands twice"),
        ("draws: 1", "drawn: 1", r"'measure.drawn'. Did you mean 'draws'"),
        ("after: base", "after: bass", r"there is no variant 'bass'. Did you mean 'base'"),
        ("after: base", "after: further", r"'further' would start after itself"),
        ("  pog:", "  p/g:", r"'p/g' becomes the name of a file"),
        (
            "common: {",
            "common: {data: {splits: [train, val]}, ",
            r"judged on val and val-scenes, so leave data.splits",
        ),
        ("kernel: pog", "kernel: frog", r"variant pog: model.adr.kernel"),
        ("embedding: 4", "embeding: 4", r"there is no key 'model.adr.embeding'. Did you mean 'model.adr.embedding'"),
        ("recipe: tiny.yaml", "recipe: none.yaml", r"none.yaml cannot be read"),
        ("about: Two kernels", "- a", r"cannot be read"),
    ],
)
def test_what_is_wrong_with_a_study_is_said(study_file, old, new, message):
    text = study_file.read_text()
    assert old in text
    study_file.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        load_study(study_file)


def test_the_studies_of_the_project_are_sound():
    from pathlib import Path

    paths = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
    assert paths
    for path in paths:
        plan = load_study(path)
        assert len({one.fingerprint for one in plan.cells}) == len(plan.cells), path
