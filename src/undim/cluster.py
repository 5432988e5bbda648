"""A Ray cluster: one that is there, or one of this machine alone that ends with its use."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from undim.errors import UsageError
from undim.installed import add_extra

STORE_BYTES = 128 * 2**20
"""Of a cluster on this machine: what goes through it are names and records, never pictures."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is told to anyone
    "RAY_agent_register_timeout_ms": "120000",  # a busy machine is slow, not broken
}
"""What Ray reads when it is imported; what is set already stays."""
_OF_ONE_MACHINE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on 127.0.0.1 alone, on every system as on those
    "RAY_worker_niceness": "0",  # else workers give way to all else on the machine
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one to the home folder
}
_STARTS = 3
"""How often a cluster is started here: Ray gives its processes half a minute, which a busy machine may not have."""


def import_ray(address: str | None = None) -> ModuleType:
    """Ray, told to keep to itself.

    Args:
        address: of the cluster that it is for; None for one on this machine.

    Raises:
        UsageError: if it is not installed.
    """
    for name, value in (_ENVIRONMENT if address is not None else _ENVIRONMENT | _OF_ONE_MACHINE).items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        missing = (error.name or "ray").partition(".")[0]
        raise UsageError(
            f"A Ray cluster needs {missing}, which is not installed: {add_extra('ray')}.", code="extra"
        ) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    module: ModuleType = ray
    return module


@contextmanager
def connected(address: str | None, cores: int) -> Iterator[ModuleType]:
    """While in the block, be connected to a cluster; one that was started here ends with the block.

    Args:
        address: of a cluster, such as "auto"; None starts one.
        cores: that a cluster on this machine shares out.

    Raises:
        UsageError: if Ray is not installed, or the cluster cannot be reached or started.
    """
    ray = import_ray(address)
    if ray.is_initialized():  # by whoever calls this as a library
        yield ray
        return
    folder = None if address is not None else tempfile.mkdtemp(prefix="undim-ray-")
    try:
        if folder is None:
            _init(ray, f"There is no Ray cluster at {address!r}", 1, address=address)
        else:
            _init(
                ray,
                "A Ray cluster cannot be started on this machine",
                _STARTS,
                num_cpus=cores,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                _temp_dir=folder,
            )
        yield ray
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _init(ray: ModuleType, refusal: str, starts: int, **arguments: object) -> None:
    for left in reversed(range(starts)):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
        except Exception as error:  # a plain Exception where a process of the cluster does not start
            ray.shutdown()
            if not left:
                raise UsageError(f"{refusal}: {' '.join(str(error).split())[:200]}", code="cluster") from error
        else:
            return
