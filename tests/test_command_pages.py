"""The man page, the reference of commands and the list of checksums are those of the present commands and models."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from undim.cli.main import VERBS, describe_verbs
from undim.cli.manual import make_man_page, make_reference
from undim.cli.tree import Page

DOCS = Path(__file__).parents[1] / "docs"


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # where dataclasses look for their names
    spec.loader.exec_module(module)
    return module


def test_pages_are_up_to_date():
    for path, text in load_script("make_command_pages").make_pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: make pages"


def test_every_verb_and_option_is_described():
    pages = {page.words: page for page in describe_verbs()}
    assert {words.split()[1] for words in pages} == set(VERBS)
    named = " ".join(name for name, _ in pages["undim enhance"].options)
    for option in ("-o, --output OUT", "--model NAME", "--jobs N", "--tile auto|0|N"):
        assert option in named


ODD = Page(
    "undim odd", "[OPTIONS] PATH...", ".dots begin\n\na \\ and | and *", (("PATH...", "'quoted"),), (("-x A|B", "a|b"),)
)


def test_what_roff_and_markdown_take_for_their_own_is_escaped():
    text = make_man_page([ODD], "1")
    for line in ("\\&.dots begin", "a \\e and | and *", "\\&'quoted", ".B \\-x A|B"):
        assert line in text.splitlines()
    assert "| `-x A\\|B` | a\\|b |" in make_reference([ODD]).splitlines()


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_has_nothing_to_say():
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "warning", str(DOCS / "undim.1")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
