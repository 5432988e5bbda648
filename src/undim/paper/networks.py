"""The paper's networks and data sets, and what this project has of them.

Networks of a study are called STUDY.VARIANT, others as their recipe or as their folder is.
"""

from __future__ import annotations

ABLATION_DATA = "lol-v1"
"""The data set of the paper's ablations and of its tables of resets."""
DATA = {"lol-v1": "LOL-v1", "lol-v2-real": "LOL-v2-real", "lol-v2-syn": "LOL-v2-syn"}
UNPAIRED = {"dicm": "DICM", "lime": "LIME", "mef": "MEF", "npe": "NPE", "vv": "VV"}
RECIPES = {
    "Restormer": "restormer_base",
    "Restormer+ours": "restormer_pog",
    "Retinexformer": "retinexformer_base",
    "Retinexformer+ours": "retinexformer_pog",
    "CIDNet": "cidnet_base",
    "CIDNet+ours": "cidnet_pog",
}
"""The paper's networks that this project has, and the recipe of each."""
SYSTEMS = {
    "RetinexNet": "retinexnet",
    "KinD": "kind",
    "EnlightenGAN": "enlightengan",
    "RUAS": "ruas",
    "SNR-Net": "snr_net",
    "LLFormer": "llformer",
    "RSFNet": "rsfnet",
    "RetinexMamba": "retinexmamba",
    "Zero-DCE": "zero_dce",
    "PairLIE": "pairlie",
}
"""The other systems that can be built here, by the paper's name: what their folders and networks are called."""
UNPAIRED_SYSTEMS = ("Zero-DCE", "PairLIE", "LLFlow", "GLARE")
"""Those that the paper has in table 10 only."""
SMALL_STUDIES = ("t4_snr_net_small", "t4_llformer_small", "t4_retinexmamba_small")
"""Table 4 on small networks of three of them."""
CONVS = "restormer_convs"
"""Table 2's second network: Restormer with dynamic convolutions of its own."""
SHIPPED = ("photo", "lol", "tiny")
OWN = tuple(f"a_restormer_small.{variant}" for variant in ("base", "static", "dynamic", "pog"))
"""The networks of a study that stand beside the paper's Restormer: small, alike but for ADR, equally trained."""


def network_of(label: str) -> str:
    """The name of a row's folder."""
    return RECIPES.get(label) or SYSTEMS.get(label) or label.lower()


def label_of(network: str) -> str:
    """What a network's rows are called: as the paper does, STUDY: VARIANT, or the network's own name."""
    study, dot, variant = network.partition(".")
    known = RECIPES | SYSTEMS
    return f"{study}: {variant}" if dot else next((row for row, name in known.items() if name == network), network)
