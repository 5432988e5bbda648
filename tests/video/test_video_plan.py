"""Which videos paths mean, and what their outputs are called."""

from pathlib import Path

import pytest

from undim.errors import UsageError, VideoError

pytest.importorskip("av")

from undim.video.plan import plan


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Files without content: planning opens none."""
    monkeypatch.chdir(tmp_path)
    names = ["in/a.mp4", "in/sub/b.MOV", "in/sub/c.ogv", "in/pic.jpg", "in/anim.gif", "in/._a.mp4", "in/.hidden/d.mp4"]
    for name in [*names, "in/__MACOSX/a.mp4", "in/Thumbs.db", "one.dv", "two/a.mp4"]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def planned(inputs, output, **options):
    return [
        (task.source.as_posix(), None if task.target is None else task.target.as_posix())
        for task in plan(inputs, output, **options).tasks
    ]


def test_folders_give_their_videos_under_their_names():
    assert planned(["in", "one.dv"], "out") == [
        ("in/a.mp4", "out/a.mp4"),
        ("in/sub/b.MOV", "out/sub/b.MOV"),
        ("in/sub/c.ogv", "out/sub/c.mkv"),
        ("one.dv", "out/one.mkv"),
    ]
    assert not Path("out").exists()


def test_patterns_and_an_output_folder_inside_the_input():
    Path("in/out").mkdir()
    Path("in/out/a.mp4").touch()
    assert planned(["in"], "in/out")[0] == ("in/a.mp4", "in/out/a.mp4")
    assert len(planned(["in"], "in/out")) == 3
    assert planned(["in/*/*.MOV"], "out") == [("in/sub/b.MOV", "out/sub/b.MOV")]


def test_a_link_that_leads_in_circles_is_walked_once():
    Path("in/sub/again").symlink_to(Path("in").absolute())
    assert len(planned(["in"], "out")) == 3


def test_two_of_one_name_get_their_suffixes_into_their_names():
    Path("in/a.ogv").touch()
    Path("in/a.dv").touch()
    names = [target for _, target in planned(["in"], "out")]
    assert names[:3] == ["out/a.dv.mkv", "out/a.mp4", "out/a.ogv.mkv"]


def test_what_cannot_be_told_apart_fails_alone():
    tasks = plan(["in", "two"], "out").tasks
    refused = [task.source.as_posix() for task in tasks if task.refusal]
    assert refused == ["in/a.mp4", "two/a.mp4"]
    assert len(tasks) == 4


def test_outputs_over_inputs_are_refused():
    assert all(task.refusal for task in plan(["in"], "in").tasks if task.source.suffix != ".ogv")


def test_one_file_and_an_output_of_a_given_name():
    assert planned(["in/a.mp4"], "clear.webm") == [("in/a.mp4", "clear.webm")]
    assert plan(["in/a.mp4"], "clear.webm").lone
    assert planned(["in/anim.gif"], "clear.gif") == [("in/anim.gif", "clear.gif")]
    assert planned(["in/a.mp4"], "new/") == [("in/a.mp4", "new/a.mp4")]


@pytest.mark.parametrize(
    ("inputs", "output", "kind", "message"),
    [
        (["none"], "out", UsageError, "no file or folder 'none'"),
        (["none*"], "out", UsageError, "No file matches"),
        (["in/.hidden/../pic.jpg/.."], "out", UsageError, "no file or folder"),
        (["in", "two"], "clear.mp4", UsageError, "takes one file"),
        (["in/a.mp4"], "clear.jpg", VideoError, "is not a kind of video that is written"),
        (["in/__MACOSX/../pic.jpg", "one.dv"], "one.dv/x", UsageError, "is not a folder"),
    ],
)
def test_wrong_use(inputs, output, kind, message):
    with pytest.raises(kind, match=message):
        plan(inputs, output)


def test_a_folder_without_videos_says_so():
    Path("empty").mkdir()
    with pytest.raises(UsageError, match="no video in 'empty'"):
        plan(["empty"], "out")
