"""What a service is started with: checked once, before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from undim.errors import UsageError
from undim.hub.finding import find_model_file
from undim.jobs.lanes import count_lanes
from undim.jobs.options import EnhanceOptions
from undim.machine import count_cores
from undim.runtimes.table import reads_of
from undim.shipped import DEFAULT_MODEL, SHIPPED, list_shipped_models

TOKEN_VARIABLE = "UNDIM_TOKEN"  # noqa: S105 - the variable's name, not a token
MEBI = 2**20


@dataclass(frozen=True)
class Settings:
    """What a service is started with.

    Raises:
        UsageError: for a value that is not allowed; its `subject` is the field's name.
    """

    options: EnhanceOptions = field(default_factory=EnhanceOptions)
    """Runtime, precision and tile of all enhancers, and the largest picture; what a request says counts first."""
    models: Mapping[str, str] = field(default_factory=dict)
    """What is offered, by the name that a request gives: a shipped model's name or a model file. The first is the
    default. Empty: all shipped ones."""
    resident: int = 1
    """How many models are loaded at a time."""
    workers: int | None = None
    """Pictures in the network at a time; None: half of the cores, at least two."""
    threads: int | None = None
    """Of each worker; None: as many as the command line's, which gives the same to the last bit only then."""
    decoders: int | None = None
    """Processes that decode and encode; None: one per core."""
    queue: int = 32
    """Requests that may wait, beside those in work; one more is told to come back later."""
    max_body: int = 64 * MEBI
    """Bytes of a request's body."""
    timeout: float = 300.0
    """Seconds for one picture, from the whole body to the answer's first byte."""
    patience: float = 20.0
    """Seconds without progress after which a slow client is given up, and for a request's head altogether."""
    grace: float = 20.0
    """Seconds that pictures in work are given when the service is asked to stop."""
    token: str | None = None
    """What requests must bear, if anything."""
    cors: Sequence[str] = ()
    """Web origins whose pages may use the service, such as https://example.org; none but its own page's if empty."""

    def __post_init__(self) -> None:
        for name in ("resident", "workers", "threads", "decoders", "queue", "max_body"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; allowed: 1 or more.", code="option", subject=name)
        for name in ("timeout", "patience", "grace"):
            value = getattr(self, name)
            if not value >= 0 or (value == 0 and name != "grace"):
                raise UsageError(f"{name} is {value}; allowed: seconds above 0.", code="option", subject=name)
        if self.token is not None and (not self.token.isascii() or not self.token.isprintable() or " " in self.token):
            raise UsageError("A token is printable ASCII without spaces.")
        for origin in self.cors:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest:
                raise UsageError(
                    f"{origin!r} is not a web origin; give one such as https://example.org.",
                    code="option",
                    subject="cors",
                )
        if not self.models:
            shipped = list_shipped_models()
            names = [DEFAULT_MODEL, *(name for name in SHIPPED if name != DEFAULT_MODEL)]
            object.__setattr__(self, "models", {name: name for name in names if name in shipped})
        for model in self.models.values():
            find_model_file(model, reads_of(self.options.runtime))
        object.__setattr__(self, "workers", self.workers or count_lanes())
        object.__setattr__(self, "decoders", self.decoders or max(2, count_cores()))

    @property
    def default(self) -> str:
        """The model of a request that names none."""
        return next(iter(self.models))


def read_models(words: Sequence[str]) -> dict[str, str]:
    """Models by name, from words such as `photo`, `mine=weights/mine.onnx` and `weights/mine.onnx`, which is `mine`.

    Raises:
        UsageError: for two of one name.
    """
    models: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals:
            name, path = Path(word).stem if word not in list_shipped_models() else word, word
        if name in models:
            raise UsageError(f"Two models are called {name!r}; give one another name: NAME=FILE.")
        models[name] = path
    return models


def read_token(path: str | None) -> str | None:
    """The token from a file, or from the environment, or None.

    Raises:
        UsageError: for a file that cannot be read, or an empty token.
    """
    if path is None:
        token = os.environ.get(TOKEN_VARIABLE)
        if token is None:
            return None
        place = f"the environment's {TOKEN_VARIABLE}"
    else:
        place = path
        try:
            token = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise UsageError(f"{path}: the token cannot be read: {reason}.") from error
    if not token.strip():
        raise UsageError(f"The token in {place} is empty.")
    return token.strip()
