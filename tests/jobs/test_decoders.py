"""Processes that decode and encode: as this one does, and nothing is lost where one ends."""

import io
import os
import pickle
import signal
import threading
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undim.cancellation import NEVER, Cancellation
from undim.errors import CancelledError, PictureError
from undim.images import FORMATS
from undim.jobs.coder import HERE
from undim.jobs.decoders import TRIES, Decoders, _receive, _send

LIMIT = 10**9
FIXTURES = Path(__file__).parent.parent / "fixtures"
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def any_size(_width, _height):
    pass


@pytest.fixture(scope="module")
def pool():
    with Decoders(2) as decoders:
        yield decoders


@pytest.fixture(scope="module")
def slow_file():
    """A PNG that takes much longer to decode than `PAUSE`."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (2500, 2000, 3), np.uint8)
    Image.fromarray(pixels // 8).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


class Killing(Cancellation):
    """Kills the process that works each time it is asked whether the picture is still wanted."""

    def __init__(self, decoders, victims=None):
        super().__init__()
        self._decoders, self._victims = decoders, victims

    def check(self):
        [process] = self._decoders.processes
        if self._victims is None or process in self._victims:
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize(
    "path", [*sorted(EXAMPLES.glob("*.[jp][pn]g")), FIXTURES / "turned.heic", FIXTURES / "deep.heic"]
)
def test_pictures_and_files_are_those_of_this_process(pool, path):
    sizes = []
    content = path.read_bytes()
    found = pool.read(content, path.suffix, max_pixels=LIMIT, on_size=lambda *size: sizes.append(size))
    expected = HERE.read(content, path.suffix, max_pixels=LIMIT, on_size=any_size)
    for field in fields(expected):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        assert np.array_equal(ours, theirs) if isinstance(theirs, np.ndarray) else ours == theirs, field.name
    assert sizes[-1] in (expected.size, expected.size[::-1])
    for form in FORMATS:
        assert pool.encode(found, form, None) == HERE.encode(expected, form, None)


def test_a_path_is_read_and_written(pool, tmp_path):
    picture = pool.read(EXAMPLES / "cat.png", max_pixels=LIMIT, on_size=any_size)
    pool.write(picture, tmp_path / "new" / "cat.png", "png", None)
    HERE.write(picture, tmp_path / "here.png", "png", None)
    assert (tmp_path / "new" / "cat.png").read_bytes() == (tmp_path / "here.png").read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(PictureError, match="cannot be written: "):
        pool.write(picture, tmp_path / "file" / "cat.png", "png", None)


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"", "", "is empty"),
        (b"hello", "not-a-picture", "is not a picture"),
        ((EXAMPLES / "cat.png").read_bytes()[:9000], "", "truncated"),
    ],
)
def test_errors_come_back_with_their_codes(pool, content, code, reason):
    with pytest.raises(PictureError, match=reason) as error:
        pool.read(content, max_pixels=LIMIT, on_size=any_size)
    assert error.value.code == code
    assert pool.restarts == 0


def test_a_size_that_is_refused_ends_the_reading_and_not_the_process(pool):
    processes = pool.processes

    def refuse(_width, _height):
        raise PictureError("needs too much", code="out-of-memory")

    with pytest.raises(PictureError, match="needs too much"):
        pool.read((EXAMPLES / "cat.png").read_bytes(), max_pixels=LIMIT, on_size=refuse)
    with pytest.raises(PictureError, match="more than the limit"):
        pool.read((EXAMPLES / "cat.png").read_bytes(), max_pixels=100, on_size=any_size)
    assert pool.processes == processes


def test_a_picture_is_tried_again_when_its_process_is_killed(slow_file):
    with Decoders(1) as decoders:
        decoders.read((EXAMPLES / "cat.png").read_bytes(), max_pixels=LIMIT, on_size=any_size)
        [first] = decoders.processes
        found = decoders.read(slow_file, max_pixels=LIMIT, on_size=any_size, cancellation=Killing(decoders, [first]))
        assert found.size == (2000, 2500)
        assert decoders.restarts == 1
        assert decoders.processes != [first]


def test_a_picture_that_costs_one_process_after_the_other_is_named_as_what_it_is(slow_file):
    with Decoders(1) as decoders:
        with pytest.raises(PictureError, match="crashed the library") as error:
            decoders.read(slow_file, max_pixels=LIMIT, on_size=any_size, cancellation=Killing(decoders))
        assert error.value.code == "crashed"
        assert decoders.restarts == TRIES
        assert decoders.read((EXAMPLES / "cat.png").read_bytes(), max_pixels=LIMIT, on_size=any_size)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="memory of a process is limited on Linux only")
def test_what_unpacks_to_more_than_a_process_may_have_is_an_error_of_that_picture():
    stream = io.BytesIO()
    Image.new("1", (30000, 30000)).save(stream, "PNG", compress_level=1)  # 0.9 GB as grey
    with Decoders(1, max_pixels=1_000_000) as decoders:
        with pytest.raises(PictureError, match=r"does not fit in memory|crashed|damaged") as error:
            decoders.read(stream.getvalue(), max_pixels=10**10, on_size=any_size)
        assert error.value.code in ("out-of-memory", "crashed", "")
        assert decoders.read((EXAMPLES / "cat.png").read_bytes(), max_pixels=LIMIT, on_size=any_size)


def test_a_cancelled_reading_ends_and_its_process_with_it(slow_file):
    with Decoders(1) as decoders:
        decoders.read((EXAMPLES / "cat.png").read_bytes(), max_pixels=LIMIT, on_size=any_size)
        before, cancellation = decoders.processes, Cancellation()
        with pytest.raises(CancelledError):
            decoders.read(
                slow_file, max_pixels=LIMIT, on_size=lambda *_: cancellation.cancel(), cancellation=cancellation
            )
        assert decoders.processes != before
        assert decoders.restarts == 0  # nothing had crashed
        with pytest.raises(ProcessLookupError):
            os.kill(before[0], 0)
        assert decoders.read((EXAMPLES / "cat.png").read_bytes(), max_pixels=LIMIT, on_size=any_size)


def test_a_call_that_waits_for_a_process_can_be_cancelled():
    with Decoders(1) as decoders:
        cancellation = Cancellation()
        with decoders._taken(NEVER):
            threading.Timer(0.1, cancellation.cancel).start()
            with pytest.raises(CancelledError, match="was stopped"):
                decoders.read(b"", max_pixels=LIMIT, on_size=any_size, cancellation=cancellation)


def test_a_picture_that_waits_for_memory_keeps_no_process_from_others():
    """The memory may be given back by a picture that waits for a process to be written."""
    content = (EXAMPLES / "cat.png").read_bytes()
    with Decoders(1) as decoders:
        picture = decoders.read(content, max_pixels=LIMIT, on_size=any_size)
        written = []

        def write(_width, _height):
            late = Cancellation(time.monotonic() + 30)
            written.append(decoders.encode(picture, "png", None, cancellation=late))

        decoders.read(content, max_pixels=LIMIT, on_size=write)
        assert written == [HERE.encode(picture, "png", None)]


def test_close_leaves_no_process():
    decoders = Decoders(2)
    processes = decoders.processes
    decoders.close()
    decoders.close()
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    with pytest.raises(PictureError, match="was stopped"):
        decoders.read(b"", max_pixels=LIMIT, on_size=any_size)


class Bad:
    def __reduce__(self):
        return os.system, ("echo taken over",)


def test_a_message_holds_nothing_but_a_picture_and_its_parts():
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    _send(theirs, ("done", Bad()))
    with pytest.raises(pickle.UnpicklingError, match="is not part of a picture"):
        _receive(ours)
