"""Whole batches on the local engine, compared with `undim enhance`."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from dark_pictures import KILLER, batch, contents, rows, write_pictures

from undim.batch.addresses import join_below
from undim.batch.drive import Listener, count_batch, run_batch
from undim.cli.main import main
from undim.errors import PictureError, UsageError
from undim.jobs.work import hash_of


def test_outputs_are_those_of_enhance_by_name_and_byte(pictures, tmp_path):
    # Names that would become one: enhance puts old suffixes in.
    write_pictures(tmp_path / "in", ["x.bmp", "x.png", "wrong.jpg.png"])
    (pictures / "wrong.jpg.png").rename(pictures / "wrong.jpg")
    (pictures / "bmp.jpg").write_bytes((pictures / "x.bmp").read_bytes())
    assert main(["enhance", str(pictures), "-o", str(tmp_path / "enhanced"), "--model", "tiny"]) == 0
    tally = run_batch(batch(pictures, tmp_path / "out"))
    assert (tally.done, tally.failed, tally.total) == (9, 0, 9)
    assert contents(tmp_path / "out") == contents(tmp_path / "enhanced")
    found = rows(tmp_path / "out")
    assert {record.output: record.sha256 for record in found.values()} == {
        name: hash_of(content) for name, content in contents(tmp_path / "out").items()
    }
    assert set(found["a.png"].seconds) == {"read", "decode", "enhance", "encode", "write"}


def test_a_rerun_does_what_is_missing_or_failed_and_verify_what_differs(pictures, tmp_path, capsys):
    (pictures / "bad.jpg").write_bytes(b"no picture")
    words = ["batch", str(pictures), str(tmp_path / "out"), "--model", "tiny", "--workers", "1"]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert "undim: failed: bad.jpg: is not a picture" in err
    assert "5 done, 0 skipped, 1 failed" in err
    before = contents(tmp_path / "out")
    write_pictures(pictures, ["bad.jpg"])
    (tmp_path / "out" / "a.png").unlink()
    (tmp_path / "out" / "b.jpg").write_bytes(b"damaged")
    tally = run_batch(batch(pictures, tmp_path / "out"))
    assert (tally.done, tally.skipped, tally.failed) == (2, 4, 0)
    assert contents(tmp_path / "out")["a.png"] == before["a.png"]
    assert contents(tmp_path / "out")["b.jpg"] == b"damaged"
    tally = run_batch(batch(pictures, tmp_path / "out", verify=True))
    assert (tally.done, tally.skipped, tally.failed) == (1, 5, 0)
    assert contents(tmp_path / "out")["b.jpg"] == before["b.jpg"]
    kept = rows(tmp_path / "out")["sub/c.png"]
    assert (kept.status, kept.sha256) == ("skipped", hash_of(before["sub/c.png"]))
    assert main([*words, "--dry-run"]) == 0
    assert "6 pictures: 0 to do, 6 skipped" in capsys.readouterr().err


@pytest.mark.slow
def test_a_picture_that_ends_its_worker_is_set_aside_without_its_neighbours(pictures, tmp_path, killing):
    (pictures / "aa.png").write_bytes(KILLER)
    (pictures / "sub" / "cc.png").write_bytes(KILLER)
    failures = []
    listener = Listener(ended=lambda record: failures.append(record) if record.status == "failed" else None)
    tally = run_batch(batch(pictures, tmp_path / "out", tries=2), listener)
    assert (tally.done, tally.failed) == (5, 2)
    assert {one.key for one in failures} == {"aa.png", "sub/cc.png"}
    for one in failures:
        assert one.code == "worker-ended"
        assert "SIGKILL" in one.reason
        assert "2 times" in one.reason


def test_a_worker_that_is_killed_from_outside_costs_nothing(tmp_path):
    names = [f"{number:02d}.png" for number in range(12)]
    pictures = write_pictures(tmp_path / "in", names)
    killed = []

    def kill(_):
        if len(killed) < 2:
            for process in _workers(os.getpid()):
                killed.append(process)
                with suppress(ProcessLookupError):  # the first kill may have ended it, too
                    os.kill(process, signal.SIGKILL)

    tally = run_batch(batch(pictures, tmp_path / "out"), Listener(ended=kill))
    assert killed
    assert (tally.done, tally.failed) == (12, 0)
    assert sorted(contents(tmp_path / "out")) == names


def _workers(parent):
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "undim.batch.worker" in line]


@pytest.mark.slow
def test_a_driver_that_is_killed_is_gone_on_with(tmp_path):
    pictures = write_pictures(tmp_path / "in", [f"{number:02d}.png" for number in range(30)], size=(200, 200))
    out = tmp_path / "out"
    words = [sys.executable, "-m", "undim", "batch", str(pictures), str(out), "--model", "tiny", "--workers", "1"]
    driver = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    while len(contents(out) if out.exists() else ()) < 5:
        assert driver.poll() is None
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    tally = run_batch(batch(pictures, out))
    assert tally.done + tally.skipped == 30
    assert tally.skipped >= 4
    found = rows(out)
    assert {one.output: one.sha256 for one in found.values()} == {
        name: hash_of(content) for name, content in contents(out).items()
    }
    assert not (out / ".undim" / "rows").exists() or not list((out / ".undim" / "rows").iterdir())


def test_progress_and_failures_of_a_stop_leave_nothing_half_written(pictures, tmp_path):
    stopped = threading.Event()

    def stop(_):
        stopped.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(batch(pictures, tmp_path / "out"), Listener(ended=stop))
    assert stopped.is_set()
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert run_batch(batch(pictures, tmp_path / "out")).failed == 0


@pytest.mark.parametrize("inside", ["", "out", "sub/../out"])
def test_a_destination_inside_the_source_is_refused(pictures, inside):
    with pytest.raises(UsageError, match="inside the source"):
        batch(pictures, pictures / inside)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": "spark"}, "allowed: local, ray"),
        ({"workers": 0}, "workers is 0"),
        ({"tries": 0}, "tries is 0"),
        ({"address": "auto"}, "take the engine ray"),
        ({"report": "report.txt"}, ".jsonl or .parquet"),
    ],
)
def test_what_is_not_allowed_is_said(tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        batch(tmp_path / "in", tmp_path / "out", **changes)


def test_a_picture_beyond_a_workers_memory_is_refused_and_others_are_not(tmp_path):
    pictures = write_pictures(tmp_path / "in", ["small.png"])
    write_pictures(pictures, ["large.png"], size=(400, 400))
    tally = run_batch(batch(pictures, tmp_path / "out", memory=20 * 300 * 300))
    assert (tally.done, tally.failed) == (1, 1)
    assert rows(tmp_path / "out")["large.png"].code == "worker-memory"


def test_a_dry_run_writes_nothing(pictures, tmp_path):
    tally = count_batch(batch(pictures, tmp_path / "out"), Listener())
    assert (tally.total, tally.done) == (5, 5)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_shards_become_shards_with_what_goes_along(tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(2):
        folder = write_pictures(tmp_path / f"s{number}", ["x.png", "y.bmp"], seed=number)
        (folder / "x.json").write_text(json.dumps({"shard": number}))
        with tarfile.open(shards / f"in-{number}.tar", "w") as archive:
            for name in ("x.png", "x.json", "y.bmp"):
                archive.add(folder / name, name)
        run_batch(batch(folder, tmp_path / f"plain{number}"))
    asked = batch(shards / "in-{0..1}.tar", tmp_path / "out-{0..1}.tar")
    assert run_batch(asked).done == 4
    for number in range(2):
        with tarfile.open(tmp_path / f"out-{number}.tar") as archive:
            found = {one.name: archive.extractfile(one).read() for one in archive}
        assert found.pop("x.json") == json.dumps({"shard": number}).encode()
        assert found == contents(tmp_path / f"plain{number}")
    assert run_batch(asked).skipped == 4
    again = (tmp_path / "out-1.tar").read_bytes()
    (tmp_path / "out-1.tar").write_bytes(b"damaged")
    tally = run_batch(replace(asked, verify=True))
    assert (tally.done, tally.skipped) == (2, 2)
    assert (tmp_path / "out-1.tar").read_bytes() == again


def test_shards_of_one_name_are_refused(tmp_path):
    for number in range(2):
        (tmp_path / f"part-{number}").mkdir()
        with tarfile.open(tmp_path / f"part-{number}" / "x.tar", "w") as archive:
            archive.add(write_pictures(tmp_path / "dark", ["a.png"]) / "a.png", "a.png")
    with pytest.raises(UsageError, match="several shards of one name"):
        run_batch(batch(f"{tmp_path}/part-{{0..1}}/x.tar", tmp_path / "out"))


def test_no_name_leads_out_of_a_folder_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (".", "out", str(tmp_path / "out"), "s3://bucket/out"):
        with pytest.raises(PictureError, match="not in the destination"):
            join_below(folder, "../../x.jpg")
    assert join_below(".", "a/x.jpg")


def test_a_folder_is_dealt_out_over_shards(pictures, tmp_path):
    assert run_batch(batch(pictures, tmp_path / "all.tar")).done == 5
    assert run_batch(batch(pictures, tmp_path / "part-{0..1}.tar")).done == 5
    run_batch(batch(tmp_path / "all.tar", tmp_path / "dark"))
    names = []
    for number in range(2):
        with tarfile.open(tmp_path / f"part-{number}.tar") as archive:
            names += archive.getnames()
    with tarfile.open(tmp_path / "all.tar") as archive:
        assert sorted(names) == sorted(archive.getnames()) == sorted(contents(tmp_path / "dark"))
