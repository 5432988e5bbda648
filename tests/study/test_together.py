"""Cells that share a process: the same figures as apart, one fault alone, memory that lets them in, time that is up."""

import threading
import time

import pytest

from undim.results.study import CellDocument
from undim.study.plan import load_study
from undim.study.runner import Slot, run_study
from undim.study.together import MARGIN, Admission, start_together

TWO = [Slot(0, 1, None), Slot(1, 1, None)]


def figures(folder):
    """All cells without what the clock says."""
    return {
        path.name: {key: value for key, value in CellDocument.read(path).as_json().items() if key != "time"}
        for path in (folder / "cells").glob("*.json")
    }


@pytest.mark.slow
def test_cells_in_one_process_are_those_of_processes_of_their_own(study_file, tmp_path):
    text = study_file.read_text().replace("seeds: [0, 1]", "seeds: [0]")
    study_file.write_text(text.replace("{steps: 6}", "{steps: 6, steps_on: device}"))
    apart, together = tmp_path / "first" / "apart", tmp_path / "second" / "together"
    assert run_study(load_study(study_file), apart, TWO[:1]) == []
    with start_together() as start:
        assert run_study(load_study(study_file), together, list(TWO), start=start) == []
    assert len(figures(apart)) == 3
    assert figures(together) == figures(apart)
    assert "trained; measuring" in (together / "runs" / "base-s0" / "log.txt").read_text()


@pytest.mark.slow
def test_a_cell_that_fails_leaves_the_others_of_its_process(study_file, tmp_path):
    text = study_file.read_text().replace("seeds: [0, 1]", "seeds: [0]")
    study_file.write_text(text.replace("change: {steps: 2}", "change: {model: {settings: {dims: [4, 4, 8]}}}"))
    with start_together() as start:
        failures = run_study(load_study(study_file), tmp_path / "study", list(TWO), start=start)
    assert [failure.cell.name for failure in failures] == ["further-s0"]
    assert "does not fit its network" in failures[0].reason
    assert sorted(figures(tmp_path / "study")) == ["base-s0.json", "pog-s0.json"]


class Machine:
    """Memory of which each cell takes as much when it settles."""

    def __init__(self, size, each):
        self.size, self.each, self.inside, self.most = size, each, 0, 0
        self.lock = threading.Lock()

    def free(self):
        with self.lock:
            return self.size - self.each * self.inside

    def run(self, admission, release):
        with admission.inside() as settled:
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            settled()
            release.wait(20)
            with self.lock:
                self.inside -= 1


@pytest.mark.parametrize(("size", "fit"), [(100.0, 4), (10.0, 1), (1000.0, 6)])
def test_as_many_cells_come_in_as_memory_holds(size, fit, monkeypatch):
    monkeypatch.setattr("undim.study.together.PATIENCE", 0.01)
    machine, release = Machine(size, 20.0), threading.Event()
    admission = Admission(machine.free)
    threads = [threading.Thread(target=machine.run, args=(admission, release)) for _ in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while machine.most < fit and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # one too many would come in now
    assert machine.most == fit
    assert admission.need == 20.0
    assert fit == 1 or size - 20.0 * (fit - 1) >= MARGIN * 20.0
    release.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_cell_that_ends_before_it_settles_lets_the_next_one_in():
    admission = Admission(lambda: 1e9)
    with pytest.raises(RuntimeError), admission.inside():
        raise RuntimeError
    with admission.inside() as settled:
        settled()


class Clock:
    """A cell's process that takes a minute of a clock that the test moves."""

    def __init__(self, clock, write):
        self.clock, self.ends, self.write = clock, clock[0] + 60, write
        self.let = False

    def poll(self):
        if self.clock[0] < self.ends:
            return None
        self.write()
        return 0

    def let_go(self):
        self.let = True

    def wait(self):
        pass


@pytest.mark.parametrize(("minutes", "finished", "begun"), [(3.5, 3, 3), (1.5, 1, 1), (0.5, 0, 1), (60.0, 6, 6)])
def test_time_that_is_up_keeps_what_is_finished(study_file, tmp_path, monkeypatch, minutes, finished, begun):
    text = study_file.read_text().replace("further: {after: base, change: {steps: 2}}", "more: {change: {steps: 2}}")
    study_file.write_text(text)
    clock, started, said = [0.0], [], []
    monkeypatch.setattr("undim.study.runner.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("undim.study.runner.time.sleep", lambda _: clock.__setitem__(0, clock[0] + 5))
    done = set()
    monkeypatch.setattr("undim.study.cells.StudyFolder.is_finished", lambda _, cell: cell.name in done)

    def start(job, place, log):
        del place, log
        name = f"{job.variant}-s{job.recipe.seed}"
        started.append(Clock(clock, lambda: done.add(name)))
        return started[-1]

    plan = load_study(study_file)
    failures = run_study(plan, tmp_path / "study", TWO[:1], said.append, start=start, max_minutes=minutes)
    assert failures == []
    assert len(done) == finished
    assert len(started) == begun
    assert all(process.let for process in started)
    told = f"the time is up: {finished} of 6 cells are finished, {6 - finished} are left"
    assert (said[-1] == told) is (finished < 6)
