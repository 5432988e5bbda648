"""What the service holds: no picture longer than its answer takes, and no answer of a client that does not take it."""

import asyncio
import gc
import io
import socket
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from undim.jobs.options import EnhanceOptions
from undim.jobs.plan import STREAM, Task
from undim.jobs.run import Outcome
from undim.serve.app import _answer
from undim.serve.guard import PIECE, SLOWEST, SlowClientError, _Exchange
from undim.serve.problems import ProblemError
from undim.serve.service import Service
from undim.serve.settings import Settings


def run(coroutine):
    """In a thread of its own: in this one, Playwright's loop may run, of another test."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope="module")
def house():
    """A service without HTTP."""
    service = Service(Settings(max_body=100, decoders=1, workers=1))
    yield service
    service.close()


async def never():
    await asyncio.Event().wait()


def test_a_picture_is_forgotten_with_its_answer(house, monkeypatch):
    made = []

    def work(options, call):
        outcome = Outcome(Task(STREAM, None, None), "done", content=bytes(100))
        made.append(weakref.ref(outcome))
        return outcome

    monkeypatch.setattr(house, "_work", work)

    async def ask():
        await house.enhance(b"", "", EnhanceOptions(), never)

    gc.collect()
    gc.disable()
    try:
        run(ask())
        until = time.monotonic() + 10
        while made[0]() is not None:  # the thread that did it lets go of it a little later
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        gc.enable()


def test_an_answer_counts_until_it_is_sent(house, monkeypatch):
    monkeypatch.setattr(house, "_room", 1000)
    outcome = Outcome(Task(STREAM, None, None), "done", content=bytes(950), form="png")
    refused = []

    async def send(_):
        assert house.inside == 1
        with house.admitted() as hold:
            hold(50)
            with pytest.raises(ProblemError) as caught:
                hold(1)
        refused.append(caught.value.status)

    run(_answer(outcome, house)({"type": "http"}, never, send))
    assert refused == [429, 429]
    assert house.inside == 0
    with house.admitted() as hold:
        hold(1000)


def test_answers_are_handed_over_in_pieces():
    sent = []

    async def send(message):
        sent.append(message)

    async def answer():
        exchange = _Exchange({"method": "GET"}, never, send, 1.0)
        await exchange.send({"type": "http.response.start", "status": 200})
        await exchange.send({"type": "http.response.body", "body": bytes(2 * PIECE + 1)})
        await exchange.send({"type": "http.response.body"})
        return exchange

    exchange = run(answer())
    assert [len(message.get("body", b"")) for message in sent] == [0, PIECE, PIECE, 1, 0, 0]
    assert [message.get("more_body", False) for message in sent] == [False, True, True, True, False, False]
    assert exchange.sent == 2 * PIECE + 1


@pytest.mark.parametrize("rate", [SLOWEST / 2, SLOWEST * 2])
def test_a_client_has_so_long_for_each_piece_and_for_all(monkeypatch, rate):
    """A clock that only sending moves, at that rate."""
    now, times = [0.0], []
    monkeypatch.setattr("undim.serve.guard.time.monotonic", lambda: now[0])

    async def wait_for(sending, seconds):
        await sending
        times.append(seconds)
        if now[0] > sum(spent) + seconds:
            raise TimeoutError
        spent.append(now[0] - sum(spent))

    spent = []

    async def send(message):
        now[0] += len(message.get("body", b"")) / rate

    monkeypatch.setattr("undim.serve.guard.asyncio.wait_for", wait_for)
    exchange = _Exchange({"method": "GET"}, never, send, 10.0)
    body = {"type": "http.response.body", "body": bytes(20 * PIECE)}
    if rate > SLOWEST:
        run(exchange.send(body))
        assert exchange.sent == 20 * PIECE
    else:
        with pytest.raises(SlowClientError):
            run(exchange.send(body))
        assert 0 < exchange.sent < 3 * PIECE
    assert max(times) <= 10 + PIECE / SLOWEST


@pytest.mark.slow
def test_a_client_that_does_not_take_its_answer_is_given_up(service):
    stream = io.BytesIO()
    Image.new("L", (3000, 3000), 9).save(stream, "PNG")
    content = stream.getvalue()
    head = f"POST /v1/enhance?format=bmp&strength=0 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    begin = time.monotonic()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", service.port))
        connection.sendall(head.encode() + content)
        while not any(line.get("code") == "slow" for line in service.logged()):
            assert time.monotonic() < begin + 60
            time.sleep(0.1)
        assert service.figure('undim_queue{of="inside"}') == 0
        received = 0
        while piece := connection.recv(2**16):  # what the system had taken
            received += len(piece)
    assert 0 < received < 9_000_000
    assert service.figure('undim_failures_total{reason="slow"}') >= 1
    assert not service.logged("server")  # an end as it should be, not a fault
