"""Convolutions whose kernel differs from image to image, and dynamic convolution after Chen et al. 2020.

Paper: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ShapeError
from undim.nets.full_precision import linear, pool, split_for, widen, without_autocast
from undim.nets.whole_picture import Means


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
        kernels: B x Cout x Cin/groups x k x k; those wider than the images, or than what autocasting makes of these,
            are applied without rounding them (`undim.nets.full_precision.split_for`).
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
    parts = split_for(kernels, images)
    stacked = F.conv2d(
        images.reshape(1, batch * channels, height, width),
        (torch.stack(parts, 2).flatten(1, 2) if len(parts) > 1 else parts[0]).flatten(0, 1),
        None if bias is None or len(parts) > 1 else bias.repeat(batch),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=batch * groups,
    )
    if len(parts) == 1:
        return torch.unflatten(stacked, 1, (batch, out_channels)).squeeze(0)
    outputs = torch.unflatten(stacked, 1, (batch, out_channels, len(parts))).sum(3).squeeze(0)
    return outputs if bias is None else outputs + bias.to(outputs.dtype)[:, None, None]


def per_image_channel_map(images: Tensor, maps: Tensor, base: Tensor | None = None) -> Tensor:
    """Mix the channels of each image by a matrix of its own.

    Args:
        images: B x Cin x H x W.
        maps: B x Cout x Cin, as wide as the kernels of `per_image_conv2d`.
        base: what is added to the result, B x Cout x H x W in the memory layout of `images`, in the same pass.

    Returns:
        B x Cout x H x W, in the memory layout of `images`.
    """
    parts = split_for(maps, images)
    if len(parts) > 1 and (base is not None or maps.shape[1] > maps.shape[2]):
        images, maps = torch.cat([images] * len(parts), 1), torch.cat(parts, 2)
    elif len(parts) > 1:
        whole, *small = _map_channels(images, torch.cat(parts, 1), None).chunk(len(parts), 1)
        return whole + torch.stack(small).sum(0)
    return _map_channels(images, maps.to(parts[0].dtype), base)


def _map_channels(images: Tensor, maps: Tensor, base: Tensor | None) -> Tensor:
    shape = images.shape[-2:]
    if is_channels_last(images):
        pixels, kernels = images.flatten(2).transpose(1, 2), maps.transpose(1, 2)  # (B, HW, Cin), a view
        mixed = pixels @ kernels if base is None else torch.baddbmm(base.flatten(2).transpose(1, 2), pixels, kernels)
        return from_pixels(mixed, shape)
    planes = images.flatten(2)
    mixed = maps @ planes if base is None else torch.baddbmm(base.flatten(2), maps, planes)
    return mixed.view(*mixed.shape[:2], *shape)  # unflatten, in a traced graph, would fix the size


def from_pixels(pixels: Tensor, size: Sequence[int]) -> Tensor:
    """B x HW x C to a view B x C x H x W, with strides that layers take for channels-last even where B is 1."""
    return pixels.view(pixels.shape[0], *size, pixels.shape[2]).permute(0, 3, 1, 2)


def per_image_conv2d_unfolded(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each image with a kernel of its own as one matrix product, at an unchanged size, zeros around it.

    Unlike a convolution grouped over the batch, its ONNX form takes any batch.

    Args:
        images: B x Cin x H x W.
        kernels: B x Cout x Cin x k x k, k odd.

    Returns:
        B x Cout x H x W.
    """
    size = kernels.shape[-1]
    if size == 1:
        return per_image_channel_map(images, kernels[..., 0, 0])
    height, width = images.shape[-2:]
    reach = size // 2
    padded = F.pad(images, (reach, reach, reach, reach))
    shifted = [padded[..., y : y + height, x : x + width] for y in range(size) for x in range(size)]
    maps = kernels.permute(0, 1, 3, 4, 2).flatten(2)  # (B, Cout, k k Cin)
    return per_image_channel_map(torch.cat(shifted, 1), maps)


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
        self.reduction = reduction
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

    @torch.no_grad()
    def keep(self, channels: Sequence[int], axis: Literal[0, 1]) -> None:
        """Drop all output (axis 0) or input channels (1) of the kernels but these, in place.

        With fewer inputs, the attention keeps as many hidden units as it would have been made with: those with the
        largest weights.
        """
        kept = torch.tensor(channels, device=self.candidates.device)
        self.candidates = nn.Parameter(self.candidates.index_select(axis + 1, kept))
        self.shape = tuple(self.candidates.shape[1:])  # type: ignore[assignment]  # four numbers
        if axis == 1:
            self.in_channels = len(channels)
            weight = self.fc1.weight[:, kept]
            hidden = max(self.in_channels // self.reduction, 4)
            size = weight.norm(dim=1) * self.fc2.weight.norm(dim=0)
            units = size.topk(hidden).indices.sort().values
            self.fc1 = keep_linear(self.fc1, weight[units], units)
            self.fc2 = keep_linear(self.fc2, self.fc2.weight[:, units])

    def forward(self, pooled: Tensor) -> Tensor:
        """Map pooled inputs B x in_channels to kernels B x Cout x Cin/groups x k x k, at least in float32.

        Autocasting does not act here: pictures' kernels differ by less than 16-bit floats can tell.
        """
        check_pooled(pooled, self.in_channels)
        with without_autocast(pooled):
            hidden = F.relu(linear(widen(pooled), self.fc1.weight, self.fc1.bias))
            attention = F.softmax(linear(hidden, self.fc2.weight, self.fc2.bias) / self.temperature, dim=-1)
            kernels = attention @ self.candidates.flatten(1).to(attention.dtype)
        return torch.unflatten(kernels, 1, self.shape)


def keep_linear(layer: nn.Linear, weight: Tensor, outputs: Tensor | None = None) -> nn.Linear:
    """A linear layer with another weight, out x in, and the bias of those outputs that are kept (default: all)."""
    with torch.random.fork_rng(devices=[]):  # the random weights that are replaced at once cost no random numbers
        smaller = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    smaller.weight = nn.Parameter(weight.clone())
    smaller.bias = nn.Parameter((layer.bias if outputs is None else layer.bias[outputs]).detach().clone())
    return smaller


def check_pooled(pooled: Tensor, channels: int) -> None:
    """Raise `ShapeError` unless `pooled` is B x channels."""
    if pooled.ndim != 2 or pooled.shape[1] != channels:
        raise ShapeError(f"Pooled inputs must have the shape B x {channels}. Got {tuple(pooled.shape)}.")


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

    Attributes:
        means: `None`, or what the kernels are generated from instead of the input's own means (`undim.nets.view`).
    """

    means: Means | None

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
        self.means = None
        self.bias = None if bias is None else nn.Parameter(bias)

    def kernel(self, images: Tensor) -> Tensor:
        """The kernels that these images get, at least in float32: B x Cin x H x W to B x Cout x Cin/groups x k x k.

        Raises:
            ShapeError: if the images have another number of channels.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ShapeError(f"Images must have the shape B x {self.in_channels} x H x W. Got {tuple(images.shape)}.")
        pooled = pool(images) if self.means is None else self.means.mean(pool(images), images)
        kernels: Tensor = self.generator(pooled)
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

    Examples:
        >>> import torch
        >>> from undim.nets import DynamicConv2d
        >>> DynamicConv2d(4, 6, 1)(torch.rand(2, 4, 5, 5)).shape  # another kernel for each picture
        torch.Size([2, 6, 5, 5])
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
