"""The device's path, run on the CPU: the same function of tensors that a GPU captures."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from stopped_runs import StoppedError, stop_at, timeless

from no_host import NoHost
from undim.data import darkening
from undim.data.crops import PairCrops, Sampling, Source
from undim.data.sets import Pair
from undim.errors import DataError, TrainingError
from undim.training import device_darkening as on_device
from undim.training.checkpoints import load_checkpoint, save_checkpoint
from undim.training.counter import MASK, Counter, mix, mix_number
from undim.training.device_crops import DeviceCrops, beta_quantiles
from undim.training.device_stepper import DeviceStepper
from undim.training.loop import train_network
from undim.training.recipe import load_recipe
from undim.training.samples import load_crops
from undim.training.stepper import Stepper
from undim.training.steps import Ahead, DeviceSteps, steps_of, steps_on_device

CPU = torch.device("cpu")
DEVICE = {"steps_on": "device"}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def pairs(tmp_path):
    """Six pairs of different sizes, every pixel of a value of its own place."""
    rng = np.random.default_rng(0)
    found = []
    for name in range(6):
        shape = (20 + 3 * name, 40 - 2 * name, 3)
        paths = []
        for side in ("low", "high"):
            path = tmp_path / side / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
            paths.append(path)
        found.append(Pair(str(name), *paths))
    return found


def made(pairs, **sampling):
    crops = PairCrops([Source(pairs)], Sampling(**sampling))
    return DeviceCrops(crops, CPU, thumbnails=True), crops


def at(step):
    return torch.tensor(step)


def literal_mix(value):
    """The mixing function in Python's whole numbers."""
    value ^= value >> 16
    value = value * 0x21F0AAAD % 2**32
    value ^= value >> 15
    value = value * 0x735A2D97 % 2**32
    return value ^ (value >> 15)


def test_the_mixing_function_is_the_written_one_and_one_to_one():
    values = np.random.default_rng(0).integers(0, 2**32, 1000)
    expected = [literal_mix(int(value)) for value in values]
    assert mix(torch.from_numpy(values)).tolist() == expected
    assert [mix_number(int(value)) for value in values] == expected
    assert len(mix(torch.arange(2**16) * 65537).unique()) == 2**16


def test_draws_are_even_and_independent():
    draws = Counter(7, at(123))
    uniform = draws.uniform(0, 20000).numpy()
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
    assert stats.kstest(draws.normal(1, 20000).numpy(), "norm").pvalue > 0.01
    others = [Counter(7, at(123)).uniform(3, 20000), Counter(7, at(124)).uniform(0, 20000)]
    others += [Counter(8, at(123)).uniform(0, 20000), Counter(7 + 2**33, at(123)).uniform(0, 20000)]
    for other in others:
        assert abs(np.corrcoef(uniform, other.numpy())[0, 1]) < 0.03
    # One place over steps is as even as places of one step.
    over_steps = Counter(7, torch.arange(20000)).uniform(0, 1).squeeze(1).numpy()
    assert stats.kstest(over_steps, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(over_steps[1:], over_steps[:-1])[0, 1]) < 0.03
    whole = draws.below(5, torch.full((60000,), 6)).numpy()
    assert stats.chisquare(np.bincount(whole, minlength=6)).pvalue > 0.01
    assert int(draws.bits(9, 1000).min()) >= 0
    assert int(draws.bits(9, 1000).max()) <= MASK


def test_crops_are_windows_of_the_pictures_turned_and_flipped_as_planned(pairs):
    crops, held = made(pairs, turn=0.5, identity=0.3, seed=3)
    seen = set()
    for step in range(12):
        batch = crops.draw(at(step), 5, 16)
        plan = crops.plan(Counter(3, at(step)), at(step), 5, 16)
        for n in range(5):
            index, top, left = int(plan.picture[n]), int(plan.top[n]), int(plan.left[n])
            turned, down, mirrored = (bool(part[n]) for part in (plan.turned, plan.upside_down, plan.mirrored))
            lit = float(plan.kind[n]) < 0.3
            seen.add((turned, down, mirrored, lit))
            stores = (held.highs if lit else held.lows, held.highs)
            for store, got in zip(stores, (batch.low, batch.high), strict=True):
                window = store[index][top : top + 16, left : left + 16]
                window = window.swapaxes(0, 1) if turned else window
                window = window[::-1] if down else window
                window = window[:, ::-1] if mirrored else window
                expected = torch.from_numpy(window.copy()).permute(2, 0, 1).float() / 255
                assert torch.equal(got[n], expected)
            small = held.thumbnail(index, well_lit=lit, turned=turned)
            small = small[::-1] if down else small
            small = small[:, ::-1] if mirrored else small
            assert np.array_equal(batch.context[n].permute(1, 2, 0).numpy(), small)
    assert len(seen) >= 10
    assert batch.low.is_contiguous(memory_format=torch.channels_last)


def test_places_and_orientations_are_even(pairs):
    crops, held = made(pairs, turn=0.25)
    steps = torch.arange(240)
    plans = [crops.plan(Counter(0, step), step, 8, 16) for step in steps]
    picture = torch.cat([plan.picture for plan in plans]).numpy()
    assert np.bincount(picture).tolist() == [320] * 6  # each once an epoch
    for index in range(6):
        height, width = held.highs[index].shape[:2]
        for name, side in (("top", height), ("left", width)):
            values = torch.cat([getattr(plan, name) for plan in plans]).numpy()[picture == index]
            assert stats.chisquare(np.bincount(values, minlength=side - 15)).pvalue > 1e-3
    for name, share in (("turned", 0.25), ("upside_down", 0.5), ("mirrored", 0.5)):
        count = int(torch.cat([getattr(plan, name) for plan in plans]).sum())
        assert stats.binomtest(count, 1920, share).pvalue > 1e-3
    epochs = picture.reshape(-1, 6)
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 220  # of 720 orders


def test_data_sets_get_their_shares(pairs):
    crops = DeviceCrops(PairCrops([Source(pairs[:2], 1.0), Source(pairs[2:], 3.0)], Sampling()), CPU, thumbnails=False)
    plans = [crops.plan(Counter(0, at(step)), at(step), 8, 16) for step in range(120)]
    picture = torch.cat([plan.picture for plan in plans]).numpy()
    assert stats.binomtest(int((picture < 2).sum()), 960, 0.25).pvalue > 1e-3
    assert stats.chisquare(np.bincount(picture[picture < 2], minlength=2)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(picture[picture >= 2] - 2, minlength=4)).pvalue > 1e-3


def test_jitter_acts_on_dark_pictures_alone(pairs):
    plain, _ = made(pairs, identity=0.4)
    crops, _ = made(pairs, identity=0.4, jitter=0.5)
    gains = []
    for step in range(40):
        before, after = plain.draw(at(step), 4, 16), crops.draw(at(step), 4, 16)
        plan = crops.plan(Counter(0, at(step)), at(step), 4, 16)
        assert torch.equal(before.high, after.high)
        for n in range(4):
            lit, gain = float(plan.kind[n]) < 0.4, float(plan.gain[n])
            expected = before.low[n] if lit else (before.low[n] * gain).clamp(0, 1)
            assert torch.allclose(after.low[n], expected, atol=1e-6)
            context = before.context[n] if lit else (before.context[n] * gain).clamp(0, 1)
            assert torch.allclose(after.context[n], context, atol=1e-6)
            gains.append(np.log(gain))
    assert stats.kstest(np.array(gains) / 0.5, "norm").pvalue > 1e-3


@pytest.mark.slow
def test_every_second_batch_is_blended_by_a_share_of_a_beta_distribution(pairs):
    plain, _ = made(pairs)
    crops, _ = made(pairs, mixup=1.2)
    shares = []
    for step in range(100):
        before, after = plain.draw(at(step), 4, 16), crops.draw(at(step), 4, 16)
        if torch.equal(before.low, after.low):
            continue
        ways = torch.stack([before.low[n] - before.low[m] for n in range(4) for m in range(4) if n != m])
        moved = torch.stack([after.low[n] - before.low[m] for n in range(4) for m in range(4) if n != m])
        found = (moved * ways).sum((1, 2, 3)) / ways.square().sum((1, 2, 3))
        rest = (moved - found.view(-1, 1, 1, 1) * ways).abs().amax((1, 2, 3))
        if float(rest.min()) < 1e-5:  # else each sample's partner is itself
            shares.append(float(found[rest.argmin()]))
    assert 30 < len(shares) < 65
    assert stats.kstest(shares, "beta", (1.2, 1.2)).pvalue > 1e-3
    table = beta_quantiles(0.5).numpy()
    assert np.allclose(table, stats.beta(0.5, 0.5).ppf(np.linspace(0, 1, len(table))), atol=1e-4)


def test_clipped_pixels_are_forgiven(pairs):
    crops, _ = made(pairs, forgive_clipped=True)
    batch = crops.draw(at(0), 4, 16)
    burnt = (batch.high.amax(1) >= 250 / 255) & (batch.low.amax(1) < 250 / 255)
    assert torch.equal(batch.weight[:, 0], 1 - burnt.float())
    assert 0 < float(burnt.float().mean()) < 1


def test_darkening_takes_the_light_that_the_host_would_take(pairs):
    """With the draws of the device, the host's functions give the same pictures."""
    draws = Counter(1, at(5))
    drawn = on_device.draw_darkenings(draws, 8)
    encoded = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sides, corners = (torch.full((8,), 40), torch.full((8,), 60)), (torch.arange(8), torch.arange(8) + 20)
    stops, kept = (on_device.at_windows(maps, sides, corners, 16) for maps in (drawn.stops, drawn.kept))
    seen = on_device.darken_batch(encoded, stops, drawn, None)
    dimmed = on_device.dim_batch(encoded, kept)
    for n in range(8):
        one = darkening.Darkening(
            drawn.balance[n].numpy(),
            float(drawn.shot[n]),
            float(drawn.read[n]),
            drawn.stops[n].numpy(),
            drawn.kept[n].numpy(),
        )
        window = (int(corners[0][n]), int(corners[1][n]), 16, 16)
        taken = darkening.at_window(one.stops, (40, 60), window)
        assert np.allclose(stops[n].numpy(), taken, atol=2e-3)
        picture = encoded[n].permute(1, 2, 0).numpy()
        expected = darkening.darken(picture, taken, one, None)
        assert np.allclose(seen[n].permute(1, 2, 0).numpy(), expected, atol=1e-3)
        kept_there = darkening.at_window(one.kept, (40, 60), window)
        assert np.allclose(dimmed[n].permute(1, 2, 0).numpy(), darkening.dim(picture, kept_there), atol=1e-3)
    whole = on_device.at_thumbnails(drawn.stops.transpose(1, 2))[0].numpy()
    assert np.allclose(whole, darkening.at_window(drawn.stops[0].numpy().T, (64, 96)), atol=2e-3)


@pytest.mark.slow
def test_darkenings_are_drawn_as_on_the_host():
    count = 800
    drawn = [on_device.draw_darkenings(Counter(0, at(step)), 200) for step in range(count // 200)]
    rng = np.random.default_rng(0)
    host = [darkening.draw_darkening(rng) for _ in range(count)]
    measures = {
        "shot": (lambda one: one.shot.numpy(), lambda one: one.shot),
        "read": (lambda one: one.read.numpy(), lambda one: one.read),
        "red": (lambda one: one.balance[:, 0].numpy(), lambda one: one.balance[0]),
        "most": (lambda one: one.stops.amax((1, 2)).numpy(), lambda one: one.stops.max()),
        "mean": (lambda one: one.stops.mean((1, 2)).numpy(), lambda one: one.stops.mean()),
        "least": (lambda one: one.stops.amin((1, 2)).numpy(), lambda one: one.stops.min()),
        "spread": (lambda one: one.stops.std((1, 2)).numpy(), lambda one: one.stops.std(ddof=1)),
        "kept": (lambda one: one.kept.amax((1, 2)).numpy(), lambda one: one.kept.max()),
    }
    for name, (ours, theirs) in measures.items():
        first = np.concatenate([ours(one) for one in drawn])
        second = np.array([theirs(one) for one in host])
        first, second = (values.astype(np.float64) for values in (first, second))
        if name in ("spread", "kept"):  # a map that is the same everywhere spreads by rounding alone
            first, second = first.round(3), second.round(3)
        assert stats.ks_2samp(first, second).pvalue > 1e-3, name


def test_darkened_samples_have_the_sensors_noise_and_eight_bits(pairs):
    crops, _ = made(pairs, darken=1.0)
    batch = crops.draw(at(0), 6, 16)
    assert torch.allclose(batch.low * 255, (batch.low * 255).round(), atol=1e-3)
    assert float(batch.low.mean()) < 0.7 * float(batch.high.mean())
    assert float((batch.context.mean((2, 3)) - batch.low.mean((2, 3))).abs().max()) < 0.3


def test_what_the_host_alone_can_make_is_refused(pairs):
    with pytest.raises(DataError, match="a phone's processing can be drawn on the host only"):
        made(pairs, phone=0.5)
    with pytest.raises(DataError, match="Crops of 64 need larger pictures than one of 20"):
        made(pairs)[0].draw(at(0), 2, 64)


def prepared(recipe, changes=None):
    plan = load_recipe(recipe, {**DEVICE, **(changes or {})})
    crops = load_crops(plan)
    return plan, crops, DeviceCrops(crops, CPU, thumbnails=True)


def test_a_whole_step_asks_the_host_for_nothing(recipe):
    more = {"data.darken": "0.3", "data.jitter": "0.2", "data.mixup": "1.2", "data.forgive_clipped": "true"}
    plan, _, crops = prepared(recipe, more)
    stepper = DeviceStepper(plan)
    stepper.launch(crops, 0, 1e-3, 2, 16)  # the optimiser makes its state in the first step
    step = torch.tensor(1)
    with NoHost():
        stepper.run_on_device(crops.draw(step, 2, 16))
    assert torch.isfinite(stepper._told).all()


@pytest.mark.parametrize(
    "changes",
    [{}, {"accumulate": "2", "batch": "4"}, {"optimiser.name": "adam", "optimiser.clip": "null"}],
    ids=["plain", "micro-batches", "adam"],
)
def test_steps_on_a_device_are_those_on_the_host(recipe, changes):
    """The same samples give the same losses, norms, weights and averages, to rounding."""
    plan, held, _ = prepared(recipe, {"optimiser.weight_decay": "0.1", **changes})
    host, device = Stepper(plan), DeviceStepper(plan)
    for step in range(4):
        batch = held.batch(step, plan.batch, 16)
        expected = host.run(batch, step, 1e-3)
        got = device.launch(batch, step, 1e-3, plan.batch, 16).tolist()
        assert got == pytest.approx(expected, rel=1e-4)
    for name in ("network", "average"):
        theirs = getattr(host, name).state_dict()
        for key, value in getattr(device, name).state_dict().items():
            assert torch.allclose(value, theirs[key], atol=2e-5), key


def test_a_step_that_is_not_finite_leaves_everything_and_is_counted(recipe):
    plan, _, crops = prepared(recipe)
    stepper = DeviceStepper(plan)
    for step in range(2):
        stepper.launch(crops, step, 1e-3, 2, 16)
    before = {key: value.clone() for key, value in flat(stepper.state()).items()}
    broken = crops.draw(at(2), 2, 16)
    broken.low[0, 0, 0, 0] = float("nan")
    told = stepper.launch(broken, 2, 1e-3, 2, 16).tolist()
    assert told[0] != told[0]
    assert stepper.skipped == 1
    after = flat(stepper.state())
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    stepper.launch(crops, 3, 1e-3, 2, 16)
    assert stepper.skipped == 1
    assert any(not torch.equal(value, before[key]) for key, value in flat(stepper.state()).items())


def flat(state):
    """The tensors of a checkpoint by name."""
    found = {f"{part}.{key}": value for part in ("model", "average") for key, value in state[part].items()}
    for number, values in state["optimiser"]["state"].items():
        found |= {f"optimiser.{number}.{key}": value for key, value in values.items()}
    return found


@pytest.mark.parametrize(
    "phone", ["0", pytest.param("0.3", marks=pytest.mark.slow)], ids=["drawn on the device", "made on the host"]
)
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(recipe, tmp_path, phone):
    changes = {**DEVICE, "model.settings.dropout": "0.5", "validate_every": "2", "data.phone": phone, "data.mixup": "1"}
    plan = load_recipe(recipe, changes)
    train_network(plan, tmp_path / "whole")
    for index, step in enumerate((3, 7)):
        with pytest.raises(StoppedError):
            train_network(plan, tmp_path / "broken", resume=index > 0, report=stop_at(step))
    assert train_network(plan, tmp_path / "broken", resume=True)[1] == 8
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "broken")
    first, second = (flat(load_checkpoint(tmp_path / run / "last")) for run in ("whole", "broken"))
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@pytest.mark.slow
def test_a_run_goes_on_on_the_host_and_back(recipe, tmp_path):
    run = tmp_path / "run"
    train_network(load_recipe(recipe, {"steps": "3"}), run)
    for steps, place in (("5", "device"), ("8", "auto")):
        text = re.sub(r"steps_on: \w+", f"steps_on: {place}", (run / "recipe.yaml").read_text())
        (run / "recipe.yaml").write_text(text)
        plan = load_recipe(recipe, {"steps": steps, "steps_on": place})
        assert train_network(plan, run, resume=True)[1] == int(steps)
    assert load_checkpoint(run / "last")["step"] == 8


def test_two_variants_of_a_seed_see_the_same_crops(recipe):
    first, second = prepared(recipe), prepared(recipe, {"model.adr": "null", "optimiser.lr": "1e-4"})
    other = prepared(recipe, {"seed": "1"})
    for step in range(3):
        batches = [crops.draw(at(step), 2, 16) for _, _, crops in (first, second, other)]
        assert torch.equal(batches[0].low, batches[1].low)
        assert torch.equal(batches[0].high, batches[1].high)
        assert not torch.equal(batches[0].low, batches[2].low)


@pytest.mark.slow
def test_the_loss_falls_as_on_the_host(recipe, tmp_path):
    ends = {}
    for place in ("host", "device"):
        losses = []
        plan = load_recipe(recipe, {"steps": "60", "steps_on": place})
        train_network(plan, tmp_path / place, report=lambda progress, seen=losses: seen.append(progress.loss))
        assert len(losses) == 60
        assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
        ends[place] = np.mean(losses[-20:])
    assert ends["device"] == pytest.approx(ends["host"], rel=0.15)
    assert [row["step"] for row in timeless(tmp_path / "device")] == [
        row["step"] for row in timeless(tmp_path / "host")
    ]


@pytest.mark.slow
def test_rows_validations_and_checkpoints_come_when_they_are_due(recipe, tmp_path):
    seen = []
    plan = load_recipe(recipe, {**DEVICE, "steps": "11", "validate_every": "4", "checkpoint_every": "3"})
    saved = []

    def report(progress):
        seen.append((progress.step, progress.validation is not None))
        path = tmp_path / "run" / "last" / "checkpoint.pt"
        if path.exists():
            saved.append(load_checkpoint(path.parent)["step"])

    train_network(plan, tmp_path / "run", report=report)
    assert seen == [(step, step in (4, 8, 11)) for step in range(1, 12)]
    assert sorted(set(saved)) == [3, 6, 9, 11]


@pytest.mark.slow
def test_progressive_sizes_are_followed(recipe, tmp_path):
    plan = load_recipe(
        recipe, {**DEVICE, "progressive": "[{steps: 1, crop: 16, batch: 4}, {steps: 1, crop: 24, batch: 2}]"}
    )
    pictures = []
    train_network(plan, tmp_path / "run", report=lambda progress: pictures.append(progress.pictures))
    assert pictures == [4] * 4 + [2] * 4


@pytest.mark.slow
def test_steps_that_are_not_finite_are_told_and_too_many_end_the_run(recipe, tmp_path):
    plan = load_recipe(recipe, {**DEVICE, "steps": "4"})
    train_network(plan, tmp_path / "run")
    state = load_checkpoint(tmp_path / "run" / "last")
    said = []
    save_checkpoint({**state, "skipped": 2}, tmp_path / "run" / "last")
    write_longer(tmp_path / "run")
    train_network(
        load_recipe(recipe, {**DEVICE, "validate_every": "100"}), tmp_path / "run", resume=True, notify=said.append
    )
    assert said == ["2 of 8 steps were not finite and left the weights as they were."]
    name = next(key for key in state["model"] if key.endswith("conv1.bias"))
    state["model"][name].fill_(float("nan"))
    save_checkpoint(state, tmp_path / "run" / "last")
    with pytest.raises(TrainingError, match=r"loss is nan at step 24 .* after 20 others .* lower optimiser\.lr"):
        train_network(
            load_recipe(recipe, {**DEVICE, "steps": "100", "validate_every": "100"}), tmp_path / "run", resume=True
        )


def write_longer(run):
    """Change a run's recipe: with weights that are not finite, no picture can be enhanced to validate."""
    path = run / "recipe.yaml"
    path.write_text(path.read_text().replace("validate_every: 4\n", "validate_every: 100\n"))


def test_the_path_is_chosen_by_what_there_is(recipe, monkeypatch):
    plan = load_recipe(recipe)
    cuda = torch.device("cuda", 0)
    assert not steps_on_device(plan, CPU, 1)
    assert steps_on_device(plan, cuda, 1)
    assert not steps_on_device(plan, cuda, 2)
    assert not steps_on_device(load_recipe(recipe, {"steps_on": "host"}), cuda, 1)
    assert steps_on_device(load_recipe(recipe, DEVICE), CPU, 1)
    plan, held, _ = prepared(recipe)
    stepper = DeviceStepper(plan)
    with steps_of(stepper, held, 0) as steps:
        assert isinstance(steps, DeviceSteps)
        assert isinstance(steps._crops, DeviceCrops)
    monkeypatch.setattr("undim.training.steps.room_on", lambda _: 1e5)  # thirty pairs do not fit
    with steps_of(stepper, held, 0) as steps:
        assert isinstance(steps._crops, Ahead)


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="captured steps need a CUDA device")


@needs_cuda
def test_captured_steps_are_those_that_are_launched_one_by_one(recipe):
    plan, held, _ = prepared(recipe, {"model.settings.dropout": "0.2"})
    device = torch.device("cuda")
    ends = []
    for captures in (True, False):
        with torch.cuda.stream(torch.cuda.Stream(device)):
            stepper = DeviceStepper(plan)
            stepper.captures = captures
            crops = DeviceCrops(held, device, thumbnails=True)
            told = [stepper.launch(crops, step, 1e-3, 2, 16).tolist() for step in range(8)]
            assert bool(stepper._captured) is captures
            ends.append((told, {key: value.cpu() for key, value in flat(stepper.state()).items()}))
    (first, states), (second, others) = ends
    assert first == pytest.approx(second, rel=1e-4)
    for key, value in states.items():
        assert torch.allclose(value, others[key], atol=1e-5), key


@needs_cuda
def test_a_captured_step_that_is_not_finite_leaves_the_weights(recipe):
    plan, held, _ = prepared(recipe)
    with torch.cuda.stream(torch.cuda.Stream()):
        stepper = DeviceStepper(plan)
        for step in range(6):
            stepper.launch(held.batch(step, 2, 16), step, 1e-3, 2, 16)
        before = {key: value.clone() for key, value in flat(stepper.state()).items()}
        broken = held.batch(6, 2, 16)
        broken.low[0, 0, 0, 0] = float("nan")
        stepper.launch(broken, 6, 1e-3, 2, 16)
        assert stepper.skipped == 1
        for key, value in flat(stepper.state()).items():
            assert torch.equal(value, before[key]), key


@needs_cuda
def test_the_device_draws_what_a_cpu_draws(recipe):
    _, held, crops = prepared(recipe)
    there = DeviceCrops(held, torch.device("cuda"), thumbnails=True)
    for step in range(3):
        here, got = crops.draw(at(step), 4, 16), there.draw(at(step).cuda(), 4, 16)
        assert torch.allclose(here.low, got.low.cpu(), atol=1e-6)
        assert torch.allclose(here.context, got.context.cpu(), atol=1e-6)
