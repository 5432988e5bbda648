"""Where PyTorch runs what is measured, chosen once for all who ask."""

from __future__ import annotations

import torch

from undim.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str = "auto") -> str:
    """Of auto, cpu and cuda, what PyTorch is to run on: cuda where auto finds one.

    On a GPU, convolutions compute in full float32 from then on, as on the CPU.

    Raises:
        UsageError: for another name, or for cuda where there is none (code "no-device").
    """
    check_device(name, torch.cuda.is_available())
    if name == "cpu" or not torch.cuda.is_available():
        return "cpu"
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def check_device(name: str, there_is_cuda: bool) -> None:
    """Raise `UsageError` for a name that is not known, or for cuda where there is none."""
    if name not in DEVICES:
        raise UsageError(
            f"There is no device {name!r}. Known: {', '.join(DEVICES)}.", code="no-device", subject="device"
        )
    if name == "cuda" and not there_is_cuda:
        raise UsageError(
            "PyTorch finds no CUDA device here: give the device auto or cpu.", code="no-device", subject="device"
        )
