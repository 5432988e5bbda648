"""Documents of results: those of earlier versions are read, schemas are those of the classes, damage is named."""

import json
import math
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from undim.errors import UsageError
from undim.paper.measured import FILES, Measurements
from undim.redundancy.harm import HarmResult, LayerHarm
from undim.redundancy.ratios import DmrResult
from undim.results.comparison import ComparisonDocument
from undim.results.document import Document, Number
from undim.results.laboratory import LABORATORY, DmrDocument, LaboratoryDocument
from undim.results.page import PageDocument
from undim.results.schemas import DOCUMENTS, make_schema, spell_schema
from undim.results.scores import ScoresDocument
from undim.results.study import CellDocument, KernelsAtStep, PlanDocument, StudiesDocument

PROJECT = Path(__file__).parents[2]
BEFORE = Path(__file__).parent / "before"
KINDS = {**FILES, **{f"{verb}.json": kind for verb, kind in LABORATORY.items()}}
OTHERS = {"plan.json": PlanDocument, "study.json": StudiesDocument}

YOUNGER = {ComparisonDocument}
"""Those that had the key `schema` from the first."""


def kind_of(path):
    """The class that reads a file of results, by its name and place."""
    if path.parent.name == "cells":
        return CellDocument
    return (KINDS | OTHERS).get(path.name, PageDocument)


FIXTURES = sorted(BEFORE.rglob("*.json"))
COMMITTED = sorted(PROJECT.glob("docs/results/**/*.json"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: str(path.relative_to(BEFORE)))
def test_files_of_earlier_versions_are_read_and_lose_nothing(path, tmp_path):
    before = json.loads(path.read_text())
    assert "schema" not in before
    document = kind_of(path).read(path)
    document.write(tmp_path / path.name)
    after = json.loads((tmp_path / path.name).read_text())
    assert after["schema"] == kind_of(path).schema_name()
    assert_kept(before, after, path.name)
    assert kind_of(path).read(tmp_path / path.name) == document


def assert_kept(before, after, place):
    """All keys and values of the first are in the second."""
    if isinstance(before, dict):
        for key, value in before.items():
            assert key in after, f"{place}.{key}"
            assert_kept(value, after[key], f"{place}.{key}")
    elif isinstance(before, list):
        assert len(before) == len(after), place
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            assert_kept(one, other, f"{place}.{number}")
    else:
        assert before == after, place


def test_every_document_that_there_was_has_a_file_of_an_earlier_version():
    assert {kind_of(path) for path in FIXTURES} == set(DOCUMENTS) - YOUNGER


def test_folders_of_earlier_versions_make_pages():
    ours = Measurements([BEFORE / "measured", BEFORE / "study"])
    assert ours.networks(ScoresDocument) == ["tiny"]
    assert [one.seed for one in ours.findings("tiny", "lol-v1", DmrDocument)] == [0]
    assert ours.figure("tiny", "lol-v1", DmrDocument, lambda one: one.result.mean).iterations is not None
    assert [row.variant for row in ours.studies["a_candela_tiny"].rows if row.seeds] == ["base", "pog"]


def test_a_run_folder_of_an_earlier_version_is_read():
    from undim.study.measures import read_curve

    curve, seconds, rate = read_curve(BEFORE / "run" / "metrics.csv")
    assert len(curve.step) == len(curve.psnr) == len(seconds) == 2
    assert rate > 0
    _, *records = (BEFORE / "run" / "diversity.jsonl").read_text().splitlines()
    assert next(KernelsAtStep.model_validate_json(record).step for record in records) == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.NAME)
def test_schemas_in_docs_are_those_of_the_classes(document):
    path = PROJECT / "docs" / "schemas" / f"{document.NAME}.json"
    assert path.read_text(encoding="utf-8") == spell_schema(document), "run python docs/make_schemas.py"


def test_no_schema_in_docs_is_left_over():
    assert {path.stem for path in (PROJECT / "docs" / "schemas").iterdir()} == {one.NAME for one in DOCUMENTS}


@pytest.mark.slow
def test_committed_results_are_valid_by_their_schemas():
    validators = {document: jsonschema.Draft202012Validator(make_schema(document)) for document in DOCUMENTS}
    assert len(COMMITTED) > 200
    for path in COMMITTED:
        validators[kind_of(path)].validate(json.loads(path.read_text()))


def test_schemas_refuse_what_the_classes_refuse():
    validator = jsonschema.Draft202012Validator(make_schema(ScoresDocument))
    good = json.loads((BEFORE / "measured" / "tiny-s0" / "mef" / "results.json").read_text())
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "niqe": "much"})
    assert not validator.is_valid({**good, "schema": "undim.page/1"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"schema": "undim.plan/2"},
            "plan.json is of version 2 of undim.plan; this Undim reads version 1: update Undim",
        ),
        ({"schema": "undim.scores/1"}, "plan.json is of the kind 'undim.scores/1'; 'undim.plan/1' was expected"),
        ({"schema": 7}, "plan.json is of the kind 7"),
        ({"seeds": ["first"]}, "plan.json is damaged, delete it, and run undim study anew: seeds.0: Input should be"),
        ({"base": "none"}, "the base 'none' is not among the variants"),
    ],
)
def test_what_is_wrong_with_a_document_is_said_in_one_line(tmp_path, change, message):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**json.loads((BEFORE / "study" / "plan.json").read_text()), **change}))
    with pytest.raises(UsageError) as caught:
        PlanDocument.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [("{", "it is not JSON"), ("[1]", "is not what undim study writes")])
def test_what_is_not_a_document_is_named(tmp_path, content, message):
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        PlanDocument.read(path)
    with pytest.raises(UsageError, match=r"gone.json cannot be read: No such file"):
        PlanDocument.read(tmp_path / "gone.json")


def test_keys_of_other_versions_are_kept(tmp_path):
    path = tmp_path / "plan.json"
    content = {**json.loads((BEFORE / "study" / "plan.json").read_text()), "later": {"x": 1}}
    path.write_text(json.dumps(content))
    PlanDocument.read(path).write(path)
    assert json.loads(path.read_text()) == {"schema": "undim.plan/1", **content}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_figures_that_json_cannot_hold_never_get_into_a_document(value):
    class Small(Document):
        NAME = "small"
        psnr: Number

    with pytest.raises(ValidationError, match="finite number"):
        Small(psnr=value)


def test_infinite_ratios_are_null():
    result = DmrResult({"a": ((math.inf, 31.0),), "b": ((math.inf, math.inf),)}, (0,)).as_document()
    assert (result.layers["b"].dmr, result.layers["b"].infinite) == (None, True)
    assert result.layers["a"].ratios == ((None, 31.0),)
    assert "Infinity" not in result.model_dump_json()


def test_results_keep_the_keys_that_notebooks_read():
    """Of `as_dict`, as it was before there were documents."""
    harm = HarmResult((20.0, 21.0), {"a": LayerHarm(((0.1, -0.2),))}, {}, (0,)).as_dict()
    found = json.loads((BEFORE / "measured" / "tiny-s0" / "lol-v1" / "reset.json").read_text())["result"]
    assert set(found) <= set(harm)
    assert set(next(iter(found["layers"].values()))) == set(harm["layers"]["a"])
    assert harm["layers"]["a"]["changes"] == [[0.1, -0.2]]
    ratios = json.loads((BEFORE / "measured" / "tiny-s0" / "lol-v1" / "dmr.json").read_text())["result"]
    assert set(ratios) <= set(DmrResult({"a": ((1.0,),)}, (0,)).as_dict())


def test_laboratory_documents_are_told_apart_by_their_verb():
    assert all(issubclass(kind, LaboratoryDocument) and verb == kind.NAME for verb, kind in LABORATORY.items())
