"""Commands and code on all pages: known verbs and options, code that compiles, and what cannot run says why."""

import json
import re
import shlex
import urllib.parse
from pathlib import Path

import pytest
import typer

from test_command_pages import load_script
from undim.cli.main import VERBS, _command

PROJECT = Path(__file__).parents[1]
BLOCKS = load_script("run_blocks")
LINES = [line for page in BLOCKS.pages() for line in BLOCKS.lines_of(page)]


def refused(words):
    """What the command line has against a command, without running it; None if nothing."""
    if words[0] not in VERBS:
        return f"there is no {words[0]}"
    try:
        _command(words[0], VERBS[words[0]]).make_context(f"undim {words[0]}", list(words[1:]))
    except typer.Exit:
        return None
    except Exception as error:  # Click's errors, from one of two packages
        return getattr(error, "message", None) or repr(error)
    return None


def commands():
    for line in LINES:
        for part in line.code.split("|") if line.language == "sh" else ():
            words = shlex.split(part)
            if words and words[0] == "undim":
                plain = [word for word in words[1:] if word != ">"]
                yield pytest.param(plain, id=f"{line.page.name}: {part.strip()}"[:70])


@pytest.mark.parametrize("words", list(commands()))
def test_verbs_and_options_are_known(words):
    assert refused(words[: words.index("clear.jpg")] if words[-2:] == ["-", "clear.jpg"] else words) is None


def test_an_unknown_option_or_verb_is_found():
    assert "xposure" in refused(["enhance", "a.jpg", "-o", "b.jpg", "--xposure", "1"])
    assert refused(["enhanse", "a.jpg"]) == "there is no enhanse"


def test_python_compiles_and_every_exception_has_a_reason_or_runs_in_a_test_that_exists():
    for line in LINES:
        if line.language == "python":
            compile(line.code, line.page.name, "exec")
    for way in BLOCKS.LIKE:
        assert way.reason or way.adds or way.until or way.needs_data, way.pattern
        for path in re.findall(r"tests/[\w/]+(?:\.py)?", way.reason):
            assert (PROJECT / path).exists(), path
    for path in BLOCKS.IN_TESTS.values():
        assert (PROJECT / path).is_file(), path


def test_every_exception_is_used():
    for way in BLOCKS.LIKE:
        assert any(re.search(way.pattern, line.code) for line in LINES), way.pattern


@pytest.mark.slow
def test_external_links_are_all_listed():
    links = load_script("make_links")
    assert links.TARGET.read_text() == links.make_list(), "docs/external-links.txt is out of date: make pages"
    listed = {line.partition("  ")[0] for line in links.TARGET.read_text().splitlines()}
    markdown = pytest.importorskip("markdown")
    found = set()
    for page in [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("src/undim/models/*.md")]:
        html = markdown.markdown(page.read_text(encoding="utf-8"), extensions=["tables"])
        found |= set(re.findall(r"(?:href|src)=\"(https?://[^\"]+)\"", html))
    outside = {one for one in found if not links.OWN.search(urllib.parse.urlsplit(one).hostname)}
    assert outside
    assert outside <= listed
    assert json.dumps(sorted(listed)) == json.dumps(
        [line.partition("  ")[0] for line in links.make_list().splitlines()]
    )
