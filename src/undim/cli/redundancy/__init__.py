"""`undim redundancy`: the laboratory on the command line; each verb writes DIR/VERB.json and DIR/VERB.md.

`options` says once what the verbs share; `study` opens what they work on; `measures` are what more than one verb takes.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from undim.cli.redundancy.measuring import measure_diversity, measure_dmr, measure_poi, measure_reset
from undim.cli.redundancy.options import expand
from undim.cli.redundancy.pruning import measure_prune
from undim.cli.redundancy.reporting import make_report
from undim.cli.redundancy.slimming import slim_network

redundancy = typer.Typer(
    help="Find out which parameters of a network are harmful, useless or needed.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_VERBS: dict[str, Callable[..., None]] = {
    "dmr": measure_dmr,
    "reset": measure_reset,
    "poi": measure_poi,
    "diversity": measure_diversity,
    "prune": measure_prune,
    "slim": slim_network,
    "report": make_report,
}
for _name, _verb in _VERBS.items():
    redundancy.command(_name)(expand(_verb))

__all__ = ["redundancy"]
