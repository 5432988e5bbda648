"""bfloat16 is chosen where the machine has instructions for it."""

import pytest
import torch

from undim.training.precision import fast_precision


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_f": True, "avx512_bf16": False}, "32-true"), ({"avx512_bf16": True}, "bf16-mixed"), ({}, "32-true")],
)
def test_of_a_cpu(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert fast_precision() == expected


def test_of_a_gpu_emulation_does_not_count(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert fast_precision() == "32-true"
