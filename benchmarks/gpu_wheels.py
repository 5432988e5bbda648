"""A folder of wheels with all that a GPU session needs besides PyTorch, which its machine has.

    python benchmarks/gpu_wheels.py -o wheels [--python 3.12] [--platform manylinux_2_28_x86_64]

Run where there is a network, in the development environment: the versions are those installed here, which
constraints.txt pins. Nothing is fetched on the other machine.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

THERE = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
"""What the other machine has."""
WANTED = ("undim[train]", "pytest")


def close(names: tuple[str, ...]) -> dict[str, str]:
    """Packages, by name, and their versions here, with all that they need."""
    found: dict[str, str] = {}
    waiting = [Requirement(name) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        key = (wanted.name.lower().replace("_", "-"), frozenset(wanted.extras))
        if key in seen or THERE.fullmatch(key[0]):
            continue
        seen.add(key)
        try:
            there = distribution(wanted.name)
        except PackageNotFoundError:
            raise SystemExit(f"{wanted.name} is not installed here: install the development environment") from None
        if key[0] != "undim":
            found[key[0]] = there.version
        for line in there.requires or ():
            needed = Requirement(line)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}")
    parser.add_argument("--platform", default="manylinux_2_28_x86_64")
    parser.add_argument("--list", action="store_true", help="name the packages and fetch nothing")
    options = parser.parse_args()
    pinned = [f"{name}=={version}" for name, version in sorted(close(WANTED).items())]
    if options.list:
        print("\n".join(pinned))
        return 0
    platforms = [options.platform, "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_27_x86_64"]
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "-d", str(options.output)]
    words += ["--python-version", options.python, "--implementation", "cp"]
    words += [word for name in dict.fromkeys(platforms) for word in ("--platform", name)]
    return subprocess.run([*words, *pinned], check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
