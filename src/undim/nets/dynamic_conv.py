"""Convolutions whose kernel differs from image to image, and dynamic convolution after Chen et al. 2020.

Paper: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ShapeError


def per_image_conv2d(
    images: Tensor,
    kernels: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve each image of a batch with a kernel of its own.

    A kernel of size 1 runs as one batched matrix product in the memory layout that the images have; larger ones as
    one convolution grouped over the batch.

    Args:
        images: B x Cin x H x W.
        kernels: B x Cout x Cin/groups x k x k.
        bias: Cout, shared by all images.
        stride: step in pixels, the same for both axes.
        padding: zeros added on each side, in pixels.
        dilation: distance between kernel elements, in pixels.
        groups: channel groups within each image.

    Returns:
        B x Cout x H' x W'.

    Raises:
        ShapeError: if batch or channels of the two do not fit, or the kernels are not square.
    """
    if kernels.ndim != 5 or kernels.shape[0] != images.shape[0] or kernels.shape[2] * groups != images.shape[1]:
        raise ShapeError(
            f"Images B x Cin x H x W need kernels B x Cout x Cin/{groups} x k x k. Got images {tuple(images.shape)} and"
            f" kernels {tuple(kernels.shape)}."
        )
    size = kernels.shape[-1]
    if kernels.shape[-2] != size:
        raise ShapeError(f"Kernels must be square. Got {kernels.shape[-2]} x {size}.")
    out_channels = kernels.shape[1]
    if size == 1 and padding == 0 and groups == 1:
        if stride > 1:
            images = images[..., ::stride, ::stride]
        outputs = per_image_channel_map(images, kernels[..., 0, 0])
        return outputs if bias is None else outputs + bias[:, None, None]
    batch, channels, height, width = images.shape
    stacked = F.conv2d(
        images.reshape(1, batch * channels, height, width),
        kernels.flatten(0, 1),
        None if bias is None else bias.repeat(batch),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=batch * groups,
    )
    return torch.unflatten(stacked, 1, (batch, out_channels)).squeeze(0)


def per_image_channel_map(images: Tensor, maps: Tensor) -> Tensor:
    """Mix the channels of each image by a matrix of its own.

    Args:
        images: B x Cin x H x W.
        maps: B x Cout x Cin.

    Returns:
        B x Cout x H x W, in the memory layout of `images`.
    """
    shape = images.shape[-2:]
    if is_channels_last(images):
        pixels = images.flatten(2).transpose(1, 2)  # (B, HW, Cin), a view
        return torch.unflatten((pixels @ maps.transpose(1, 2)).transpose(1, 2), 2, shape)
    return torch.unflatten(maps @ images.flatten(2), 2, shape)


def is_channels_last(images: Tensor) -> bool:
    """Whether B x C x H x W lies in memory pixel by pixel, and not also plane by plane."""
    return images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()


class DynamicKernel(nn.Module):
    """K candidate kernels weighted by an attention over the pooled input.

    kernel = sum_j softmax(fc2(relu(fc1(pooled))) / temperature)_j candidate_j.

    Args:
        in_channels: channels of the pooled input.
        shape: shape of one kernel, (Cout, Cin/groups, k, k).
        candidates: K.
        reduction: the attention's hidden layer has in_channels / reduction units, at least 4.
        temperature: of the softmax. Chen et al. anneal it from 30 to 1 in the first epochs; assign the attribute to
            do so.

    Raises:
        ShapeError: from `forward`, if the pooled input is not B x in_channels.
    """

    def __init__(
        self,
        in_channels: int,
        shape: tuple[int, int, int, int],
        *,
        candidates: int = 4,
        reduction: int = 4,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.shape = shape
        self.temperature = temperature
        hidden = max(in_channels // reduction, 4)
        self.fc1 = nn.Linear(in_channels, hidden)
        self.fc2 = nn.Linear(hidden, candidates)
        self.candidates = nn.Parameter(torch.empty(candidates, *shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw each candidate as `nn.Conv2d` draws its kernel."""
        for candidate in self.candidates.unbind():
            nn.init.kaiming_uniform_(candidate, a=math.sqrt(5))

    def zero_output(self) -> None:
        """Make every kernel zero, with gradients that still move it."""
        nn.init.zeros_(self.candidates)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map pooled inputs B x in_channels to kernels B x Cout x Cin/groups x k x k."""
        check_pooled(pooled, self.in_channels)
        attention = F.softmax(self.fc2(F.relu(self.fc1(pooled))) / self.temperature, dim=-1)
        return torch.unflatten(attention @ self.candidates.flatten(1), 1, self.shape)


def check_pooled(pooled: Tensor, channels: int) -> None:
    """Raise `ShapeError` unless `pooled` is B x channels."""
    if pooled.ndim != 2 or pooled.shape[1] != channels:
        raise ShapeError(f"Pooled inputs must have the shape B x {channels}. Got {tuple(pooled.shape)}.")


def pool(images: Tensor) -> Tensor:
    """Mean over the pixels: B x C x H x W to B x C."""
    return F.adaptive_avg_pool2d(images, 1).flatten(1)


class GeneratedConv2d(nn.Module):
    """A convolution whose kernel a generator makes from the pooled input, anew for each image.

    Args:
        generator: maps B x in_channels to B x Cout x Cin/groups x k x k.
        in_channels: channels of the input.
        stride: step in pixels.
        padding: zeros on each side, in pixels.
        dilation: distance between kernel elements, in pixels.
        groups: channel groups.
        bias: out_channels values shared by all images, or `None`.
    """

    def __init__(
        self,
        generator: nn.Module,
        in_channels: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.in_channels = in_channels
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        self.bias = None if bias is None else nn.Parameter(bias)

    def kernel(self, images: Tensor) -> Tensor:
        """The kernels that these images get: B x Cin x H x W to B x Cout x Cin/groups x k x k.

        Raises:
            ShapeError: if the images have another number of channels.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ShapeError(f"Images must have the shape B x {self.in_channels} x H x W. Got {tuple(images.shape)}.")
        kernels: Tensor = self.generator(pool(images))
        return kernels

    def forward(self, images: Tensor) -> Tensor:
        """Convolve: B x Cin x H x W to B x Cout x H' x W'."""
        return per_image_conv2d(
            images,
            self.kernel(images),
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class DynamicConv2d(GeneratedConv2d):
    """Dynamic convolution (Chen et al. 2020): the kernel is a weighted sum of K candidates.

    Args:
        in_channels: Cin.
        out_channels: Cout.
        kernel_size: k.
        candidates: K.
        stride: step in pixels.
        padding: zeros on each side, in pixels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        candidates: int = 4,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        generator = DynamicKernel(in_channels, shape, candidates=candidates)
        super().__init__(generator, in_channels, stride=stride, padding=padding)
