"""How much the fast DMR gains over the plain loop: all attention layers, both ways in turns, on random pictures.

    python benchmarks/dmr_speed.py [--networks restormer_small cidnet_small] [--size 192] [--rounds 5]

"fast" records each picture's activations and computes only what follows the reset layer; "plain" runs the whole network
once for each layer. Both include the output before the reset, drawing the weights, and (fast) the rehearsal on a crop
of the first picture. Time is the process's own (on a GPU, the clock's), so that a busy machine disturbs it less; the
ratio is the median of paired rounds. Beside it stand the ratio of multiply-adds, which no machine disturbs, the largest
difference of the results in dB, and the ratio of multiply-adds that reuse could reach at best in a network whose layers
follow each other, of which one pass is run and from each layer on the rest: (n + 1) / (1 + sum of the shares that
follow). Networks with parallel branches can pass it. With --rounds 0 nothing is measured but this last ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from undim.nets import create_model
from undim.redundancy import DmrResult, WalkSettings, dmr, layers


def find_limit(name: str, size: int, kind: str) -> tuple[int, float]:
    """Number of layers, and the ratio of multiply-adds of n + 1 whole passes to one and what follows each layer."""
    with torch.device("meta"):
        model, image = create_model(name).eval(), torch.empty(1, 3, size, size)
    starts: list[int] = []
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for layer in layers(model, kind):
            layer.module.register_forward_pre_hook(lambda *_: starts.append(counter.get_total_flops()))
        model(image)
        total = counter.get_total_flops()
    return len(starts), (len(starts) + 1) * total / (total + sum(total - start for start in starts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["restormer_small", "cidnet_small"])
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", default="attention")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, {options.device}, {options.pictures} pictures of {options.size}")
    print(
        "| network | layers | plain, s | fast, s | plain / fast, time | plain / fast, multiply-adds | difference, dB |"
        " at best in order |"
    )
    print("|---|---|---|---|---|---|---|---|")
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    for name in options.networks:
        count, limit = find_limit(name, options.size, options.kind)
        if options.rounds == 0:
            print(f"| {name} | {count} | - | - | - | - | - | {limit:.3f} |")
            continue
        torch.manual_seed(0)
        model = create_model(name).eval().to(options.device)
        images = [torch.rand(1, 3, options.size, options.size) for _ in range(options.pictures)]

        def measure(*, fast: bool) -> tuple[float, DmrResult]:
            begun = clock()
            result = dmr(model, images, kind=options.kind, settings=WalkSettings(fast=fast))  # noqa: B023 - called here
            return clock() - begun, result

        pairs: list[tuple[float, float]] = []
        difference = 0.0
        for _ in range(options.rounds):
            plain, expected = measure(fast=False)
            fast, result = measure(fast=True)
            pairs.append((plain, fast))
            for layer, ratios in result.ratios.items():
                for one, other in zip(ratios[0], expected.ratios[layer][0], strict=True):
                    difference = max(difference, 0.0 if one == other else abs(one - other))
        work: list[int] = []
        for kept in (False, True):
            with FlopCounterMode(display=False) as counter:
                measure(fast=kept)
            work.append(counter.get_total_flops())
        plain, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(plain / fast for plain, fast in pairs)
        print(
            f"| {name} | {count} | {plain:.2f} | {fast:.2f} | {ratio:.2f} | {work[0] / work[1]:.2f} |"
            f" {difference:.1g} | {limit:.3f} |"
        )
        for note in result.notes:
            print(f"\n{name}: {note}\n")


if __name__ == "__main__":
    main()
