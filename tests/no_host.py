"""A mode in which nothing may ask the host for numbers or wait for the device, as far as a CPU can tell.

What a CUDA graph captures must be a function of tensors on the device. On a CPU the same faults show as operators: a
tensor made of Python numbers is lifted, a number that Python reads is a local scalar, and an index of booleans or a
list of places needs to know how many there are.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READS = {"_local_scalar_dense", "is_nonzero", "equal"}
"""Python reads a value."""
MAKES = {"lift_fresh", "lift", "lift_fresh_copy"}
"""A tensor is made of Python numbers."""
COUNTS = {"nonzero", "masked_select", "unique_dim", "_unique", "_unique2", "unique_consecutive", "bincount"}
"""The shape of the result depends on values."""


class HostError(Exception):
    pass


class NoHost(TorchDispatchMode):
    """Raises `HostError` at the first operator that would not be captured."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if name in READS | MAKES | COUNTS:
            raise HostError(name)
        if name in ("index", "index_put_", "index_put"):
            for place in args[1]:
                if place is not None and place.dtype in (torch.bool, torch.uint8):
                    raise HostError(f"{name} by booleans")
        if name == "_to_copy" and kwargs.get("device") not in (None, args[0].device):
            raise HostError(f"a copy from {args[0].device} to {kwargs['device']}")
        if name == "copy_" and args[0].device != args[1].device:
            raise HostError(f"a copy from {args[1].device} to {args[0].device}")
        return func(*args, **kwargs)
