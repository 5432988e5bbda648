"""A service in a process of its own, as people start it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx


class Running:
    """A service that runs: where it is, what it said, and its process."""

    def __init__(self, process, errors):
        self.process, self.errors = process, errors
        self.url, self.headers = "", {}

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def lines(self):
        """What it wrote to standard error so far."""
        return self.errors.read_text().splitlines()

    def logged(self, event="request"):
        lines = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def figure(self, name):
        """A figure of /metrics by its name with labels, 0 where it is not there."""
        text = httpx.get(f"{self.url}/metrics", headers=self.headers).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextmanager
def running(folder, *words, environment=None, ready=True):
    """Start `undim serve` with these words on a free port."""
    errors = folder / "errors.txt"
    with errors.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "undim", "serve", "--port", "0", *words],
            stderr=stream,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
    service = Running(process, errors)
    try:
        until = time.monotonic() + 60
        while not service.url:
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < until
            found = re.search(r"undim: (http://\S+) is the page", errors.read_text())
            service.url = found[1] if found else ""
            time.sleep(0.05)
        while ready:
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < until
            try:
                if httpx.get(f"{service.url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
