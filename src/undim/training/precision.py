"""Which numbers a machine multiplies fast."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["32-true", "bf16-mixed"]
CPU_FEATURES = ("avx512_bf16", "amx_bf16", "avx10_2", "arm_bf16")
"""Each gives a CPU instructions for bfloat16, as `torch.cpu.get_capabilities` names them."""


def fast_precision() -> Precision:
    """bfloat16 where the device that Fabric chooses multiplies it in hardware, float32 elsewhere.

    A CPU without such instructions emulates bfloat16, which takes about ten times as long as float32.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        native = torch.backends.mps.is_available() or any(capabilities.get(name) for name in CPU_FEATURES)
    else:  # before torch 2.10
        native = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return "bf16-mixed" if native else "32-true"
