"""Each picture is handed on once, and only when it has come to rest."""

import os

import pytest

from undim.jobs.plan import Task
from undim.jobs.watch import Arrivals


@pytest.fixture
def arrivals(tmp_path):
    return Arrivals(lambda: [Task(str(path), None) for path in sorted(tmp_path.iterdir())])


def names(tasks):
    return [os.path.basename(task.source) for task in tasks]  # noqa: PTH119


def test_a_file_that_grows_is_waited_for(arrivals, tmp_path):
    assert arrivals.ready() == []
    with (tmp_path / "a.png").open("wb") as file:
        assert arrivals.ready() == []
        assert arrivals.ready() == []  # empty
        for _ in range(3):
            file.write(b"part")
            file.flush()
            assert arrivals.ready() == []
    assert names(arrivals.ready()) == ["a.png"]
    assert arrivals.ready() == []


def test_each_is_handed_on_once_and_again_when_it_changed(arrivals, tmp_path):
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(b"1")
    arrivals.ready()
    assert names(arrivals.ready()) == ["a.png", "b.png"]
    (tmp_path / "a.png").write_bytes(b"22")
    assert arrivals.ready() == []
    assert names(arrivals.ready()) == ["a.png"]
    assert arrivals.ready() == []


def test_what_vanishes_and_comes_back_is_new(arrivals, tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    arrivals.ready()
    (tmp_path / "a.png").unlink()
    assert arrivals.ready() == []
    (tmp_path / "a.png").write_bytes(b"1")
    assert arrivals.ready() == []
    assert names(arrivals.ready()) == ["a.png"]


def test_what_cannot_come_to_rest_is_left(arrivals, tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "empty.png").touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    arrivals.ready()
    assert names(arrivals.ready()) == ["a.png"]
    assert names(arrivals.left()) == ["empty.png", "gone.png"]
    (tmp_path / "was.png").touch()
    arrivals.ready()
    (tmp_path / "was.png").unlink()
    assert names(arrivals.left()) == ["empty.png", "gone.png"], "nobody waits for a file that was taken away"
    (tmp_path / "empty.png").write_bytes(b"1")
    arrivals.ready()
    assert names(arrivals.left()) == ["gone.png"], "one that is being written is neither"
