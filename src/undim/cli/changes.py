"""`--set key=value`, as several verbs take it."""

from __future__ import annotations

from undim.errors import UsageError


def parse_changes(changes: list[str] | None) -> dict[str, str]:
    """Split each key=value.

    Raises:
        UsageError: if one has no sign of equality or no key.
    """
    pairs = {}
    for change in changes or []:
        key, sign, value = change.partition("=")
        if not sign or not key:
            raise UsageError(f"--set takes key=value. Got {change!r}.")
        pairs[key] = value
    return pairs
