"""Addresses of files and stores: what kind they are, what lies in what, and how they are told without credentials."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

from undim.errors import PictureError, UsageError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_USER = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*@")
_QUERY = re.compile(r"(\w://[^\s?'\"]*)\?[^\s'\"]*")
_SECRET_NAME = re.compile(r"(SECRET|TOKEN|PASSWORD|ACCESS_KEY|ACCOUNT_KEY|CONNECTION_STRING|SAS)", re.IGNORECASE)
_SHORTEST_SECRET = 8
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def is_remote(address: str) -> bool:
    """Whether an address has a scheme other than file://."""
    return scheme_of(address) not in ("", "file")


def scheme_of(address: str) -> str:
    """What stands before ://, in lower case; empty for a path."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def local_path(address: str) -> Path:
    """The path that an address without scheme, or with file://, means."""
    return Path(address[len("file://") :] if scheme_of(address) == "file" else address)


def absolute(address: str) -> str:
    """The address as it is from every folder."""
    return address if is_remote(address) else os.path.abspath(local_path(address))  # noqa: PTH100 - links stay


def shown(text: str) -> str:
    """An address or a message without user names, passwords, signatures of links, and secrets of the environment."""
    text = _QUERY.sub(r"\1", _USER.sub("", text))
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name):
            text = text.replace(value, "***")
    return text


def join(address: str, name: str) -> str:
    """A file's address in a folder or store."""
    if is_remote(address):
        return f"{address.rstrip('/')}/{name}"
    return os.fspath(local_path(address) / name)


def join_below(address: str, name: str) -> str:
    """As `join`, for a name that others chose.

    Raises:
        PictureError: if the name leads out of the folder (code "outside").
    """
    found = join(address, name)
    if is_remote(address):
        inside = ".." not in name.split("/")
    else:
        inside = Path(os.path.abspath(found)).is_relative_to(os.path.abspath(local_path(address)))  # noqa: PTH100
    if not inside:
        raise PictureError(f"would become {name!r}, which is not in the destination", code="outside")
    return found


def expand(address: str) -> list[str]:
    """`shard-{000..011}.tar` as the twelve addresses that it means; others as they are.

    Raises:
        UsageError: if the range runs backwards or there are several.
    """
    found = list(_BRACES.finditer(address))
    if not found:
        return [address]
    first, last = found[0].groups()
    if len(found) > 1 or int(first) > int(last):
        raise UsageError(f"{shown(address)!r} is not a range of shards; give one, such as shard-{{000..011}}.tar.")
    begin, end = found[0].span()
    numbers = range(int(first), int(last) + 1)
    return [f"{address[:begin]}{number:0{len(first)}d}{address[end:]}" for number in numbers]


def check_apart(source: str, destination: str) -> None:
    """Raise UsageError where a destination is a source folder or lies in it: its outputs would be inputs next time."""
    if PurePath(place_of(destination)).is_relative_to(place_of(source)):
        raise UsageError(
            f"The destination {shown(destination)!r} lies inside the source {shown(source)!r}: its pictures would be"
            " taken for dark ones next time; give a folder beside it.",
            code="inside-source",
        )


_ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az"}


def place_of(address: str) -> str:
    """What is the same for all ways to write an address: the path behind links, or store and key."""
    if not is_remote(address):
        return os.path.normcase(os.path.realpath(local_path(address)))
    scheme = scheme_of(address)
    rest = _USER.sub("", address)[len(scheme) + 3 :].partition("?")[0]
    parts = [part for part in rest.split("/") if part not in ("", ".")]
    return f"{_ALIASES.get(scheme, scheme)}://{'/'.join(parts)}"
