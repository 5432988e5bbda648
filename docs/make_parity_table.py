"""Write docs/results/parity.md: how near the networks of other systems are to the originals, and how large they are.

    python docs/make_parity_table.py

The originals' outputs, names of weights and counts are the fixtures of the tests, which say how they were made.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path

from undim.nets.flops import GIGA
from undim.paper.networks import SYSTEMS
from undim.paper.pages import other_systems, published
from undim.results.markdown import table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "nets"))
import zoo  # noqa: E402 - a module of the tests

HEAD = (
    "network",
    "system",
    "names of weights",
    "largest difference",
    "parameters",
    "G multiply-adds",
    "table 6 prints",
    "which is",
)


def row(name: str) -> list[str]:
    """What is known of one network."""
    label = next((label for label, network in SYSTEMS.items() if network == name), "")
    figures = json.loads((files("undim") / "networks.json").read_text(encoding="utf-8"))[name]["base"]
    printed = published()["table6"].get(label, {}).get("flops")
    difference = max(zoo.compare_case(name, case) for case in ("a", "b"))
    return [
        f"`{name}`",
        label or "a port of RetinexNet to PyTorch",
        str(len(zoo.official()[name]["keys"])),
        f"{difference:.1g}",
        f"{figures['parameters']:,}",
        f"{figures['flops'] / GIGA:.3f}",
        "-" if printed is None else str(printed),
        other_systems()["flops"].get(label, ""),
    ]


def main() -> None:
    """Write the page."""
    about = (
        "Made by `docs/make_parity_table.py`. Largest difference: of two outputs of the original network, with weights"
        " that a rule makes, as a part of their largest value. Names of weights, and parameters, are those of the"
        " published size. Multiply-adds: at 256 x 256, / 2^30, by fvcore's rule, which counts norms of layers too."
    )
    lines = [
        "# Networks of other systems against the originals",
        "",
        about,
        "",
        *table(HEAD, map(row, sorted(zoo.SYSTEMS))),
        "",
    ]
    (ROOT / "docs" / "results" / "parity.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
