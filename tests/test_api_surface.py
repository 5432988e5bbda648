"""The public names: none goes without a word, and each has an example that runs.

`python tests/test_api_surface.py` writes api_surface.json anew.
"""

import doctest
import importlib
import inspect
import json
import warnings
from pathlib import Path

import pytest

from undim.deprecation import UndimDeprecationWarning, deprecated, resolve_renamed

SURFACE = Path(__file__).with_name("api_surface.json")
ROOMS = ("undim", "undim.deprecation", "undim.hub", "undim.images", "undim.nets", "undim.redundancy")
"""Those whose `__init__` exports names; the rest of Undim is not public."""
WITHOUT_EXAMPLE = {
    "undim.__version__": "text",
    "undim.images.FORMATS": "a table; the example is Format's",
    "undim.images.MAX_PIXELS": "a number",
    "undim.images.PICTURE_SUFFIXES": "a set of texts",
    "undim.redundancy.BASELINES": "a table of the functions that have examples",
    "undim.redundancy.DiversityResult": "what diversity returns, whose example shows it",
    "undim.redundancy.HarmResult": "what harmfulness returns, whose example shows it",
    # propose has an example too, which is not run: it takes seconds. tests/redundancy/test_slimming.py runs it.
    "undim.redundancy.Proposal": "what propose returns, whose example shows it",
}
"""Names that need no example of their own, and why."""
EXAMPLES_ELSEWHERE = ("undim.hub.contents", "undim.hub.store", "undim.installed", "undim.shipped")


def describe(name, value):
    """What must not change unseen: its kind, and its parameters in order, with which may be left out."""
    if not callable(value):
        return {"kind": type(value).__name__}
    if inspect.isclass(value) and issubclass(value, Warning):
        return {"kind": "warning"}
    kind = "class" if inspect.isclass(value) else "function"
    told = [
        f"{'*' * (part.kind == part.VAR_POSITIONAL)}{'**' * (part.kind == part.VAR_KEYWORD)}{part.name}"
        f"{' (keyword)' * (part.kind == part.KEYWORD_ONLY)}{'' if part.default is part.empty else ' = ...'}"
        for part in inspect.signature(value).parameters.values()
    ]
    return {"kind": kind, "parameters": told}


def surface():
    """By room and name."""
    found = {}
    for room in ROOMS:
        module = importlib.import_module(room)
        found[room] = {name: describe(name, getattr(module, name)) for name in sorted(module.__all__)}
    return found


def public():
    """Each public object by its dotted name."""
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            yield f"{room}.{name}", getattr(module, name)


def test_no_public_name_goes_or_changes_unseen():
    kept, now = json.loads(SURFACE.read_text()), surface()
    for room, names in kept.items():
        for name, told in names.items():
            assert now[room].get(name) == told, (
                f"{room}.{name} is gone or takes other arguments. Keep it and let it warn (undim.deprecation) as"
                " docs/stability.md says; if that was done, or arguments were only added at the end:"
                " python tests/test_api_surface.py, and a line in CHANGELOG.md"
            )
    added = {f"{room}.{name}" for room in now for name in now[room]} - {
        f"{room}.{n}" for room in kept for n in kept[room]
    }
    assert not added, "new public names: python tests/test_api_surface.py"


def test_every_public_name_has_an_example():
    finder = doctest.DocTestFinder(recurse=False)
    lacking = {
        name
        for name, value in public()
        if not callable(value) or not any(test.examples for test in finder.find(value, name))
    }
    assert lacking == set(WITHOUT_EXAMPLE)


MODULES = sorted({value.__module__ for _, value in public() if callable(value)} | set(EXAMPLES_ELSEWHERE))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0


@deprecated(instead="brighten", removed_in="9.0")
def lighten(value, *, by=1):
    """Old."""
    return value + by


def test_a_deprecated_function_works_and_warns_where_it_is_called():
    with pytest.warns(
        UndimDeprecationWarning, match=r"^lighten is deprecated and goes away in Undim 9\.0: use brighten\.$"
    ) as w:
        assert lighten(1, by=2) == 3
    assert w[0].filename == __file__
    assert (lighten.__name__, lighten.__doc__) == ("lighten", "Old.")


def test_a_renamed_name_is_the_new_one_and_warns_where_it_is_used():
    redundancy = importlib.import_module("undim.redundancy")
    with pytest.warns(UndimDeprecationWarning, match=r"redundancy\.Settings is deprecated .*WalkSettings") as w:
        assert redundancy.Settings is redundancy.WalkSettings
    assert w[0].filename == __file__
    with pytest.warns(UndimDeprecationWarning):
        assert redundancy.Measured is redundancy.Evidence
    with pytest.raises(AttributeError, match=r"module 'undim.redundancy' has no attribute 'Setings'"):
        _ = redundancy.Setings
    with pytest.raises(AttributeError):
        resolve_renamed("m", "c", {"a": "b"}, {"b": 1, "c": 2}, removed_in="9")


def test_what_goes_away_has_gone_by_its_version():
    from undim.version import __version__

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        redundancy = importlib.import_module("undim.redundancy")
        assert redundancy.Settings
    promised = str(caught[0].message).partition("goes away in Undim ")[2].partition(":")[0]
    assert [int(part) for part in __version__.split(".")[:2]] < [int(part) for part in promised.split(".")]


if __name__ == "__main__":
    SURFACE.write_text(json.dumps(surface(), indent=1) + "\n")
