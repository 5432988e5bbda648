"""The registered networks: a plain dict from name to constructor and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from undim.errors import ModelError, suggest
from undim.nets.backbone import Backbone
from undim.nets.hidden_channels import narrow


@dataclass(frozen=True)
class Variant:
    """One named size of a backbone."""

    build: Callable[..., Backbone]
    """The backbone's class; called with `settings`."""
    settings: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    """One line for `undim models`."""


REGISTRY: dict[str, Variant] = {}


def register(variants: dict[str, Variant]) -> None:
    """Add a backbone file's table of variants. Called once at the end of each backbone file."""
    taken = REGISTRY.keys() & variants.keys()
    if taken:
        raise ValueError(f"Registered twice: {', '.join(sorted(taken))}")
    REGISTRY.update(variants)


def list_models() -> list[str]:
    """Names that `create_model` takes, sorted.

    Examples:
        >>> from undim.nets import list_models
        >>> "restormer" in list_models()
        True
    """
    return sorted(REGISTRY)


def create_model(
    name: str,
    *,
    hidden: Mapping[str, int] | None = None,
    **overrides: Any,  # noqa: ANN401 - each backbone has settings of its own
) -> Backbone:
    """Build a registered backbone with random weights.

    Args:
        name: one of `list_models()`.
        hidden: module path of a residual block or feed-forward layer -> number of its hidden channels, where it is to
            have fewer than the backbone gives it, such as `{"encoder1.0": 8}`.
        **overrides: constructor arguments that replace the variant's own, such as `dim=24`.

    Raises:
        ModelError: for an unknown name, an override that the backbone does not have, or a layer without hidden
            channels.

    Examples:
        >>> from undim.nets import create_model
        >>> sum(weights.numel() for weights in create_model("candela_tiny").parameters())
        63237
    """
    if name not in REGISTRY:
        raise ModelError(
            f"There is no model {name!r}.{suggest(name, REGISTRY)} Registered: {', '.join(list_models())}."
        )
    variant = REGISTRY[name]
    try:
        model = variant.build(**{**variant.settings, **overrides})
        narrow(model, hidden or {})
    except (
        AttributeError,
        IndexError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # whatever the layers say to odd settings
        raise ModelError(f"{name} cannot be built with {overrides}: {error}") from error
    return model
