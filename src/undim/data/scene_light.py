"""Light that follows the picture: shadows along its own regions, windows and lamps that stay lit, the haze of flare.

`undim.data.darkening` takes light away by a random landscape, which knows nothing of what the picture shows. Here what
is lit is decided by how bright a place's surroundings are and by how alike they are to those of some seed, so that the
border of a shadow runs along the borders of things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from undim.arrays import Bytes, Floats
from undim.luma import REC601

Kind = Literal["whole", "backlit", "shadow", "night"]
KINDS: tuple[Kind, ...] = ("whole", "backlit", "shadow", "night")
SHARES = (0.2, 0.4, 0.2, 0.2)
"""Of the kinds."""
DEPTHS: dict[Kind, tuple[float, float]] = {
    "whole": (1.5, 6.0),
    "backlit": (1.0, 4.5),
    "shadow": (1.0, 4.5),
    "night": (5.0, 9.0),
}
"""Stops that the dark part loses."""
BOUNDS: dict[Kind, float] = {"whole": 1000.0, "backlit": 6.0, "shadow": 6.0, "night": 3.0}
"""Stops by which the reference raises the dark part again at most: a night stays a night."""
HAZE_SHARE = 0.25
"""Of the pictures that flare lies over."""
RADIUS = 1 / 24
"""Of the guided filter that finds surroundings, as a share of the longer side."""
EDGE = 0.01
"""Variance of the luma from which on the guided filter takes a change for an edge."""


def find_surroundings(picture: Bytes) -> Bytes:
    """How bright the surroundings of each place are: the luma smoothed by itself (guided filter, He et al. 2013).

    Args:
        picture: H x W x 3 8-bit RGB.

    Returns:
        H x W, 8 bit.
    """
    light: Floats = (picture @ np.array(REC601, np.float32)).astype(np.float32) / np.float32(255)
    side = 2 * max(1, round(max(light.shape) * RADIUS)) + 1

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, (side, side)), np.float32)

    average = mean(light)
    variance = mean(light * light) - average * average
    slope: Floats = np.asarray(variance / (variance + np.float32(EDGE)), np.float32)
    offset: Floats = np.asarray(average - slope * average, np.float32)
    smooth = mean(slope) * light + mean(offset)
    result: Bytes = np.rint(smooth.clip(0, 1) * 255).astype(np.uint8)
    return result


@dataclass(frozen=True)
class Seed:
    """A place with a region about it: what is near and has surroundings as bright."""

    row: float
    """As a share of the picture's height."""
    column: float
    """As a share of its width."""
    level: float
    """Luma of its surroundings, 0 to 1."""
    reach: float
    """How far the region extends, as a share of the width."""
    likeness: float
    """How much the luma of the surroundings may differ."""


@dataclass(frozen=True)
class SceneLight:
    """One draw of the light that a picture loses."""

    kind: Kind
    depth: float
    """Stops that the dark part loses."""
    seeds: tuple[Seed, ...]
    """Of `shadow` what lies in it, of `night` what is lit."""
    border: float
    """Of `backlit`: luma of the surroundings above which a place stays lit."""
    softness: float
    """Of `backlit`: width of that border, in luma."""
    slant: tuple[float, float]
    """Of `backlit`: how the border changes from the top to the bottom and from the left to the right."""
    glow: float
    """Of `night`: light that a lamp throws on its neighbourhood, as a share of its own."""
    haze: float
    """Share of the picture's light that flare spreads over it; 0 for none."""

    def stops(self, surroundings: Floats, rows: Floats, columns: Floats) -> Floats:
        """Light that is taken away, in stops.

        Args:
            surroundings: h x w, 0 to 1, of `find_surroundings`.
            rows: h places from 0 to 1 over the picture's height.
            columns: w places from 0 to 1 over its width.

        Returns:
            h x w, from 0 to `depth`.
        """
        if self.kind == "whole":
            return np.full_like(surroundings, self.depth)
        if self.kind == "backlit":
            tilt = self.slant[0] * (rows[:, None] - 0.5) + self.slant[1] * (columns[None] - 0.5)
            height = (surroundings + tilt - self.border) / self.softness
            lit = 1 / (1 + np.exp(-height.clip(-30, 30)))
            return np.asarray(self.depth * (1 - lit), np.float32)
        near = [
            ((rows[:, None] - seed.row) ** 2 + (columns[None] - seed.column) ** 2) / seed.reach**2
            for seed in self.seeds
        ]
        unlike = [((surroundings - seed.level) / seed.likeness) ** 2 for seed in self.seeds]
        if self.kind == "shadow":
            regions = [np.exp(-((u + d) ** 2)) for u, d in zip(unlike, near, strict=True)]
            return np.asarray(self.depth * np.max(regions, axis=0), np.float32)
        # A bright sky about a seed fades slowly, or it would be a disc; what is unlike the seed gets its glow alone.
        lamps = [np.exp(-(u**2)) / (1 + d) for u, d in zip(unlike, near, strict=True)]
        glows = [self.glow / (1 + 4 * d) for d in near]
        light = np.max([*lamps, *glows, np.full_like(surroundings, 2.0**-self.depth)], axis=0)
        return np.asarray(-np.log2(light).clip(None, 0), np.float32)

    def kept(self, stops: Floats) -> Floats:
        """Light that the reference lacks too, in stops, of the stops that were taken away."""
        bound = np.float32(BOUNDS[self.kind])
        return np.asarray((stops - bound * np.tanh(stops / bound)).clip(0), np.float32)


def draw_scene_light(rng: np.random.Generator, surroundings: Floats) -> SceneLight:
    """Draw what light a picture loses.

    Args:
        rng: decides.
        surroundings: h x w, 0 to 1: `find_surroundings` of the whole picture, reduced.
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=SHARES))]
    depth = float(rng.uniform(*DEPTHS[kind]))
    slant = (float(rng.normal(0, 0.15)), float(rng.normal(0, 0.15)))
    border = float(np.quantile(surroundings, 1 - rng.uniform(0.1, 0.6)))
    haze = float(10 ** rng.uniform(-2.3, -1.0)) if rng.random() < HAZE_SHARE else 0.0
    return SceneLight(
        kind=kind,
        depth=depth,
        seeds=_draw_seeds(rng, surroundings, lamps=kind == "night"),
        border=border,
        softness=float(10 ** rng.uniform(-2.0, -0.9)),
        slant=slant,
        glow=float(10 ** rng.uniform(-2.5, -0.5)),
        haze=haze,
    )


def _draw_seeds(rng: np.random.Generator, surroundings: Floats, *, lamps: bool) -> tuple[Seed, ...]:
    """Anywhere; with `lamps`, among the brightest twentieth of the places, and small."""
    count = int(rng.integers(1, 7 if lamps else 4))
    places = np.flatnonzero(surroundings >= np.quantile(surroundings, 0.95 if lamps else 0))
    seeds = []
    for place in rng.choice(places, count):
        row, column = divmod(int(place), surroundings.shape[1])
        reach = rng.uniform(0.04, 0.2) if lamps else rng.uniform(0.2, 0.6)
        likeness = rng.uniform(0.1, 0.3) if lamps else rng.uniform(0.15, 0.4)
        seeds.append(
            Seed(
                row=(row + 0.5) / surroundings.shape[0],
                column=(column + 0.5) / surroundings.shape[1],
                level=float(surroundings[row, column]),
                reach=float(reach),
                likeness=float(likeness),
            )
        )
    return tuple(seeds)


def spread_haze(light: Floats, haze: float) -> Floats:
    """What flare lays over a whole picture: its light, blurred widely, times `haze`.

    Args:
        light: h x w x 3 linear light of the whole picture, reduced.
        haze: share of the light that is spread.
    """
    blurred: Floats = np.asarray(cv2.GaussianBlur(light, (0, 0), max(light.shape) / 6), np.float32)
    return np.float32(haze) * blurred
