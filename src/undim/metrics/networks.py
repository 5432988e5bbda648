"""A PyTorch network as a function from 8-bit pictures to 8-bit pictures, as the protocol wants it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from undim.metrics.quality import Pixels


def network_enhancer(model: nn.Module) -> Callable[[Pixels], Pixels]:
    """Wrap a network: N x 3 x H x W in [0, 1] to the same shape becomes H x W x 3 8-bit RGB to the same.

    The network is put in evaluation mode and runs in float32 on the device of its parameters; its output is clamped to
    [0, 1] and rounded.
    """
    model.eval()
    device = next(model.parameters()).device

    @torch.no_grad()
    def enhance(pixels: Pixels) -> Pixels:
        image = torch.from_numpy(pixels.copy()).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255
        output = model(image.contiguous(memory_format=torch.channels_last))[0].float()
        result: Pixels = (output.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return result

    return enhance
