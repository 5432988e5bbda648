"""Measurements as other verbs leave them, of two networks and one study."""

import json

import pytest

LEVELS = [10.0, 15.0, 20.0, 25.0]
FALLING = [0.4, 0.3, 0.1, 0.2]
UNEVEN = [0.2, 0.4, 0.1, 0.3]
"""Of four pictures: PSNR, and changes of it with the rank correlations -0.8 and 0."""
REAL = {"recipe": {"model": {"name": "candela_tiny"}, "data": {"name": "lol-v2-real"}}}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def scores(psnr, data="lol-v1", **more):
    images = [{"name": str(number)} for number in range(15)]
    return {"data": data, "split": "test", "psnr": psnr, "ssim": 0.8, "niqe": 4.0, "images": images, **more}


def laboratory(result, data="lol-v1"):
    return {"data": data, "split": "val", "seeds": [0, 1, 2], "pictures": ["a", "b"], "result": result}


def reset_change(change, changes=()):
    """What resetting a layer or a group does, `changes` for each draw and each picture."""
    lists = {key: [0.0] for key in ("per_seed", "poi_per_seed")}
    return {"change": change, "interval": None, "poi": 0.0, "changes": list(changes), **lists}


def resets(psnr, groups, layers, gains=()):
    """What reset and poi measure."""
    more = {"mean_psnr": 20.0, "seeds": [0], "gains": list(gains), "correlation": None}
    return {"psnr": psnr, "groups": groups, "layers": layers, **more}


def ratios(mean):
    """What dmr measures."""
    lists = {key: [] for key in ("seeds", "per_seed", "per_image")}
    return {"mean": mean, "interval": None, "layers": {}, "non_finite": 0, "adr_kept": None, **lists}


def pruned(name, psnr, dmr):
    """A row of prune."""
    return {"name": name, "psnr": psnr, "dmr": dmr, "chroma": 1.0, "interval": None, "non_finite": 0}


def cell(variant, seed, psnr):
    measures = {"psnr": psnr, "ssim": 0.8, "psnr_gt_mean": psnr + 3, "brightness_error": 0.2}
    layers = {f"layer{number}": {"psnr_change": -number - seed, "dmr": 30.0, "poi": 10.0} for number in range(7)}
    return {
        "format": 1,
        "fingerprint": "x",
        "content": {"recipe": {"model": {"name": "candela_tiny"}}},
        "variant": variant,
        "seed": seed,
        "steps": 3000,
        "scores": {"val": measures, "val-scenes": None, "test": {**measures, "psnr": psnr - 1}},
        "redundancy": {"pictures": 2, "draws": 1, "dmr": 40.0, "dmr_adr_kept": 41.0, "poi": 30.0, "layers": layers},
        "diversity": None,
        "diversity_over_training": [],
        "cost": {"parameters": 1, "flops": 2**30},
        "curve": {"step": [3000], "psnr": [psnr]},
        "time": {"seconds": [1.0], "seconds_per_step": 0.1},
        "machine": {"device": "cpu", "precision": "32-true", "threads": 1, "torch": "2", "undim": "0"},
        "notes": [],
    }


def write_study(folder, name, cells):
    seeds = sorted({one["seed"] for one in cells})
    plan = {"name": name, "about": "", "base": cells[0]["variant"], "seeds": seeds}
    write(folder / "plan.json", {**plan, "variants": {one["variant"]: "" for one in cells}})
    for one in cells:
        write(folder / "cells" / f"{one['variant']}-s{one['seed']}.json", one)


@pytest.fixture
def make_file():
    """`write`."""
    return write


@pytest.fixture
def make_resets():
    """`resets` and `reset_change`."""
    return resets, reset_change


@pytest.fixture
def make_cell():
    """`cell`."""
    return cell


@pytest.fixture
def make_study():
    """`write_study`."""
    return write_study


@pytest.fixture
def results(tmp_path):
    """The folder."""
    folder = tmp_path / "results"
    for seed, psnr in ((0, 20.0), (1, 21.0)):
        write(folder / f"restormer_base-s{seed}" / "lol-v1" / "results.json", scores(psnr, iterations=500, seed=seed))
    write(folder / "tiny" / "lol-v1" / "results.json", scores(21.5, seed=7))
    write(folder / "tiny" / "dicm" / "results.json", {**scores(None, "dicm"), "split": None, "ssim": None})
    groups = {"attention, all": reset_change(-3.5), "feedforward, latent": reset_change(0.25)}
    layers = {f"l{place}": reset_change(-place, [[-place, -place]]) for place in range(7)}
    write(folder / "restormer_base" / "lol-v1" / "reset.json", laboratory(resets([20.0, 21.0], groups, layers)))
    for seed, changes in ((0, FALLING), (1, UNEVEN)):
        small = resets(LEVELS, {"attention, all": reset_change(-2.0 - seed)}, {"l0": reset_change(0.0, [changes])})
        path = folder / f"a_restormer_small.base-s{seed}" / "lol-v1" / "reset.json"
        write(path, laboratory(small) | {"iterations": 800})
    quantised = [pruned("quantised, 4 bits", 9.0, 20.0)]
    write(folder / "a_restormer_small.base-s0" / "lol-v1" / "prune.json", laboratory({"rows": quantised}))
    write(folder / "restormer_base" / "lol-v1" / "dmr.json", laboratory(ratios(33.25)))
    rows = [pruned("unchanged", 20.0, 33.25), pruned("FPGM", 11.0, 30.0)]
    write(folder / "restormer_base" / "lol-v1" / "prune.json", laboratory({"rows": rows}))
    gains = [{"layer": "attn", "seed": 0, "picture": 1, "before": 12.0, "after": 13.5}]
    shares = {name: reset_change(0.0) | {"poi": poi} for name, poi in (("a", 20.0), ("b", 40.0))}
    poi = resets([12.0, 12.0], {}, shares, gains)
    write(folder / "restormer_base" / "lol-v1" / "poi.json", laboratory(poi))
    cells = [cell(variant, seed, 20.0 + seed) for variant in ("base", "pog") for seed in (0, 1)]
    write_study(folder / "studies" / "a", "a_candela_tiny", cells)
    real = [{**cell(variant, 0, 18.0), "content": REAL} for variant in ("base", "pog")]
    write_study(folder / "studies" / "r", "a_lol_v2_real", real)
    write_study(folder / "studies" / "b", "b_dm", [cell("base", 0, 20.0), cell("dm8", 0, 20.5)])
    write_study(folder / "studies" / "t", "t2_dynamic", [cell("static", 0, 20.0), cell("static", 1, 20.0)])
    return folder
