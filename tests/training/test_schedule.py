"""Learning rates and sizes of crops over a run."""

import math

import pytest

from undim.errors import RecipeError
from undim.training.recipe import OptimiserSection, load_recipe
from undim.training.schedule import mean_pixels, rate_at, sizes_at


def settings(lr, phases, warmup=0):
    return OptimiserSection.model_validate({"lr": lr, "warmup": warmup, "phases": phases})


def test_rate_warms_up_and_falls_to_zero():
    plain = OptimiserSection(lr=1.0, warmup=10)
    assert rate_at(0, 0.0, plain) == pytest.approx(0.1)
    assert rate_at(10, 0.0, plain) == pytest.approx(1.0)
    assert rate_at(50, 0.5, plain) == pytest.approx(0.5)
    assert rate_at(75, 0.75, plain) == pytest.approx(0.5 * (1 + math.cos(0.75 * math.pi)))
    assert rate_at(100, 1.0, plain) == pytest.approx(0.0)


def test_restormers_rate_is_constant_and_then_a_cosine():
    restormer = settings(3e-4, [{"steps": 92_000, "shape": "constant"}, {"steps": 208_000, "to": 1e-6}])
    for step in (0, 50_000, 91_999, 92_000):
        assert rate_at(step, step / 300_000, restormer) == pytest.approx(3e-4), step
    middle = rate_at(196_000, 196_000 / 300_000, restormer)
    assert middle == pytest.approx((3e-4 + 1e-6) / 2)
    assert rate_at(300_000, 1.0, restormer) == pytest.approx(1e-6)


def test_retinexformers_rate_rises_before_it_falls():
    phases = [{"steps": 46_000, "to": 3e-4}, {"steps": 104_000, "to": 1e-6}]
    retinexformer = settings(2e-4, phases)
    rates = [rate_at(step, step / 150_000, retinexformer) for step in (0, 23_000, 46_000, 98_000, 150_000)]
    assert rates == pytest.approx([2e-4, 2.5e-4, 3e-4, (3e-4 + 1e-6) / 2, 1e-6])


def test_restarts_and_straight_lines():
    restarts = settings(1.0, [{"steps": 10}, {"steps": 30, "from": 0.5, "to": 0.1, "shape": "linear"}])
    assert rate_at(5, 5 / 40, restarts) == pytest.approx(0.5)
    assert rate_at(9, 9.999 / 40, restarts) < 1e-6
    assert rate_at(10, 10 / 40, restarts) == pytest.approx(0.5)
    assert rate_at(25, 25 / 40, restarts) == pytest.approx(0.3)


def test_each_step_of_a_long_run_falls_in_its_own_phase():
    lengths = (7, 13, 80)
    phases = [{"steps": n, "shape": "constant", "from": 10.0**-i} for i, n in enumerate(lengths)]
    stairs = settings(1.0, phases)
    rates = [rate_at(step, step / 300, stairs) for step in range(300)]
    assert [rates.count(10.0**-i) for i in range(3)] == [21, 39, 240]


def test_sizes_follow_the_stages(recipe):
    stages = "[{steps: 2, crop: 16, batch: 4}, {steps: 6, crop: 24, batch: 2}]"
    plan = load_recipe(recipe, {"progressive": stages})
    assert [sizes_at(step / 8, plan) for step in range(8)] == [(16, 4)] * 2 + [(24, 2)] * 6
    assert mean_pixels(plan) == pytest.approx((2 * 4 * 16**2 + 6 * 2 * 24**2) / 8)
    assert sizes_at(0.9, load_recipe(recipe)) == (16, 2)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ("[{steps: 5, from: 1.0}]", "the first phase begins at optimiser.lr"),
        ("[{steps: 5, shape: constant, to: 1.0e-6}]", "constant phase ends where it begins"),
        ("[{steps: 5, shape: steps}]", "'cosine', 'linear' or 'constant'"),
        ("[{steps: 5, form: cosine}]", "no key 'optimiser.phases.0.form'. Did you mean 'optimiser.phases.from'"),
        ("[{steps: 0}]", "optimiser.phases.0.steps"),
        ("[{from: 1}]", "optimiser.phases.0.steps: Field required"),
    ],
)
def test_wrong_phases_are_named(recipe, phases, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, {"optimiser.phases": phases})
    assert message in str(caught.value)
