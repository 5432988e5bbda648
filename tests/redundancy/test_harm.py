"""POI against planted harm, and PSNR changes against scikit-image."""

import numpy as np
import pytest
import torch
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio
from torch import nn

from undim.errors import ModelError, ShapeError
from undim.nets import create_model
from undim.redundancy import Journal, harmfulness, layers, poi_over_networks, reset, table_groups
from undim.redundancy.harm import correlate_harm


class Planted(nn.Module):
    """The identity but for three branches: one that helps, one that harms, one without effect."""

    def __init__(self):
        super().__init__()
        self.good, self.bad, self.idle = (nn.Conv2d(3, 3, 1) for _ in range(3))
        with torch.no_grad():
            for layer in (self.good, self.bad):
                layer.weight.zero_()
            self.good.bias.fill_(10.0)
            self.bad.bias.fill_(-20.0)

    def forward(self, image):
        return image + 0.02 * self.good(image) + 0.02 * self.bad(image) + 0.0 * self.idle(image)


def pairs(count=4):
    numbers = torch.Generator().manual_seed(2)
    dark = [0.25 + 0.2 * torch.rand(1, 3, 16, 20 + index, generator=numbers) for index in range(count)]
    return [(image, image + 0.2) for image in dark]


def test_a_planted_harmful_layer_is_found():
    result = harmfulness(Planted(), pairs(), kind="^(good|bad|idle)$", seeds=(0, 1))
    assert result.layers["bad"].poi == 100
    assert result.layers["bad"].change > 3
    assert result.layers["good"].poi == 0
    assert result.layers["good"].change < -1
    assert result.layers["idle"].poi == 0
    assert result.layers["idle"].change == 0
    assert {gain.layer for gain in result.gains()} == {"bad"}
    assert len(result.gains(10)) == 4


def test_changes_are_those_of_the_headline_psnr():
    torch.manual_seed(0)
    model = create_model("restormer_small").eval()
    couples = pairs(3)
    result = harmfulness(model, couples, seeds=(3,))

    def score(low, high):
        with torch.no_grad():
            output = (model(low).clamp(0, 1) * 255).round().byte().numpy()
        return peak_signal_noise_ratio((high * 255).round().byte().numpy(), output, data_range=255)

    before = [score(*couple) for couple in couples]
    assert result.psnr == pytest.approx(before)
    for layer in layers(model):
        with reset(model, layer, 3):
            after = [score(*couple) for couple in couples]
        assert result.layers[layer.name].changes[0] == pytest.approx(np.subtract(after, before), abs=0.02)


def test_whole_groups_are_reset_at_once():
    torch.manual_seed(0)
    model = create_model("restormer_small").eval()
    groups = table_groups(model)
    assert {name: len(target.layers) for name, target in groups.items()} == {
        "attention, all": 8,
        "attention, latent": 1,
        "feedforward, all": 8,
        "feedforward, latent": 1,
    }
    result = harmfulness(model, pairs(2), groups=groups)
    latent = result.layers["latent.0.attn"]
    assert result.groups["attention, latent"].changes[0] == pytest.approx(latent.changes[0])
    assert list(table_groups(create_model("candela_tiny"))) == ["attention, all", "attention, latent"]


def test_the_correlation_says_where_harm_falls():
    class Uneven(nn.Module):
        """Right but for an offset that grows with the picture's brightness."""

        def __init__(self):
            super().__init__()
            self.offset = nn.Conv2d(3, 3, 1)
            with torch.no_grad():
                self.offset.weight.copy_(torch.eye(3)[..., None, None])
                self.offset.bias.zero_()

        def forward(self, image):
            return image + 0.5 * self.offset(image)

    couples = [(torch.full((1, 3, 12, 12), level),) * 2 for level in (0.1, 0.2, 0.3, 0.4, 0.5)]
    result = harmfulness(Uneven(), couples, kind="offset", seeds=(0, 1, 2))
    changes = result.layers["offset"].per_image
    level = [(before + (before + change)) / 2 for before, change in zip(result.psnr, changes, strict=True)]
    expected = stats.spearmanr(level, changes)
    assert result.correlation == pytest.approx((expected.statistic, expected.pvalue))


def test_the_correlation_is_nothing_where_chance_alone_makes_the_change():
    """Before and after are equally random: a correlation with what was before alone would be about -0.7."""
    rng = np.random.default_rng(0)
    before, after = rng.normal(20, 2, (2, 4000))
    changes = after - before
    found, _ = correlate_harm(before.tolist(), [[changes.tolist()]])
    assert abs(found) < 0.05
    assert stats.spearmanr(before, changes).statistic < -0.6
    assert correlate_harm([20.0, 21.0], [[[1.0, 2.0]]]) is None


def test_a_killed_run_continues_with_harm(tmp_path):
    model, couples = Planted(), pairs(3)
    expected = harmfulness(model, couples, kind="good|bad", seeds=(0, 1))
    path = tmp_path / "poi.jsonl"
    steps = [1] * 4
    with Journal(path, {}) as journal, pytest.raises(IndexError):
        harmfulness(model, couples, kind="good|bad", seeds=(0, 1), journal=journal, done=steps.pop)
    assert 0 < len(journal.records) < 6
    with Journal(path, {}) as journal:
        again = harmfulness(model, couples, kind="good|bad", seeds=(0, 1), journal=journal)
        complete = harmfulness(model, couples, kind="good|bad", seeds=(0, 1), journal=journal)
    assert again.as_dict() == expected.as_dict() == complete.as_dict()


def test_poi_over_networks_trained_from_several_seeds():
    harmless = Planted()
    nn.init.zeros_(harmless.bad.bias)
    results = {str(index): harmfulness(model, pairs(), kind="bad") for index, model in enumerate((Planted(), harmless))}
    found = poi_over_networks(results)["bad"]
    assert (found["smallest"], found["largest"]) == (
        min(one.layers["bad"].poi for one in results.values()),
        100,
    )


def test_pairs_of_unequal_size_are_refused():
    with pytest.raises(ShapeError, match="twice"):
        harmfulness(Planted(), [(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))], kind="bad")
    with pytest.raises(ModelError, match="no pictures"):
        harmfulness(Planted(), [], kind="bad")
