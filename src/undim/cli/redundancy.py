"""`undim redundancy`: the laboratory on the command line; each verb writes DIR/VERB.json and DIR/VERB.md."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from torch import Tensor, nn

from undim.atomic import write_text
from undim.cli.evaluate import FOLDER, find_cases, find_device
from undim.cli.finetune import DEFAULTS, model_section
from undim.cli.lines import put, say
from undim.cli.results import prepare, progress
from undim.cli.train import run_recipe
from undim.data.entries import SETS, PairedSet
from undim.data.reading import read_rgb
from undim.data.sets import SPLITS, list_sets
from undim.enhance.models import MODELS_FOLDER, list_shipped_models
from undim.errors import CheckpointError, DataError, ModelError, UndimError, UsageError
from undim.metrics.evaluation import Case
from undim.metrics.networks import network_enhancer
from undim.metrics.quality import psnr
from undim.metrics.report import versions
from undim.nets import count_flops
from undim.nets.backbone import Backbone
from undim.nets.flops import GIGA
from undim.redundancy import (
    BASELINES,
    DmrResult,
    HarmResult,
    Initialisation,
    Journal,
    Settings,
    chroma_error,
    diversity,
    dmr,
    find_blocks,
    harmfulness,
    leave_out,
    poi_over_networks,
    propose,
    reset,
    table_groups,
)
from undim.redundancy.harm import Gain, to_pixels
from undim.redundancy.page import Exhibit, make_page
from undim.redundancy.passes import evaluating
from undim.redundancy.sites import select
from undim.redundancy.slimming import measure_time, pattern_of
from undim.redundancy.tables import make_markdown
from undim.training.recipe import make_recipe, read_tree
from undim.weights.export import export_onnx
from undim.weights.files import ModelSpec, checksum, load_model, read_spec, save_model
from undim.weights.foreign import describe_failure, load_network, names_factory

_RUN_WEIGHTS = ("best.safetensors", "average.safetensors")

redundancy = typer.Typer(
    help="Find out which parameters of a network are harmful, useless or needed.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Model = Annotated[
    str,
    typer.Argument(
        help="A shipped model's name, an Undim .safetensors file, the folder of a training run, or"
        " package.module:factory, a function without arguments that returns a torch.nn.Module."
    ),
]
Data = Annotated[str, typer.Option(metavar="NAME", help=f"Data set: {', '.join(list_sets())}.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="For the results; a run that was killed continues there.")
]
Root = Annotated[Path | None, typer.Option(help="The data set's folder; else it is sought in $UNDIM_DATA.")]
Low = Annotated[Path | None, typer.Option(help="Of --data folder: the dark pictures.")]
High = Annotated[Path | None, typer.Option(help="Of --data folder: their references.")]
SplitName = Annotated[
    str | None, typer.Option("--split", metavar="|".join(SPLITS), help="Of sets with references; default: val.")
]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="Take the first N pictures.")]
Kind = Annotated[
    str, typer.Option(help="Layers: attention, feedforward, all, or a regular expression for module names.")
]
StageName = Annotated[str | None, typer.Option("--stage", help="Of registered backbones, such as latent or decoder.")]
Seeds = Annotated[int, typer.Option(metavar="N", min=1, help="Random draws of each layer: seeds 0 to N - 1.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the network runs.")]
Weights = Annotated[
    Path | None, typer.Option(help="Of package.module:factory: .safetensors, or .pth with tensors alone.")
]
MultipleOf = Annotated[
    int, typer.Option(metavar="N", help="Of package.module:factory: pad sides by reflection, and crop back.")
]
Bare = Annotated[
    list[str] | None,
    typer.Option(
        metavar="REGEX=NUMBER", help="Constructor's value of parameters that no layer type initialises; repeatable."
    ),
]
Memory = Annotated[float, typer.Option(metavar="GB", min=0, help="What reused activations may take, in 10^9 bytes.")]
Batch = Annotated[int, typer.Option(metavar="N", min=1, help="Pictures of one size that run together.")]
Plain = Annotated[bool, typer.Option("--plain", help="Run the whole network for each reset; reuse nothing.")]


@dataclass(frozen=True)
class Study:
    """What a verb works on."""

    title: str
    name: str
    model: nn.Module
    spec: ModelSpec | None
    """Of Undim's own files."""
    file: Path | None
    cases: Sequence[Case]
    data: str
    split: str | None
    notes: tuple[str, ...]
    settings: Settings
    folder: Path
    kind: str
    stage: str | None
    bare: dict[str, float]
    """Constructor's values that were given."""

    def images(self) -> Iterator[Tensor]:
        """The dark pictures, one at a time."""
        for case in self.cases:
            yield _read(case.low)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Dark pictures and references, one pair at a time."""
        for case in self.cases:
            if case.high is None:
                raise DataError(f"{self.data} has no references, which PSNR needs.")
            yield _read(case.low), _read(case.high)

    def facts(self, **more: object) -> dict[str, object]:
        """What results of this study depend on."""
        return {
            "weights": checksum({name: tensor.cpu() for name, tensor in self.model.state_dict().items()}),
            "data": self.data,
            "split": self.split,
            "pictures": [case.name for case in self.cases],
            "kind": self.kind,
            "stage": self.stage,
            "seeds": list(self.settings.seeds),
            "bare": self.bare,
            **more,
        }

    def write(self, verb: str, result: dict[str, Any], adr: str | None = None) -> dict[str, Any]:
        """Write VERB.json and VERB.md; gives what is in the first."""
        written = {
            "verb": verb,
            "title": f"{verb}: {self.title}",
            "model": self.name,
            "file": None if self.file is None else self.file.name,
            "sha256": None if self.file is None else hashlib.sha256(self.file.read_bytes()).hexdigest(),
            "data": self.data,
            "split": self.split,
            "pictures": [case.name for case in self.cases],
            "kind": self.kind,
            "stage": self.stage,
            "adr": adr,
            "seeds": list(self.settings.seeds),
            "device": str(next(self.model.parameters()).device),
            "versions": versions("torch"),
            "notes": [*self.notes, *result.pop("notes", [])],
            "result": result,
        }
        write_text(self.folder / f"{verb}.md", make_markdown(verb, written))
        text = json.dumps(written, indent=1, allow_nan=False, ensure_ascii=False)
        write_text(self.folder / f"{verb}.json", f"{text}\n")
        return written


@redundancy.command("dmr")
def measure_dmr(
    model: Model,
    data: Data,
    output: Output,
    root: Root = None,
    low: Low = None,
    high: High = None,
    split: SplitName = None,
    limit: Limit = None,
    kind: Kind = "attention",
    stage: StageName = None,
    seeds: Seeds = 3,
    adr: Annotated[
        Literal["reset", "keep", "both"], typer.Option(help="Whether a reset attention layer resets its ADR.")
    ] = "both",
    device: Device = "auto",
    weights: Weights = None,
    multiple_of: MultipleOf = 1,
    bare: Bare = None,
    memory: Memory = 1.0,
    batch: Batch = 1,
    plain: Plain = False,
) -> None:
    """Measure how far the output moves when each layer is re-initialised (equation 8, table 4)."""
    settings = _settings(seeds, memory, batch, plain)
    study = _study(model, data, output, (root, low, high, split, limit), settings, (device, weights, multiple_of, bare))
    written = _dmr(replace(study, kind=kind, stage=stage), adr)
    put(f"{written['title']}: DMR {written['result']['mean']:.2f} dB\n".encode())


@redundancy.command("reset")
def measure_reset(
    model: Model,
    data: Data,
    output: Output,
    root: Root = None,
    low: Low = None,
    high: High = None,
    split: SplitName = None,
    limit: Limit = None,
    kind: Kind = "attention",
    stage: StageName = None,
    seeds: Seeds = 3,
    device: Device = "auto",
    weights: Weights = None,
    multiple_of: MultipleOf = 1,
    bare: Bare = None,
    memory: Memory = 1.0,
    batch: Batch = 1,
    plain: Plain = False,
) -> None:
    """Measure how PSNR changes when layers, and whole groups of them, are reset (tables 1 and 2)."""
    settings = _settings(seeds, memory, batch, plain)
    study = _study(model, data, output, (root, low, high, split, limit), settings, (device, weights, multiple_of, bare))
    study = replace(study, kind=kind, stage=stage)
    result = study.write("reset", _harm(study).as_dict())["result"]
    groups = ", ".join(f"{name} {one['change']:+.2f} dB" for name, one in result["groups"].items())
    put(f"reset: {study.title}: {groups or 'no groups'}\n".encode())


@redundancy.command("poi")
def measure_poi(
    model: Model,
    data: Data,
    output: Output,
    root: Root = None,
    low: Low = None,
    high: High = None,
    split: SplitName = None,
    limit: Limit = None,
    kind: Kind = "attention",
    stage: StageName = None,
    seeds: Seeds = 3,
    also: Annotated[
        list[str] | None, typer.Option(help="A network trained from another seed, to compare with; repeatable.")
    ] = None,
    device: Device = "auto",
    weights: Weights = None,
    multiple_of: MultipleOf = 1,
    bare: Bare = None,
    memory: Memory = 1.0,
    batch: Batch = 1,
    plain: Plain = False,
) -> None:
    """Measure which share of the pictures gets better when a layer is reset, and which pictures (table 3, figure 1)."""
    settings = _settings(seeds, memory, batch, plain)
    place, how = (root, low, high, split, limit), (device, weights, multiple_of, bare)
    study = replace(_study(model, data, output, place, settings, how), kind=kind, stage=stage)
    others = {
        name: replace(_study(name, data, output, place, settings, how), kind=kind, stage=stage) for name in also or []
    }
    result = _poi(study, others)["result"]
    shares = [one["poi"] for one in result["layers"].values()]
    put(f"poi: {study.title}: {statistics.fmean(shares):.1f} % on average, at most {max(shares):.1f} %\n".encode())


@redundancy.command("diversity")
def measure_diversity(
    model: Model,
    data: Data,
    output: Output,
    root: Root = None,
    low: Low = None,
    high: High = None,
    split: SplitName = None,
    limit: Limit = None,
    device: Device = "auto",
    weights: Weights = None,
    multiple_of: MultipleOf = 1,
) -> None:
    """Measure how much generated kernels differ between pictures (figures 2b and 5)."""
    study = _study(
        model, data, output, (root, low, high, split, limit), Settings(), (device, weights, multiple_of, None)
    )
    result = _diversity(study)["result"]
    distances = [one["cosine_distance"] for one in result["layers"].values()]
    put(f"diversity: {study.title}: cosine distance {min(distances):.3g} to {max(distances):.3g}\n".encode())


@redundancy.command("prune")
def measure_prune(
    model: Model,
    data: Data,
    output: Output,
    root: Root = None,
    low: Low = None,
    high: High = None,
    split: SplitName = None,
    limit: Limit = None,
    kind: Kind = "attention",
    stage: StageName = None,
    seeds: Seeds = 1,
    device: Device = "auto",
    weights: Weights = None,
    multiple_of: MultipleOf = 1,
    bare: Bare = None,
    memory: Memory = 1.0,
    batch: Batch = 1,
    plain: Plain = False,
) -> None:
    """Measure what pruning and quantisation without fine-tuning do to PSNR, DMR and colours (table 5)."""
    settings = _settings(seeds, memory, batch, plain)
    study = _study(model, data, output, (root, low, high, split, limit), settings, (device, weights, multiple_of, bare))
    study = replace(study, kind=kind, stage=stage)
    methods = {"unchanged": lambda network: network, **BASELINES}
    with Journal(study.folder / "prune.jsonl", study.facts(verb="prune")) as journal:
        layers = len(select(study.model, kind, stage).layers)
        with progress("pruning", len(methods) * (layers + 1) * len(study.cases)) as done:
            for name, make in methods.items():
                if journal.find(name=name) is None:
                    network = make(study.model)
                    found = dmr(
                        network,
                        study.images(),
                        kind=kind,
                        stage=stage,
                        seeds=settings.seeds,
                        settings=study.settings,
                        done=done,
                    )
                    journal.append({"name": name, **_scores(study, network, done), **_brief(found.as_dict())})
        rows = [journal.find(name=name) for name in methods]
    study.write("prune", {"rows": rows})
    put(f"prune: {study.title}: {len(methods) - 1} methods in {study.folder / 'prune.md'}\n".encode())


@redundancy.command("slim")
def slim_network(
    model: Model,
    data: Data,
    output: Output,
    root: Root = None,
    low: Low = None,
    high: High = None,
    split: SplitName = None,
    limit: Limit = None,
    seeds: Seeds = 3,
    fraction: Annotated[float, typer.Option(help="Share of the multiply-adds to save at least.")] = 0.25,
    recipe: Annotated[
        Path | None, typer.Option(help="A .yaml recipe for all but the network, to fine-tune by.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's; 0 does not fine-tune.")] = None,
    train_root: Annotated[Path | None, typer.Option(help="Folder of the recipe's data set.")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Time budget of fine-tuning.")] = None,
    device: Device = "auto",
    memory: Memory = 1.0,
    batch: Batch = 1,
) -> None:
    """Leave out the blocks that DMR and POI mark, fine-tune what is left, and export it.

    DIR receives slim.safetensors, slim.onnx, slim.json, slim.md, and the fine-tuning's run folder, run/.
    """
    settings = _settings(seeds, memory, batch, plain=False)
    study = _study(model, data, output, (root, low, high, split, limit), settings, (device, None, 1, None))
    network, own = study.model, study.spec
    if own is None or not isinstance(network, Backbone):
        raise UsageError("slim makes smaller networks of Undim's own backbones: give a .safetensors file or its name.")
    study = replace(study, kind=pattern_of(find_blocks(network)))
    proposal = propose(network, own, _dmr_result(study, "reset"), _harm(study), fraction=fraction)
    smaller, spec = leave_out(network, own, proposal.blocks)
    cut = study.folder / "cut.safetensors"
    save_model(replace(spec, notes={**spec.notes, "slimmed": "not fine-tuned"}), smaller, cut, overwrite=True)
    rows = [_row("before", study, network), _row("blocks left out", study, smaller.to(find_device(device)))]
    tuned = cut
    if steps != 0:
        tree = {**DEFAULTS} if recipe is None else read_tree(recipe)
        tree["model"] = model_section(cut, spec, {} if spec.adr else {"kernel": "none"}, freeze=False)
        if steps is not None:
            tree["steps"] = steps
        if train_root is not None:
            tree["data"] = {**tree.get("data", {}), "root": str(train_root)}
        run = study.folder / "run"
        resume = (run / "recipe.yaml").is_file()
        plan = make_recipe(tree, owner="The recipe" if recipe is None else str(recipe))
        run_recipe(plan, run, resume, max_minutes, dry_run=False)
        tuned = run / "average.safetensors"
        rows.append(_row("fine-tuned", study, load_model(tuned).to(find_device(device))))
    final = load_model(tuned)
    notes = {**own.notes, **read_spec(tuned).notes, "slimmed": f"{len(proposal.blocks)} blocks left out"}
    save_model(replace(spec, notes=notes), final, study.folder / "slim.safetensors", overwrite=True)
    export_onnx(final, study.folder / "slim.onnx", metadata=notes)
    told = [{"name": ", ".join(step.blocks), "reason": step.reason} for step in proposal.steps]
    study.write("slim", {"rows": rows, "steps": told, "saved": proposal.saved})
    put(
        f"slim: {study.title}: {100 * proposal.saved:.1f} % fewer multiply-adds, PSNR {rows[0]['psnr']:.2f} to"
        f" {rows[-1]['psnr']:.2f} dB\n".encode()
    )


@redundancy.command("report")
def make_report(
    model: Model,
    data: Data,
    output: Output,
    root: Root = None,
    low: Low = None,
    high: High = None,
    split: SplitName = None,
    limit: Limit = None,
    kind: Kind = "attention",
    stage: StageName = None,
    seeds: Seeds = 3,
    device: Device = "auto",
    weights: Weights = None,
    multiple_of: MultipleOf = 1,
    bare: Bare = None,
    memory: Memory = 1.0,
    batch: Batch = 1,
    plain: Plain = False,
) -> None:
    """Measure with dmr, reset, poi and diversity, and make one page of it, DIR/report.html.

    What the folder holds of the same study is taken over, prune.json and slim.json included.
    """
    settings = _settings(seeds, memory, batch, plain)
    study = _study(model, data, output, (root, low, high, split, limit), settings, (device, weights, multiple_of, bare))
    study = replace(study, kind=kind, stage=stage)
    studies: dict[str, dict[str, Any]] = {"dmr": _dmr(study, "both")}
    exhibits: list[Exhibit] = []
    if all(case.high is not None for case in study.cases):
        harm = _harm(study)
        studies["reset"] = study.write("reset", harm.as_dict())
        studies["poi"] = _poi(study, {})
        exhibits = [_exhibit(study, gain) for gain in harm.gains(3)]
    try:
        studies["diversity"] = _diversity(study)
    except ModelError as error:  # a network that generates no kernels, or a single picture
        say(str(error))
    for verb in ("prune", "slim"):
        there = study.folder / f"{verb}.json"
        if there.is_file():
            studies[verb] = json.loads(there.read_text(encoding="utf-8"))
    write_text(study.folder / "report.html", make_page(f"Redundancy of {study.title}", studies, exhibits))
    put(f"report: {study.folder / 'report.html'}\n".encode())


Place = tuple[Path | None, Path | None, Path | None, str | None, int | None]
How = tuple[str, Path | None, int, list[str] | None]


def _study(model: str, data: str, output: Path, place: Place, settings: Settings, how: How) -> Study:
    root, low, high, split, limit = place
    device, weights, multiple_of, bare = how
    if split is None and data != FOLDER and isinstance(SETS.get(data), PairedSet):
        split = "val"
    cases, chosen, notes = find_cases(data, root, low, high, split)
    cases = cases[:limit]
    network, spec, file = _load(model, weights, multiple_of)
    fresh = None if not names_factory(model) else (lambda: load_network(model, None, multiple_of))
    values = _values(bare)
    prepare(output)
    title = f"{model} on {data} ({f'{chosen}, ' if chosen else ''}{len(cases)} pictures)"
    return Study(
        title,
        model,
        network.to(find_device(device)),
        spec,
        file,
        cases,
        data,
        chosen,
        tuple(notes),
        replace(settings, initialisation=Initialisation(fresh, values)),
        output,
        "attention",
        None,
        values,
    )


def _load(model: str, weights: Path | None, multiple_of: int) -> tuple[nn.Module, ModelSpec | None, Path | None]:
    if model not in list_shipped_models() and names_factory(model):
        return load_network(model, weights, multiple_of), None, weights
    if weights is not None or multiple_of != 1:
        raise UsageError(f"--weights and --multiple-of belong to package.module:factory. Got the model {model!r}.")
    path = Path(model)
    if model in list_shipped_models():
        path = MODELS_FOLDER / f"{model}.safetensors"
    elif path.is_dir():
        there = [name for name in _RUN_WEIGHTS if (path / name).is_file()]
        if not there:
            raise CheckpointError(f"The folder {path} holds neither {' nor '.join(_RUN_WEIGHTS)}.")
        path = path / there[0]
    if path.suffix != ".safetensors":
        raise UsageError(
            f"The laboratory opens networks in PyTorch. Got {model!r}: give an Undim .safetensors file, a training"
            f" run's folder, package.module:factory, or one of: {', '.join(list_shipped_models())}."
        )
    return load_model(path), read_spec(path), path


def _settings(seeds: int, memory: float, batch: int, plain: bool) -> Settings:
    return Settings(tuple(range(seeds)), not plain, int(memory * 1e9), batch)


def _values(bare: list[str] | None) -> dict[str, float]:
    values = {}
    for entry in bare or []:
        pattern, sign, number = entry.rpartition("=")
        try:
            values[pattern] = float(number)
        except ValueError as error:
            raise UsageError(f"--bare takes REGEX=NUMBER. Got {entry!r}.") from error
        if not sign or not pattern:
            raise UsageError(f"--bare takes REGEX=NUMBER. Got {entry!r}.")
    return values


def _read(path: Path | None) -> Tensor:
    if path is None:
        raise DataError("There is no dark picture to run the network on.")
    return torch.from_numpy(read_rgb(path).copy()).permute(2, 0, 1).unsqueeze(0).float() / 255


def _dmr_result(study: Study, adr: Literal["reset", "keep", "both"]) -> DmrResult:
    with Journal(study.folder / "dmr.jsonl", study.facts(verb="dmr", adr=adr)) as journal:
        count = len(select(study.model, study.kind, study.stage).layers)
        if adr == "both":
            count += sum(bool(one.kept) for one in select(study.model, study.kind, study.stage, adr="keep").layers)
        with progress("dmr", count * len(study.cases)) as done, _telling(study.name):
            return dmr(
                study.model,
                study.images(),
                kind=study.kind,
                stage=study.stage,
                seeds=study.settings.seeds,
                adr=adr,
                settings=study.settings,
                journal=journal,
                done=done,
            )


def _dmr(study: Study, adr: Literal["reset", "keep", "both"]) -> dict[str, Any]:
    return study.write("dmr", _dmr_result(study, adr).as_dict(), adr)


def _harm(study: Study, journal_name: str = "harm") -> HarmResult:
    """Resets of single layers and of groups: what reset and poi share, measured once."""
    groups = table_groups(study.model)
    with Journal(study.folder / f"{journal_name}.jsonl", study.facts(verb="harm")) as journal:
        count = len(select(study.model, study.kind, study.stage).layers) + len(groups)
        with progress("resetting", count * len(study.cases)) as done, _telling(study.name):
            return harmfulness(
                study.model,
                study.pairs(),
                kind=study.kind,
                stage=study.stage,
                seeds=study.settings.seeds,
                groups=groups,
                settings=study.settings,
                journal=journal,
                done=done,
            )


def _poi(study: Study, others: dict[str, Study]) -> dict[str, Any]:
    own = _harm(study)
    result = own.as_dict()
    if others:
        digests = {name: hashlib.sha256(name.encode()).hexdigest()[:8] for name in others}
        found = {study.name: own, **{name: _harm(one, f"harm-{digests[name]}") for name, one in others.items()}}
        result["networks"] = poi_over_networks(found)
        result["network_names"] = list(found)
    return study.write("poi", result)


def _diversity(study: Study) -> dict[str, Any]:
    with progress("diversity", len(study.cases)) as done, _telling(study.name):
        return study.write("diversity", diversity(study.model, study.images(), done=done).as_dict())


def _exhibit(study: Study, gain: Gain) -> Exhibit:
    case = study.cases[gain.picture]
    low, device = _read(case.low), next(study.model.parameters()).device
    with torch.no_grad(), evaluating(study.model):
        before = study.model(low.to(device)).clamp(0, 1)
        with reset(study.model, gain.layer, gain.seed, initialisation=study.settings.initialisation):
            after = study.model(low.to(device)).clamp(0, 1)
    pictures = [
        ("dark picture", to_pixels(low)),
        (f"as trained, {gain.before:.2f} dB", to_pixels(before)),
        (f"{gain.layer} reset, {gain.after:.2f} dB", to_pixels(after)),
        *([] if case.high is None else [("reference", to_pixels(_read(case.high)))]),
    ]
    return Exhibit(f"Picture {case.name}: better with random weights in {gain.layer}.", tuple(pictures))


def _scores(study: Study, network: nn.Module, done: Callable[[], None] = lambda: None) -> dict[str, float]:
    enhance = network_enhancer(network)
    found: list[tuple[float, float]] = []
    for case in study.cases:
        if case.low is None or case.high is None:
            raise DataError(f"{study.data} has no references, which PSNR needs.")
        result, reference = enhance(read_rgb(case.low)), read_rgb(case.high)
        found.append((psnr(result, reference), chroma_error(result, reference)))
        done()
    scores, colours = zip(*found, strict=True)
    return {"psnr": statistics.fmean(scores), "chroma": statistics.fmean(colours)}


def _brief(found: dict[str, Any]) -> dict[str, Any]:
    return {"dmr": found["mean"], "interval": found["interval"], "non_finite": found["non_finite"]}


def _row(name: str, study: Study, network: Backbone) -> dict[str, Any]:
    return {
        "name": name,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "gflops": count_flops(network, 256, network.flops_rule) / GIGA,
        "milliseconds": measure_time(network),
        **_scores(study, network),
    }


@contextmanager
def _telling(model: str) -> Iterator[None]:
    """Any failure of a network as one line: its code may be anybody's."""
    try:
        yield
    except (UndimError, OSError):
        raise
    except Exception as error:
        raise ModelError(f"{model} failed: {describe_failure(error)}.") from error
