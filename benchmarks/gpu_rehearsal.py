"""Studies as they are, but tiny: each network in a small size, two steps a cell, one seed.

    python benchmarks/gpu_rehearsal.py studies/gpu_cidnet.yaml -o plans

Each study keeps its name, its variants and what ADR is in them; the figures are of no use.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

LENGTH = {
    "steps": 2,
    "batch": 2,
    "precision": "32-true",
    "validate_every": 2,
    "checkpoint_every": 1,
    "steps_on": "device",
}


def shrink(path: Path) -> dict[str, object]:
    """The content of a study file, tiny."""
    study = yaml.safe_load(path.read_text(encoding="utf-8"))
    published = path.stem.removeprefix("gpu_")
    recipe = (path.parent / study["recipe"]).resolve()
    common = {**study["common"], **LENGTH, "model": {"name": f"{published}_small"}, "data": {"crop": 16}}
    for variant in study["variants"].values():
        adr = variant.get("change", {}).get("model", {}).get("adr")
        if adr is not None:
            adr.update({"bottleneck": 2} | ({"embedding": 4} if "embedding" in adr else {}))
    small = {"recipe": str(recipe), "common": common, "seeds": [0], "measure": {"pictures": 2, "draws": 1}}
    return {**study, **small}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for path in options.studies:
        (options.output / path.name).write_text(yaml.safe_dump(shrink(path), sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
