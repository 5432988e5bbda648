"""The documents of results, and the JSON schema of each."""

from __future__ import annotations

import json
from typing import Any

from undim.results.comparison import ComparisonDocument
from undim.results.document import Document
from undim.results.laboratory import LABORATORY
from undim.results.page import PageDocument
from undim.results.scores import ScoresDocument
from undim.results.study import CellDocument, PlanDocument, StudiesDocument

DOCUMENTS: tuple[type[Document], ...] = (
    ScoresDocument,
    ComparisonDocument,
    *LABORATORY.values(),
    PlanDocument,
    CellDocument,
    StudiesDocument,
    PageDocument,
)


def make_schema(document: type[Document]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a document's file. The key `schema` may be missing, as in older files."""
    made = document.model_json_schema()
    first_line = (document.__doc__ or "").partition("\n")[0]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": document.schema_name(),
        "description": f"{first_line} Written by {document.WRITER}.",
        **{key: value for key, value in made.items() if key not in ("title", "description", "properties")},
        "properties": {"schema": {"const": document.schema_name()}, **made["properties"]},
    }


def spell_schema(document: type[Document]) -> str:
    """The text of its file."""
    return json.dumps(make_schema(document), indent=1, ensure_ascii=False) + "\n"
