"""What a memory of scenes can tell of the right brightness on LOL-v1, and the PSNR that this bounds.

    UNDIM_DATA=... python docs/measure_scenes.py [--root DIR] [--matched 27.5]

Each picture of the split `train` is left out in turn and its reference's mean luma told from the other pictures of its
scene (dark pictures that look alike, see `undim.nets.scene_memory`): by the most alike, or by all, weighted. Printed is
the rms error of the natural logarithm, and the mean PSNR of pictures that have this error and, at matched brightness,
--matched dB: MSE = 10^(-matched / 10) + E[y^2] (e^error - 1)^2.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from undim.data.reading import read_rgb
from undim.data.sets import find_pairs
from undim.luma import REC601
from undim.nets.scene_memory import KNOWN, describe_scene
from undim.nets.thumbnail import make_thumbnail

Numbers = npt.NDArray[np.float64]
COPIES = 556
"""Number from which on the references of a scene are copies of one exposure."""
SHARPNESS = 10.0
"""A scene of correlation s weighs exp(SHARPNESS s)."""


def similarities(descriptors: torch.Tensor) -> Numbers:
    """M x M correlations of M x 16 x 24 descriptors, whichever way they are flipped; -1 for a picture and itself."""
    keys = descriptors.flatten(1)
    flips = [descriptors, descriptors.flip(1), descriptors.flip(2), descriptors.flip(1, 2)]
    alike = torch.stack([flipped.flatten(1) @ keys.t() for flipped in flips]).amax(0)
    return alike.fill_diagonal_(-1.0).double().numpy()


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--matched", type=float, default=27.5)
    options = parser.parse_args()
    numbers, described, logs, squares = [], [], [], []
    for pair in find_pairs("lol-v1", "train", options.root):
        low = torch.from_numpy(read_rgb(pair.low).astype(np.float32) / 255).permute(2, 0, 1)[None]
        high = read_rgb(pair.high) / 255
        numbers.append(int(pair.name))
        described.append(describe_scene(make_thumbnail(low))[0])
        logs.append(np.log((high @ np.array(REC601)).mean()))
        squares.append((high**2).mean())
    alike = similarities(torch.stack(described))
    truth, power, number = np.array(logs), np.array(squares), np.array(numbers)
    weights = np.exp(SHARPNESS * (alike - alike.max(1, keepdims=True))) * (alike > -1)
    guesses = {
        "the most alike": truth[alike.argmax(1)],
        "all, weighted": weights @ truth / weights.sum(1),
        "the mean of all pictures": np.full(len(truth), truth.mean()),
    }
    known = alike.max(1) >= KNOWN
    groups = {
        f"scene known, number < {COPIES}": known & (number < COPIES),
        f"scene known, number >= {COPIES}": known & (number >= COPIES),
        "scene known": known,
        "scene not known": ~known,
    }
    print("| pictures | | brightness told by | rms error of ln | PSNR, dB | spread over pictures, dB |")
    print("|---|---|---|---|---|---|")
    for title, chosen in groups.items():
        for name, guess in guesses.items():
            error = guess[chosen] - truth[chosen]
            mse = 10 ** (-options.matched / 10) + power[chosen] * (np.exp(error) - 1) ** 2
            psnr = -10 * np.log10(mse)
            rms = np.sqrt((error**2).mean())
            print(f"| {title} | {chosen.sum()} | {name} | {rms:.3f} | {psnr.mean():.2f} | {psnr.std(ddof=1):.2f} |")


if __name__ == "__main__":
    main()
