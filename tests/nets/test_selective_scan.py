import sys
import types

import pytest
import torch

from undim.nets import selective_scan as module
from undim.nets.selective_scan import selective_scan


def one_by_one(inputs, steps, decay, to_state, from_state):
    """The recurrence as it is written."""
    state = torch.zeros(inputs.shape[0], *decay.shape, dtype=inputs.dtype)
    outputs = []
    for t in range(inputs.shape[-1]):
        driven = (steps[..., t] * inputs[..., t]).unsqueeze(-1) * to_state[..., t].unsqueeze(-2)
        state = torch.exp(steps[..., t, None] * decay) * state + driven
        outputs.append((state * from_state[..., t].unsqueeze(-2)).sum(-1))
    return torch.stack(outputs, -1)


def draw(batch, groups, channels, states, length, dtype=torch.float64):
    torch.manual_seed(length)
    return [
        torch.randn(batch, groups, channels, length, dtype=dtype),
        torch.rand(batch, groups, channels, length, dtype=dtype),
        -4 * torch.rand(groups, channels, states, dtype=dtype),
        torch.randn(batch, groups, states, length, dtype=dtype),
        torch.randn(batch, groups, states, length, dtype=dtype),
    ]


@pytest.mark.parametrize("length", [1, 2, 7, 64, 101, 600])
def test_equals_the_plain_loop(length):
    parts = draw(2, 4, 3, 5, length)
    torch.testing.assert_close(selective_scan(*parts), one_by_one(*parts), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("most", [pytest.param(most, marks=pytest.mark.slow) for most in (1, 300, 2**22)])
def test_gradients_are_right_however_the_sequence_is_cut(most, monkeypatch):
    monkeypatch.setattr(module, "STRETCH_STATES", most)
    parts = [part.requires_grad_() for part in draw(2, 2, 2, 3, 23)]
    assert torch.autograd.gradcheck(selective_scan, parts)


def test_stretches_bound_what_is_held_and_change_no_output(monkeypatch):
    parts = draw(1, 4, 3, 5, 600)
    whole = selective_scan(*parts)
    monkeypatch.setattr(module, "STRETCH_STATES", 2000)
    held = []
    gradients = module._gradients

    def watch(stretch, *others):
        held.append(stretch.steps.shape[0] * stretch.start.numel() * stretch.steps.shape[-1])
        return gradients(stretch, *others)

    monkeypatch.setattr(module, "_gradients", watch)
    parts[0].requires_grad_()
    cut = selective_scan(*parts)
    cut.sum().backward()
    torch.testing.assert_close(cut, whole, atol=1e-12, rtol=1e-12)
    assert len(held) > 10
    assert max(held) <= 2000


def test_long_steps_forget_and_nothing_overflows():
    parts = draw(1, 1, 2, 3, 300, torch.float32)
    parts[1] *= 1e4
    parts = [part.requires_grad_() for part in parts]
    selective_scan(*parts).sum().backward()
    assert all(part.grad.isfinite().all() for part in parts)


def find_kernel():
    """As in a new process."""
    return module._find_kernel.__wrapped__()


def test_the_kernel_of_mamba_ssm_is_given_groups_and_channels_as_one_axis(monkeypatch):
    def kernel(inputs, steps, decay, to_state, from_state):
        split = [part.unflatten(1, (4, -1)) for part in (inputs, steps)]
        return one_by_one(*split, decay.unflatten(0, (4, -1)), to_state, from_state).flatten(1, 2)

    fake = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    fake.selective_scan_fn = kernel
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    parts = draw(2, 4, 3, 5, 20)
    found = module._by_kernel(find_kernel(), *parts)
    torch.testing.assert_close(found, one_by_one(*parts))


def test_a_mamba_ssm_that_cannot_be_imported_is_done_without(monkeypatch, tmp_path):
    package = tmp_path / "mamba_ssm" / "ops"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "selective_scan_interface.py").write_text("import selective_scan_cuda_of_another_version")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_kernel() is None
