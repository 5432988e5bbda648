import json
from importlib.resources import files

import pytest

from undim.nets.figures import measure


@pytest.mark.slow
def test_figures_kept_with_the_package_are_those_of_the_networks():
    kept = json.loads((files("undim") / "networks.json").read_text(encoding="utf-8"))
    assert kept == measure(), "run: python -m undim.nets.figures"
