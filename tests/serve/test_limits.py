"""What wears a service down: slow, huge, malformed and impatient clients, and processes that die."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image
from running_service import running

from undim.errors import UsageError
from undim.serve.server import is_local, listen
from undim.serve.settings import Settings, read_models, read_token


@pytest.fixture(scope="module")
def strict(tmp_path_factory, gain):
    """One with small limits and a token."""
    folder = tmp_path_factory.mktemp("strict")
    (folder / "token").write_text("s3cret\n")
    words = ["--model", f"gain={gain}", "--patience", "1", "--max-body", "1", "--max-pixels", "1000000"]
    words += ["--cors", "https://friend.example", "--queue", "1", "--workers", "1", "--decoders", "1"]
    with running(folder, *words, "--token-file", "token") as service:
        service.headers = {"Authorization": "Bearer s3cret"}
        yield service


def raw(service, content, *, wait=10.0):
    """Send bytes over a connection of one's own; what comes back until it is closed."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=wait) as connection:
        connection.sendall(content)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
        return received


def test_the_token_is_asked_for_where_something_is_done(strict, cat):
    for path in ("/", "/healthz", "/readyz", "/page/icon.svg", "/openapi.json"):
        assert httpx.get(strict.url + path).status_code == 200
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "s3cret"},
        {"Authorization": "Basic s3cret"},
        {"Authorization": "Bearer s3cret2"},
    ):
        for path in ("/v1/models", "/metrics"):
            answer = httpx.get(strict.url + path, headers=headers)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert httpx.post(f"{strict.url}/v1/enhance", content=cat, headers=headers).status_code == 401
    for word in ("Bearer s3cret", "bearer  s3cret"):
        assert httpx.get(f"{strict.url}/v1/models", headers={"Authorization": word}).status_code == 200
    assert "s3cret" not in "".join(strict.lines())


def test_only_listed_origins_may_use_it(strict, cat):
    for origin, allowed in (("https://friend.example", "https://friend.example"), ("https://evil.example", None)):
        answer = httpx.post(f"{strict.url}/v1/enhance", content=cat, headers={**strict.headers, "Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = httpx.options(f"{strict.url}/v1/enhance", headers=asked)
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        long = {"Origin": origin, "A": "b" * 33_000}
        for headers, status in (({"Origin": origin}, 401), (long, 431)):
            answer = httpx.get(f"{strict.url}/v1/models", headers=headers)
            assert answer.status_code == status
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
    asked = {"Origin": "https://friend.example", "Access-Control-Request-Method": "DELETE"}
    answer = httpx.options(f"{strict.url}/v1/enhance", headers=asked)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert (answer.json()["code"], "its method" in answer.json()["detail"]) == ("cors", True)


def test_the_openapi_document_tells_of_the_token(strict):
    document = httpx.get(f"{strict.url}/openapi.json").json()
    [(name, scheme)] = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    guarded = {path for path, one in document["paths"].items() if any("security" in op for op in one.values())}
    assert guarded == {"/v1/enhance", "/v1/models", "/metrics"}
    assert document["paths"]["/v1/models"]["get"]["security"] == [{name: []}]


def test_bodies_and_pictures_have_a_largest_size(strict):
    def ask(content):
        return httpx.post(f"{strict.url}/v1/enhance", content=content, headers=strict.headers, timeout=30)

    large = ask(bytes(2**20 + 1))
    assert (large.status_code, "1 MiB" in large.json()["detail"]) == (413, True)
    chunked = ask(bytes(2**16) for _ in range(40))
    assert (chunked.status_code, "1 MiB" in chunked.json()["detail"]) == (413, True)
    stream = io.BytesIO()
    Image.new("L", (2000, 501)).save(stream, "PNG")
    wide = ask(stream.getvalue())
    assert (wide.status_code, "more than the limit" in wide.json()["detail"]) == (413, True)


def bombs():
    stream = io.BytesIO()
    Image.new("1", (20000, 20000)).save(stream, "PNG", compress_level=1)
    yield "png", stream.getvalue(), 413
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((10000, 10000), np.uint8), compression="zlib", rowsperstrip=1000)
    yield "tiff", stream.getvalue(), 413
    stream = io.BytesIO()
    Image.new("L", (3000, 3000)).save(stream, "AVIF", speed=10)
    yield "avif", stream.getvalue(), 413
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(50_000_000))
    yield "zip", stream.getvalue(), 415


def test_what_unpacks_to_gigabytes_is_refused_and_takes_no_memory(strict):
    for name, content, status in bombs():
        before = strict.figure('undim_memory_bytes{of="decoders"}')
        answer = httpx.post(f"{strict.url}/v1/enhance", content=content, headers=strict.headers, timeout=60)
        assert answer.status_code == status, name
        assert strict.figure('undim_memory_bytes{of="decoders"}') < before + 100e6, name


def test_a_head_that_does_not_come_is_given_up(strict):
    for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n"):
        begin = time.monotonic()
        answer = raw(strict, start)
        assert time.monotonic() - begin < 8
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer


def test_a_head_that_drips_is_given_up(strict):
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for number in range(100):
            try:
                connection.sendall(b"X-%d: y\r\n" % number)
            except OSError:
                break
            time.sleep(0.1)
        assert number < 60


def test_a_body_that_stops_is_told_and_closed(strict):
    head = b"POST /v1/enhance HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\nContent-Length: 1000\r\n\r\n"
    answer = raw(strict, head + b"abc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"The body stopped" in answer


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HT",
            b"400",
        ),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5 5\r\n\r\nhello", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 40_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"408"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", b"408"),
    ],
)
def test_what_is_not_one_plain_request_is_refused_and_closed(strict, content, status):
    answer = raw(strict, content)
    assert answer.split(b" ")[1] in (status, b"400"), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"application/problem+json" in answer
    codes = {b"400": ("malformed", "lengths"), b"408": ("slow",), b"431": ("head",)}
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] in codes[answer.split(b" ")[1]]


def test_more_than_may_wait_are_told_to_come_back(strict):
    """A lane and a decoder make two places for small files and two for large ones; one waits, more are refused."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 400), np.uint8)).save(stream, "PNG")

    def ask(_):
        return httpx.post(f"{strict.url}/v1/enhance", content=stream.getvalue(), headers=strict.headers, timeout=60)

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(24)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert "try again in" in answer.json()["detail"]
    assert ask(None).status_code == 200


def test_clients_that_leave_end_their_work(service, tmp_path):
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), np.uint8)
    Image.fromarray(noise).save(stream, "PNG", compress_level=0)
    content = stream.getvalue()
    before = service.figure('undim_failures_total{reason="gone"}')

    def leave(number):
        head = f"POST /v1/enhance?model=tiny HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(head)
            connection.sendall(content if number % 2 else content[: len(content) // 2])

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(leave, range(20)))
    until = time.monotonic() + 60
    while service.figure('undim_queue{of="inside"}') or service.figure('undim_queue{of="working"}'):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert service.figure('undim_failures_total{reason="gone"}') > before
    assert httpx.get(f"{service.url}/healthz").status_code == 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_decoders_that_are_killed_under_load_cost_no_answer(service, cat):
    children = [
        int(word)
        for word in subprocess.run(
            ["pgrep", "-P", str(service.process.pid)], capture_output=True, text=True
        ).stdout.split()
    ]
    stop = threading.Event()

    def kill():
        for child in children:
            if stop.wait(0.3):
                return
            command = open(f"/proc/{child}/cmdline").read()  # noqa: PTH123, SIM115
            if "spawn_main" in command:
                os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()

    def ask(_):
        return httpx.post(f"{service.url}/v1/enhance", content=cat, timeout=60)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(40)))
    stop.set()
    killer.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert service.figure('undim_decoder_restarts{of="crash"}') >= 1


@pytest.mark.slow
def test_an_end_in_good_order(tmp_path, gain):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), np.uint8)).save(
        stream, "PNG", compress_level=0
    )
    words = ["--model", f"gain={gain}", "--workers", "1", "--decoders", "1", "--grace", "100"]
    with running(tmp_path, *words) as service, ThreadPoolExecutor(8) as pool:

        def ask():
            return httpx.post(f"{service.url}/v1/enhance", content=stream.getvalue(), timeout=60)

        asked = [pool.submit(ask) for _ in range(6)]
        until = time.monotonic() + 30
        while service.figure('undim_queue{of="working"}') < 2 or service.figure('undim_queue{of="inside"}') < 6:
            assert time.monotonic() < until
            time.sleep(0.01)
        children = subprocess.run(["pgrep", "-P", str(service.process.pid)], capture_output=True, text=True)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        late = httpx.get(f"{service.url}/readyz")
        assert (late.status_code, late.json()["code"]) == (503, "stopping")
        assert ask().status_code == 503
        statuses = sorted(one.result().status_code for one in asked)
        assert statuses == [200, 200, 503, 503, 503, 503]
        assert service.process.wait(100) == 0
        assert service.lines()[-1] == "undim: stopped"
        until = time.monotonic() + 30  # the last one, which looks after the others, ends a little later
        while any(os.path.exists(f"/proc/{child}") for child in children.stdout.split()):  # noqa: PTH110
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_port_that_is_taken_is_one_line(service, tmp_path):
    command = [sys.executable, "-m", "undim", "serve", "--port", str(service.port)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"undim: error: 127.0.0.1:{service.port} cannot be listened on: Address already in use")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "99999"], "--port is 99999; allowed: 0 to 65535."),
        (["--host", "no.such.host.invalid"], "is not an address to listen on"),
        (["--host", "203.0.113.1"], "cannot be listened on"),
        (["--model", "foto"], "no model 'foto'"),
        (["--model", "a=photo", "--model", "a=tiny"], "Two models are called 'a'"),
        (["--queue", "0"], "queue is 0; allowed: 1 or more (--queue)"),
        (["--patience", "0"], "patience is 0.0; allowed: seconds above 0"),
        (["--cors", "*"], "is not a web origin"),
        (
            ["--cors", "https://a/b"],
            "'https://a/b' is not a web origin; give one such as https://example.org (--cors).",
        ),
        (["--max-body", "0"], "max_body is 0; allowed: 1 or more (--max-body)."),
        (["--workers", "0"], "workers is 0; allowed: 1 or more (--workers)."),
        (["--timeout", "nan"], "timeout is nan; allowed: seconds above 0 (--timeout)."),
        (["--token-file", "none.txt"], "none.txt: the token cannot be read: No such file or directory."),
        (["--log-format", "xml"], "--log-format is 'xml'; allowed: json, text."),
        (["--runtime", "abacus"], "no runtime 'abacus'"),
    ],
)
def test_wrong_use_is_one_line(capsys, words, message):
    from undim.cli.main import main

    assert main(["serve", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_default_model_that_cannot_be_loaded_ends_the_service(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    command = [sys.executable, "-m", "undim", "serve", "--port", "0", "--model", "bad.onnx", "--model", "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = [line for line in done.stderr.splitlines() if line.startswith("undim: error: ")]
    assert "bad.onnx is not a model that ONNX Runtime loads" in line
    assert "Traceback" not in done.stderr


def test_another_model_that_cannot_be_loaded_is_no_fault_of_the_client(tmp_path, gain, cat):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    words = ["--model", f"gain={gain}", "--model", f"bad={bad}", "--timeout", "inf", "--patience", "inf"]
    with running(tmp_path, *words, "--grace", "1e10") as service:
        answer = httpx.post(f"{service.url}/v1/enhance?model=bad", content=cat, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (500, "model")
        assert str(tmp_path) not in answer.text
        assert httpx.get(f"{service.url}/readyz").status_code == 200
        faults = [line["fault"] for line in service.logged() if "fault" in line]  # written once the answer has left
        assert [str(bad) in fault for fault in faults] == [True]
        assert httpx.post(f"{service.url}/v1/enhance", content=cat, timeout=60).status_code == 200


def test_seconds_may_be_more_than_a_thread_can_wait(tmp_path, gain, cat):
    with running(tmp_path, "--model", f"gain={gain}", "--timeout", "1e10", "--patience", "1e10") as service:
        assert httpx.post(f"{service.url}/v1/enhance", content=cat, timeout=60).status_code == 200


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])  # noqa: S104
def test_which_addresses_other_machines_reach(host, local):
    with listen(host, 0) as listener:
        assert is_local(listener) == local


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have 127.0.0.1 alone")
def test_all_addresses_of_the_loopback_are_local():
    with listen("127.0.0.2", 0) as listener:
        assert is_local(listener)


def test_settings_and_tokens(monkeypatch, tmp_path):
    assert list(Settings().models) == ["photo", "lol", "tiny"]
    assert Settings().default == "photo"
    assert read_models(["tiny", "mine=a/b.onnx", "c/d.onnx"]) == {"tiny": "tiny", "mine": "a/b.onnx", "d": "c/d.onnx"}
    monkeypatch.delenv("UNDIM_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("UNDIM_TOKEN", "abc")
    assert read_token(None) == "abc"
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(UsageError, match="is empty"):
        read_token(str(tmp_path / "token"))
    with pytest.raises(UsageError, match="printable ASCII"):
        Settings(token="a b")  # noqa: S106
