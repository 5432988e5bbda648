"""What ADR with POG adds to a network's time, and what POG saves against the paper's equations taken literally.

    python benchmarks/adr_cost.py [--networks candela] [--size 600x400] [--rounds 9]

Each round runs the network without and with ADR and POG in turns, once each; the cost is the median of the rounds'
ratios, less one, so that a busy machine disturbs it little. "unfrozen" is as trained, "frozen" with what does not
depend on the picture stored; ONNX Runtime and OpenVINO run what `undim export` writes, which is frozen.

The second table generates the kernels of one convolution of N weights for one picture, by the equations of
tests/nets/literal.py term by term, by the same with the N x De x De basis made in one batch, and by POG. Memory is the
peak of what PyTorch allocates.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile

from undim.nets import add_adr, create_model, freeze
from undim.nets.pog import FrozenPogKernel, PogKernel
from undim.runtimes.table import is_installed, open_runtime
from undim.weights.export import export_onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "nets"))
from literal import pog_weights, tanh_gelu

Run = Callable[[], object]


def pair_ratio(plain: Run, other: Run, rounds: int) -> tuple[float, float]:
    """Median seconds of the first, and the median of the paired ratios second / first."""
    for run in (plain, other):
        run()
    pairs = []
    for _ in range(rounds):
        taken = []
        for run in (plain, other):
            begin = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begin)
        pairs.append(taken)
    return statistics.median(a for a, _ in pairs), statistics.median(b / a for a, b in pairs)


def report_networks(networks: list[str], width: int, height: int, rounds: int) -> None:
    print("| network | way | without, s | ADR + POG cost |")
    print("|---|---|---|---|")
    image = torch.rand(1, 3, height, width) * 0.2
    for name in networks:
        torch.manual_seed(0)
        plain = create_model(name).eval()
        torch.manual_seed(0)
        ours = add_adr(create_model(name), embedding=32).eval()

        def eager(model: nn.Module) -> Run:
            def run() -> Tensor:
                with torch.inference_mode():
                    return model(image)

            return run

        pairs = {
            "PyTorch, unfrozen": (eager(plain), eager(ours)),
            "PyTorch, frozen": (eager(plain), eager(freeze(ours))),
        }
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, "plain.onnx"), Path(folder, "ours.onnx")]
            for model, path in zip((plain, ours), paths, strict=True):
                export_onnx(model, path)
            for runtime, precision in (("onnxruntime", "float32"), ("openvino", "float32"), ("openvino", "bfloat16")):
                if is_installed(runtime):
                    both = [open_runtime(runtime, path, precision=precision) for path in paths]  # type: ignore[arg-type]
                    first, second = (lambda one=one: one.run(image.numpy(), more=True) for one in both)
                    pairs[f"{runtime} {precision}, frozen"] = (first, second)
            for way, (without, with_adr) in pairs.items():
                seconds, ratio = pair_ratio(without, with_adr, rounds)
                print(f"| {name} | {way} | {seconds:.3f} | {100 * (ratio - 1):+.1f} % |", flush=True)


def batched_weights(image: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    """Equations 4-7 with the whole basis, made in one batch."""
    pooled = image.flatten(1).mean(1)
    hidden = tanh_gelu(parameters["fc1.weight"] @ pooled + parameters["fc1.bias"])
    mixing = torch.softmax(parameters["fc2.weight"] @ hidden + parameters["fc2.bias"], 0)
    normals = nn.functional.normalize(parameters["embeddings"], dim=1)
    basis = torch.eye(normals.shape[1]) - 2 * normals.unsqueeze(2) * normals.unsqueeze(1)  # (N, De, De)
    decoded = tanh_gelu((basis @ mixing) @ parameters["m1.weight"].T + parameters["m1.bias"])
    return (decoded @ parameters["m2.weight"].T + parameters["m2.bias"])[:, 0]


def peak_bytes(run: Run) -> int:
    """The most that PyTorch had allocated at once during a run, beyond what was there."""
    with profile(profile_memory=True) as found:
        run()
    events = [e for e in found.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def best(run: Run, rounds: int) -> float:
    run()
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begin)
    return min(taken)


@torch.inference_mode()
def report_generation(rounds: int) -> None:
    print(
        "\n| kernel | N | De | way | ms | literal / this | batched / this"
        " | peak, MB | literal / this | batched / this |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for what, channels, bottleneck, embedding in (("photo, 1/4 size", 120, 8, 32), ("Restormer, level 3", 576, 4, 64)):
        torch.manual_seed(0)
        kernel = PogKernel(channels, (bottleneck, channels, 1, 1), embedding).eval()
        frozen = FrozenPogKernel(kernel).eval()
        image = torch.rand(channels, 8, 8)
        pooled = image.mean((1, 2)).unsqueeze(0)
        parameters = dict(kernel.named_parameters())
        ways: dict[str, Run] = {
            "literal": lambda image=image, p=parameters: pog_weights(image, p),
            "literal, batched": lambda image=image, p=parameters: batched_weights(image, p),
            "POG": lambda kernel=kernel, pooled=pooled: kernel(pooled),
            "POG, frozen": lambda frozen=frozen, pooled=pooled: frozen(pooled),
        }
        seconds = {way: best(run, 3 if way == "literal" else rounds) for way, run in ways.items()}
        memory = {way: peak_bytes(run) for way, run in ways.items()}
        for way in ways:
            ratios = [
                " | ".join(f"{values[base] / values[way]:.1f}" for base in ("literal", "literal, batched"))
                for values in (seconds, memory)
            ]
            print(
                f"| {what} | {kernel.weights} | {embedding} | {way} | {1e3 * seconds[way]:.3f} | {ratios[0]} |"
                f" {memory[way] / 1e6:.3f} | {ratios[1]} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["candela"])
    parser.add_argument("--size", default="600x400", metavar="WIDTHxHEIGHT")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    report_networks(options.networks, width, height, options.rounds)
    report_generation(3 * options.rounds)


if __name__ == "__main__":
    main()
