"""Whose networks public checkpoints are of: what is told of one that is recognised, as data.

Scores are those of table 6 of Li et al., "Rethinking Model Redundancy for Low-light Image Enhancement".
"""

from __future__ import annotations

from dataclasses import dataclass

UNSTATED = "none stated: the weights may be used by permission of their authors only"
SETS = ("LOL-v1", "LOL-v2-real", "LOL-v2-syn")

Score = tuple[float, float] | None
"""PSNR in dB and SSIM; None where the table has none."""


@dataclass(frozen=True)
class System:
    """A published system."""

    name: str
    """As people call it, with authors and year."""
    licence: str
    """Of its code and weights."""
    protocol: str
    """What its authors set, and how they evaluate, where that moves the figures."""
    scores: tuple[Score, Score, Score] | None = None
    """On each of `SETS`; None where the table does not list it."""

    def notes(self, *, published_size: bool) -> dict[str, str]:
        """What a file of its weights tells people.

        Args:
            published_size: whether the network has the size that the scores are of.
        """
        told = {"system": self.name, "licence": self.licence, "authors' settings": self.protocol}
        if self.scores is not None and published_size:
            told["published scores"] = _tell(self.scores)
        return told


def _tell(scores: tuple[Score, Score, Score]) -> str:
    each = [f"{name} {one[0]:.2f} / {one[1]:.3f}" for name, one in zip(SETS, scores, strict=True) if one is not None]
    return (
        f"{', '.join(each)} (PSNR in dB / SSIM of Li et al., table 6, one network for each set; the names of weights do"
        " not tell what these ones were trained for)"
    )


SYSTEMS = {
    "restormer": System(
        "Restormer (Zamir et al., CVPR 2022)",
        "academic, non-commercial, share-alike",
        "sides are multiples of 8, padded by reflection",
        ((20.91, 0.788), (20.79, 0.816), (24.06, 0.919)),
    ),
    "retinexformer": System(
        "Retinexformer (Cai et al., ICCV 2023)",
        "MIT",
        "sides are multiples of 4; GT-mean is an option of the evaluation",
        ((25.16, 0.845), (22.80, 0.840), (25.67, 0.930)),
    ),
    "cidnet": System(
        "HVI-CIDNet (Feng et al., arXiv 2024)",
        "MIT",
        "sides are multiples of 8; the public evaluation raises saturation 1.3 times on LOL-v1 and takes alpha 0.8 to"
        " 0.84 on LOL-v2-real, which is not done here",
        ((23.81, 0.857), (23.90, 0.866), (25.71, 0.942)),
    ),
    "zero_dce": System("Zero-DCE (Guo et al., CVPR 2020)", "CC BY-NC 4.0 by its README", "eight curves, no setting"),
    "pairlie": System("PairLIE (Fu et al., CVPR 2023)", UNSTATED, "exponent 0.14 for LOL, 0.2 elsewhere"),
    "ruas": System(
        "RUAS (Liu et al., CVPR 2021)",
        UNSTATED,
        "variant lol is denoised; upe and dark are the same network before its denoiser. Its own weights score 16.45 dB"
        " on LOL-v1, far from the published figure",
        ((18.23, 0.720), (18.37, 0.723), (16.55, 0.652)),
    ),
    "retinexnet": System(
        "RetinexNet (Wei et al., BMVC 2018)",
        "MIT",
        "8-bit output by truncation",
        ((16.77, 0.560), (15.47, 0.567), (17.13, 0.798)),
    ),
    "retinexnet_port": System("a PyTorch port of RetinexNet, which is another network", UNSTATED, "none"),
    "kind": System(
        "KinD (Zhang et al., ACM MM 2019)",
        UNSTATED,
        "ratio 5 in the demo; from the reference on LOL",
        ((20.86, 0.790), (14.74, 0.641), (13.29, 0.578)),
    ),
    "enlightengan": System(
        "EnlightenGAN (Jiang et al., TIP 2021)",
        "BSD style",
        "pictures wider than 2200 pixels are halved (halve_above=2200)",
        ((17.48, 0.650), (18.23, 0.617), (16.57, 0.734)),
    ),
    "snr_net": System(
        "SNR-Net (Xu et al., CVPR 2022)",
        UNSTATED,
        "LOL is resized to 400 x 608 (resize=(400, 608))",
        ((24.61, 0.842), (21.48, 0.849), (24.14, 0.928)),
    ),
    "llformer": System(
        "LLFormer (Wang et al., AAAI 2023)",
        "CC BY-NC-SA 4.0",
        "SSIM with a uniform window of 7 x 7",
        ((23.65, 0.816), (20.06, 0.792), (24.04, 0.909)),
    ),
    "retinexmamba": System(
        "RetinexMamba (Bai et al., 2024)",
        "MIT",
        "GT-mean is an option of the evaluation",
        ((24.03, 0.827), (22.45, 0.844), (25.89, 0.935)),
    ),
    "rsfnet": System(
        "RSFNet (Saini and Narayanan, CVPR 2024)",
        "GPL-3.0",
        "the published code bypasses the factors (bypass)",
        ((19.39, 0.755), (19.27, 0.738), None),
    ),
}
"""By architecture."""
