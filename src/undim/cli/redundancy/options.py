"""The options that verbs share, in groups: a verb takes a group as one parameter, the command line has its fields."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from undim.data.sets import SPLITS, list_sets
from undim.errors import UsageError
from undim.redundancy import WalkSettings


@dataclass(frozen=True)
class Source:
    """A network, pictures, and where the results go."""

    model: Annotated[
        str,
        typer.Argument(
            help="A shipped model's name, an Undim .safetensors file, the folder of a training run, or"
            " package.module:factory, a function without arguments that returns a torch.nn.Module."
        ),
    ]
    data: Annotated[str, typer.Option(metavar="NAME", help=f"Data set: {', '.join(list_sets())}.")]
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="For the results; a run that was killed continues there."),
    ]
    root: Annotated[Path | None, typer.Option(help="The data set's folder; else it is sought in $UNDIM_DATA.")] = None
    low: Annotated[Path | None, typer.Option(help="Of --data folder: the dark pictures.")] = None
    high: Annotated[Path | None, typer.Option(help="Of --data folder: their references.")] = None
    split: Annotated[
        str | None, typer.Option("--split", metavar="|".join(SPLITS), help="Of sets with references; default: val.")
    ] = None
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Take the first N pictures.")] = None
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the network runs.")] = "auto"


@dataclass(frozen=True)
class Foreign:
    """What a network of other code needs."""

    weights: Annotated[
        Path | None, typer.Option(help="Of package.module:factory: .safetensors, or .pth with tensors alone.")
    ] = None
    multiple_of: Annotated[
        int, typer.Option(metavar="N", help="Of package.module:factory: pad sides by reflection, and crop back.")
    ] = 1


@dataclass(frozen=True)
class Scope:
    """Which layers, and what they are reset to."""

    kind: Annotated[
        str, typer.Option(help="Layers: attention, feedforward, all, or a regular expression for module names.")
    ] = "attention"
    stage: Annotated[
        str | None, typer.Option("--stage", help="Of registered backbones, such as latent or decoder.")
    ] = None
    bare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGEX=NUMBER",
            help="Constructor's value of parameters that no layer type initialises; repeatable.",
        ),
    ] = None

    def values(self) -> dict[str, float]:
        """The constructor's values that were given, by regular expression.

        Raises:
            UsageError: for one that is not REGEX=NUMBER.
        """
        values = {}
        for entry in self.bare or []:
            pattern, sign, number = entry.rpartition("=")
            try:
                values[pattern] = float(number)
            except ValueError as error:
                raise UsageError(f"--bare takes REGEX=NUMBER. Got {entry!r}.") from error
            if not sign or not pattern or not math.isfinite(values[pattern]):
                raise UsageError(f"--bare takes REGEX=NUMBER, a finite one. Got {entry!r}.")
        return values


@dataclass(frozen=True)
class Draws:
    """How many random draws, and what they may cost."""

    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Random draws of each layer: seeds 0 to N - 1.")] = 3
    memory: Annotated[
        float, typer.Option(metavar="GB", min=0, help="What reused activations may take, in 10^9 bytes.")
    ] = 1.0
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures of one size that run together.")] = 1
    plain: Annotated[bool, typer.Option("--plain", help="Run the whole network for each reset; reuse nothing.")] = False

    def settings(self) -> WalkSettings:
        """The same as the library takes it."""
        return WalkSettings(tuple(range(self.seeds)), not self.plain, int(self.memory * 1e9), self.batch)


def expand(verb: Callable[..., None]) -> Callable[..., None]:
    """Give Typer a function whose parameters are the fields of the groups that `verb` takes, and its other parameters.

    A group that has a default in `verb` takes the defaults of its fields from there.
    """
    hints = get_type_hints(verb, include_extras=True)
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += _fields(groups[name], parameter.default)
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(verb)
    def flat(**given: object) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
        verb(**given)

    parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # which `inspect` reads
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del flat.__wrapped__  # its parameters are not the ones to look at
    return flat


def _fields(group: type[Any], defaults: object) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=_default(field) if defaults is inspect.Parameter.empty else getattr(defaults, field.name),
        )
        for field in dataclasses.fields(group)
    ]


def _default(field: dataclasses.Field[Any]) -> object:
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
