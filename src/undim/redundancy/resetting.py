"""Re-initialising layers for a while, and putting back exactly what was there."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from undim.errors import ModelError, UsageError, suggest
from undim.nets.backbone import Backbone
from undim.nets.dynamic_conv import GeneratedConv2d
from undim.nets.pog import FrozenPogKernel
from undim.nets.registry import REGISTRY
from undim.redundancy.sites import Layer


class Initialisation:
    """Where the values of bare parameters come from: those that no `reset_parameters` draws.

    Registered backbones need none of this: theirs (temperatures) are read off a network built anew.

    Args:
        fresh: makes the network with its constructor's values; called anew for each layer and seed.
        values: regular expression, searched in the parameter's full name -> the constant that it starts at.

    Raises:
        UsageError: if an expression is none, or a constant is not finite.

    Examples:
        >>> from undim.redundancy import Initialisation
        >>> start = Initialisation(values={"temperature$": 1.0})  # what your network's constructor gives it
    """

    def __init__(self, fresh: Callable[[], nn.Module] | None = None, values: Mapping[str, float] | None = None) -> None:
        self._fresh = fresh
        self._values = dict(values or {})
        for pattern, constant in self._values.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise UsageError(f"{pattern!r} is not a regular expression: {error}.") from error
            if not math.isfinite(constant):
                raise UsageError(f"A parameter cannot start at {constant}: give {pattern!r} a finite number.")
        self._known: dict[tuple[str, int], Tensor] = {}
        self._random: bool | None = None

    def value(self, model: nn.Module, name: str, owner: nn.Module, seed: int) -> Tensor:
        """The constructor's value of the parameter `name`, held by the module `owner`, broadcastable to its shape.

        Raises:
            ModelError: if nothing says what it is.
        """
        for pattern, constant in self._values.items():
            if re.search(pattern, name):
                return torch.tensor(float(constant))
        if isinstance(model, Backbone):
            known = _constructed(type(model))
            constant_of = known.get((type(owner).__qualname__, name.rpartition(".")[2]), known.get(("", name)))
            if constant_of is not None:
                return torch.tensor(constant_of)
        if self._fresh is not None and self._draws():
            if (name, seed) not in self._known:
                with _seeded(derive_seed(seed, name)):
                    made = dict(self._fresh().named_parameters(remove_duplicate=False))
                if name not in made:
                    raise ModelError(f"{name} cannot be re-initialised: the network that was made anew has none.")
                self._known[name, seed] = made[name].detach().cpu()
            return self._known[name, seed]
        raise ModelError(
            f"{name} cannot be re-initialised: no reset_parameters draws it, and its constructor's value is not known."
            " Give it as a constant, Initialisation(values={regular expression: number}), or choose layers without.",
            code="bare-parameter",
            subject=name,
        )

    def _draws(self) -> bool:
        """Whether the factory gives random weights, not trained ones: two of its networks differ."""
        if self._random is None and self._fresh is not None:
            made = []
            for seed in (0, 1):
                with _seeded(seed):
                    made.append(self._fresh().state_dict())
            self._random = any(not torch.equal(made[0][name], made[1][name]) for name in made[0])
        return bool(self._random)


@contextmanager
def reset(
    model: nn.Module,
    layer: Layer | str | Sequence[Layer | str],
    seed: int,
    *,
    initialisation: Initialisation | None = None,
) -> Iterator[None]:
    """Re-initialise layers inside a `with` block; afterwards, also after an exception, all is bit for bit as before.

    Every module of the layer that has a `reset_parameters` draws its parameters by it, as its type does by default;
    parameters that none draws get their constructor's value. Buffers (running statistics, memories, pruning masks) are
    no parameters: they stay, and what a mask pruned stays zero. The numbers are drawn on the CPU in float32 from a
    generator that the seed and the layer's name determine, so that layers and seeds are independent draws, the same on
    every device, and the caller's random numbers are not touched.

    Args:
        model: the network that the layers are in.
        layer: of `layers(model)`, a module path, or several of them.
        seed: of the draw.
        initialisation: for networks of other code with bare parameters.

    Raises:
        ModelError: if there is no such layer, or a parameter cannot be re-initialised; the network is as it was.

    Examples:
        >>> import torch
        >>> from undim.nets import create_model
        >>> from undim.redundancy import layers, reset
        >>> model = create_model("candela_tiny")
        >>> weights = max(layers(model)[0].module.parameters(), key=torch.Tensor.numel)
        >>> before = weights.clone()
        >>> with reset(model, layers(model)[0], seed=0):
        ...     during = weights.clone()
        >>> bool(torch.equal(before, during)), bool(torch.equal(before, weights))
        (False, True)
    """
    several = [layer] if isinstance(layer, Layer | str) else list(layer)
    chosen = [_look_up(model, each) if isinstance(each, str) else each for each in several]
    source = initialisation or Initialisation()
    undo: list[Callable[[], None]] = []
    try:
        with torch.inference_mode(mode=False), torch.no_grad():
            for each in chosen:
                with _seeded(derive_seed(seed, each.name)):
                    _reinitialise(model, each, seed, source, undo)
        yield
    finally:
        _restore(undo)


def find_bare_values(
    model: nn.Module, groups: Iterable[Sequence[Layer]], seed: int, initialisation: Initialisation | None = None
) -> dict[str, float | list[float]]:
    """What resets of groups of layers put into parameters that no `reset_parameters` draws, by their full names.

    Raises:
        ModelError: as `reset`.
    """
    noting = _Noting(initialisation or Initialisation())
    for group in groups:
        with reset(model, group, seed, initialisation=noting):
            pass
    return noting.noted


class _Noting(Initialisation):
    """Gives the values of another, and notes them."""

    def __init__(self, source: Initialisation) -> None:
        super().__init__()
        self._source = source
        self.noted: dict[str, float | list[float]] = {}

    def value(self, model: nn.Module, name: str, owner: nn.Module, seed: int) -> Tensor:
        value = self._source.value(model, name, owner, seed)
        self.noted[name] = value.item() if value.numel() == 1 else value.flatten().tolist()
        return value


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers that a seed determines; afterwards the caller's go on, on every device."""
    on_gpus = torch.cuda.is_initialized()  # else nothing can have drawn there, and what is seeded now would stay
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if on_gpus else ()):
        torch.default_generator.manual_seed(seed)
        if on_gpus:
            torch.cuda.manual_seed_all(seed)
        yield


def _restore(undo: list[Callable[[], None]]) -> None:
    """Undo what was done, the last thing first; an interrupt in the midst of it waits until all is undone."""
    interrupt: KeyboardInterrupt | None = None
    while undo:
        try:
            undo[-1]()
            undo.pop()
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def derive_seed(seed: int, name: str) -> int:
    """A seed of 63 bits that a seed and a name determine."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") >> 1


def _look_up(model: nn.Module, name: str) -> Layer:
    known = dict(model.named_modules())
    if not name or name not in known:
        raise ModelError(f"{type(model).__name__} has no layer {name!r}.{suggest(name, known)}")
    return Layer(name, known[name])


def _reinitialise(
    model: nn.Module, layer: Layer, seed: int, source: Initialisation, undo: list[Callable[[], None]]
) -> None:
    touched = list(layer.modules())
    for path, module in touched:
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelError(f"{layer.name} is a ScriptModule: give the network before torch.jit.script or trace.")
        if parametrize.is_parametrized(module):
            raise ModelError(f"{layer.name}.{path} is parametrized: only plain parameters can be re-initialised.")
        if isinstance(module, FrozenPogKernel):
            raise ModelError(f"{layer.name}.{path} is frozen: give the network as it was before undim.nets.freeze.")
    drafts: dict[nn.Parameter, Tensor] = {}
    owners: dict[nn.Parameter, tuple[str, nn.Module]] = {}
    for path, module in touched:
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in drafts:
                continue
            full_name = ".".join(filter(None, (layer.name, path, name)))
            if parameter.is_inference():
                raise ModelError(f"{full_name} was made in inference mode: build the network outside of it.")
            if not (parameter.is_floating_point() or parameter.is_complex()):
                raise ModelError(f"{full_name} cannot be re-initialised: it holds {parameter.dtype}.")
            undo.append(functools.partial(setattr, parameter, "data", parameter.data))
            drafts[parameter] = parameter.data
            owners[parameter] = full_name, module
            # NaN shows afterwards what nothing has drawn.
            kind = torch.complex64 if parameter.is_complex() else torch.float32
            parameter.data = torch.full(parameter.shape, math.nan, dtype=kind)
    for _, module in reversed(touched):  # children first, as in constructors
        with _in_place(module), _through_masks(module, undo):
            _draw(module)
    for parameter, before in drafts.items():
        if bool(parameter.isnan().any()):
            name, owner = owners[parameter]
            parameter.data = source.value(model, name, owner, seed).expand(parameter.shape).clone()
        parameter.data = torch.empty_like(before).copy_(parameter.data)
    for _, module in touched:
        _apply_masks(module)


def _draw(module: nn.Module) -> None:
    """Draw a module's own parameters as its type does by default, if it can."""
    if isinstance(module, GeneratedConv2d):
        if module.bias is not None:
            shape = getattr(module.generator, "shape", (1, module.in_channels // module.groups))
            fan_in = math.prod(shape[1:])
            nn.init.uniform_(module.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))  # as nn.Conv2d does
        return
    for name in ("reset_parameters", "_reset_parameters"):  # the second is nn.MultiheadAttention's
        draw = getattr(module, name, None)
        if callable(draw):
            draw()
            return


@contextmanager
def _in_place(module: nn.Module) -> Iterator[None]:
    """Let `reset_parameters` work on copies of buffers, and keep the parameters where it puts others in their place."""
    buffers, parameters = dict(module._buffers), dict(module._parameters)
    try:
        for name, buffer in buffers.items():
            module._buffers[name] = None if buffer is None else buffer.clone()
        yield
    finally:
        for name, parameter in parameters.items():
            drawn = module._parameters.get(name)
            if parameter is not None and drawn is not None and drawn is not parameter:
                parameter.data = drawn.data
        module._buffers.update(buffers)
        module._parameters.update(parameters)


def _masked(module: nn.Module) -> list[str]:
    """Names of the tensors that `torch.nn.utils.prune` computes from NAME_orig and NAME_mask at each call."""
    return [name[: -len("_mask")] for name in module._buffers if name.endswith("_mask")]


@contextmanager
def _through_masks(module: nn.Module, undo: list[Callable[[], None]]) -> Iterator[None]:
    """Let `reset_parameters` draw a pruned tensor as a whole, and hand the result to NAME_orig."""
    names = [name for name in _masked(module) if f"{name}_orig" in module._parameters]
    for name in names:
        undo.append(functools.partial(setattr, module, name, getattr(module, name)))
        setattr(module, name, torch.full_like(getattr(module, name), math.nan, device="cpu", requires_grad=False))
    yield
    for name in names:
        original = module._parameters[f"{name}_orig"]
        if original is not None:
            original.data = getattr(module, name)


def _apply_masks(module: nn.Module) -> None:
    for name in _masked(module):
        original, mask = module._parameters.get(f"{name}_orig"), module._buffers[f"{name}_mask"]
        if original is not None and mask is not None:
            setattr(module, name, original.detach() * mask)


@functools.cache
def _constructed(kind: type[Backbone]) -> dict[tuple[str, str], float]:
    """Constructor's values of a registered backbone's parameters that are constant: (class, attribute) -> value.

    A list of parameters has no attributes of its own: there ("", full name) -> value.
    Read off its smallest variant, made anew: what a parameter starts at does not depend on the width.
    """
    variants = [variant for variant in REGISTRY.values() if variant.build is kind]
    sizes: list[tuple[int, int]] = []
    for index, variant in enumerate(variants):
        with torch.device("meta"):
            sizes.append((sum(p.numel() for p in variant.build(**variant.settings).parameters()), index))
    if not sizes:
        return {}
    smallest = variants[min(sizes)[1]]
    with torch.random.fork_rng(devices=[]):
        model = smallest.build(**{**smallest.settings, **kind.switched_on})
    seen: dict[tuple[str, str], set[float]] = {}
    for path, module in model.named_modules():
        listed = isinstance(module, nn.ParameterList)
        for name, parameter in module.named_parameters(recurse=False):
            low, high = (float(parameter.min()), float(parameter.max())) if parameter.numel() else (0.0, 1.0)
            key = ("", f"{path}.{name}") if listed else (type(module).__qualname__, name)
            seen.setdefault(key, set()).update((low, high))
    return {key: values.pop() for key, values in seen.items() if len(values) == 1}
