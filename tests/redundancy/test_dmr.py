"""DMR against answers known without it: closed forms, a plain loop written here, and properties."""

import copy
import json
import math

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from undim.errors import ModelError, ShapeError, UsageError
from undim.nets import add_adr, create_model
from undim.redundancy import WalkSettings, dmr, layers, reset
from undim.redundancy.journal import Journal
from undim.redundancy.ratios import CEILING

SMALL = ("candela_tiny", "cidnet_small", "restormer_small", "retinexformer_small")


class Branch(nn.Module):
    """x + scale * (branch(x) - 1/2)."""

    def __init__(self, scale):
        super().__init__()
        self.branch = nn.Conv2d(3, 3, 1)
        self.scale = scale

    def forward(self, image):
        return image * 0.5 + 0.25 + self.scale * self.branch(image)


def pictures(count=2, side=24):
    numbers = torch.Generator().manual_seed(3)
    return [torch.rand(1, 3, side, side + 8 * index, generator=numbers) for index in range(count)]


def made(name, **options):
    torch.manual_seed(0)
    model = create_model(name, **options)
    if name.startswith("candela"):
        nn.init.normal_(model.predict.weight, std=0.02)  # it starts at zero, and nothing would have an effect
    return model.eval()


def plain_loop(model, images, layer, seed):
    found = []
    with torch.no_grad():
        for image in images:
            before = model(image).clamp(0, 1)
            with reset(model, layer, seed):
                after = model(image).clamp(0, 1)
            found.append(float(-10 * torch.log10(F.mse_loss(after.double(), before.double()))))
    return found


def test_a_linear_network_has_its_closed_form():
    """Of a per-pixel map W x, the mean squared difference is that of (W - W') x."""
    torch.manual_seed(1)
    model = Branch(0.05)
    image = pictures(1)[0]
    result = dmr(model, [image], kind="^branch$", seeds=(4,))
    before = copy.deepcopy(model.branch)
    with reset(model, "branch", 4):
        weight = before.weight - model.branch.weight
        bias = before.bias - model.branch.bias
    pixels = image[0].flatten(1).double()  # (3, H W)
    change = 0.05 * (weight[..., 0, 0].double() @ pixels + bias.double()[:, None])
    expected = -10 * math.log10(change.square().mean().item())
    assert result.per_layer["branch"] == pytest.approx(expected, abs=1e-4)
    assert result.mean == result.per_image[0] == result.per_layer["branch"]


def test_a_branch_times_zero_is_infinitely_redundant():
    torch.manual_seed(1)
    result = dmr(Branch(0.0), pictures(), kind="branch")
    assert result.per_layer == {"branch": math.inf}
    assert result.mean == CEILING
    assert result.as_dict()["layers"]["branch"] == {
        "dmr": None,
        "infinite": True,
        "spread": None,
        "ratios": [[None, None]],
    }


def test_the_ratio_rises_as_the_layer_counts_less():
    torch.manual_seed(1)
    strong = Branch(0.1)
    weak = copy.deepcopy(strong)
    weak.scale = 0.01
    more, less = (dmr(model, pictures(), kind="branch").mean for model in (strong, weak))
    assert less == pytest.approx(more + 20, abs=0.01)


def test_values_that_are_not_finite_are_the_largest_difference():
    class Log(Branch):
        def forward(self, image):
            offset = self.branch.weight.sum() - self.branch.weight.sum().detach()
            return image * self.branch.bias.log().sum() + offset

    model = Log(1.0)
    nn.init.constant_(model.branch.bias, math.e ** (1 / 6))
    result = dmr(model, pictures(1), kind="branch", seeds=range(8))
    broken = [ratios[0] == 0 for ratios in result.ratios["branch"]]
    assert result.non_finite == sum(broken) > 0
    nn.init.constant_(model.branch.bias, -1.0)
    with pytest.raises(ModelError, match="not finite"):
        dmr(model, pictures(1), kind="branch")


def test_outputs_are_clamped_and_not_rounded():
    torch.manual_seed(1)
    model = Branch(1e-4)
    assert 60 < dmr(model, pictures(1), kind="branch").mean < CEILING  # far below half a grey level
    with torch.no_grad():
        model.branch.bias.fill_(1e6)
    half_white = dmr(model, [torch.zeros(1, 3, 8, 8)], kind="branch")  # 100 before, clamped to 1, and about 0.25 after
    assert half_white.mean == pytest.approx(-20 * math.log10(0.75), abs=0.01)


@pytest.mark.parametrize(
    "name", [name if name == "candela_tiny" else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]
)
def test_the_fast_path_gives_the_plain_loops_ratios(name):
    model = add_adr(made(name), where="all", embedding=8, bottleneck=4).eval()
    images = pictures()
    chosen = layers(model, "attention")
    fast = dmr(model, images, seeds=(0, 1))
    slow = dmr(model, images, seeds=(0, 1), settings=WalkSettings(fast=False))
    assert fast.notes == slow.notes  # nothing fell back
    assert list(fast.ratios) == [layer.name for layer in chosen]
    for layer in chosen:
        for place in (0, 1):
            assert fast.ratios[layer.name][place] == pytest.approx(slow.ratios[layer.name][place], abs=1e-5)
    one = chosen[-1]
    assert slow.ratios[one.name][1] == pytest.approx(plain_loop(model, images, one, 1), abs=1e-4)


def test_without_room_for_activations_nothing_changes():
    model, images = made("restormer_small"), pictures()
    tight = dmr(model, images, settings=WalkSettings(budget=20_000))
    assert tight.per_layer == pytest.approx(dmr(model, images).per_layer, abs=1e-5)


def test_batches_change_nothing():
    model = made("restormer_small")
    images = [*pictures(1), *pictures(1), *pictures(3)]
    together = dmr(model, images, settings=WalkSettings(batch=4))
    assert together.per_image == pytest.approx(dmr(model, images).per_image, abs=1e-3)


def test_seeds_reproduce_and_differ_and_leave_the_callers_numbers_alone():
    model, images = made("restormer_small"), pictures()
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    first = dmr(model, iter(images), seeds=(1, 2, 3))
    assert torch.equal(torch.rand(3), expected)
    assert dmr(model, images, seeds=(3, 2, 1)).per_seed == pytest.approx(first.per_seed[::-1])
    assert len(set(first.per_seed)) == 3


def test_the_interval_is_students():
    result = dmr(made("candela_tiny"), pictures(), seeds=(0, 1, 2, 3))
    expected = stats.t.interval(0.95, 3, result.mean, stats.sem(result.per_seed))
    assert result.interval == pytest.approx(expected)
    assert dmr(made("candela_tiny"), pictures()).interval is None


def test_the_networks_mode_and_weights_stay():
    model = made("cidnet_small").train()
    model.HV_LCA1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dmr(model, pictures(1))
    assert model.training
    assert not model.HV_LCA1.training
    assert "forward" not in model.HV_LCA1.__dict__
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_adr_is_reset_with_its_layer_or_kept():
    model = add_adr(made("restormer_small"), embedding=8)
    both = dmr(model, pictures(), adr="both")
    assert both.kept.per_layer == pytest.approx(dmr(model, pictures(), adr="keep").per_layer, abs=1e-4)
    assert both.kept.ratios["latent.0.attn"] == both.ratios["latent.0.attn"]  # it has no ADR
    assert both.kept.ratios["refinement.0.attn"] != both.ratios["refinement.0.attn"]
    assert dmr(made("candela_tiny"), pictures(1), adr="both").kept is None


def test_weights_read_by_an_ancestor_are_no_obstacle():
    class Early(Branch):
        """Reads the layer's weights before it calls the layer, and computes with them in a module that is watched."""

        def __init__(self, scale):
            super().__init__(scale)
            self.first = nn.Conv2d(3, 3, 1)

        def forward(self, image):
            return super().forward(image) + 0.1 * self.first(image) * self.branch.weight.mean()

    torch.manual_seed(0)
    model = nn.Sequential(Early(0.1))
    result = dmr(model, pictures(), kind="branch")
    assert not result.notes
    assert result.ratios == dmr(model, pictures(), kind="branch", settings=WalkSettings(fast=False)).ratios


def test_hidden_reads_of_a_layer_are_found_by_the_rehearsal():
    class Tied(nn.Module):
        """The second module computes with the weights of the third."""

        def __init__(self):
            super().__init__()
            self.last = nn.Conv2d(3, 3, 1)
            self.first = nn.Conv2d(3, 3, 1)
            self.first.forward = lambda image: F.conv2d(image, self.last.weight)

        def forward(self, image):
            return 0.5 + 0.1 * self.last(self.first(image))

    torch.manual_seed(0)
    model = Tied()
    result = dmr(model, pictures(), kind="last")
    assert "plain loop was taken for 1 of 1 layers" in result.notes[0]
    assert result.ratios == dmr(model, pictures(), kind="last", settings=WalkSettings(fast=False)).ratios
    assert "forward" in model.first.__dict__


def test_activations_changed_in_place_are_not_reused():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 3, 1),
    )
    result = dmr(model, pictures(), kind="^[024]$")
    assert not result.notes
    assert result.ratios == dmr(model, pictures(), kind="^[024]$", settings=WalkSettings(fast=False)).ratios


def test_a_killed_run_continues(tmp_path):
    model, images = made("candela_tiny"), pictures(3)
    expected = dmr(model, images, seeds=(0, 1))
    path = tmp_path / "dmr.jsonl"

    class KilledError(Exception):
        pass

    count = [0]

    def kill():
        count[0] += 1
        if count[0] == 6:
            raise KilledError

    with Journal(path, {"model": "x"}) as journal, pytest.raises(KilledError):
        dmr(model, images, seeds=(0, 1), journal=journal, done=kill)
    with path.open("ab") as stream:
        stream.write(b'{"picture": 2, "lay')  # the line that was being written
    before = path.read_bytes().count(b"\n")
    with Journal(path, {"model": "x"}) as journal:
        resumed = dmr(model, images, seeds=(0, 1), journal=journal)
    lines = path.read_text().splitlines()
    assert before == 7
    assert len(lines) == 1 + 3 * 4
    assert all(json.loads(line) for line in lines)
    assert resumed.ratios == expected.ratios
    with pytest.raises(UsageError, match='model = "x"'):
        Journal(path, {"model": "y"})


def test_pictures_that_are_none_are_refused():
    model = made("candela_tiny")
    for image, words in (
        (torch.rand(3, 16, 16), r"N x 3 x H x W"),
        (torch.rand(1, 3, 16, 16) * 255, r"\[0, 1\]"),
        (torch.full((1, 3, 16, 16), math.nan), r"\[0, 1\]"),
        (torch.ones(1, 3, 16, 16, dtype=torch.uint8), "floats"),
    ):
        with pytest.raises(ShapeError, match=words):
            dmr(model, [image])
    with pytest.raises(ModelError, match="no pictures"):
        dmr(model, [])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same_and_agrees():
    model, images = made("restormer_small"), pictures()
    expected = dmr(model, images)
    assert dmr(model.cuda(), images).per_layer == pytest.approx(expected.per_layer, abs=0.01)


def test_a_journal_without_a_result_stands_in_nobodys_way(tmp_path):
    path = tmp_path / "dmr.jsonl"
    with Journal(path, {"kind": "misspelt"}):
        pass
    with Journal(path, {"kind": "attention"}) as journal:
        journal.append({"layer": "a"})
    with pytest.raises(UsageError, match="kind"):
        Journal(path, {"kind": "misspelt"})
    with Journal(path, {"kind": "attention"}) as journal:
        assert journal.records == [{"layer": "a"}]
    path.write_text('{"notes": 1}\n')
    with pytest.raises(UsageError, match="holds results"):
        Journal(path, {"kind": "attention"})
    assert path.read_text() == '{"notes": 1}\n'
