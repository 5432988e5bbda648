"""Journals answer one question: another is refused by the name of what differs, the same one goes on."""

import json

import pytest
import torch
from torch import nn

from undim.errors import UsageError
from undim.nets import add_adr, create_model
from undim.redundancy import Initialisation, WalkSettings, dmr, harmfulness
from undim.redundancy.journal import Journal
from undim.redundancy.reset_walk import Target
from undim.redundancy.sites import layers


class Gated(nn.Module):
    """Two layers and a bare parameter."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.gate = nn.ParameterList([nn.Parameter(torch.full((1,), 0.3))])

    def forward(self, image):
        return 0.5 + 0.1 * self.gate[0] * self.first(image) + 0.1 * self.second(image)


def made(seed=0):
    torch.manual_seed(seed)
    return Gated()


def pictures(count=3, seed=3):
    numbers = torch.Generator().manual_seed(seed)
    return [torch.rand(1, 3, 8, 8 + 2 * index, generator=numbers) for index in range(count)]


def with_adr():
    torch.manual_seed(0)
    return add_adr(create_model("restormer_small"), embedding=8, bottleneck=4).eval()


KIND = "first|second"
MODEL, IMAGES = made(), pictures()
SAME = {"kind": KIND, "seeds": (0, 1)}


@pytest.fixture
def journal(tmp_path):
    """A journal that holds the whole of one question."""
    with Journal(tmp_path / "dmr.jsonl", {"mine": 1}) as journal:
        dmr(MODEL, IMAGES, **SAME, journal=journal)
    return lambda: Journal(tmp_path / "dmr.jsonl", {"mine": 1})


@pytest.mark.parametrize(
    ("model", "images", "changed", "named"),
    [
        (MODEL, IMAGES, {"seeds": (2, 3)}, r"seeds = \[0, 1\], and this run has \[2, 3\]"),
        (MODEL, IMAGES, {"seeds": (1, 0)}, r"seeds"),
        (MODEL, IMAGES, {"seeds": (0,)}, r"seeds"),
        (MODEL, IMAGES, {"kind": "first"}, "layers"),
        (MODEL, IMAGES, {"kind": "second"}, "layers"),
        (made(1), IMAGES, {}, "weights"),
        (nn.Sequential(MODEL), IMAGES, {}, "weights"),
        (MODEL, pictures(seed=4), {}, r"pictures\[0\]"),
        (MODEL, [*IMAGES[:2], pictures(seed=4)[2]], {}, r"pictures\[2\]"),
        (MODEL, IMAGES[::-1], {}, r"pictures\[0\]"),
        (MODEL, IMAGES[:2], {}, "number of pictures = 3, and this run has 2"),
        (MODEL, pictures(4), {}, 'number of pictures = 3, and this run has (4|"4 or more")'),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_another_question_is_refused_by_name(journal, model, images, changed, named, stream):
    with journal() as records, pytest.raises(UsageError, match=named) as caught:
        dmr(model, iter(images) if stream else images, **{**SAME, **changed}, journal=records)
    assert caught.value.code == "other-question"
    with journal() as records:
        assert dmr(MODEL, IMAGES, **SAME, journal=records) == dmr(MODEL, IMAGES, **SAME)


def test_one_journal_object_answers_one_question(tmp_path):
    with Journal(tmp_path / "a.jsonl", {}) as journal:
        first = dmr(MODEL, IMAGES, **SAME, journal=journal)
        with pytest.raises(UsageError, match="seeds"):
            dmr(MODEL, IMAGES, kind=KIND, seeds=(7, 8), journal=journal)
        with pytest.raises(UsageError, match='measure = "dmr"'):
            harmfulness(MODEL, [(image, image) for image in IMAGES], **SAME, journal=journal)
        assert dmr(MODEL, iter(IMAGES), **SAME, journal=journal) == first


def test_what_changes_no_figure_is_no_other_question(journal):
    expected = dmr(MODEL, IMAGES, **SAME)
    count = len(journal().records)
    for settings in (WalkSettings(fast=False), WalkSettings(batch=2), WalkSettings(budget=10)):
        with journal() as records:
            assert dmr(MODEL, IMAGES, **SAME, settings=settings, journal=records).ratios == expected.ratios
            assert len(records.records) == count
    useless = Initialisation(values={"nothing": 2.0})  # of no parameter that is reset
    with journal() as records:
        dmr(MODEL, IMAGES, **SAME, settings=WalkSettings(initialisation=useless), journal=records)


def test_what_bare_parameters_start_at_is_part_of_the_question(tmp_path):
    def measure(start):
        settings = WalkSettings(initialisation=Initialisation(values={"gate": start}))
        with Journal(tmp_path / "a.jsonl", {}) as journal:
            return dmr(MODEL, IMAGES, kind="gate", settings=settings, journal=journal)

    first = measure(0.5)
    assert measure(0.5) == first
    with pytest.raises(UsageError, match=r'bare = \{"gate.0": 0.5\}, and this run has \{"gate.0": 0.25\}'):
        measure(0.25)


def test_whether_adr_is_kept_is_part_of_the_question(tmp_path):
    model, images = with_adr(), pictures(1)
    with Journal(tmp_path / "a.jsonl", {}) as journal:
        dmr(model, images, adr="keep", journal=journal)
        for other in ("reset", "both"):
            with pytest.raises(UsageError, match="layers"):
                dmr(model, images, adr=other, journal=journal)


def test_a_networks_structure_is_part_of_the_question(tmp_path):
    one, other = (nn.Sequential(nn.Conv2d(3, 3, 1), kind()) for kind in (nn.ReLU, nn.Sigmoid))
    other.load_state_dict(one.state_dict())
    with Journal(tmp_path / "a.jsonl", {}) as journal:
        dmr(one, IMAGES, kind="0", journal=journal)
        with pytest.raises(UsageError, match="network"):
            dmr(other, IMAGES, kind="0", journal=journal)


def test_harm_asks_for_references_and_groups(tmp_path):
    couples = [(image, (image + 0.1).clamp(0, 1)) for image in IMAGES]
    groups = {"both": Target("both", tuple(layers(MODEL, KIND)))}
    with Journal(tmp_path / "a.jsonl", {}) as journal:
        expected = harmfulness(MODEL, couples, **SAME, groups=groups, journal=journal)
        with pytest.raises(UsageError, match="layers"):
            harmfulness(MODEL, couples, **SAME, journal=journal)
        others = [couples[0], (couples[1][0], couples[1][0]), couples[2]]
        with pytest.raises(UsageError, match=r"pictures\[1\]"):
            harmfulness(MODEL, others, **SAME, groups=groups, journal=journal)
        again = harmfulness(MODEL, couples, **SAME, groups=groups, journal=journal)
    assert again == expected == harmfulness(MODEL, couples, **SAME, groups=groups)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("steps", range(8))
def test_a_run_that_was_killed_anywhere_goes_on_to_the_same_figures(tmp_path, steps, batch, stream):
    model, images = made(), [IMAGES[0], IMAGES[0] * 0.5, *IMAGES[1:]]
    settings = WalkSettings(batch=batch)
    expected = dmr(model, images, **SAME, settings=settings)

    def given():
        return iter(images) if stream else images

    path = tmp_path / "a.jsonl"
    with Journal(path, {}) as journal, pytest.raises(IndexError):
        dmr(model, given(), **SAME, settings=settings, journal=journal, done=([1] * steps).pop)
    with path.open("ab") as file:
        file.write(b'{"picture": 3, "layer": "sec')  # what was being written
    with Journal(path, {}) as journal:
        assert dmr(model, given(), **SAME, settings=settings, journal=journal) == expected
    with Journal(path, {}) as journal:
        records = list(journal.records)
        assert dmr(model, given(), **SAME, settings=settings, journal=journal) == expected
        assert journal.records == records
    assert len({(record["picture"], record["layer"]) for record in records}) == len(records) == 8
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_other_pictures_in_a_stream_are_refused_before_they_are_measured(tmp_path):
    path = tmp_path / "a.jsonl"
    steps = [1] * 2
    with Journal(path, {}) as journal, pytest.raises(IndexError):
        dmr(MODEL, iter(IMAGES), **SAME, journal=journal, done=steps.pop)
    before = path.read_bytes()
    with Journal(path, {}) as journal, pytest.raises(UsageError, match=r"pictures\[0\]"):
        dmr(MODEL, iter(IMAGES[::-1]), **SAME, journal=journal)
    assert path.read_bytes() == before


def test_a_journal_of_an_earlier_version_is_refused_by_name(tmp_path):
    path = tmp_path / "a.jsonl"
    record = {"picture": 0, "layer": "first", "ratios": [1.0, 2.0], "non_finite": 0}
    path.write_text(f"{json.dumps({'format': 1, 'mine': 1})}\n{json.dumps(record)}\n")
    before = path.read_bytes()
    with Journal(path, {"mine": 1}) as journal, pytest.raises(UsageError, match="earlier version"):
        dmr(MODEL, IMAGES, **SAME, journal=journal)
    assert path.read_bytes() == before


def test_the_journals_own_names_are_not_for_facts(tmp_path):
    with pytest.raises(UsageError, match="'question'"):
        Journal(tmp_path / "a.jsonl", {"question": 1})
    assert not (tmp_path / "a.jsonl").exists()
