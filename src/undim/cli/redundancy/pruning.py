"""`undim redundancy prune`."""

from __future__ import annotations

from collections.abc import Sequence

from undim.cli.lines import put
from undim.cli.progress import progress
from undim.cli.redundancy.experiment import Experiment, open_experiment
from undim.cli.redundancy.measures import score
from undim.cli.redundancy.options import Draws, Foreign, Scope, Source
from undim.redundancy import BASELINES, Journal, dmr
from undim.redundancy.ledger import checksum_picture, describe_question
from undim.redundancy.sites import Layer, select
from undim.results.laboratory import PrunedNetwork, PruneDocument, Prunings


def measure_prune(source: Source, foreign: Foreign, scope: Scope, draws: Draws = Draws(seeds=1)) -> None:  # noqa: B008
    """Measure what pruning and quantisation without fine-tuning do to PSNR, DMR and colours (table 5)."""
    study = open_experiment(source, draws, scope, foreign)
    methods = {"unchanged": lambda network: network, **BASELINES}
    layers = select(study.model, study.kind, study.stage).layers
    with Journal(study.folder / "prune.jsonl", study.facts()) as journal:
        journal.ask({**_describe_question(study, layers), "methods": list(methods)})
        with progress("pruning", len(methods) * (len(layers) + 1) * len(study.cases)) as done:
            for name, make in methods.items():
                if journal.find(name=name) is None:
                    network = make(study.model)
                    found = dmr(
                        network,
                        study.images(),
                        kind=study.kind,
                        stage=study.stage,
                        seeds=study.settings.seeds,
                        settings=study.settings,
                        done=done,
                    )
                    peak, chroma = score(study, network, done)
                    row = PrunedNetwork(
                        name=name,
                        psnr=peak,
                        chroma=chroma,
                        dmr=found.mean,
                        interval=found.interval,
                        non_finite=found.non_finite,
                    )
                    journal.append(row.model_dump())
        rows = tuple(PrunedNetwork.model_validate(journal.find(name=name)) for name in methods)
    study.write(PruneDocument, Prunings(rows=rows))
    put(f"prune: {study.title}: {len(methods) - 1} methods in {study.folder / 'prune.md'}\n".encode())


def _describe_question(study: Experiment, layers: Sequence[Layer]) -> dict[str, object]:
    """All that the rows depend on, pictures by their checksums."""
    named = {layer.name: (layer,) for layer in layers}
    settings = study.settings
    question = describe_question("prune", study.model, named, settings.seeds, settings.initialisation)
    return {**question, "pictures": [[checksum_picture(one) for one in pair] for pair in study.pairs()]}
