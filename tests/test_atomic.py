"""Files that appear whole or not at all."""

import errno
from pathlib import Path

import pytest

from undim.atomic import replacing


def test_the_draft_is_written_by_its_name_too(tmp_path):
    with replacing(tmp_path / "note") as draft:
        Path(draft.name).write_bytes(b"whole")
        assert not (tmp_path / "note").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    assert (tmp_path / "note").read_bytes() == b"whole"


def test_what_was_there_is_intact_and_the_error_names_the_target(tmp_path):
    target = tmp_path / "note"
    target.write_text("old")
    with pytest.raises(OSError, match="full") as caught, replacing(target) as draft:  # noqa: PT012
        draft.write(b"new")
        raise OSError(errno.ENOSPC, "full", draft.name)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    assert target.read_text() == "old"
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "no" / "note"):
        pass
    assert caught.value.filename == str(tmp_path / "no" / "note")


def test_an_error_about_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "note"):
        (tmp_path / "source").read_bytes()
    assert caught.value.filename == str(tmp_path / "source")
    assert not list(tmp_path.iterdir())
