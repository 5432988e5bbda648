"""The entries: what each data set is, how its folders may be laid out, its published counts and its fixed splits."""

from __future__ import annotations

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
    """What the names of the low and of the high files begin with before the name that they share."""


@dataclass(frozen=True)
class Layout:
    """One way in which a data set's folders are found in the wild."""

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
    counts: tuple[int, int]
    """Published numbers of pairs outside the test split (for training and validation) and in it."""
    licence: str
    source: str
    """Paper, and the page that offers the pictures."""
    assign: Callable[[str], Split]
    """Name of a picture -> its split, whatever other pictures are there."""


def _two_folders(train: tuple[str, str], test: tuple[str, str], prefixes: tuple[str, str] = ("", "")) -> Layout:
    return Layout((Part(*train, test=False, prefixes=prefixes), Part(*test, test=True, prefixes=prefixes)))


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else -1


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
    if any(low <= number <= high for low, high in VAL_SCENES):
        return "val-scenes"
    return "val" if number in VAL else "train"


LOL_V1 = PairedSet(
    name="lol-v1",
    folders=("lol_v1",),
    layouts=(
        _two_folders(("our485/low", "our485/high"), ("eval15/low", "eval15/high")),
        _two_folders(("Train/input", "Train/target"), ("Test/input", "Test/target")),
    ),
    counts=(485, 15),
    licence="research use only",
    source="Wei et al., Deep Retinex Decomposition for Low-Light Enhancement, BMVC 2018",
    assign=assign_lol_v1,
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
    licence="research use only",
    source=(
        "Cai et al., Learning a Deep Single Image Contrast Enhancer from Multi-Exposure Images, TIP 2018,"
        " github.com/csjcai/SICE; 150 pairs of part 1, cut to 512 x 512, under the numbers of that selection"
    ),
    assign=assign_sice,
)

SETS: dict[str, PairedSet] = {entry.name: entry for entry in (LOL_V1, SICE)}
