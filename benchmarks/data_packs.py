"""A folder of pictures as packs of at most 50 MB, and back: byte for byte.

    python benchmarks/data_packs.py make ~/pictures/lol_v1 -o packs [--megabytes 50]
    python benchmarks/data_packs.py join packs -o ~/elsewhere/lol_v1

The packs are pieces of one tar file, in which nothing is encoded anew; packs.json holds the SHA-256 of each pack and of
each file. What is joined is checked against both, and takes its place only when all of it is right.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

INDEX = "packs.json"
CHUNK = 2**20


class Packs:
    """A file that is written as several, each of at most `size` bytes."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.sums: dict[str, str] = {}
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._held = 0

    def write(self, data: bytes) -> int:
        """Append, in as many packs as it takes."""
        view = memoryview(data)
        while view:
            if self._file is None:
                self._file = (self.folder / f"pack-{len(self.sums):03d}").open("wb")
                self._digest, self._held = hashlib.sha256(), 0
            part = view[: self.size - self._held]
            self._file.write(part)
            self._digest.update(part)
            self._held += len(part)
            view = view[len(part) :]
            if self._held == self.size:
                self.close()
        return len(data)

    def close(self) -> None:
        """End the pack that is open."""
        if self._file is not None:
            self._file.close()
            self.sums[Path(self._file.name).name] = self._digest.hexdigest()
            self._file = None


class Joined:
    """Packs read one after another as one file; each is checked when its end is reached."""

    def __init__(self, folder: Path, sums: dict[str, str]) -> None:
        self._chunks = self._read(folder, sums)
        self._rest = b""

    def _read(self, folder: Path, sums: dict[str, str]) -> Iterator[bytes]:
        for name, expected in sums.items():
            digest = hashlib.sha256()
            with (folder / name).open("rb") as file:
                while data := file.read(CHUNK):
                    digest.update(data)
                    yield data
            if digest.hexdigest() != expected:
                raise ValueError(f"{folder / name} is damaged: bring it anew")

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        while len(self._rest) < size and (data := next(self._chunks, b"")):
            self._rest += data
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make(source: Path, target: Path, size: int) -> int:
    """Pack a folder; the number of packs."""
    target.mkdir(parents=True)
    files = sorted(path for path in source.rglob("*") if path.is_file())
    packs = Packs(target, size)
    with tarfile.open(fileobj=packs, mode="w|") as tar:  # type: ignore[call-overload]  # all that "w|" needs is write
        for path in files:
            entry = tarfile.TarInfo(path.relative_to(source).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(entry, file)
    packs.close()
    sums = {path.relative_to(source).as_posix(): checksum(path) for path in files}
    (target / INDEX).write_text(json.dumps({"packs": packs.sums, "files": sums}, indent=1), encoding="utf-8")
    return len(packs.sums)


def join(packs: Path, target: Path) -> int:
    """Put a folder together from its packs; the number of files."""
    if target.exists():
        raise ValueError(f"{target} is there already: give another folder")
    index = json.loads((packs / INDEX).read_text(encoding="utf-8"))
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".packs-", dir=target.parent))
    try:
        with tarfile.open(fileobj=Joined(packs, index["packs"]), mode="r|") as tar:  # type: ignore[call-overload]
            tar.extractall(draft, filter="data")
        for name, expected in index["files"].items():
            if checksum(draft / name) != expected:
                raise ValueError(f"{name} is not what was packed")
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return len(index["files"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("make", "join"))
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=50.0, help="of a pack at most, in 10^6 bytes")
    options = parser.parse_args()
    try:
        if options.verb == "make":
            print(f"{options.output}: {make(options.source, options.output, int(options.megabytes * 1e6))} packs")
        else:
            print(f"{options.output}: {join(options.source, options.output)} files, as they were packed")
    except (OSError, ValueError, tarfile.TarError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
