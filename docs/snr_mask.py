"""How many tokens of LOL-v1 the mask of SNR-Net keeps, and what that leaves of its attention.

    UNDIM_DATA=... python docs/snr_mask.py [--crops 388] [--size 128] > docs/results/snr_mask.md

Maps are computed at full size; tokens are means over 16 x 16 pixels of nearest-neighbour samples, as in the network.
Of the small variant with weights of a seed it is printed what resetting all queries and keys changes on the first test
picture.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from undim.nets import create_model
from undim.nets.padding import reflect
from undim.nets.snr_net import KEPT, PATCH, estimate_snr


def read(path: Path) -> Tensor:
    """1 x 3 x H x W in [0, 1]."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)


def token_means(image: Tensor) -> tuple[Tensor, float]:
    """The mean of the map over each token, and over the picture."""
    snr = estimate_snr(image)
    height, width = image.shape[-2:]
    snr = reflect(snr, 0, -width % 16, 0, -height % 16)
    quarter = F.interpolate(snr, size=(snr.shape[-2] // 4, snr.shape[-1] // 4), mode="nearest")
    return F.unfold(quarter, PATCH, stride=PATCH).mean(dim=1).flatten(), float(snr.mean())


def crops(paths: list[Path], count: int, size: int) -> list[Tensor]:
    """As many crops, places drawn from a fixed seed, of pictures in turn."""
    numbers = np.random.default_rng(0)
    found = []
    for index in range(count):
        image = read(paths[index % len(paths)])
        top = int(numbers.integers(image.shape[-2] - size + 1))
        left = int(numbers.integers(image.shape[-1] - size + 1))
        found.append(image[..., top : top + size, left : left + size])
    return found


def row(title: str, images: list[Tensor]) -> str:
    """A line of the table."""
    means, levels = zip(*map(token_means, images), strict=True)
    tokens = torch.cat(means)
    kept = int((tokens > KEPT).sum())
    return f"| {title} | {len(images)} | {len(tokens)} | {kept} | {float(tokens.max()):.3f} | {np.mean(levels):.4f} |"


def change_of_resetting(image: Tensor) -> tuple[float, float]:
    """Largest change of the output with all queries and keys drawn anew: by the own map, and by one of 0.6."""
    torch.manual_seed(0)
    model = create_model("snr_net_small").eval()
    changes = []
    maps = (estimate_snr(image), torch.full_like(image[:, :1], 0.6))
    before = [model(image, snr) for snr in maps]
    for layer in model.transformer.layer_stack:
        layer.slf_attn.w_qs.reset_parameters()
        layer.slf_attn.w_ks.reset_parameters()
    for snr, output in zip(maps, before, strict=True):
        changes.append(float((model(image, snr) - output).abs().max()))
    return changes[0], changes[1]


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, default=388)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    root = Path(os.environ["UNDIM_DATA"]) / "lol_v1"
    test, train = (
        sorted(path for path in (root / split / "low").iterdir() if path.suffix in (".png", ".webp"))
        for split in ("eval15", "our485")
    )
    with torch.no_grad():
        pictures = [read(path) for path in test]
        rows = [
            row("eval15, whole pictures", pictures),
            row(f"our485, crops of {options.size}", crops(train, options.crops, options.size)),
        ]
        own, kept = change_of_resetting(pictures[0])
    print("# SNR-Net's mask on LOL-v1\n")
    print(
        "Made by `docs/snr_mask.py`. SNR-Net lets tokens attend to those whose mean of the signal-to-noise map, scaled"
    )
    print("by the greatest value in the picture, is above 0.5.\n")
    print("| pictures | number | tokens | kept | greatest mean of a token | mean of the map |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))
    print(
        "\nA map is scaled by its maximum, and one bright, flat place is enough for all others to be near 0. Where no"
    )
    print(
        "token is kept, every score is -1e9, softmax gives each token the same weight, and attention is the mean of the"
    )
    print(
        "values, whatever the queries and keys are: they get no gradient in training and can be drawn anew for free.\n"
    )
    print("Largest change of the output of `snr_net_small` (weights of seed 0) on the first picture of eval15 when the")
    print(f"queries and keys of all layers are drawn anew: {own:.3g} with the picture's own map, {kept:.3g} with 0.6.")
    print("\nSo DMR of SNR-Net on this set measures its values, projections and norms only.")


if __name__ == "__main__":
    main()
