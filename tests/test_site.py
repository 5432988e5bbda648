"""The site builds offline with every warning as an error, and its pages refer to nothing that would be fetched."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
LOADS = re.compile(r"""<(?:script|img|iframe|link(?=[^>]*rel=.?stylesheet))[^>]*(?:src|href)=["']?https?://""")


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    # A proxy that does not answer: whatever tries to fetch something fails.
    environment = {**os.environ, "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "using.html", "commands.html", "photo.html"} <= {page.name for page in pages}
    assert [page.name for page in pages if LOADS.search(page.read_text(encoding="utf-8"))] == []
    reference = (tmp_path / "reference" / "nets.html").read_text(encoding="utf-8")
    assert 'id="undim.nets.add_adr"' in reference
