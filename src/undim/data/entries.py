"""The entries: what each data set is, how its folders may be laid out, its published counts and its fixed splits."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "val", "val-scenes", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "val-scenes", "test")


@dataclass(frozen=True)
class Part:
    """Two folders of pairs, relative to a data set's own folder.

    Letter case, `-` and `_` of folder names are left open: `LOL-v2/train/low` is found as `lol_v2/Train/Low`.
    """

    low: str
    high: str
    test: bool | None
    """Whether all of it is the test split, or none of it; None where the entry's `assign` says."""
    prefixes: tuple[str, str] = ("", "")
    """What the names of the low and of the high files may begin with before the name that they share."""


@dataclass(frozen=True)
class Layout:
    """One way in which the folders of a set of pairs are found in the wild."""

    parts: tuple[Part, ...]
    note: str = ""
    """What a reader of results must know if the pictures come from this layout."""


@dataclass(frozen=True)
class PairedSet:
    """One data set of dark pictures with references."""

    name: str
    folders: tuple[str, ...]
    """Where it is looked for under `$UNDIM_DATA`, in this order."""
    layouts: tuple[Layout, ...]
    """In the order in which they are looked for."""
    counts: tuple[int, int] | None
    """Published numbers of pairs outside the test split (for training and validation) and in it."""
    licence: str
    source: str
    """The paper, and the page that offers the pictures."""
    assign: Callable[[str], Split | None]
    """Name of a picture -> its split, whatever other pictures are there; None for one that no split may have. A `Part`
    of test pictures does not ask it; where a `Part` of training pictures holds one that it calls `test`, no split has
    that picture."""
    caution: str = ""
    """What whoever uses it must know."""
    twin: str = ""
    """Name of the data set whose test pictures are among these training pictures, and the other way round."""


@dataclass(frozen=True)
class UnpairedSet:
    """One data set of dark pictures without references."""

    name: str
    folders: tuple[str, ...]
    """Where it is looked for under `$UNDIM_DATA`, in this order."""
    layouts: tuple[str, ...]
    """Folders in its own folder; the first that holds pictures is taken."""
    count: int
    """Published number of pictures."""
    licence: str
    source: str
    """The paper, and the page that offers the pictures."""
    caution: str = ""
    """What whoever uses it must know."""


def _two_folders(train: tuple[str, str], test: tuple[str, str], prefixes: tuple[str, str] = ("", "")) -> Layout:
    return Layout((Part(*train, test=False, prefixes=prefixes), Part(*test, test=True, prefixes=prefixes)))


def _lol_v2(folder: str, prefixes: tuple[str, str]) -> tuple[Layout, ...]:
    """The layouts of one half of LOL-v2, from the whole data set's folder and from the half's own."""
    return tuple(
        _two_folders(
            (f"{inside}Train/{low}", f"{inside}Train/{high}"), (f"{inside}Test/{low}", f"{inside}Test/{high}"), prefixes
        )
        for inside in (f"{folder}/", "")
        for low, high in (("Low", "Normal"), ("Low", "High"), ("Input", "GT"))
    )


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else -1


def _within(number: int, blocks: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= number <= last for first, last in blocks)


RESEARCH = "no licence found; for research use"
LEAK = (
    "LOL-v1 and LOL-v2-real are pictures of one series under the same numbers: LOL-v1's training pictures are in"
    " LOL-v2-real's test split. A model trained on one must not be measured on the other."
)

VAL_SCENES = ((35, 46), (137, 145), (248, 253), (558, 567), (698, 704))
"""Blocks of LOL-v1 numbers that begin and end between scenes: 42 pictures of scenes that training never sees."""
VAL = frozenset(
    {
        *(16, 57, 80, 100, 120, 151, 185, 207, 232, 260, 472, 490),
        *(512, 537, 556, 588, 610, 630, 653, 677, 695, 723, 741, 766),
    }
)
"""LOL-v1 numbers of `val`: of our485's other pictures each 18th, from the tenth on."""


def assign_lol_v1(name: str) -> Split:
    """The split of one picture of our485.

    `val` is scattered as eval15 is (its scenes' neighbours stay in training), `val-scenes` lies in blocks.
    """
    number = _number(name)
    if _within(number, VAL_SCENES):
        return "val-scenes"
    return "val" if number in VAL else "train"


_LOL_V1_FOLDERS = (
    (("our485/low", "our485/high"), ("eval15/low", "eval15/high")),
    (("Train/input", "Train/target"), ("Test/input", "Test/target")),
)

LOL_V1 = PairedSet(
    name="lol-v1",
    folders=("lol_v1", "LOLdataset"),
    layouts=tuple(_two_folders(train, test) for train, test in _LOL_V1_FOLDERS),
    counts=(485, 15),
    licence="research use only",
    source=(
        "Wei et al., Deep Retinex Decomposition for Low-Light Enhancement, BMVC 2018,"
        " daooshee.github.io/BMVC2018website"
    ),
    assign=assign_lol_v1,
    caution=LEAK,
    twin="lol-v2-real",
)

LOL_V2_REAL_LAST = 689
"""The last number of LOL-v2-real's training pictures; 690 to 789 are its test pictures."""
LOL_V2_REAL_VAL_SCENES = ((39, 46), (137, 146), (248, 253), (558, 567), (654, 661))
"""Blocks of LOL-v2-real numbers that begin and end between scenes: 42 pictures."""


def assign_lol_v2_real(name: str) -> Split:
    """The split of one picture: by its number alone, wherever its file lies."""
    number = _number(name)
    if number > LOL_V2_REAL_LAST:
        return "test"
    if _within(number, LOL_V2_REAL_VAL_SCENES):
        return "val-scenes"
    return "val" if number in VAL else "train"


LOL_V2_REAL = PairedSet(
    name="lol-v2-real",
    folders=("lol_v2", "lol_v2_real", "lol_v1", "LOLdataset"),
    layouts=(
        *_lol_v2("Real_captured", ("low", "normal")),
        *(
            Layout(
                (Part(*train, test=None), Part(*test, test=None)),
                note=(
                    "Read from LOL-v1's files, which hold a subset of LOL-v2-real: 411 of its 689 training pictures and"
                    " 89 of its 100 test pictures."
                ),
            )
            for train, test in _LOL_V1_FOLDERS
        ),
    ),
    counts=(689, 100),
    licence=RESEARCH,
    source=(
        "Yang et al., Sparse Gradient Regularized Deep Retinex Network for Robust Low-Light Image Enhancement,"
        " TIP 2021, github.com/flyywh/CVPR-2020-Semi-Low-Light"
    ),
    assign=assign_lol_v2_real,
    caution=LEAK,
    twin=LOL_V1.name,
)


def assign_lol_v2_syn(name: str) -> Split:
    """The split of one training picture: about each 36th is `val`, by a checksum, since names are not numbers."""
    return "val" if zlib.crc32(name.encode()) % 36 == 0 else "train"


LOL_V2_SYN = PairedSet(
    name="lol-v2-syn",
    folders=("lol_v2", "lol_v2_syn", "lol_v2_synthetic"),
    # Some copies name the references without the leading r of RAISE's names.
    layouts=_lol_v2("Synthetic", ("r", "r")),
    counts=(900, 100),
    licence=RESEARCH,
    source=LOL_V2_REAL.source,
    assign=assign_lol_v2_syn,
    caution="The dark pictures are made from well-lit ones by computation.",
)

SICE_TEST = frozenset(
    {
        *(126, 154, 203, 228, 255, 276, 300, 462, 470, 476, 484, 584, 591, 830, 838, 961, 1027, 1034, 1073, 1143),
        *(1197, 1258, 1265, 1370, 1407, 1416, 1454, 1460, 1519, 1526, 1674, 1704, 1748, 1754, 1818, 1851, 1887, 1895),
        *(1904, 1999),
    }
)
SICE_VAL = frozenset({170, 210, 337, 451, 1042, 1050, 1439, 1468, 1545, 1575, 1729, 1734})
# What shows the same place is in one split, judged by eye over all 150 pictures. In numbers: the rank correlation of
# 16 x 16 grey thumbnails, upright or mirrored, is at least 0.94 for the four pairs that show one scene twice (705 and
# 710, 844 and 849, 1307 and 1321, 1622 and 1638: all in training) and at most 0.84 between pictures of different splits
# (1019 and 1370, of different places); between two training pictures of different places it reaches 0.88.


def assign_sice(name: str) -> Split:
    """The split of one picture: scenes of `val` and `test` are in no other split."""
    number = _number(name)
    if number in SICE_TEST:
        return "test"
    return "val" if number in SICE_VAL else "train"


SICE = PairedSet(
    name="sice",
    folders=("sice512", "sice"),
    layouts=(Layout((Part("low", "high", test=None),)),),
    counts=(110, 40),
    licence=RESEARCH,
    source=(
        "Cai et al., Learning a Deep Single Image Contrast Enhancer from Multi-Exposure Images, TIP 2018,"
        " github.com/csjcai/SICE"
    ),
    assign=assign_sice,
    caution=(
        "A selection of 150 pairs from part 1, cut to 512 x 512; splits go by that selection's numbers. A reference is"
        " one exposure of its sequence, not the authors' tuned reference."
    ),
)

SICE_MIXED_TEST = frozenset(
    {
        *(200, 226, 250, 273, 297, 459, 466, 473, 480, 581, 588, 826, 836, 957, 1070, 1138, 1192, 1255, 1262, 1367),
        *(1450, 1457, 1516, 1523, 1700, 1745, 1846, 1882, 1900, 1996),
    }
)
SICE_MIXED_VAL = frozenset({167, 207, 447, 1039, 1047, 1430, 1464, 1537, 1566, 1726, 1731})
# A scene bears the number of its series' first picture, and is in the split of the SICE pair that is of this series.
SICE_MIXED_LEFT_OUT = frozenset({159})
"""A series of its own that shows the place of SICE's test picture 154 from the same spot."""


def assign_sice_mixed(name: str) -> Split | None:
    """The split of one scene: that of the SICE pair of the same series, `train` where there is no such pair."""
    number = _number(name)
    if number in SICE_MIXED_LEFT_OUT:
        return None
    if number in SICE_MIXED_TEST:
        return "test"
    return "val" if number in SICE_MIXED_VAL else "train"


def _sice_mixed(kind: str, what: str) -> PairedSet:
    return PairedSet(
        name=f"sice-mixed-{kind}",
        folders=("sice_mixed",),
        layouts=(Layout((Part(kind, "fused", test=None),)),),
        counts=(121, 30),
        licence=RESEARCH,
        source=SICE.source,
        assign=assign_sice_mixed,
        caution=(
            f"152 bracketed series of SICE's part 1 at 320 x 320: {what}, and as the reference the exposure fusion"
            " (Mertens et al. 2007) of the series, in which moving things can ghost. Splits follow those of sice;"
            " scene 159 is in none, as it shows the place of a test picture of sice."
        ),
    )


SICE_MIXED_HALF = _sice_mixed("half", "one half-lit exposure")
SICE_MIXED_DARK = _sice_mixed("dark", "one dark exposure")

FOLDER = PairedSet(
    name="folder",
    folders=(),
    layouts=(),  # the two folders that are given are its only layout
    counts=None,
    licence="that of the pictures",
    source="any two folders, of dark pictures and of their references",
    assign=lambda _: "train",
    caution=(
        "All pairs are both its training and its test split. As the first data set of a recipe, every tenth pair,"
        " beginning with the first, validates instead of being learnt from."
    ),
)


def _unpaired(name: str, count: int, source: str, *, folders: tuple[str, ...] = (), caution: str = "") -> UnpairedSet:
    upper = name.upper()
    return UnpairedSet(
        name=name,
        folders=(f"unpaired/{upper}", upper, *folders),
        layouts=(".", "low", "images", "input", upper),
        count=count,
        licence=RESEARCH,
        source=source,
        caution=caution,
    )


DICM = _unpaired(
    "dicm",
    69,
    "Lee et al., Contrast Enhancement Based on Layered Difference Representation of 2D Histograms, TIP 2013,"
    " mcl.korea.ac.kr/projects/LDR",
    caution="Copies of 64 pictures are as common, without 23, 24, 51, 59 and 68: say which was measured.",
)
LIME = _unpaired(
    "lime",
    10,
    "Guo et al., LIME: Low-Light Image Enhancement via Illumination Map Estimation, TIP 2017,"
    " sites.google.com/view/xjguo/lime",
)
MEF = _unpaired(
    "mef",
    17,
    "Ma et al., Perceptual Quality Assessment for Multi-Exposure Image Fusion, TIP 2015, ece.uwaterloo.ca/~k29ma",
    caution="Of each of its multi-exposure sequences, one dark picture.",
)
NPE = _unpaired(
    "npe",
    8,
    "Wang et al., Naturalness Preserved Enhancement Algorithm for Non-Uniform Illumination Images, TIP 2013,"
    " github.com/baidut/BIMEF",
    folders=("unpaired/NPE-data", "NPE-data"),
    caution="NPE-data alone, without NPE-ex1, NPE-ex2 and NPE-ex3.",
)
VV = _unpaired(
    "vv",
    24,
    "Vonikakis, Busting Image Enhancement and Tone-Mapping Algorithms, sites.google.com/site/vonikakis/datasets",
)

SETS: dict[str, PairedSet | UnpairedSet] = {
    entry.name: entry
    for entry in (
        *(LOL_V1, LOL_V2_REAL, LOL_V2_SYN, SICE, SICE_MIXED_HALF, SICE_MIXED_DARK),
        *(DICM, LIME, MEF, NPE, VV),
        FOLDER,
    )
}
