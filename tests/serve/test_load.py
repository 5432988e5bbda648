"""Many clients at once: every good picture is the one that a single call makes, every broken one is refused."""

import io
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from undim.jobs.options import EnhanceOptions, open_enhancer
from undim.jobs.plan import STREAM, Task
from undim.jobs.run import Call, run_task

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")


def make_files(count):
    """(content, status) of small pictures of all kinds; every tenth is broken in one of four ways."""
    random = np.random.default_rng(0)
    for number in range(count):
        stream = io.BytesIO()
        width, height = random.integers(8, 300, 2)
        Image.fromarray(random.integers(0, 90, (height, width, 3), np.uint8)).save(stream, FORMATS[number % 5])
        content = stream.getvalue()
        broken = [(b"", 422), (content[: len(content) // 2], 422), (b"text", 415), (b"PK\x03\x04" + content, 415)]
        yield broken[number // 10 % 4] if number % 10 == 3 else (content, 200)


def alone(content, enhancer, options):
    return run_task(Task(STREAM, None, None), enhancer, options, Call(read_stream=lambda: content)).content


def resident(process):
    """Megabytes of a process and its children."""
    children = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False).stdout
    pages = 0
    for number in (process, *children.split()):
        with open(f"/proc/{number}/statm") as stream:  # noqa: PTH123
            pages += int(stream.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def ask_all(service, files, clients):
    def ask(file):
        while True:
            answer = httpx.post(f"{service.url}/v1/enhance", content=file[0], timeout=120)
            if answer.status_code != 429:
                return answer

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, files))


@pytest.mark.slow
def test_every_answer_under_load_is_the_right_one(service, gain):
    files = list(make_files(60))
    options = EnhanceOptions(model=str(gain))
    enhancer = open_enhancer(options)
    answers = ask_all(service, files, 16)
    for (content, status), answer in zip(files, answers, strict=True):
        assert answer.status_code == status
        if status == 200:
            assert answer.content == alone(content, enhancer, options)
        else:
            assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read as Linux tells it")  # noqa: PTH110
def test_memory_does_not_grow_with_the_number_of_pictures(service):
    files = list(make_files(100))
    for _ in range(2):
        ask_all(service, files, 16)
    before = resident(service.process.pid)
    for _ in range(3):
        ask_all(service, files, 16)
    assert resident(service.process.pid) < 1.05 * before
