import pytest
from dark_pictures import lay_fault, write_pictures


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "in", ["a.png", "b.jpg", "sub/c.png", "sub/d.webp", "sub/deep/e.bmp"])


@pytest.fixture
def killing(tmp_path, monkeypatch):
    """Let worker processes die of pictures that begin with `KILLER`."""
    (tmp_path / "fault").mkdir()
    lay_fault(tmp_path / "fault", monkeypatch)
