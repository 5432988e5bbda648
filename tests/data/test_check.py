"""Each fault that a data set can have, built on disk, is found, and only that."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undim.data.check import check_data
from undim.errors import DataError

SHARED = Path(os.environ.get("UNDIM_DATA", "")) if os.environ.get("UNDIM_DATA") else None
needs_data = pytest.mark.skipif(
    SHARED is None or not (SHARED / "lol_v1").is_dir() or not (SHARED / "unpaired/DICM").is_dir(),
    reason="needs LOL-v1 and DICM: set UNDIM_DATA to the folder with lol_v1/ and unpaired/DICM/",
)


@pytest.fixture(autouse=True)
def _nothing_elsewhere(monkeypatch):
    monkeypatch.delenv("UNDIM_DATA", raising=False)


def noise(seed, size=(8, 6)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def lol(tmp_path):
    """Two training pairs and a test pair in LOL-v1's layout, all different."""
    for folder, number in (("our485", 2), ("our485", 16), ("eval15", 111)):
        for side, offset in (("low", 0), ("high", 1000)):
            save(noise(number + offset), tmp_path / folder / side / f"{number}.png")
    return tmp_path


def kinds(report):
    return [problem.kind for problem in report.problems]


def test_counts_are_held_against_the_published_ones(lol):
    report = check_data("lol-v1", lol)
    assert report.usable
    assert report.counts == {"train": 1, "val": 1, "test": 1}
    assert report.present == {"training": 2, "test": 1}
    assert report.missing == {"training": 483, "test": 14}


def test_half_a_data_set_is_reported_not_refused(lol):
    for path in (lol / "eval15/high").iterdir():
        path.unlink()
    (lol / "eval15/high").rmdir()
    report = check_data("lol-v1", lol)
    assert report.missing == {"training": 483, "test": 15}
    assert report.usable
    with pytest.raises(DataError, match="does not hold lol-v1"):
        check_data("lol-v1", lol / "eval15")


def test_a_picture_without_partner(lol):
    (lol / "our485/high/2.png").unlink()
    report = check_data("lol-v1", lol)
    assert [(p.kind, p.pictures) for p in report.problems] == [("unpaired", (lol / "our485/low/2.png",))]
    assert report.counts == {"val": 1, "test": 1}


def test_unequal_sizes(lol):
    save(noise(5, (6, 8)), lol / "our485/high/2.png")
    (problem,) = check_data("lol-v1", lol).problems
    assert (problem.kind, problem.reason) == ("unequal", "are 8 x 6 and 6 x 8 pixels")
    assert problem.pictures == (lol / "our485/low/2.png", lol / "our485/high/2.png")


def test_unreadable_pictures_are_found_on_every_side(lol):
    whole = (lol / "our485/low/2.png").read_bytes()
    (lol / "our485/low/2.png").write_bytes(whole[: len(whole) // 2])
    (lol / "eval15/high/111.png").write_bytes(b"")
    (lol / "our485/high/7.png").write_text("no picture, and no partner")
    report = check_data("lol-v1", lol)
    assert sorted(kinds(report)) == ["unpaired", "unreadable", "unreadable", "unreadable"]
    assert not report.usable
    assert "is empty" in next(p.reason for p in report.problems if p.pictures[0].name == "111.png")


def test_two_files_of_one_name(lol):
    save(noise(2), lol / "our485/low/2.bmp")
    (problem,) = check_data("lol-v1", lol).problems
    assert problem.kind == "ambiguous"
    assert {path.name for path in problem.pictures} == {"2.png", "2.bmp"}


@pytest.mark.parametrize("train", ["2", "16"])  # of train and of val
@pytest.mark.parametrize(("suffix", "options"), [("webp", {"lossless": True}), ("bmp", {}), ("png", {})])
def test_a_copy_in_training_and_test_is_found_in_any_lossless_encoding(lol, train, suffix, options):
    (lol / "eval15/low/111.png").unlink()
    save(noise(int(train)), lol / f"eval15/low/111.{suffix}", **options)
    (problem,) = check_data("lol-v1", lol).problems
    assert problem.kind == "duplicated"
    assert problem.pictures == (lol / f"our485/low/{train}.png", lol / f"eval15/low/111.{suffix}")


def test_a_grey_copy_is_found_and_one_level_of_difference_is_none(lol):
    grey = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    save(grey.convert("RGB"), lol / "our485/high/2.png")
    save(grey, lol / "eval15/high/111.png")
    assert kinds(check_data("lol-v1", lol)) == ["duplicated"]
    grey.putpixel((3, 3), 0)
    save(grey, lol / "eval15/high/111.png")
    assert check_data("lol-v1", lol).usable


def test_the_leak_is_told_always_and_measured_where_both_are(tmp_path, monkeypatch):
    v1, v2 = tmp_path / "lol_v1", tmp_path / "elsewhere"
    for side, other in (("low", "Low"), ("high", "Normal")):
        seed = 0 if side == "low" else 1000
        save(noise(seed + 700), v1 / f"our485/{side}/700.png")
        save(noise(seed + 2), v1 / f"our485/{side}/2.png")
        save(noise(seed + 111), v1 / f"eval15/{side}/111.png")
        prefix = other.lower()
        save(noise(seed + 700), v2 / f"Real_captured/Test/{other}/{prefix}00700.webp", lossless=True)
        save(noise(seed + 3), v2 / f"Real_captured/Train/{other}/{prefix}00003.png")
    report = check_data("lol-v2-real", v2)
    assert report.usable
    assert any("must not be measured on the other" in note for note in report.notes)
    assert not any("Measured" in note for note in report.notes)
    monkeypatch.setenv("UNDIM_DATA", str(tmp_path))
    report = check_data("lol-v2-real", v2)
    measured = report.notes[-1]
    assert "1 training pictures of lol-v1 are test pictures of lol-v2-real" in measured
    assert "0 training pictures of lol-v2-real are test pictures of lol-v1" in measured
    assert report.usable


def test_test_pictures_among_the_training_files_are_counted(tmp_path):
    for name in ("00001", "00700", "00701"):
        for side in ("Low", "Normal"):
            save(noise(int(name)), tmp_path / f"Train/{side}/{name}.png")
    report = check_data("lol-v2-real", tmp_path)
    assert report.counts == {"train": 1}
    assert any(note.startswith("2 pictures lie among the training pictures") for note in report.notes)


def test_two_folders_are_not_their_own_duplicates(tmp_path):
    for name in "ab":
        save(noise(ord(name)), tmp_path / "low" / f"{name}.png")
        save(noise(ord(name) + 1000), tmp_path / "high" / f"{name}.png")
    report = check_data("folder", low=tmp_path / "low", high=tmp_path / "high")
    assert report.usable
    assert report.counts == {"train": 2}
    assert report.published == report.missing == {}


def test_unpaired_pictures(tmp_path):
    for index in range(10):
        save(noise(index), tmp_path / f"{index}.bmp")
    assert check_data("lime", tmp_path).missing == {}
    (tmp_path / "3.bmp").write_bytes(b"BM")
    report = check_data("lime", tmp_path)
    assert [(p.kind, p.pictures[0].name) for p in report.problems] == [("unreadable", "3.bmp")]
    assert check_data("mef", tmp_path).missing == {"pictures": 7}
    with pytest.raises(DataError, match="belong to the data set folder"):
        check_data("mef", tmp_path, low=tmp_path)


@needs_data
def test_the_shared_pictures_are_as_described():
    """Counts of the folder's own description: 485 + 15 pairs, DICM without 5 of its 69 pictures."""
    dicm = check_data("dicm", SHARED / "unpaired/DICM")
    assert (dicm.usable, dicm.counts, dicm.missing) == (True, {"pictures": 64}, {"pictures": 5})


@needs_data
@pytest.mark.slow
def test_lol_v1_is_whole_and_leaks_86_pictures():
    report = check_data("lol-v1", SHARED / "lol_v1")
    assert (report.usable, report.missing) == (True, {})
    assert "86 training pictures of lol-v1 are test pictures of lol-v2-real" in report.notes[-1]
