"""Runs that are stopped on purpose, and what of a run's table may be compared with another's."""

import csv


class StoppedError(Exception):
    """Raised by `stop_at`."""


def stop_at(step):
    """A `report` that ends a training after so many steps."""

    def report(progress):
        if progress.step == step:
            raise StoppedError

    return report


def rows_of(run):
    """The table's rows, by column."""
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def timeless(run):
    """The table's rows without what the clock says."""
    clock = ("seconds", "images_per_second")
    return [{key: value for key, value in row.items() if key not in clock} for row in rows_of(run)]
