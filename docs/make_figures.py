"""Make figures 1, 6 and 7 of docs/results on pictures that may be shipped, with the shipped models.

    python docs/make_figures.py [--results docs/results]

Figures 1 and 6: the cat and the cup of examples/, darkened as there to several exposures, with their originals in
scikit-image as references. Figure 7: the pictures of examples/. What was measured in --results stands there, too;
`undim paper all` leaves the sheets as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from make_report_page import make_pictures

from undim.cli.main import main as undim

HERE = Path(__file__).parent
MODELS = ("tiny", "lol", "photo")


def run(*arguments: str | Path) -> None:
    """A command of Undim's."""
    status = undim([str(argument) for argument in arguments])
    if status:
        raise SystemExit(status)


def main() -> None:
    """Measure and make the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    output = parser.parse_args().results
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder)
        pairs = ["--data", "folder", "--low", folder / "low", "--high", folder / "high"]
        alone = ["--data", "folder", "--low", HERE.parent / "examples"]
        places = {figure: folder / figure for figure in ("figure1", "figure6", "figure7")}
        run("redundancy", "poi", "tiny", *pairs, "--save-images", "-o", places["figure1"] / "tiny" / "folder")
        for model in MODELS:
            run("evaluate", model, *pairs, "--save-images", "-o", places["figure6"] / model / "folder")
            run("evaluate", model, *alone, "--save-images", "-o", places["figure7"] / model / "folder")
        for figure, place in places.items():
            run("paper", figure, "--results", place, "--results", output, "-o", output)


if __name__ == "__main__":
    main()
