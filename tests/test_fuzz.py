"""Damaged files of every format end in a picture or in one line."""

import importlib.util
from pathlib import Path

import pytest

from undim import Enhancer
from undim.images import FORMATS

_SPEC = importlib.util.spec_from_file_location("fuzz", Path(__file__).parents[1] / "benchmarks" / "fuzz.py")
fuzz = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzz)


@pytest.mark.parametrize("form", FORMATS)
def test_fifty_damaged_files(form, gain, tmp_path):
    counts = fuzz.fuzz(form, 50, 1, Enhancer(gain), tmp_path)
    assert counts["fault"] == 0
    assert counts["picture"] + counts["refused"] == 50
    assert counts["refused"] > 5  # the damage is noticed


def test_sound_files_are_read(gain):
    for form in FORMATS:
        assert {fuzz.feed(content, Enhancer(gain)) for content in fuzz.seeds(form)} == {"picture"}
    content = fuzz.seeds("png")[0]
    assert fuzz.mend_checksums(content) == content
    assert fuzz.mend_checksums(content[:-4] + b"none") == content
