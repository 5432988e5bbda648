"""The tutorials' code runs, block after block, in a folder that holds examples/ alone. What is marked long does not."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from undim.cli.main import main

PROJECT = Path(__file__).parents[1]
PAGES = sorted((PROJECT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"(<!-- long -->\n)?```(sh|python)\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_tutorials(page, tmp_path, monkeypatch):
    shutil.copytree(PROJECT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    names = {}
    for long, language, code in blocks:
        if language == "python":
            exec(compile(code, page.name, "exec"), names)  # noqa: S102 - the page's own code
            continue
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "undim"
            if not long:
                assert main(words[1:]) == 0, line


def test_every_tutorial_is_on_the_site():
    listed = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f"tutorials/{page.name}" not in listed] == []
