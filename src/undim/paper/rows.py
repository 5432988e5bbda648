"""What rows of the paper's tables are made of: figures of ours beside the paper's, and what columns are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from undim.paper.commands import Making
from undim.paper.measured import Figure, Measurements
from undim.paper.pages import Entry, other_systems

OTHER_NETWORK = (
    "Rows of other systems stand as published. Ten of them can be built here: where somebody has a checkpoint, undim"
    " convert and undim evaluate fill their rows. Any other network joins as package.module:factory, see"
    " docs/other-systems.md."
)


def foreign_notes(labels: Iterable[str]) -> Iterator[str]:
    """What is to be known of the systems that are not built here."""
    for label, text in other_systems()["foreign"].items():
        if label in labels:
            yield f"{label} is measured as foreign code (docs/other-systems.md); in its published figures: {text}."


def make_entry(
    label: str, column: str, paper: float | None, figure: Figure | None, making: Making | None = None
) -> Entry:
    """A figure of ours, or none and what would make it, beside the paper's."""
    if figure is None:
        return Entry(label, column, paper, making=making)
    return Entry(
        label,
        column,
        paper,
        figure.mean,
        figure.spread,
        figure.seeds,
        figure.iterations,
        figure.protocol,
        parameters=figure.parameters,
        caution=figure.caution,
    )


def column_of(data: str, measure: str) -> str:
    """What a column of scores is called."""
    return f"{data}: {'SSIM' if measure == 'ssim' else f'{measure.upper()}, dB'}"


def study_entries(ours: Measurements, column: Callable[[str], str], measure: str) -> Iterator[Entry]:
    """A row for each variant of each study, in the column that its data set has."""
    for name, study in ours.studies.items():
        title = column(ours.data_of(name))
        for row in study.rows:
            figure = ours.study_figure(name, row.variant, measure)
            if figure is not None:
                yield make_entry(f"{name}: {row.variant}", title, None, figure)
