"""What `undim serve` bears: many clients, pictures of mixed size and format, some of them broken. On this machine only.

    python benchmarks/serve_load.py [--count 500] [--clients 16] [--model photo] [--largest 0.5] [--large 12]

Enhances a folder with `undim enhance`, then sends the same files to a service: every good answer must be the command
line's file, byte for byte, and every broken file refused with its status. Prints the time and CPU time of both, the
memory after each tenth of the answers, and how long a small picture takes alone and while a large one is in work.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from undim.shipped import DEFAULT_MODEL

EXAMPLES = Path(__file__).parent.parent / "examples"
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "avif": "AVIF"}
SMALL = (400, 300)
"""Width and height of the small picture whose time is taken."""


@dataclass
class Load:
    """What became of the files."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[int, float]] = field(default_factory=list)
    waits: int = 0


def picture(width: int, height: int, seed: int) -> Image.Image:
    """An example, dark, with its own noise, so that no two files are the same."""
    image = Image.open(EXAMPLES / "coffee.png").convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(seed).integers(0, 12, (height, width, 3), np.uint8)
    return Image.fromarray((np.asarray(image) // 2 + noise).astype(np.uint8))


def make_files(folder: Path, count: int, largest: float) -> dict[str, int]:
    """Write the files; name -> status to expect. Every tenth is broken in one of five ways."""
    random = np.random.default_rng(0)
    expected = {}
    for number in range(count):
        suffix = list(FORMATS)[number % len(FORMATS)]
        pixels = 1e6 * largest * random.uniform(0.02, 1) ** 2
        ratio = random.uniform(0.6, 1.7)
        stream = io.BytesIO()
        more = {"speed": 10} if suffix == "avif" else {}
        size = max(8, int((pixels * ratio) ** 0.5)), max(8, int((pixels / ratio) ** 0.5))
        picture(*size, number).save(stream, FORMATS[suffix], **more)
        content, status = stream.getvalue(), 200
        if number % 10 == 3:
            broken = (
                (content[: len(content) // 2], 422),
                (b"", 422),
                (b"no picture" * 9, 415),
                (content[:12] + bytes(400), 422),
                (b"PK\x03\x04" + content, 415),
            )
            content, status = broken[number // 10 % len(broken)]
        name = f"{number:05d}.{suffix}"
        (folder / name).write_bytes(content)
        expected[name] = status
    return expected


def run_command(folder: Path, out: Path, model: str) -> tuple[float, float]:
    """Wall and CPU seconds of `undim enhance`."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "undim", "enhance", str(folder), "-o", str(out), "--model", model]
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 - its status is 1: some are broken
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - begin, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Service:
    """One that runs on a free port."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process, self.url = process, url

    def ask(self, content: bytes) -> tuple[int, bytes, float]:
        """Status, content and seconds to wait."""
        request = urllib.request.Request(f"{self.url}/v1/enhance", content)  # noqa: S310 - the loopback
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310 - likewise
                return answer.status, answer.read(), 0
        except urllib.error.HTTPError as error:
            return error.code, error.read(), float(error.headers.get("Retry-After", 0))

    def memory(self) -> float:
        """Resident megabytes of the service and its decoders."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:  # noqa: S310 - likewise
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(r"^undim_memory_bytes\S* (\S+)$", text, re.MULTILINE)) / 1e6

    def cpu(self) -> float:
        """CPU seconds of the service and its decoders so far."""
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, check=False)  # noqa: S603, S607
        ticks = 0
        for number in (self.process.pid, *map(int, children.stdout.split())):
            words = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(model: str) -> Iterator[Service]:
    """A service that is ready, with its default settings."""
    command = [sys.executable, "-m", "undim", "serve", "--port", "0", "--model", model]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)  # noqa: S603
    try:
        assert process.stderr is not None  # noqa: S101
        begin = time.perf_counter()
        found = None
        for line in process.stderr:
            found = found or re.search(rb"(http://\S+) is the page", line)
            if b'"ready"' in line:
                break
        if found is None:
            sys.exit("the service did not start")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        print(f"ready after {time.perf_counter() - begin:.1f} s")
        yield Service(process, found[1].decode())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def load(service: Service, folder: Path, out: Path, expected: dict[str, int], clients: int) -> Load:
    """Send all files from so many clients at a time; a client that is told to come back does."""
    result, lock, done = Load(), threading.Lock(), itertools.count(1)
    tenth = max(1, len(expected) // 10)

    def send(name: str) -> None:
        while True:
            status, content, wait = service.ask((folder / name).read_bytes())
            if status != 429:
                break
            with lock:
                result.waits += 1
            time.sleep(wait)
        right = status == expected[name] and (status != 200 or content == (out / name).read_bytes())
        with lock:
            result.statuses[status] += 1
            if not right:
                result.wrong.append(f"{name} ({status})")
            number = next(done)
        if number % tenth == 0:
            memory = service.memory()
            with lock:
                result.memory.append((number, memory))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, expected))
    return result


def small_times(service: Service, rounds: int) -> list[float]:
    """Seconds of so many small pictures, one after the other, sorted."""
    stream = io.BytesIO()
    picture(*SMALL, 1).save(stream, "JPEG", quality=95)
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        status, _, _ = service.ask(stream.getvalue())
        if status != 200:
            sys.exit(f"a small picture was answered by {status}")
        times.append(time.perf_counter() - begin)
    return sorted(times)


def beside_large(service: Service, megapixels: float, rounds: int, many: int) -> tuple[list[float], int]:
    """The same while large pictures are in work; and how many of those were done meanwhile."""
    stream = io.BytesIO()
    side = int((1e6 * megapixels) ** 0.5)
    picture(side * 4 // 3, side * 3 // 4, 2).save(stream, "JPEG", quality=95)
    stop, done = threading.Event(), itertools.count()

    def keep_busy() -> None:
        while not stop.is_set():
            service.ask(stream.getvalue())
            next(done)

    threads = [threading.Thread(target=keep_busy) for _ in range(many)]
    for thread in threads:
        thread.start()
    time.sleep(2)  # until they are in the network
    times = small_times(service, rounds)
    stop.set()
    for thread in threads:
        thread.join()
    return times, next(done)


def percentile(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--largest", type=float, default=0.5, help="megapixels of the largest of the mixed pictures")
    parser.add_argument("--large", type=float, default=12, help="megapixels of the one beside which small ones go")
    parser.add_argument("--rounds", type=int, default=100, help="small pictures whose time is taken")
    parser.add_argument("--beside", type=int, nargs="+", default=[1, 4], help="how many large ones at a time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "in", Path(place) / "out"
        folder.mkdir()
        expected = make_files(folder, options.count, options.largest)
        print(f"{options.count} files, {Counter(expected.values())[200]} good, {options.clients} clients", flush=True)
        wall, cpu = run_command(folder, out, options.model)
        with serving(options.model) as service:
            before, begin = service.cpu(), time.perf_counter()
            result = load(service, folder, out, expected, options.clients)
            served, spent = time.perf_counter() - begin, service.cpu() - before
            print("\n| | wall, s | files/s | CPU, s |\n|---|---|---|---|")
            print(f"| undim enhance | {wall:.1f} | {options.count / wall:.2f} | {cpu:.1f} |")
            print(f"| undim serve | {served:.1f} | {options.count / served:.2f} | {spent:.1f} |")
            print(f"\nthroughput {wall / served:.0%} of the command line's; {result.waits} times told to come back")
            print(f"statuses {dict(sorted(result.statuses.items()))}; not as expected: {result.wrong or 'none'}")
            print("resident MB after n answers:", ", ".join(f"{n}: {memory:.0f}" for n, memory in result.memory))
            print("\n| small picture | median, s | p99, s |\n|---|---|---|", flush=True)
            alone = small_times(service, options.rounds)
            print(f"| alone | {percentile(alone, 0.5):.3f} | {percentile(alone, 0.99):.3f} |", flush=True)
            for many in options.beside:
                times, done = beside_large(service, options.large, options.rounds, many)
                name = f"while {many} of {options.large:g} megapixels in work ({done} done)"
                print(f"| {name} | {percentile(times, 0.5):.3f} | {percentile(times, 0.99):.3f} |", flush=True)
            print(f"\nresident MB at the end: {service.memory():.0f}")
    sys.exit(1 if result.wrong else 0)


if __name__ == "__main__":
    main()
