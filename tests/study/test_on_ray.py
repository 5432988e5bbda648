"""Cells on a Ray cluster of this machine: the folder is as of one machine, though a worker is killed."""

import os
import signal
import subprocess
import time
from importlib.util import find_spec

import pytest
from test_runner import PLACES, timeless

from undim.study.on_ray import cluster_places
from undim.study.plan import load_study
from undim.study.runner import run_study


def find_workers():
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "ray::run_job" in line]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_a_cluster_gives_the_folder_of_one_machine_though_a_worker_is_killed(study_file, tmp_path):
    study_file.write_text(study_file.read_text().replace("seeds: [0, 1]", "seeds: [3]"))
    plan = load_study(study_file)
    # Apart from each other: equal cells of studies beside each other are adopted.
    here, there = tmp_path / "first" / "here", tmp_path / "second" / "there"
    assert run_study(plan, here, PLACES) == []
    killed, told = [], []

    def listen(line):
        told.append(line)
        if line.endswith("started") and not killed:
            while not (found := find_workers()):
                time.sleep(0.05)
            killed.append(found[0])
            os.kill(found[0], signal.SIGKILL)

    with cluster_places("local", jobs=2) as (places, start):
        assert run_study(plan, there, places, listen, start=start) == []
    assert any("killed by signal 9" in line for line in told)
    assert timeless(there) == timeless(here)
