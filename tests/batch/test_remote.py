"""Object stores: moto's S3 server, and fsspec's file system in memory; faults are injected in the server."""

import csv
import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from dark_pictures import batch, contents, rows

from undim.batch import stores
from undim.batch.addresses import shown
from undim.batch.drive import Listener, count_batch, run_batch
from undim.batch.report import read_report
from undim.batch.sources import find_pictures
from undim.batch.stores import TRIES, RemoteStore, ask, store_of
from undim.errors import UsageError

pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    """An empty file system in memory."""
    import fsspec

    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


@pytest.fixture
def s3(monkeypatch):
    """A bucket of moto's server; `faults` holds statuses that the next requests for objects get."""
    pytest.importorskip("s3fs")
    server_of = pytest.importorskip("moto.server")
    from werkzeug.serving import make_server

    faults = []
    seen = []
    plain = server_of.DomainDispatcherApplication(server_of.create_backend_app)

    def app(environment, start_response):
        path, method = environment["PATH_INFO"], environment["REQUEST_METHOD"]
        seen.append((method, path))
        if faults and path.count("/") > 1 and method in ("GET", "PUT") and not path.endswith("/"):
            status = faults[0] if faults[0] == "403 Forbidden" else faults.pop(0)
            code = {"503 Slow Down": "SlowDown", "500 Internal": "InternalError"}.get(status, "AccessDenied")
            start_response(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()]
        return plain(environment, start_response)

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "public-name",
        "AWS_SECRET_ACCESS_KEY": "very-secret-value",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    # Its buckets belong to the process, not to the server.
    urlopen(Request(f"http://127.0.0.1:{server.server_port}/moto-api/reset", method="POST")).close()
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(use_listings_cache=False)
    system.mkdir("bucket")
    system.faults, system.seen = faults, seen
    yield system
    server.shutdown()
    thread.join()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.slow
def test_s3_to_s3_is_what_a_folder_gives(pictures, tmp_path, s3):
    run_batch(batch(pictures, tmp_path / "local"))
    for name, content in contents(pictures).items():
        s3.pipe_file(f"bucket/in/{name}", content)
    tally = run_batch(batch("s3://bucket/in", "s3://bucket/out"))
    assert (tally.done, tally.failed) == (5, 0)
    there = {path.removeprefix("bucket/out/"): s3.cat_file(path) for path in s3.find("bucket/out")}
    report = there.pop(".undim/report.jsonl")
    assert there == contents(tmp_path / "local")
    assert {json.loads(line)["key"] for line in report.splitlines()} == set(contents(pictures))
    before = len(s3.seen)
    assert run_batch(batch("s3://bucket/in", "s3://bucket/out")).skipped == 5
    asked = s3.seen[before:]
    assert not [one for one in asked if one[0] == "PUT" and ".undim" not in one[1]]
    assert not [one for one in asked if one[0] == "HEAD" and one[1].startswith("/bucket/out/sub")]


@pytest.mark.slow
def test_throttling_and_faults_are_waited_out_and_others_are_told(pictures, tmp_path, s3, capfd):
    s3.pipe_file("bucket/in/a.png", (pictures / "a.png").read_bytes())
    s3.faults += ["503 Slow Down", "500 Internal", "503 Slow Down"]
    tally = run_batch(batch("s3://bucket/in", "s3://bucket/out"))
    assert (tally.done, tally.failed) == (1, 0)
    assert not s3.faults
    s3.pipe_file("bucket/in/b.png", (pictures / "a.png").read_bytes())
    s3.faults.append("403 Forbidden")
    told = []
    out = tmp_path / "out"
    tally = run_batch(batch("s3://bucket/in", out), Listener(ended=told.append))
    assert tally.failed == 2
    for one in told:
        assert one.code == "store"
        assert "cannot be read" in one.reason
        assert "very-secret-value" not in one.reason
    s3.faults.clear()
    assert run_batch(batch("s3://bucket/in", out)).done == 2


def test_a_store_is_asked_a_few_times_ever_later_and_then_it_fails_by_name():
    pauses, calls = [], []

    def slow():
        calls.append(1)
        raise OSError(16, "Please reduce your request rate")

    with pytest.raises(OSError, match=f"asked {TRIES} times") as caught:
        ask(slow, "s3://bucket/x?X-Amz-Signature=abc", pauses.append)
    assert len(calls) == TRIES
    assert "Signature" not in str(caught.value)
    assert len(pauses) == TRIES - 1
    for number, pause in enumerate(pauses):
        assert 0.5 <= pause / min(stores.FIRST_PAUSE * 2**number, stores.LONGEST_PAUSE) <= 1


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), OSError(28, "no space"), ValueError("no")])
def test_what_will_not_change_is_not_asked_twice(error):
    calls = []

    def refuse():
        calls.append(1)
        raise error

    with pytest.raises(OSError):  # noqa: PT011 - of any kind
        ask(refuse, "s3://bucket/x", lambda _: None)
    assert len(calls) == 1


def test_one_that_passes_is_passed():
    answers = iter([TimeoutError("slow"), ConnectionResetError("gone"), 7])

    def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert ask(call, "s3://bucket/x", lambda _: None) == 7


def test_a_store_in_memory_is_listed_read_in_parts_and_written(memory):
    store = RemoteStore("memory://place")
    store.write("memory://place/sub/x.png", b"0123456789")
    store.write("memory://place/a.jpg", b"abc")
    assert store.read("memory://place/sub/x.png", 2, 3) == b"234"
    assert store.exists("memory://place/a.jpg")
    assert not store.exists("memory://place/b.jpg")
    assert [(one.name, one.folder) for one in store.list("memory://place")] == [("a.jpg", False), ("sub", True)]
    memory.pipe_file("/place/.hidden/y.png", b"")
    memory.pipe_file("/place/._a.jpg", b"")
    memory.pipe_file("/place/notes.txt", b"")
    memory.pipe_file("/place/clip.mp4", b"")
    videos = []
    found = {one.name: one.address for one in find_pictures("memory://place", on_video=videos.append)}
    assert sorted(found) == ["a.jpg", "sub/x.png"]
    assert len(videos) == 1
    assert store_of(found["sub/x.png"]).read(found["sub/x.png"]) == b"0123456789"
    store.remove("memory://place/a.jpg")
    store.remove("memory://place/a.jpg")
    assert not store.exists("memory://place/a.jpg")


def test_a_folder_in_a_store_inside_the_source_is_refused():
    for destination in ("s3://bucket/in/out", "s3://bucket/in", "s3a://bucket//in/./out"):
        with pytest.raises(UsageError, match="inside the source"):
            batch("s3://bucket/in", destination)
    batch("s3://bucket/in", "s3://bucket/in-bright")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://me:pass@host/x.png", "https://host/x.png"),
        ("cannot read https://host/x.png?X-Amz-Signature=1&a=b now", "cannot read https://host/x.png now"),
        ("s3://bucket/what?", "s3://bucket/what"),
        ("is it dark?", "is it dark?"),
    ],
)
def test_credentials_are_not_shown(text, told, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-value")
    assert shown(text) == told
    assert "very-secret" not in shown("key very-secret-value was refused")


@pytest.mark.parametrize("kind", ["csv", "jsonl", pytest.param("parquet", marks=pytest.mark.slow)])
def test_manifests_name_pictures(pictures, tmp_path, kind):
    names = ["a.png", "sub/c.png", str(pictures / "b.jpg")]
    manifest = pictures / f"list.{kind}"
    if kind == "csv":
        with manifest.open("w", newline="") as stream:
            csv.writer(stream).writerows([["id", "where"], *enumerate(names)])
    elif kind == "jsonl":
        manifest.write_text("".join(json.dumps({"where": name}) + "\n" for name in names))
    else:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"where": names}), manifest)
    found = {one.name: one.address for one in find_pictures(str(manifest), column="where")}
    whole = str(pictures / "b.jpg").lstrip("/")
    assert sorted(found) == sorted(["a.png", "sub/c.png", whole])
    assert all(Path(address).exists() for address in found.values())
    tally = count_batch(batch(manifest, tmp_path / "out", column="where"), Listener())
    assert tally.done == 3
    with pytest.raises(UsageError, match="no column 'path'; it has"):
        list(find_pictures(str(manifest)))


def test_rows_of_a_manifest_that_mean_no_file_fail_by_themselves(pictures, tmp_path):
    manifest = pictures / "list.jsonl"
    lines = [{"path": "a.png"}, {"path": "gone.png"}, {"path": "../secret.png"}, {"path": None}]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tally = run_batch(batch(manifest, tmp_path / "out"))
    assert (tally.done, tally.failed) == (1, 3)
    found = rows(tmp_path / "out")
    assert "there is no such file" in found["gone.png"].reason
    assert ".." in found["../secret.png"].reason
    assert found["row 4"].status == "failed"


@pytest.mark.slow
def test_a_report_in_parquet_says_the_same(pictures, tmp_path):
    pytest.importorskip("pyarrow")
    (pictures / "bad.png").write_bytes(b"x")
    report = tmp_path / "report.parquet"
    run_batch(batch(pictures, tmp_path / "out", report=str(report)))
    found = {one.key: one for one in read_report(str(report))}
    assert len(found) == 6
    assert found["bad.png"].status == "failed"
    assert set(found["a.png"].seconds) == {"read", "decode", "enhance", "encode", "write"}
    assert run_batch(batch(pictures, tmp_path / "out", report=str(report))).skipped == 5


def test_a_listing_of_a_web_server_is_a_source(pictures, tmp_path):
    pytest.importorskip("aiohttp")
    (pictures / "sub" / "sp ace.png").write_bytes((pictures / "a.png").read_bytes())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(pictures)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/"
        assert run_batch(batch(address, tmp_path / "out")).done == 6
    finally:
        server.shutdown()
    run_batch(batch(pictures, tmp_path / "local"))
    assert contents(tmp_path / "out") == contents(tmp_path / "local")


def test_the_base_install_does_without_the_extras():
    code = (
        "import sys, undim.cli.batch, undim.batch.worker\n"
        "sys.exit(sorted({'fsspec', 'pyarrow', 'ray', 'torch', 'pandas', 's3fs'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("package", "changes", "told"),
    [
        ("fsspec", {"source": "s3://bucket/in"}, 'pip install "undim\\[remote\\]"'),
        ("ray", {"engine": "ray"}, 'pip install "undim\\[ray\\]"'),
        ("pyarrow", {"source": "in/list.parquet"}, 'pip install "undim\\[remote\\]"'),
    ],
)
def test_a_missing_extra_is_told(pictures, tmp_path, monkeypatch, package, changes, told):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    source = changes.pop("source", str(pictures))
    with pytest.raises(UsageError, match=told):
        run_batch(batch(source, tmp_path / "out", **changes))
