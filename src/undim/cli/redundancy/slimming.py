"""`undim redundancy slim`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from undim.cli.changes import parse_changes
from undim.cli.lines import put
from undim.cli.redundancy.experiment import Experiment, open_experiment
from undim.cli.redundancy.measures import find_dmr, find_harm, score
from undim.cli.redundancy.options import Draws, Source
from undim.cli.training import Changes, Minutes, run_recipe
from undim.errors import UsageError
from undim.nets import count_flops
from undim.nets.backbone import Backbone
from undim.nets.flops import GIGA
from undim.redundancy.cutting import cut_down
from undim.redundancy.kernels import bottleneck_energy
from undim.redundancy.slimming import Evidence, Proposal, measure_time, pattern_of, propose, units
from undim.redundancy.tables import decibels
from undim.results.laboratory import SlimDocument, SlimmedNetwork, Slimming, SlimStep
from undim.shipped import find_plan
from undim.training.continuing import DEFAULTS, model_section
from undim.training.recipe import make_recipe, read_tree
from undim.weights.devices import choose_device
from undim.weights.export import export_onnx
from undim.weights.files import ModelSpec, load_model, read_spec, save_model
from undim.weights.run_files import AVERAGE


def slim_network(
    source: Source,
    draws: Draws,
    fraction: Annotated[float, typer.Option(help="Share of the multiply-adds to save at least.")] = 0.25,
    recipe: Annotated[
        Path | None, typer.Option(help="A .yaml recipe for all but the network, to fine-tune by.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's; 0 does not fine-tune.")] = None,
    train_root: Annotated[Path | None, typer.Option(help="Folder of the recipe's data set.")] = None,
    changes: Changes = None,
    max_minutes: Minutes = None,
) -> None:
    """Leave out the blocks and channels that DMR and POI mark, fine-tune what is left, and export it.

    DIR receives slim.safetensors, slim.onnx, slim.json, slim.md, and the fine-tuning's run folder, run/.
    """
    study = open_experiment(source, draws)
    own = study.spec
    if own is None or not isinstance(study.model, Backbone):
        raise UsageError("slim makes smaller networks of Undim's own backbones: give a .safetensors file or its name.")
    proposal = _propose(study, study.model, own, fraction)
    smaller, spec = cut_down(study.model, own, proposal.cut)
    cut = study.folder / "cut.safetensors"
    save_model(replace(spec, notes={**spec.notes, "slimmed": "not fine-tuned"}), smaller, cut, overwrite=True)
    device = choose_device(source.device)
    rows = [_row("before", study, study.model), _row("cut", study, smaller.to(device))]
    tuned = cut
    if steps != 0:
        tree = {**DEFAULTS} if recipe is None else read_tree(find_plan(recipe))
        tree["model"] = model_section(cut, spec, {} if spec.adr else {"kernel": "none"}, freeze=False)
        if steps is not None:
            tree["steps"] = steps
        if train_root is not None:
            tree["data"] = {**tree.get("data", {}), "root": str(train_root)}
        run = study.folder / "run"
        resume = (run / "recipe.yaml").is_file()
        owner = "The recipe" if recipe is None else str(recipe)
        run_recipe(make_recipe(tree, parse_changes(changes), owner=owner), run, resume, max_minutes, dry_run=False)
        tuned = run / AVERAGE
        rows.append(_row("fine-tuned", study, load_model(tuned).to(device)))
    final = load_model(tuned)
    notes = {**own.notes, **read_spec(tuned).notes, "slimmed": f"{100 * proposal.saved:.1f} % fewer multiply-adds"}
    save_model(replace(spec, notes=notes), final, study.folder / "slim.safetensors", overwrite=True)
    export_onnx(final, study.folder / "slim.onnx", metadata=notes)
    told = tuple(SlimStep(name=step.name, reason=step.reason) for step in proposal.steps)
    study.write(SlimDocument, Slimming(rows=tuple(rows), steps=told, saved=proposal.saved))
    put(
        f"slim: {study.title}: {100 * proposal.saved:.1f} % fewer multiply-adds, PSNR {decibels(rows[0].psnr)} to"
        f" {decibels(rows[-1].psnr)} dB\n".encode()
    )


def _propose(study: Experiment, model: Backbone, spec: ModelSpec, fraction: float) -> Proposal:
    measured: dict[str, Evidence] = {}
    for number, found in enumerate(units(model)):
        part = replace(study, kind=pattern_of(found))
        ratios = find_dmr(part, "reset", f"slim-dmr-{number}").per_layer
        harm = find_harm(part, f"slim-harm-{number}", grouped=False).layers
        measured |= {layer.name: Evidence(ratios[layer.name], harm[layer.name].poi) for layer in found}
    return propose(model, spec, measured, fraction=fraction, energy=bottleneck_energy(model, study.images()))


def _row(name: str, study: Experiment, network: Backbone) -> SlimmedNetwork:
    peak, chroma = score(study, network)
    return SlimmedNetwork(
        name=name,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        gflops=count_flops(network, 256, network.flops_rule) / GIGA,
        milliseconds=measure_time(network),
        psnr=peak,
        chroma=chroma,
    )
