"""The manual's way of adding a picture format, followed."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from undim.errors import PictureError
from undim.images import Metadata, Picture, encode_picture, formats, read_picture, write_picture
from undim.images.formats import named
from undim.images.reading import read_format
from undim.images.writing import written_format

MANUAL = Path(__file__).parents[2] / "docs" / "add-a-picture-format.md"


@pytest.fixture
def toy(monkeypatch):
    """The codec that the manual holds, with its row in the table."""
    (code,) = re.findall(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    scope = {"__name__": "toy"}
    exec(compile(code, str(MANUAL), "exec"), scope)  # noqa: S102 - the manual's own text
    codec = scope["Toy"]()
    monkeypatch.setattr(formats, "CODECS", (*formats.CODECS, codec))
    monkeypatch.setitem(formats.FORMATS, codec.name, codec.writes)
    return codec


def test_a_picture_goes_there_and_back(toy, tmp_path, rgb):
    write_picture(Picture(rgb[..., 0].copy(), metadata=Metadata(comments=(b"hello",))), tmp_path / "a.toy", "toy")
    assert (read_format(tmp_path / "a.toy"), written_format("toy"), named("toy")) == ("toy", "toy", toy)
    picture = read_picture(tmp_path / "a.toy")
    np.testing.assert_array_equal(picture.pixels, rgb[..., 0])
    assert (picture.format, picture.metadata.comments, picture.notes) == ("toy", (b"hello",), ())
    with pytest.raises(PictureError, match="limit max_pixels of 62"):
        read_picture(tmp_path / "a.toy", max_pixels=62)
    with pytest.raises(PictureError, match="it has 62 of 63 pixels"):
        read_picture((tmp_path / "a.toy").read_bytes()[:-1])


def test_what_it_does_not_hold_is_noted(toy, rgb):
    deep = rgb.astype(np.uint16) * 257
    stream = io.BytesIO()
    notes = encode_picture(Picture(deep, deep[..., 0], Metadata(xmp=b"<x/>")), stream, "toy")
    assert notes == (
        "the XMP data are not kept: Toy files do not take them",
        "its 16 bits per sample were rounded to 8: Toy files hold no more",
        "its transparency is not kept: Toy files do not take it, it was laid on white",
    )
    assert read_picture(stream.getvalue()).size == (9, 7)


def test_no_other_code_compares_formats_by_name():
    """A format's name as text stands in its own file alone, but for PNG, which is what others become."""
    names = "|".join(codec.name for codec in formats.CODECS if codec.name != "png")
    for path in (Path(formats.__file__).parent).glob("*.py"):
        found = re.findall(rf'[!=]= "(?:{names})"', path.read_text())
        assert found == [], path
