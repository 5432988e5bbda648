"""Write docs/schemas/NAME.json, the JSON schema of each document of results, from the classes that write and read it.

python docs/make_schemas.py
"""

from __future__ import annotations

from pathlib import Path

from undim.results.schemas import DOCUMENTS, spell_schema

FOLDER = Path(__file__).parent / "schemas"


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for document in DOCUMENTS:
        (FOLDER / f"{document.NAME}.json").write_text(spell_schema(document), encoding="utf-8")


if __name__ == "__main__":
    main()
