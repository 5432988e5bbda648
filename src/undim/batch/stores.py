"""Where files lie: the local file system with the base install, everything else through fsspec.

A store that throttles or fails for a moment is asked again, a few times and ever later; credentials are fsspec's own.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from undim.atomic import replacing
from undim.batch.addresses import is_remote, local_path, scheme_of, shown
from undim.errors import PictureError, UsageError
from undim.installed import add_extra, add_package

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

TRIES = 6
"""How often a store is asked for one thing."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 20.0
"""Seconds before the second try, and at most; each pause is twice the one before, shortened by chance."""
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory", "http", "https"})
"""Schemes of stores in which an object appears whole or not at all."""
_PERMANENT = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError),
    *(ValueError, TypeError, KeyError, NotImplementedError, ImportError, UsageError, MemoryError),
)
_PERMANENT_NUMBERS = {errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL, errno.EDQUOT}
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "s3": "s3fs"}

Value = TypeVar("Value")


@dataclass(frozen=True)
class Entry:
    """A file or folder in a listing."""

    address: str
    name: str
    """The last part of its address."""
    folder: bool
    size: int | None


class Store(Protocol):
    """What batch asks of a place for files. Addresses are whole ones.

    All methods raise OSError where the place refuses, with a message without credentials.
    """

    def list(self, address: str) -> Iterator[Entry]:
        """What lies in a folder, sorted by name."""

    def exists(self, address: str) -> bool:
        """Whether there is a file."""

    def read(self, address: str, offset: int = 0, length: int | None = None) -> bytes:
        """The content of a file, or a part of it."""

    def open(self, address: str) -> BinaryIO:
        """A file to be read from its beginning to its end."""

    def write(self, address: str, content: bytes) -> None:
        """Write a file; it appears whole or not at all."""

    def remove(self, address: str) -> None:
        """Remove a file, if it is there."""


def store_of(address: str) -> Store:
    """The store that an address lies in.

    Raises:
        UsageError: if a package for it is missing, or there is none for the scheme.
    """
    return RemoteStore(address) if is_remote(address) else LocalStore()


class LocalStore:
    """The local file system."""

    def list(self, address: str) -> Iterator[Entry]:
        """See `Store.list`."""
        with os.scandir(local_path(address)) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        for entry in entries:
            folder = entry.is_dir()
            yield Entry(entry.path, entry.name, folder, None if folder else entry.stat().st_size)

    def exists(self, address: str) -> bool:
        """See `Store.exists`."""
        path = local_path(address)
        return os.path.lexists(path) and not path.is_dir()

    def read(self, address: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        path = local_path(address)
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise OSError(errno.EINVAL, "it is not a regular file", address)
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(-1 if length is None else length)

    def open(self, address: str) -> BinaryIO:
        """See `Store.open`."""
        return local_path(address).open("rb")

    def write(self, address: str, content: bytes) -> None:
        """See `Store.write`."""
        path = local_path(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(content)

    def remove(self, address: str) -> None:
        """See `Store.remove`."""
        local_path(address).unlink(missing_ok=True)


class RemoteStore:
    """A place that fsspec knows.

    Args:
        address: of anything in it.
    """

    def __init__(self, address: str) -> None:
        self._scheme = scheme_of(address)
        self._system = _open_system(address)

    def list(self, address: str) -> Iterator[Entry]:
        """See `Store.list`."""
        path = self._path(address)
        found = self._ask(lambda: self._system.ls(path, detail=True, refresh=True), address)
        for entry in sorted(found, key=lambda entry: str(entry["name"])):
            name = str(entry["name"]).rstrip("/")
            if name.rstrip("/") == path.rstrip("/"):
                continue  # the object that some tools put in place of a folder
            whole = name if "://" in name else f"{self._scheme}://{name.lstrip('/')}"
            size = entry.get("size")
            folder = entry.get("type") == "directory"
            yield Entry(whole, name.rpartition("/")[2], folder, size if isinstance(size, int) else None)

    def exists(self, address: str) -> bool:
        """See `Store.exists`."""
        try:
            self._ask(lambda: self._system.info(self._path(address), refresh=True), address)
        except FileNotFoundError:
            return False
        return True

    def read(self, address: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Store.read`."""
        path = self._path(address)
        end = None if length is None else offset + length
        content: bytes = self._ask(lambda: self._system.cat_file(path, start=offset or None, end=end), address)
        if length is not None and not self._scheme.startswith("http") and len(content) > length:
            return content[:length]
        return content[offset : offset + length] if length is not None and len(content) > length else content

    def open(self, address: str) -> BinaryIO:
        """See `Store.open`."""
        stream: BinaryIO = self._ask(lambda: self._system.open(self._path(address), "rb"), address)
        return stream

    def write(self, address: str, content: bytes) -> None:
        """See `Store.write`."""
        path = self._path(address)
        if self._scheme in _WHOLE:
            self._ask(lambda: self._system.pipe_file(path, content), address)
            return
        folder, _, name = path.rpartition("/")
        draft = f"{folder}/.undim-{os.getpid()}-{random.getrandbits(64):016x}.tmp"

        def put() -> None:
            self._system.makedirs(folder, exist_ok=True)
            try:
                self._system.pipe_file(draft, content)
                self._system.mv(draft, f"{folder}/{name}")
            except BaseException:
                with suppress(Exception):
                    self._system.rm_file(draft)
                raise

        self._ask(put, address)

    def remove(self, address: str) -> None:
        """See `Store.remove`."""
        with suppress(FileNotFoundError):
            self._ask(lambda: self._system.rm_file(self._path(address)), address)

    def _path(self, address: str) -> str:
        return str(self._system._strip_protocol(address))

    def _ask(self, call: Callable[[], Value], address: str) -> Value:
        return ask(call, address)


def drop_folders(*addresses: str) -> None:
    """Remove empty folders of the local file system, in this order; object stores have none."""
    for address in addresses:
        if not is_remote(address):
            with suppress(OSError):
                local_path(address).rmdir()


def ask(call: Callable[[], Value], address: str, sleep: Callable[[float], None] | None = None) -> Value:
    """Call until it succeeds, `TRIES` times at most, with growing pauses.

    Args:
        call: what may fail for a moment.
        address: what it is about, for the message.
        sleep: in place of `time.sleep`.

    Raises:
        OSError: what will not change is raised at once as it is; else what the last try said, without credentials.
    """
    pause, left = FIRST_PAUSE, TRIES
    while True:
        left -= 1
        try:
            return call()
        except Exception as error:  # the packages behind fsspec have exceptions of their own
            if not _may_pass(error):
                if isinstance(error, OSError):
                    raise
                raise OSError(errno.EIO, f"{type(error).__name__}: {shown(str(error))}", shown(address)) from None
            if not left:
                detail = shown(getattr(error, "strerror", None) or str(error)) or type(error).__name__
                raise OSError(errno.EIO, f"{detail} (asked {TRIES} times)", shown(address)) from None
        (sleep or time.sleep)(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the workers, nothing more
        pause = min(2 * pause, LONGEST_PAUSE)


def _may_pass(error: Exception) -> bool:
    """Whether another try may do: throttling, a fault of the store, a connection that broke."""
    if isinstance(error, _PERMANENT):
        return False
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 425, 429):
        return False
    return getattr(error, "errno", None) not in _PERMANENT_NUMBERS


def tell(error: OSError) -> str:
    """What a store said, in words for a message."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return shown(error.strerror or str(error) or type(error).__name__)


def read_whole(address: str, offset: int = 0, length: int | None = None) -> bytes:
    """The content of a picture's file.

    Raises:
        PictureError: where the store refuses (code "store").
    """
    try:
        return store_of(address).read(address, offset, length)
    except OSError as error:
        raise PictureError(f"cannot be read: {tell(error)}", code="store") from error


def _open_system(address: str) -> AbstractFileSystem:
    scheme = scheme_of(address)
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(
            f"{scheme}:// addresses need fsspec, which is not installed: {add_extra('remote')}.", code="extra"
        ) from error
    try:
        # Listings would stay in memory for ever, and hide what others write meanwhile.
        options: dict[str, Any] = {} if scheme == "memory" else {"use_listings_cache": False}
        system: AbstractFileSystem = fsspec.core.url_to_fs(address, **options)[0]
    except ImportError as error:
        package = _PACKAGES.get(scheme, error.name or "a package that is not installed")
        raise UsageError(f"{scheme}:// addresses need {package}: {add_package(package)}.", code="extra") from error
    except ValueError as error:
        raise UsageError(f"There is no store for {scheme}:// addresses: {shown(str(error))}.") from error
    return system
