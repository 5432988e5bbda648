"""A signal may come at any moment: the tasks in flight end, and nothing waits for ever."""

import signal
import threading
from contextlib import closing

import numpy as np
import pytest

from undim.jobs import run
from undim.jobs.options import EnhanceOptions
from undim.jobs.plan import Task
from undim.jobs.run import Outcome, run_tasks

ROUNDS = 300


class RungError(Exception):
    """What the handler raises, as Python's raises KeyboardInterrupt."""


@pytest.fixture
def bell():
    """Raise `RungError` in this thread after a time, and again every five seconds: then something hangs."""

    def ring(*_):
        raise RungError

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds, 5)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def _consume(outcomes, bell, moment):
    with closing(outcomes):
        next(outcomes)  # the threads have started
        bell(moment)
        for _ in outcomes:
            pass


def test_a_signal_at_any_moment_ends_the_tasks(monkeypatch, bell, tmp_path):
    monkeypatch.setattr(run, "run_task", lambda task, *_: Outcome(task, "done"))
    tasks = [Task(tmp_path / "a.png", tmp_path / "b.png")] * 20_000  # far more than there is time for
    threads = threading.active_count()
    for moment in np.random.default_rng(0).uniform(0.0002, 0.006, ROUNDS):
        outcomes = run_tasks(tasks, None, EnhanceOptions(), jobs=2)
        with pytest.raises(RungError):
            _consume(outcomes, bell, moment)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert threading.active_count() == threads


def test_what_no_task_may_raise_reaches_the_consumer(monkeypatch, tmp_path):
    def broken(task, *_):
        if task.source.name == "7.png":
            raise SystemExit("of a thread")
        return Outcome(task, "done")

    monkeypatch.setattr(run, "run_task", broken)
    tasks = [Task(tmp_path / f"{index}.png", None) for index in range(20)]
    with pytest.raises(SystemExit, match="of a thread"):
        list(run_tasks(tasks, None, EnhanceOptions(), jobs=2))
    assert sorted(index for index, _ in run_tasks(tasks[:7], None, EnhanceOptions(), jobs=3)) == list(range(7))
