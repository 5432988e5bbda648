"""Which numbers a machine multiplies fast."""

from __future__ import annotations

from typing import Literal

import torch

from undim.runtimes.torch_bfloat16 import cpu_multiplies_bfloat16

Precision = Literal["32-true", "bf16-mixed"]


def fast_precision() -> Precision:
    """bfloat16 where the device that Fabric chooses multiplies it in hardware, float32 elsewhere.

    A CPU without such instructions emulates bfloat16, which takes about ten times as long as float32.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.backends.mps.is_available() or cpu_multiplies_bfloat16()
    return "bf16-mixed" if native else "32-true"
