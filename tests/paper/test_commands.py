"""Typed values of what would make a figure, as commands: those that pages showed before they were typed."""

import pytest

from undim.paper.commands import Measurement, StudyRun, group_commands, spell_commands
from undim.results.laboratory import DmrDocument, PoiDocument, ResetDocument
from undim.results.scores import ScoresDocument

TRAIN = "undim train recipes/restormer_base.yaml -o runs/restormer_base"
STUDY = "undim study studies/a_cidnet_small.yaml -o RESULTS/studies/a_cidnet_small"
MEASURE = "undim study measure RESULTS/studies/a_cidnet_small -o RESULTS"


@pytest.mark.parametrize(
    ("making", "expected"),
    [
        (StudyRun("b_dm"), ["undim study studies/b_dm.yaml -o RESULTS/studies/b_dm"]),
        (
            Measurement(ScoresDocument, "restormer_base", "dicm"),
            [TRAIN, "undim evaluate runs/restormer_base --data dicm -o RESULTS/restormer_base/dicm"],
        ),
        (
            Measurement(DmrDocument, "restormer_base", "lol-v2-syn"),
            [
                f"{TRAIN}-lol-v2-syn --set data.name=lol-v2-syn",
                (
                    "undim redundancy dmr runs/restormer_base-lol-v2-syn --data lol-v2-syn --split test"
                    " -o RESULTS/restormer_base/lol-v2-syn"
                ),
            ],
        ),
        (
            Measurement(PoiDocument, "restormer_base", "lol-v1", save_images=True),
            [
                TRAIN,
                (
                    "undim redundancy poi runs/restormer_base --data lol-v1 --split test"
                    " -o RESULTS/restormer_base/lol-v1 --save-images"
                ),
            ],
        ),
        (
            Measurement(ResetDocument, "restormer_convs", "lol-v1"),
            [
                (
                    "undim train recipes/restormer_base.yaml -o runs/restormer_convs"
                    " --set 'model.convs={kernel: dynamic, where: \"attn[.](qkv|project_out)$\"}'"
                ),
                (
                    "undim redundancy reset runs/restormer_convs --data lol-v1 --split test"
                    " -o RESULTS/restormer_convs/lol-v1"
                ),
            ],
        ),
        (Measurement(ScoresDocument, "tiny", "dicm"), ["undim evaluate tiny --data dicm -o RESULTS/tiny/dicm"]),
        (
            Measurement(ScoresDocument, "gsad", "lol-v1"),
            ["undim evaluate PACKAGE.MODULE:FACTORY --weights FILE --data lol-v1 -o RESULTS/gsad/lol-v1"],
        ),
        (
            Measurement(ScoresDocument, "kind", "lol-v1"),
            [
                "undim convert CHECKPOINT -o kind.safetensors",
                "undim evaluate kind.safetensors --data lol-v1 -o RESULTS/kind/lol-v1",
            ],
        ),
        (
            Measurement(ScoresDocument, "a_cidnet_small.pog", "vv"),
            [STUDY, f"{MEASURE} --only table10 --unpaired vv"],
        ),
        (Measurement(ResetDocument, "a_cidnet_small.pog", "lol-v1"), [STUDY, MEASURE]),
    ],
)
def test_commands(making, expected):
    assert list(spell_commands(making)) == expected


def test_what_comes_first_is_said_once():
    wanted = [Measurement(ScoresDocument, "restormer_base", data) for data in ("dicm", "vv")] + [StudyRun("b_dm")]
    first, second = group_commands(wanted)
    assert (first.first, len(first.then)) == (TRAIN, 2)
    assert (second.first, second.then) == ("undim study studies/b_dm.yaml -o RESULTS/studies/b_dm", ())
