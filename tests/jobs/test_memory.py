"""Room for decoded pictures: those that fit go on together, the others wait, and what cannot fit is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from undim.cancellation import Cancellation
from undim.errors import CancelledError, PictureError
from undim.jobs import memory
from undim.jobs.memory import BYTES_PER_PIXEL, PictureMemory
from undim.jobs.plan import Task
from undim.jobs.run import Call, run_task


@pytest.fixture
def free(monkeypatch):
    """Free memory for two pictures of 100 x 100 and a half, as half of what is free."""
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * 2.5 * 100 * 100 * BYTES_PER_PIXEL)


def hold(room, size, entered, leave, cancellation=None):
    with room.held(*size, cancellation or Cancellation()):
        entered.set()
        leave.wait(30)


def start(*arguments):
    thread = threading.Thread(target=hold, args=arguments)
    thread.start()
    return thread


def test_a_third_waits_for_one_of_two(free):
    room, leave = PictureMemory(), [threading.Event() for _ in range(3)]
    entered = [threading.Event() for _ in range(3)]
    threads = [start(room, (100, 100), entered[i], leave[i]) for i in range(2)]
    assert entered[0].wait(30)
    assert entered[1].wait(30)
    threads.append(start(room, (100, 100), entered[2], leave[2]))
    assert not entered[2].wait(0.2)
    leave[0].set()
    assert entered[2].wait(30)
    for event in leave:
        event.set()
    for thread in threads:
        thread.join(30)
    assert room._held == 0


def test_a_large_one_goes_alone(free):
    room, entered, leave = PictureMemory(), threading.Event(), threading.Event()
    with room.held(100, 100):
        thread = start(room, (200, 200), entered, leave)
        assert not entered.wait(0.2)
    assert entered.wait(30)
    leave.set()
    thread.join(30)


def test_what_does_not_fit_at_all_is_refused(free):
    room = PictureMemory()
    with (
        pytest.raises(PictureError, match=r"is 300 x 300 pixels, which needs about 0\.0 GB") as caught,
        room.held(300, 300),
    ):
        pass
    assert caught.value.code == "out-of-memory"
    with room.held(100, 100):
        pass


def test_waiting_ends_when_asked(free):
    room, cancellation = PictureMemory(), Cancellation()
    with room.held(200, 100):
        timer = threading.Timer(0.1, cancellation.cancel)
        timer.start()
        with pytest.raises(CancelledError), room.held(100, 100, cancellation):
            pass
    assert room._held == 0


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"])
def test_pictures_wait_before_they_are_decoded(name, tmp_path, monkeypatch, gain):
    """Three at once with room for one: never two decoded, and none waits for ever."""
    monkeypatch.setattr(memory, "free_memory", lambda: 3 * 100 * 100 * BYTES_PER_PIXEL)
    for number in range(3):
        Image.new("RGB", (100, 100), (9, 9, 9)).save(tmp_path / f"{number}{name}")
    room, most = PictureMemory(), []

    def enhance(pixels, **_):
        most.append(room._held)
        return pixels

    tasks = [Task(str(tmp_path / f"{number}{name}"), tmp_path / f"out{number}{name}") for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda task: run_task(task, enhance, call=Call(memory=room)), tasks))
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert set(most) == {100 * 100 * BYTES_PER_PIXEL}
