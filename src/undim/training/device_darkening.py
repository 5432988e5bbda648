"""Physical darkening of a whole batch on the device: `undim.data.darkening` with draws of `undim.training.counter`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undim.data.darkening import NIGHT_BOUND, NIGHT_SHARE, SHADOW_BOUND, UNIFORM_SHARE
from undim.nets.thumbnail import THUMBNAIL
from undim.training.counter import Counter

WAVES = 6
"""Of the random smooth landscape whose heights are in shadow."""
STREAMS = 64
"""The first stream of draws that is used here."""


@dataclass(frozen=True)
class Darkenings:
    """What happens to the N pictures of a batch; see `undim.data.darkening.Darkening`."""

    balance: Tensor
    """N x 3, gain of red, green and blue."""
    shot: Tensor
    """N, variance of the noise per unit of linear light."""
    read: Tensor
    """N, standard deviation of the noise without light."""
    stops: Tensor
    """N x 64 x 96, light taken away, in stops."""
    kept: Tensor
    """N x 64 x 96, light that the reference lacks too, in stops."""


def draw_darkenings(draws: Counter, size: int) -> Darkenings:
    """Draw light, balance and noise of N = `size` pictures, as `undim.data.darkening.draw_darkening` does."""
    kind, shot, read, level, lit, softness = draws.uniform(STREAMS, 6, size).unbind()
    balance = (0.05 * draws.normal(STREAMS + 1, size, 3)).exp()
    night = kind < UNIFORM_SHARE + NIGHT_SHARE
    depth = torch.where(night, 5 + 4 * level, 1.5 + 3.5 * level)
    bound = torch.where(night, NIGHT_BOUND, SHADOW_BOUND).view(-1, 1, 1)
    share = torch.where(night, _power_of_ten(-2.5 + 1.6 * lit), 0.25 + 0.5 * lit)
    stops = depth.view(-1, 1, 1) * _shade(draws, size, share, softness)
    kept = (stops - bound * (stops / bound).tanh()).clamp_min(0)
    whole = (kind < UNIFORM_SHARE).view(-1, 1, 1)
    return Darkenings(
        balance / balance[:, 1:2],
        _power_of_ten(-4.2 + 1.5 * shot),
        _power_of_ten(-4.2 + read),
        torch.where(whole, (2 + 4 * level).view(-1, 1, 1), stops),
        torch.where(whole, 0.0, kept),
    )


def _power_of_ten(values: Tensor) -> Tensor:
    return (values * math.log(10)).exp()


def _shade(draws: Counter, size: int, lit: Tensor, softness: Tensor) -> Tensor:
    """Maps in [0, 1], N x 64 x 96: 0 over the share `lit` of the places, 1 in the dark."""
    height, width = THUMBNAIL
    device = lit.device
    angle, phase, frequency = draws.uniform(STREAMS + 3, 3, size, WAVES, 1, 1).unbind()
    angle, phase, frequency = 2 * math.pi * angle, 2 * math.pi * phase, 0.4 + 2.1 * frequency
    rows = torch.arange(height, device=device).view(-1, 1) / width
    columns = torch.arange(width, device=device) / width
    along = rows * angle.sin() + columns * angle.cos()
    waves = ((2 * math.pi * frequency * along + phase).sin() / frequency).sum(1)
    flat = waves.flatten(1)
    places = (1 - lit) * (flat.shape[1] - 1)
    below = places.long().clamp_max(flat.shape[1] - 2).unsqueeze(1)
    ordered = flat.sort(1).values
    border = torch.lerp(ordered.gather(1, below), ordered.gather(1, below + 1), places.unsqueeze(1) - below)
    soft = flat.std(1, correction=0) * _power_of_ten(-1.5 + 1.3 * softness)
    return torch.sigmoid(((border - flat) / soft.unsqueeze(1)).clamp(-30, 30)).view(-1, height, width)


def at_windows(grids: Tensor, sides: tuple[Tensor, Tensor], corners: tuple[Tensor, Tensor], crop: int) -> Tensor:
    """The values of coarse maps in windows of their pictures, interpolated linearly: N x h x w to N x crop x crop.

    Args:
        grids: over the whole pictures.
        sides: N heights and N widths of the pictures in pixels.
        corners: N rows and N columns of the windows' upper left corners.
        crop: side of the windows in pixels.
    """
    steps = torch.arange(crop, device=grids.device) + 0.5
    rows, columns = (
        (start.unsqueeze(1) + steps) / side.unsqueeze(1) for start, side in zip(corners, sides, strict=True)
    )
    return _interpolate(grids, rows, columns)


def at_thumbnails(grids: Tensor) -> Tensor:
    """The values of N x h x w coarse maps over whole pictures, at the places of their thumbnails: N x 64 x 96."""
    rows, columns = (
        ((torch.arange(side, device=grids.device) + 0.5) / side).expand(len(grids), -1) for side in THUMBNAIL
    )
    return _interpolate(grids, rows, columns)


def _interpolate(grids: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """At the shares `rows`, N x r, of the height and `columns`, N x c, of the width: N x r x c."""
    between = _blend_rows(_blend_rows(grids, rows).transpose(1, 2), columns)
    return between.transpose(1, 2)


def _blend_rows(values: Tensor, shares: Tensor) -> Tensor:
    count, width = values.shape[1:]
    places = (shares * count - 0.5).clamp(0, count - 1)
    below = places.long().clamp_max(count - 2)
    index = below.unsqueeze(2).expand(-1, -1, width)
    return torch.lerp(values.gather(1, index), values.gather(1, index + 1), (places - below).unsqueeze(2))


def darken_batch(encoded: Tensor, stops: Tensor, draw: Darkenings, noise: Tensor | None) -> Tensor:
    """What the camera sees, see `undim.data.darkening.darken`.

    Args:
        encoded: N x 3 x H x W sRGB in [0, 1].
        stops: N x H x W.
        draw: balance and noise.
        noise: N x 3 x H x W of variance one; `None` for none.

    Returns:
        N x 3 x H x W sRGB in [0, 1], rounded to 8 bit unless there is no noise.
    """
    light = _decode(encoded) * (-stops).exp2().unsqueeze(1) * draw.balance[..., None, None]
    if noise is None:
        return _encode(light.clamp_max(1))
    spread = (light * draw.shot.view(-1, 1, 1, 1) + draw.read.view(-1, 1, 1, 1).square()).sqrt()
    return (_encode((light + noise * spread).clamp(0, 1)) * 255).round() / 255


def dim_batch(encoded: Tensor, stops: Tensor) -> Tensor:
    """Take light away in linear light and nothing else: N x 3 x H x W sRGB and N x H x W stops to N x 3 x H x W."""
    return _encode(_decode(encoded) * (-stops).exp2().unsqueeze(1))


def _decode(encoded: Tensor) -> Tensor:
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encode(linear: Tensor) -> Tensor:
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0) ** (1 / 2.4) - 0.055)
