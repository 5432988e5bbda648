"""What a batch leaves alone: pictures of its source, and outputs that fit what is asked for."""

import tarfile
from dataclasses import replace

import pytest
from dark_pictures import OPTIONS, batch, contents, write_pictures

from undim.batch.drive import Listener, count_batch, run_batch
from undim.cli.main import main
from undim.errors import UsageError

OVERWRITE = replace(OPTIONS, overwrite=True)


def plan(*words, **changes):
    told = []
    tally = count_batch(batch(*words, **changes), Listener(ended=told.append))
    return tally, told


def list_pictures(folder, texts):
    (folder / "list.csv").write_text("".join(f"{text}\n" for text in ["path", *texts]))
    return folder / "list.csv"


@pytest.mark.parametrize("options", [OPTIONS, OVERWRITE])
def test_a_picture_is_not_replaced_by_its_own_output(pictures, tmp_path, options):
    (tmp_path / "link").symlink_to(pictures)
    before = contents(write_pictures(pictures, ["f.ppm"]))
    names = list(before)
    manifest = list_pictures(pictures, names)
    before["list.csv"] = manifest.read_bytes()
    tally = run_batch(batch(manifest, tmp_path / "link", options=options))
    assert (tally.done, tally.skipped, tally.failed) == (1, 0, 5)  # f.ppm becomes f.png
    after = contents(pictures)
    assert after.pop("f.png")
    assert after == before


@pytest.mark.parametrize("options", [OPTIONS, OVERWRITE])
def test_a_picture_whose_content_names_its_output_is_not_replaced_either(tmp_path, options):
    folder = write_pictures(tmp_path, ["a.jpg"])
    (folder / "a.jpg").rename(folder / "a.gif")
    tally, told = plan(list_pictures(folder, ["a.gif"]), folder, options=options)
    assert (tally.done, tally.failed) == (0, 1)
    assert told[0].code == "inside-source"


@pytest.mark.parametrize("options", [OPTIONS, OVERWRITE])
def test_a_picture_is_not_replaced_by_anothers_output(tmp_path, options):
    folder = write_pictures(tmp_path / "in", ["x/a.png", "y/x/a.png"])
    manifest = list_pictures(folder, ["x/a.png", "y/x/a.png"])
    tally, told = plan(manifest, folder / "y", options=options)
    assert (tally.done, [one.key for one in told]) == (1, ["x/a.png"])
    assert "would become 'x/a.png', which is a picture of the source" in told[0].reason


def test_another_format_may_stand_beside_its_picture(tmp_path):
    folder = write_pictures(tmp_path, ["a.png"])
    tally, _ = plan(list_pictures(folder, ["a.png"]), folder, options=replace(OPTIONS, form="jpg"))
    assert tally.done == 1


def test_a_picture_in_a_store_is_not_replaced_by_its_own_output(pictures):
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.pipe_file("/in/a.png", (pictures / "a.png").read_bytes())
    system.pipe_file("/in/list.csv", b"path\na.png\n")
    try:
        tally, _ = plan("memory://in/list.csv", "memory://in", options=OVERWRITE)
    finally:
        system.store.clear()
    assert (tally.done, tally.failed) == (0, 1)


@pytest.mark.parametrize("destination", ["in-{000..001}.tar", "in-{001..002}.tar", "sub/../in-001.tar"])
def test_shards_are_not_replaced_by_their_own_outputs(tmp_path, destination):
    (tmp_path / "sub").mkdir()
    with pytest.raises(UsageError, match="would replace shards of the source"):
        batch(tmp_path / "in-{000..001}.tar", tmp_path / destination)
    batch(tmp_path / "in-{000..001}.tar", tmp_path / "in-{002..003}.tar")
    batch(tmp_path / "{000..001}.tar", tmp_path / "out-{000..001}.tar")


def test_a_rerun_in_another_format_makes_it_and_keeps_what_fits(pictures, tmp_path):
    out = tmp_path / "out"
    assert run_batch(batch(pictures, out)).done == 5
    before = contents(out)
    jpg = replace(OPTIONS, form="jpg")
    tally = run_batch(batch(pictures, out, options=jpg))
    assert (tally.done, tally.skipped) == (4, 1)
    after = contents(out)
    assert sorted(set(after) - set(before)) == ["a.jpg", "sub/c.jpg", "sub/d.jpg", "sub/deep/e.jpg"]
    assert before.items() <= after.items()
    assert run_batch(batch(pictures, out, options=jpg)).skipped == 5
    (out / "a.png").unlink()
    tally, _ = plan(pictures, out)
    assert (tally.done, tally.skipped) == (1, 4)


def test_a_shard_in_another_format_is_not_taken_for_what_is_asked(pictures, tmp_path):
    out = tmp_path / "out.tar"
    run_batch(batch(pictures, out))
    with pytest.raises(UsageError, match="exists, with pictures of another format"):
        plan(pictures, out, options=replace(OPTIONS, form="jpg"))
    run_batch(batch(pictures, out, options=replace(OVERWRITE, form="jpg")))
    with tarfile.open(out) as archive:
        assert {name.rpartition(".")[2] for name in archive.getnames()} == {"jpg"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["in", ""], "The output is an empty name"),
        (["", "out"], "An input is an empty name"),
        (["in", "out", "--memory", "nan"], "memory is nan; allowed: a number above 0 (--memory)"),
        (["in", "out", "--memory", "inf"], "memory is inf; allowed: a number above 0 (--memory)"),
        (["in", "out", "--gpus", "nan", "--engine", "ray"], "gpus is nan; allowed: 0 or more (--gpus)"),
        (["in", "out", "--gpus", "-1", "--engine", "ray"], "gpus is -1.0; allowed: 0 or more (--gpus)"),
        (["in", "out", "--strength", "nan"], "(--strength)"),
        (["in", "out", "--exposure", "inf"], "(--exposure)"),
    ],
)
def test_values_that_are_none_are_told(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(write_pictures(tmp_path / "in", ["a.png"]).parent)
    assert main(["batch", *words, "--model", "tiny", "--dry-run"]) == 2
    assert told in capsys.readouterr().err
