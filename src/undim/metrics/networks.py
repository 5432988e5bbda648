"""A PyTorch network as a function from 8-bit pictures to 8-bit pictures, as the protocol wants it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

from undim.arrays import Bytes
from undim.errors import ModelError


def to_tensor(pixels: Bytes, device: torch.device | None = None) -> Tensor:
    """H x W x 3 8-bit RGB to 1 x 3 x H x W in [0, 1], float32, on that device or the CPU."""
    return torch.from_numpy(pixels.copy()).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255


def network_enhancer(model: nn.Module) -> Callable[[Bytes], Bytes]:
    """Wrap a network: N x 3 x H x W in [0, 1] to the same shape becomes H x W x 3 8-bit RGB to the same.

    The network is put in evaluation mode and runs in float32 on the device of its parameters; its output is clamped to
    [0, 1] and rounded.

    Raises:
        ModelError: by the function that is returned, if the network gives another shape or values that are not finite.
    """
    model.eval()
    first = next(chain(model.parameters(), model.buffers()), None)
    device = torch.device("cpu") if first is None else first.device

    @torch.no_grad()
    def enhance(pixels: Bytes) -> Bytes:
        image = to_tensor(pixels, device)
        output = model(image.contiguous(memory_format=torch.channels_last))
        if not isinstance(output, Tensor) or output.shape != image.shape:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(f"The network returned {got} for {tuple(image.shape)}; it must return the same shape.")
        values = output[0].float()
        if not bool(values.isfinite().all()):
            raise ModelError("The network returned values that are not finite.")
        result: Bytes = (values.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return result

    return enhance
