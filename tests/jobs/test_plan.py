import os
from pathlib import Path

import pytest
from PIL import Image

from undim.errors import UsageError
from undim.jobs.plan import plan


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """in/{a.jpg, notes.txt, deep/{b.PNG, c.gif}}, lone (a JPEG without suffix); the working folder is their parent."""
    monkeypatch.chdir(tmp_path)
    Path("in/deep").mkdir(parents=True)
    image = Image.new("RGB", (4, 4))
    image.save("in/a.jpg")
    image.save("in/deep/b.PNG")
    image.save("in/deep/c.gif")
    image.save("lone", "JPEG")
    Path("in/notes.txt").write_text("no picture")
    return tmp_path


def pairs(tasks):
    return [(task.source, str(task.target), task.format) for task in tasks]


def test_folder_is_mirrored_and_gif_becomes_png(tree):
    assert pairs(plan(["in"], "out")) == [
        ("in/a.jpg", "out/a.jpg", "jpg"),
        ("in/deep/b.PNG", "out/deep/b.PNG", "png"),
        ("in/deep/c.gif", "out/deep/c.png", "png"),
    ]
    assert not Path("out").exists()


def test_format_sets_the_suffix(tree):
    assert [str(task.target) for task in plan(["in", "lone"], "out", "tif")] == [
        "out/a.tif",
        "out/deep/b.tif",
        "out/deep/c.tif",
        "out/lone.tif",
    ]


def test_named_file_keeps_only_its_name_and_is_tried_whatever_its_suffix(tree):
    assert pairs(plan(["in/deep/b.PNG", "lone", "in/notes.txt"], "out")) == [
        ("in/deep/b.PNG", "out/b.PNG", "png"),
        ("lone", "out/lone", "jpg"),
        ("in/notes.txt", "out/notes.txt", None),
    ]


@pytest.mark.parametrize("inputs", [["lone", "in/a.jpg"], ["in"]])
def test_several_pictures_do_not_go_into_one_pictures_name(tree, inputs):
    with pytest.raises(UsageError, match=r"-o all.jpg is the name of one picture, which takes one file: give a folder"):
        plan(inputs, "all.jpg")
    Path("all.jpg").mkdir()  # a folder of that name is one
    assert all(str(task.target).startswith("all.jpg/") for task in plan(inputs, "all.jpg"))


def test_dots_in_names_are_no_suffixes(tree):
    Path("lone").rename("scan.2024")
    assert str(plan(["scan.2024"], "out", "png")[0].target) == "out/scan.2024.png"


def test_pattern_is_relative_to_its_fixed_folder(tree):
    assert [str(task.target) for task in plan(["in/**/*.[jP]*"], "out")] == ["out/a.jpg", "out/deep/b.PNG"]
    assert [str(task.target) for task in plan(["in/de*"], "out")] == ["out/deep/b.PNG", "out/deep/c.png"]


def test_name_with_wildcard_characters_that_exists_is_a_file(tree):
    Path("lone").rename("a[1].jpg")
    assert str(plan(["a[1].jpg"], "out")[0].target) == "out/a[1].jpg"


@pytest.mark.parametrize("inputs", [["nope*"], ["nope.jpg"], []])
def test_inputs_that_mean_nothing_are_errors(tree, inputs):
    with pytest.raises(UsageError):
        plan(inputs, "out")


def test_folder_without_pictures_is_an_error(tree):
    Path("empty").mkdir()
    with pytest.raises(UsageError, match="no picture in 'empty'"):
        plan(["empty"], "out")


def test_output_file_or_folder(tree):
    assert pairs(plan(["in/a.jpg"], "clear.webp")) == [("in/a.jpg", "clear.webp", "webp")]
    assert pairs(plan(["in/*.jpg"], "clear.png")) == [("in/a.jpg", "clear.png", "png")]
    assert str(plan(["in/a.jpg"], "clear")[0].target) == "clear/a.jpg"
    Path("folder.png").mkdir()
    assert str(plan(["in/a.jpg"], "folder.png")[0].target) == "folder.png/a.jpg"


def test_contradictions(tree):
    with pytest.raises(UsageError, match="input is an empty name"):
        plan(["a.jpg", ""], "out")
    with pytest.raises(UsageError, match="output is an empty name"):
        plan(["a.jpg"], "")
    with pytest.raises(UsageError, match="contradicts"):
        plan(["in/a.jpg"], "clear.png", "jpg")
    with pytest.raises(UsageError, match=r"does not write \.gif"):
        plan(["in/a.jpg"], "clear.gif")
    with pytest.raises(UsageError, match="no output format 'gif'"):
        plan(["in/a.jpg"], "clear", "gif")
    with pytest.raises(UsageError, match="not a folder"):
        plan(["in"], "lone")
    with pytest.raises(UsageError, match="not a folder"):
        plan(["in"], "lone/below")
    assert plan(["in/a.jpg"], "clear.jpeg", "jpg")[0].format == "jpg"


def test_pictures_that_would_become_one_file_get_their_old_suffix_into_the_name(tree):
    image = Image.new("L", (2, 2))
    image.save("in/a.png")
    image.save("in/a.gif")
    assert pairs(plan(["in"], "out", "png")) == [
        ("in/a.gif", "out/a.gif.png", "png"),
        ("in/a.jpg", "out/a.jpg.png", "png"),
        ("in/a.png", "out/a.png.png", "png"),
        ("in/deep/b.PNG", "out/deep/b.png", "png"),
        ("in/deep/c.gif", "out/deep/c.png", "png"),
    ]
    assert [str(task.target) for task in plan(["in"], "out")][:3] == ["out/a.gif.png", "out/a.jpg", "out/a.png.png"]


def test_a_name_with_an_old_suffix_is_not_taken_from_another_picture(tree):
    for name in ("a.png", "a.gif", "a.gif.png"):
        Image.new("L", (2, 2)).save(f"in/{name}")
    targets = {task.source: str(task.target) for task in plan(["in"], "out")}
    assert targets["in/a.gif"] == "out/a.gif.png"
    assert targets["in/a.gif.png"] == "out/a.gif.png.png"
    assert len(set(targets.values())) == len(targets)


def test_pictures_of_one_name_are_refused_alone(tree):
    Path("lone").rename("a.jpg")
    tasks = plan(["in", "a.jpg"], "out")
    refused = {task.source: task.refusal for task in tasks if task.refusal is not None}
    assert set(refused) == {"in/a.jpg", "a.jpg"}
    assert "would become 'out/a.jpg', as in/a.jpg would" in refused["a.jpg"]
    assert [str(task.target) for task in tasks if task.refusal is None] == ["out/deep/b.PNG", "out/deep/c.png"]


def test_a_name_once_given_stays_whatever_arrives_later(tree):
    Image.new("L", (2, 2)).save("in/b.gif")
    given = {task.source: task.target for task in plan(["in"], "out")}
    assert str(given["in/b.gif"]) == "out/b.png"
    Image.new("L", (2, 2)).save("in/b.png")
    targets = {task.source: str(task.target) for task in plan(["in"], "out", given=given)}
    assert targets["in/b.gif"] == "out/b.png"
    assert targets["in/b.png"] == "out/b.png.png"


def test_what_macos_and_windows_leave_and_hidden_folders_are_passed_over(tree):
    companion = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
    for name in ("._a.jpg", "deep/._b.PNG", "__MACOSX/a.jpg", ".thumbnails/a.jpg", ".hidden/deep/x.png", "Thumbs.db"):
        path = Path("in", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(companion)
    Image.new("L", (2, 2)).save("in/._real.jpg")  # a picture that somebody called so
    assert [task.source for task in plan(["in"], "out")] == [
        "in/._real.jpg",
        "in/a.jpg",
        "in/deep/b.PNG",
        "in/deep/c.gif",
    ]
    assert [task.source for task in plan(["in/._a.jpg"], "out")] == ["in/._a.jpg"]
    assert len(plan(["in/.hidden"], "out")) == 1  # what is named is meant


def test_videos_in_a_folder_are_told_of_and_one_that_is_named_is_refused(tree):
    Path("in/clip.MP4").write_bytes(b"\0\0\0\x18ftypmp42")
    Path("in/deep/code.ts").write_text("const a = 1;")
    Path("in/deep/film.ts").write_bytes(b"G@\0\x10")
    seen = []
    assert len(plan(["in"], "out", on_video=seen.append)) == 3
    assert seen == ["in/clip.MP4", "in/deep/film.ts"]
    [task] = plan(["in/clip.MP4"], "out")
    assert (task.refusal, task.code) == ("is a video, not a picture", "video")
    Path("clips").mkdir()
    Path("in/clip.MP4").rename("clips/clip.mp4")
    with pytest.raises(UsageError, match="no picture in 'clips', but 1 video"):
        plan(["clips"], "out")


def test_the_same_input_twice_is_one(tree):
    assert len(plan(["in", "in/", "./in/a.jpg"], "out")) == 3


def test_output_on_an_input(tree):
    with pytest.raises(UsageError, match="is the input itself"):
        plan(["in"], "in", "jpg")
    with pytest.raises(UsageError, match="is the input itself"):
        plan(["in/a.jpg"], "in")
    assert plan(["in/a.jpg"], "in", overwrite=True)[0].target == Path("in/a.jpg")
    Path("in/a").mkdir()
    Image.new("L", (2, 2)).save("in/a/b.PNG")
    refused = [task.refusal for task in plan(["in/a", "in/deep/b.PNG"], "in/deep", overwrite=True)]
    assert all("would become 'in/deep/b.PNG'" in refusal for refusal in refused)


def test_output_inside_the_input_is_left_out(tree):
    Path("in/out/deep").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save("in/out/deep/b.png")
    assert [task.source for task in plan(["in"], "in/out")] == ["in/a.jpg", "in/deep/b.PNG", "in/deep/c.gif"]


def test_output_inside_a_pattern_is_left_out(tree):
    Path("in/out/deep").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save("in/out/a.jpg")
    Image.new("RGB", (4, 4)).save("in/out/deep/b.PNG")
    for pattern in ("in/**/*.[jP]*", "in/**"):
        sources = [task.source for task in plan([pattern], "in/out") if task.source.endswith(("jpg", "PNG"))]
        assert sources == ["in/a.jpg", "in/deep/b.PNG"]
    # Here the outputs are meant to replace the inputs.
    assert [str(task.target) for task in plan(["in/*.jpg"], "in", overwrite=True)] == ["in/a.jpg"]


def test_pattern_does_not_climb_behind_a_wildcard(tree):
    with pytest.raises(UsageError, match=r"has \.\. behind a wildcard"):
        plan(["*/../lone"], "out")
    assert str(plan(["in/../l*"], "out")[0].target) == "out/lone"


def test_output_that_would_be_a_folder_of_another(tree):
    Path("other/a/b").mkdir(parents=True)
    Image.new("L", (2, 2)).save("other/a/b/x.png")
    Path("lone").rename("a")
    for inputs in (["a", "other"], ["other", "a"]):
        with pytest.raises(UsageError, match=r"'a' would become the file 'out/a', which 'other/a/b/x.png' needs as a"):
            plan(inputs, "out")


def test_input_in_a_folder_that_may_not_be_searched_does_not_end_the_others(tree, monkeypatch):
    def deny(real):
        def call(path, *rest, **options):
            if isinstance(path, str | os.PathLike) and "deep" in Path(path).parts[:-1]:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *rest, **options)

        return call

    monkeypatch.setattr(os, "stat", deny(os.stat))
    monkeypatch.setattr(os, "lstat", deny(os.lstat))
    tasks = plan(["in/deep/b.PNG", "lone"], "out")
    assert [(task.source, task.refusal) for task in tasks] == [
        ("in/deep/b.PNG", "cannot be opened: Permission denied"),
        ("lone", None),
    ]


def test_links(tree):
    Path("in/deep/loop").symlink_to("..")
    Path("in/again").symlink_to("deep")
    Path("in/broken.jpg").symlink_to("nowhere")
    Path("in/itself.png").symlink_to("itself.png")
    tasks = plan(["in"], "out")
    assert [task.source for task in tasks if task.refusal is None] == ["in/a.jpg", "in/deep/b.PNG", "in/deep/c.gif"]
    assert [task.source for task in tasks if task.refusal] == ["in/broken.jpg", "in/itself.png"]


def test_special_files_are_refused_without_opening_them(tree):
    os.mkfifo("in/pipe.png")
    assert [task.refusal for task in plan(["in"], "out") if task.source == "in/pipe.png"] == ["is not a regular file"]


def test_folder_that_cannot_be_listed_is_a_failure(tree, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    tasks = plan(["in"], "out")
    assert [(task.source, task.refusal) for task in tasks] == [
        ("in/a.jpg", None),
        ("in/deep", "cannot be listed: Permission denied"),
    ]


def test_streams(tree):
    assert plan(["-"], "-")[0].target is None
    assert plan(["-"], "x.png")[0].target == Path("x.png")
    for inputs, output in ((["-", "lone"], "out"), (["-"], "out"), (["in"], "-"), (["lone", "in/a.jpg"], "-")):
        with pytest.raises(UsageError):
            plan(inputs, output)
