"""How far the means that kernels are generated from are off, in crops and in reduced whole pictures.

    python benchmarks/kernels_from_whole.py RUN/average.safetensors [--crop 64] [--sides 64,96,128,192] [--pictures 24]

Prints, for the means of Q, K and V before each ADR: the rms distance to those of the whole picture, relative to how far
whole pictures differ among each other (rms over pictures), averaged over channels and layers. Above one, what is told
no longer says which picture it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from undim.data.reading import read_rgb
from undim.data.sets import find_pairs
from undim.metrics.networks import to_tensor
from undim.nets.backbone import Backbone
from undim.nets.thumbnail import make_thumbnail
from undim.nets.view import look_at_views
from undim.training.samples import spread_evenly
from undim.weights.files import load_model


def means_of(model: Backbone, image: Tensor, context: Tensor) -> Tensor:
    """All means of one picture or crop, in one row."""
    return torch.cat([mean for layer in look_at_views(model, [image[0]], context) for mean in layer], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument(
        "--sides", type=lambda text: [int(side) for side in text.split(",")], default=[64, 96, 128, 192]
    )
    parser.add_argument("--pictures", type=int, default=24)
    options = parser.parse_args()
    model = load_model(options.weights).eval()
    torch.manual_seed(0)
    rows: dict[str, list[Tensor]] = {}
    for pair in spread_evenly(find_pairs("lol-v1", "val"), options.pictures):
        image = to_tensor(read_rgb(pair.low))
        context = make_thumbnail(image)
        height, width = image.shape[-2:]
        seen = {"whole": image}
        top, left = (int(torch.randint(side - options.crop + 1, ())) for side in (height, width))
        seen[f"crop of {options.crop}"] = image[..., top : top + options.crop, left : left + options.crop]
        for side in options.sides:
            size = (8 * int(height * side / height / 8), 8 * int(width * side / height / 8))
            seen[f"reduced to {side}"] = make_thumbnail(image, size)
        for name, view in seen.items():
            rows.setdefault(name, []).append(means_of(model, view, context))
    whole = torch.cat(rows.pop("whole"))
    spread = whole.std(0)
    for name, found in rows.items():
        off = (torch.cat(found) - whole).square().mean(0).sqrt() / spread
        print(f"{name:16} {float(off.mean()):.2f}")


if __name__ == "__main__":
    main()
