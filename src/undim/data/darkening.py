"""Physical darkening: from a well-lit picture, what a camera would have seen with less light.

Light is taken away in linear light, everywhere or only outside what stays lit; then come the sensor's shot and read
noise, a white balance that is a little off, and rounding to 8 bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from undim.arrays import Floats
from undim.srgb import decode_srgb, encode_srgb

SHADOW_BOUND, NIGHT_BOUND = 4.5, 3.0
"""Stops by which the dark part is raised at most, in pictures with a part in shadow and in night scenes."""
UNIFORM_SHARE, NIGHT_SHARE = 0.3, 0.35
"""Shares of pictures that are dark as a whole, and of night scenes; in the others one part lies in shadow."""


@dataclass(frozen=True)
class Sensor:
    """One draw of what a camera makes of the light."""

    balance: Floats
    """Gain of red, green and blue."""
    shot: float
    """Variance of the noise per unit of linear light."""
    read: float
    """Standard deviation of the noise without light, in units of white."""


@dataclass(frozen=True)
class Darkening(Sensor):
    """One draw of all that happens to a picture."""

    stops: Floats
    """Light taken away, in stops, on a coarse h x w grid over the whole picture."""
    kept: Floats
    """Light that the reference lacks too, in stops, on the same grid."""


def draw_sensor(rng: np.random.Generator) -> Sensor:
    """Draw balance and noise."""
    balance = np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    balance /= balance[1]
    return Sensor(balance, 10 ** rng.uniform(-4.2, -2.7), 10 ** rng.uniform(-4.2, -3.2))


def draw_darkening(rng: np.random.Generator, grid: tuple[int, int] = (64, 96)) -> Darkening:
    """Draw light, balance and noise.

    A third of the pictures is dark as a whole; their reference is the well-lit picture. In the others part of the
    picture stays lit, and the reference raises the dark part by a bounded number of stops. A night scene is very dark
    but for a few lit places, and stays a night scene.
    """
    kind = rng.random()
    sensor = draw_sensor(rng)
    balance, shot, read = sensor.balance, sensor.shot, sensor.read
    if kind < UNIFORM_SHARE:
        stops = np.full(grid, rng.uniform(2, 6), np.float32)
        return Darkening(balance, shot, read, stops, np.zeros(grid, np.float32))
    night = kind < UNIFORM_SHARE + NIGHT_SHARE
    depth, bound = (rng.uniform(5, 9), NIGHT_BOUND) if night else (rng.uniform(1.5, 5), SHADOW_BOUND)
    shade = _draw_shade(rng, grid, lit=10 ** rng.uniform(-2.5, -0.9) if night else rng.uniform(0.25, 0.75))
    stops = (depth * shade).astype(np.float32)
    kept = (stops - bound * np.tanh(stops / bound)).clip(0)  # rounding leaves tiny negative ones
    return Darkening(balance, shot, read, stops, kept.astype(np.float32))


def _draw_shade(rng: np.random.Generator, grid: tuple[int, int], lit: float) -> npt.NDArray[np.float64]:
    """A map in [0, 1]: 0 over the share `lit` of the places, 1 in the dark, with a border that is sharp or soft."""
    rows, columns = np.mgrid[0 : grid[0], 0 : grid[1]] / grid[1]
    waves = np.zeros(grid)
    for _ in range(6):  # a random smooth landscape, cut at a height
        angle, phase, frequency = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 2.5)
        waves += np.sin(2 * np.pi * frequency * (rows * np.sin(angle) + columns * np.cos(angle)) + phase) / frequency
    height = np.quantile(waves, 1 - lit)
    softness = waves.std() * 10 ** rng.uniform(-1.5, -0.2)
    shade: npt.NDArray[np.float64] = 1 / (1 + np.exp(np.clip((waves - height) / softness, -30, 30)))
    return shade


def at_window(grid: Floats, size: tuple[int, int], window: tuple[int, int, int, int] | None = None) -> Floats:
    """The values of a coarse map in part of a picture, interpolated linearly.

    Args:
        grid: h x w over the whole picture.
        size: height and width of the picture in pixels.
        window: top, left, height and width in pixels; `None` is all of it.

    Returns:
        height x width.
    """
    top, left, height, width = window or (0, 0, *size)
    rows = (np.arange(top, top + height) + 0.5) / size[0] * grid.shape[0] - 0.5
    columns = (np.arange(left, left + width) + 0.5) / size[1] * grid.shape[1] - 0.5
    between = _blend_rows(_blend_rows(grid, rows).T, columns).T
    return np.ascontiguousarray(between, np.float32)


def _blend_rows(values: Floats, places: npt.NDArray[np.float64]) -> Floats:
    places = places.clip(0, len(values) - 1)
    below = np.minimum(places.astype(int), len(values) - 2)
    share = (places - below).astype(np.float32)[:, None]
    between: Floats = values[below] * (1 - share) + values[below + 1] * share
    return between


def darken(
    encoded: Floats, stops: Floats, draw: Sensor, rng: np.random.Generator | None, veil: Floats | None = None
) -> Floats:
    """What the camera sees.

    Args:
        encoded: H x W x 3 sRGB in [0, 1].
        stops: H x W, light to take away.
        draw: balance and noise.
        rng: of the noise; `None` for none, as in a picture averaged to a thumbnail.
        veil: H x W x 3 linear light that lies over it, such as flare; `None` for none.

    Returns:
        H x W x 3 sRGB in [0, 1], rounded to 8 bit unless there is no noise.
    """
    light = decode_srgb(encoded) * np.exp2(-stops)[..., None] * draw.balance
    if veil is not None:
        light = light + veil
    if rng is None:
        return encode_srgb(np.minimum(light, 1))
    noise = rng.standard_normal(light.shape, np.float32) * np.sqrt(light * np.float32(draw.shot) + draw.read**2)
    seen = encode_srgb((light + noise.astype(np.float32)).clip(0, 1))
    rounded: Floats = np.rint(seen * np.float32(255)) / np.float32(255)
    return rounded


def dim(encoded: Floats, stops: Floats) -> Floats:
    """Take light away in linear light and nothing else: H x W x 3 sRGB and H x W stops to H x W x 3."""
    return encode_srgb(decode_srgb(encoded) * np.exp2(-stops)[..., None])
