"""Whether this machine's CPU multiplies bfloat16 in hardware, as PyTorch sees it."""

from __future__ import annotations

import torch

CPU_FEATURES = ("avx512_bf16", "amx_bf16", "avx10_2", "arm_bf16")
"""Each gives a CPU instructions for bfloat16, as `torch.cpu.get_capabilities` names them."""


def cpu_multiplies_bfloat16() -> bool:
    """Whether it has instructions for it; without them bfloat16 takes about ten times as long as float32."""
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in CPU_FEATURES)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # before torch 2.10; also where it is only emulated
