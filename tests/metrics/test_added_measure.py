"""A measure that is added as docs/add-a-measure.md says."""

import json

import numpy as np
import pytest
from PIL import Image

from undim.cli.main import main
from undim.errors import ShapeError
from undim.metrics import measures
from undim.metrics.measures import Measure


def mean_absolute_error(output, reference, low):
    if reference is None:
        return None
    if output.shape[1] > 60:
        raise ShapeError("too wide for it.")
    return float(np.abs(output.astype(float) - reference).mean())


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """results.json, results.md and the terminal's table of `undim score` of two pictures with a measure added."""
    monkeypatch.setitem(
        measures.MEASURES, "mae", Measure("mean absolute error", mean_absolute_error, ".2f", "lower is better")
    )
    rng = np.random.default_rng(0)
    for name, width in (("1.png", 40), ("2.png", 64)):
        for side in ("mine", "high"):
            (tmp_path / side).mkdir(exist_ok=True)
            pixels = rng.integers(0, 256, (32, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / name)
    assert main(["score", str(tmp_path / "mine"), str(tmp_path / "high"), "-o", str(tmp_path / "out")]) == 0
    return tmp_path


def test_it_stands_in_the_results(scored):
    found = json.loads((scored / "out/results.json").read_text())
    mine, high = (np.asarray(Image.open(scored / side / "1.png")).astype(float) for side in ("mine", "high"))
    expected = np.abs(mine - high).mean()
    assert found["images"][0]["more"]["mae"] == pytest.approx(expected, abs=1e-12)
    assert found["images"][1]["more"]["mae"] is None
    assert found["more"]["mae"] == pytest.approx(expected, abs=1e-12)
    assert "no mean absolute error (too wide for it)" in found["images"][1]["notes"]
    text = (scored / "out/results.md").read_text()
    assert "| mean absolute error |" in text
    assert f"{expected:.2f}" in text
    assert "mean absolute error (lower is better)" in text
