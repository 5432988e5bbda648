"""What sources may hold that is no plain picture file: links in shards, odd names, files that are none."""

import io
import json
import os
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from dark_pictures import batch, contents, rows, write_pictures

from undim.batch.addresses import join_below
from undim.batch.drive import Listener, count_batch, run_batch
from undim.batch.sources import find_pictures
from undim.batch.stores import read_whole
from undim.errors import PictureError, UsageError


def found_in(source):
    """What a source's pictures and sidecars hold, by name; refusals as text."""
    return {
        one.name: one.refusal or read_whole(one.address, one.offset, one.length) for one in find_pictures(str(source))
    }


def add(archive, name, content=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content))


def test_links_in_a_shard_are_what_gnu_tar_unpacks(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"picture")
    (folder / "a.txt").write_bytes(b"label")
    for name in ("a.png", "a.txt"):
        os.link(folder / name, folder / "sub" / name)
        (folder / f"b{name[1:]}").symlink_to(f"sub/{name}")
        (folder / "sub" / f"c{name[1:]}").symlink_to(f"../b{name[1:]}")
    (folder / "folder.png").symlink_to("sub")
    subprocess.run(["tar", "cf", tmp_path / "in.tar", "-C", folder, "."], check=True)
    (tmp_path / "plain").mkdir()
    subprocess.run(["tar", "xf", tmp_path / "in.tar", "-C", tmp_path / "plain"], check=True)
    assert len(contents(tmp_path / "plain")) == 8
    assert found_in(tmp_path / "in.tar") == contents(tmp_path / "plain")


def test_the_last_member_of_a_name_counts_as_tar_unpacks_it(tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        add(archive, "a.png", b"old")
        add(archive, "b.png", type=tarfile.LNKTYPE, linkname="a.png")
        add(archive, "./a.png", b"newer")
    assert found_in(tmp_path / "in.tar") == {"a.png": b"newer", "b.png": b"old"}


def test_members_that_are_no_files_fail_by_name(tmp_path):
    with tarfile.open(tmp_path / "in.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        add(archive, "fine.png", b"picture")
        add(archive, "gone.png", type=tarfile.SYMTYPE, linkname="nothing.png")
        add(archive, "out.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "up.png", type=tarfile.SYMTYPE, linkname="../../x.png")
        add(archive, "round.png", type=tarfile.SYMTYPE, linkname="round.png")
        add(archive, "hard.png", type=tarfile.LNKTYPE, linkname="nothing.png")
        add(archive, "pipe.png", type=tarfile.FIFOTYPE)
        add(archive, "pipe.txt", type=tarfile.FIFOTYPE)
        add(archive, "folder.png", type=tarfile.DIRTYPE)
        add(archive, "null.png", b"picture", pax_headers={"path": "nu\0ll.png"})
    found = found_in(tmp_path / "in.tar")
    assert found.pop("fine.png") == b"picture"
    assert "no file's name has" in found.pop("nu\\0ll.png")
    assert sorted(found) == ["gone.png", "hard.png", "out.png", "pipe.png", "round.png", "up.png"]
    assert set(found.values()) == {"is neither a file in the shard nor a link to one"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_rows_that_name_no_readable_file_fail_alone(pictures, tmp_path):
    os.mkfifo(pictures / "pipe.png")
    texts = ["a.png", "pipe.png", "a\0.png", "a\0.jpg", "a\ud83d.png", "/", ".", "\udcff.png"]
    manifest = pictures / "list.jsonl"
    manifest.write_text("".join(json.dumps({"path": text}) + "\n" for text in texts))
    tally = run_batch(batch(manifest, tmp_path / "out"))
    assert (tally.total, tally.done, tally.failed) == (8, 1, 7)
    found = rows(tmp_path / "out")
    assert found["pipe.png"].reason == "cannot be read: it is not a regular file"
    for key in ("a\\0.png", "a\\0.jpg", "a\\ud83d.png"):
        assert found[key].reason == "has a character that no file's name has"


def test_rows_that_mean_no_file_fail_alone_in_another_format_too(pictures, tmp_path):
    manifest = pictures / "list.jsonl"
    manifest.write_text("".join(json.dumps({"path": text}) + "\n" for text in ["a.png", "/", "."]))
    asked = batch(manifest, tmp_path / "out")
    options = {**asked.options.__dict__, "form": "jpg"}
    tally = count_batch(batch(manifest, tmp_path / "out", options=type(asked.options)(**options)), Listener())
    assert (tally.done, tally.failed) == (1, 2)


@pytest.mark.parametrize("line", ["{", "[1]", "\ud83d", "[" * 100_000, '{"path": ' + "1" * 5000 + "}"])
def test_a_line_of_a_manifest_that_is_not_json_is_told(tmp_path, line):
    manifest = tmp_path / "list.jsonl"
    manifest.write_text(f'{{"path": "a.png"}}\n\n{line}\n', errors="surrogatepass")
    with pytest.raises(UsageError, match=r"Line 3 of the manifest .* is not an object of JSON"):
        list(find_pictures(str(manifest)))
    manifest.write_text('{"path": "a.png"}\n{"where": "b.png"}\n')
    with pytest.raises(UsageError, match=r"line 2, has no column 'path'; it has where"):
        list(find_pictures(str(manifest)))


def test_pictures_of_one_name_are_told_and_not_dropped(tmp_path):
    write_pictures(tmp_path, ["x/a.png"])
    whole = str(tmp_path / "x" / "a.png")
    inner = write_pictures(tmp_path / "in", [whole.lstrip("/")], seed=1)
    manifest = inner / "list.jsonl"
    texts = [whole, f"file://{whole}", whole.lstrip("/"), f"./{whole.lstrip('/')}"]
    manifest.write_text("".join(json.dumps({"path": text}) + "\n" for text in texts))
    told = []
    tally = count_batch(batch(manifest, tmp_path / "out"), Listener(ended=told.append))
    assert (tally.total, tally.done, tally.failed) == (2, 1, 1)
    (failed,) = told
    assert (failed.code, failed.key) == ("same-output", whole)
    assert str(inner / whole.lstrip("/")) in failed.reason


@pytest.mark.skipif(os.sep != "/", reason="a backslash parts folders here")
def test_a_backslash_is_a_letter_of_a_name(tmp_path):
    folder = write_pictures(tmp_path / "in", ["d/x.png", "d\\x.png"])
    (folder / "list.csv").write_text("path\nd/x.png\nd\\x.png\n")
    assert run_batch(batch(folder / "list.csv", tmp_path / "out")).done == 2
    assert sorted(contents(tmp_path / "out")) == ["d/x.png", "d\\x.png"]


LINKS = ["ok.png", "..%2f..%2fevil.png", "%2ftmp%2fx.png", "b%5cx.png", "n%00.png", "%2e%2e/", "s%2fub/", "v.png?id=1"]


def test_a_listing_does_not_write_outside_the_destination(pictures, tmp_path):
    pytest.importorskip("aiohttp")
    content = (pictures / "a.png").read_bytes()
    page = "".join(f'<a href="{link}">x</a> ' for link in [*LINKS, "v.png?id=2"]).encode()

    class Listing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.wfile.write(self.answer())

        def answer(self):
            body = page if self.path in ("/d", "/d/") else content
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if body is page else "image/png")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    out = tmp_path / "deep" / "deeper" / "out"
    try:
        tally = run_batch(batch(f"http://127.0.0.1:{server.server_port}/d/", out))
    finally:
        server.shutdown()
    assert sorted(contents(out)) == ["ok.png", "v.png"]
    assert sorted(contents(tmp_path / "deep")) == ["deeper/out/ok.png", "deeper/out/v.png"]
    assert (tally.done, tally.failed) == (2, 6)
    found = rows(out)
    for key in ("..%2f..%2fevil.png", "%2ftmp%2fx.png", "b%5cx.png", "n%00.png", "s%2fub"):
        assert "has a slash, a backslash or a null character" in found[key].reason
    assert found[f"http://127.0.0.1:{server.server_port}/d/v.png"].code == "same-output"


@pytest.mark.parametrize(
    ("folder", "name"), [("out", "../x.png"), ("out", "/x.png"), ("s3://bucket/out", "a/../x.png")]
)
def test_a_worker_writes_in_its_destination(tmp_path, monkeypatch, folder, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PictureError, match="not in the destination"):
        join_below(folder, name)
    assert join_below(folder, "sub/x.png") in (str(Path("out/sub/x.png")), "s3://bucket/out/sub/x.png")
