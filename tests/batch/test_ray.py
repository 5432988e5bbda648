"""The same batches on a small Ray cluster of this machine: the same pictures and the same report."""

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from dark_pictures import KILLER, batch, contents, lay_fault, rows, write_pictures

from undim.batch.drive import run_batch
from undim.cluster import connected
from undim.errors import UsageError

# Not imported here: what it reads when it is imported is set by undim.cluster.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")]


@pytest.fixture(scope="module")
def fault(tmp_path_factory):
    """Where orders to the workers' fault lie."""
    return tmp_path_factory.mktemp("fault")


@pytest.fixture(scope="module")
def cluster(fault):
    """One for all tests: it takes seconds to start, more on a busy machine. Its workers have the fault of `killing`."""
    with pytest.MonkeyPatch.context() as patch:
        lay_fault(fault, patch)
        with connected(None, 2) as ray:
            yield ray


def timeless(destination):
    return {key: replace(record, seconds={}) for key, record in rows(destination).items()}


def test_pictures_and_report_are_those_of_the_local_engine(tmp_path, killing, cluster):
    pictures = write_pictures(tmp_path / "in", [f"{number:02d}.png" for number in range(20)])
    (pictures / "07.png").write_bytes(KILLER)
    (pictures / "bad.png").write_bytes(b"no picture")
    local = run_batch(batch(pictures, tmp_path / "local", tries=2))
    ray = run_batch(batch(pictures, tmp_path / "ray", tries=2, engine="ray", workers=2))
    assert (local.done, local.failed) == (19, 2)
    assert (ray.done, ray.failed) == (local.done, local.failed)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert timeless(tmp_path / "ray") == timeless(tmp_path / "local")
    assert not (tmp_path / "ray" / ".undim" / "plan").exists()


def test_actors_and_workers_that_are_killed_cost_nothing(tmp_path, fault, cluster):
    names = [f"{number:02d}.png" for number in range(48)]
    pictures = write_pictures(tmp_path / "in", names, size=(120, 80))
    run_batch(batch(pictures, tmp_path / "local"))
    orders = {fault / "05.png": "worker", fault / "20.png": "parent", fault / "40.png": "parent"}
    for path, who in orders.items():
        path.write_text(who)
    tally = run_batch(batch(pictures, tmp_path / "out", engine="ray", workers=2))
    assert not any(path.exists() for path in orders)
    assert (tally.done, tally.failed) == (48, 0)
    assert contents(tmp_path / "out") == contents(tmp_path / "local")
    assert timeless(tmp_path / "out") == timeless(tmp_path / "local")


def test_more_workers_than_there_is_room_for_are_refused(pictures, tmp_path, cluster):
    with pytest.raises(UsageError, match="room for 2 workers"):
        run_batch(batch(pictures, tmp_path / "out", engine="ray", workers=3))


def test_what_keeps_workers_from_starting_is_told(pictures, tmp_path, cluster):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    asked = batch(pictures, tmp_path / "out", engine="ray")
    with pytest.raises(Exception, match=r"model\.onnx"):
        run_batch(replace(asked, options=replace(asked.options, model=str(model))))


def test_the_cluster_listens_on_this_machine_alone_and_leaves_no_token(cluster):
    assert cluster.util.get_node_ip_address() == "127.0.0.1"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert not (Path.home() / ".ray" / "auth_token").exists()
