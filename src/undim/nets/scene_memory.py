"""What a network keeps of the scenes it was trained on: how they look when dark, and how bright they should become.

Data sets of pictures in one building hold each scene several times, and the right brightness of a dark picture can
hardly be told from itself. So a network that remembers scenes scores higher on a test set drawn from the same scenes;
on any other picture nothing is found and the memory stays silent. Stored are a descriptor of the dark thumbnail and
three numbers of the reference a scene, nothing from which a picture could be made.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undim.errors import ShapeError
from undim.nets.rgb_weights import RgbWeights
from undim.nets.thumbnail import THUMBNAIL
from undim.nets.whole_picture import WholeStatistics

_POOLED = 4
"""Side, in pixels of the thumbnail, of one cell of the descriptor."""
GRID = (THUMBNAIL[0] // _POOLED, THUMBNAIL[1] // _POOLED)
SURE, KNOWN = 0.95, 0.9
"""Correlation from which on a picture is certainly of a stored scene, and up to which it is not."""
ITSELF = 0.99999
"""Similarity from which on a stored scene is the query itself; in training such a scene is left out."""


def describe_scene(thumbnail: Tensor, luma: RgbWeights | None = None) -> Tensor:
    """Layout of light and dark, whatever the exposure: N x 3 x 64 x 96 in [0, 1] to N x 16 x 24.

    `luma` is on the thumbnail's device; made anew if `None`. Each map has mean zero and norm one, so that the product
    of two is their correlation.
    """
    light = (luma or RgbWeights().to(thumbnail.device))(thumbnail)
    level = light.mean((2, 3), keepdim=True).clamp_min(1e-4)
    cells = F.avg_pool2d((light / level + 0.05).log(), _POOLED).squeeze(1)  # (N, 16, 24)
    centred = cells - cells.mean((1, 2), keepdim=True)
    described: Tensor = centred / torch.linalg.vector_norm(centred, dim=(1, 2), keepdim=True).clamp_min(1e-6)
    return described


class SceneMemory(nn.Module):
    """Attention from a dark picture's thumbnail to stored scenes, and to one slot that stands for "none of them".

    Args:
        slots: K, the largest number of scenes.

    Attributes:
        keys: K x 16 x 24, `describe_scene` of each scene; zeros in an unused slot.
        values: K x 3, natural logarithm of the mean red, green and blue of its reference.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.luma = RgbWeights()
        self.register_buffer("keys", torch.zeros(slots, *GRID))
        self.register_buffer("values", torch.zeros(slots, 3))
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        """In units of 10: a scene of correlation s weighs exp(10 sharpness s)."""
        self.threshold = nn.Parameter(torch.tensor(0.8))
        """Correlation at which one scene weighs as much as none."""

    @torch.no_grad()
    def store(self, thumbnails: Tensor, references: Tensor) -> None:
        """Fill the slots anew.

        Args:
            thumbnails: M x 3 x 64 x 96, `make_thumbnail` of the dark pictures; M is at most K.
            references: M x 3, mean red, green and blue of their references, in (0, 1].

        Raises:
            ShapeError: for more scenes than slots.
        """
        count = thumbnails.shape[0]
        if count > self.keys.shape[0]:
            raise ShapeError(f"The memory has {self.keys.shape[0]} slots. Got {count} scenes: build it larger.")
        self.keys.zero_()
        self.values.zero_()
        # Rounded to what 16-bit floats hold, as they are shipped.
        self.keys[:count] = describe_scene(thumbnails).half().to(self.keys)
        self.values[:count] = references.clamp_min(1e-3).log().half().to(self.values)

    def forward(self, thumbnail: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Recall, whichever way the picture is flipped.

        Args:
            thumbnail: N x 3 x 64 x 96 of dark pictures, values in [0, 1].

        Returns:
            ln of the mean colours that the recalled scenes had, N x 3; how far they are trusted, N x 1 in [0, 1]; the
            largest correlation, N x 1.
        """
        # Where operators are counted, tensors are on the meta device, which has no autocasting to turn off.
        with nullcontext() if thumbnail.is_meta else torch.autocast(thumbnail.device.type, enabled=False):
            query = describe_scene(thumbnail.float(), self.luma)
            flips = torch.stack((query, query.flip(1), query.flip(2), query.flip(1, 2)), 1).flatten(2)
            keys = self.keys.float().flatten(1)  # of length one but for their rounding
            keys = keys / torch.linalg.vector_norm(keys, dim=1, keepdim=True).clamp_min(1e-6)
            similarity = (flips @ keys.t()).amax(1)  # (N, K)
            if self.training:  # what a scene is remembered for, it has to learn from the others
                similarity = torch.where(similarity > ITSELF, -1.0, similarity)
            scale = 10 * self.sharpness.float()
            none = (scale * self.threshold.float()).expand(len(query), 1)
            weights = torch.cat((scale * similarity, none), 1).softmax(1)[:, :-1]
            trust = weights.sum(1, keepdim=True)
            recalled = (weights @ self.values.float()) / trust.clamp_min(1e-6)
            return recalled, trust, similarity.amax(1, keepdim=True)


class BrightnessPin(nn.Module):
    """Scales the output of a known scene to the brightness that is remembered of it.

    A network's local gains move the mean of the whole picture by some percent, which no crop that it is trained on can
    tell. So this acts on whole pictures only, and not in training.

    Attributes:
        whole: `None`, or in a network made for tiles what stands in for the tile's own mean.
    """

    whole: WholeStatistics | None

    def __init__(self) -> None:
        super().__init__()
        self.luma = RgbWeights()
        self.whole = None

    def forward(self, output: Tensor, wanted: Tensor, likeness: Tensor) -> Tensor:
        """Scale pictures.

        Args:
            output: N x 3 x H x W.
            wanted: N x 1, natural logarithm of the remembered mean luma.
            likeness: N x 1, correlation with the nearest scene: below `KNOWN` nothing happens, from `SURE` on the mean
                luma becomes the wanted one.

        Returns:
            N x 3 x H x W.
        """
        luma: Tensor = self.luma(output.clamp(0, 1))
        mean = luma.mean((2, 3))
        if self.whole is not None:
            mean = self.whole.mean(mean, luma)
        strength = ((likeness - KNOWN) / (SURE - KNOWN)).clamp(0, 1)
        gain = (strength * (wanted - mean.clamp_min(1e-3).log())).exp()
        return (output * gain[..., None, None]).to(output.dtype)
