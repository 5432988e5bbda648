"""Models of a hub, which is a server on this machine: there and back, and everything that may go wrong on the way."""

import hashlib
import io
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from stand_in import TOKEN

from undim import Enhancer
from undim.atomic import write_text
from undim.cli.main import main
from undim.errors import HubError, ModelError, UsageError
from undim.hub import Reference, pull, push
from undim.hub.finding import find_model_file
from undim.hub.store import record, settle
from undim.shipped import MODELS_FOLDER
from undim.weights.subjects import find_subject

NIGHT = "someone/night"
ONNX = (MODELS_FOLDER / "tiny.onnx").read_bytes()
WEIGHTS = (MODELS_FOLDER / "tiny.safetensors").read_bytes()


def repository(**files):
    """The files of a repository that is taken, with some replaced or, by None, left out."""
    named = {name.replace("__", "."): content for name, content in files.items()}
    models = {"model.onnx": ONNX, "model.safetensors": WEIGHTS} | {
        name: content for name, content in named.items() if name.startswith("model.")
    }
    sums = "".join(f"{hashlib.sha256(one).hexdigest()}  {name}\n" for name, one in models.items() if one is not None)
    whole = {"README.md": b"# Night\n", "SHA256SUMS": sums.encode()} | models | named
    return {name: content for name, content in whole.items() if content is not None}


def kept(home):
    """Everything below a folder."""
    return sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())


def test_there_and_back(hub, model, dark, capsys):
    assert main(["push", str(model), NIGHT]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    name = line.partition(": ")[0]
    assert line == f"{name}: model.onnx, model.safetensors, README.md, SHA256SUMS"
    assert NIGHT in hub.private
    files = hub.commits[NIGHT][-1][1]
    assert (files["model.onnx"], files["model.safetensors"]) == (ONNX, WEIGHTS)
    assert b"license: cc-by-nc-4.0" in files["README.md"]
    assert b"library_name: undim" in files["README.md"]
    assert b"Made by a test." in files["README.md"]
    assert hashlib.sha256(ONNX).hexdigest() in files["SHA256SUMS"].decode()

    assert main(["pull", name]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{name}: model.onnx, model.safetensors, 0.7 MB, licence: cc-by-nc-4.0\ncard: ")
    assert told.err == ""
    with Enhancer(name) as enhance, Enhancer("tiny") as shipped:
        assert np.array_equal(enhance(dark), shipped(dark))


def test_nothing_is_fetched_unasked(hub, capsys, tmp_path, dark, monkeypatch):
    commit = hub.add(NIGHT, repository())
    name = f"hf:{NIGHT}@{commit}"
    with pytest.raises(ModelError, match=f"undim pull {NIGHT}@{commit} fetches it") as raised:
        Enhancer(name)
    assert raised.value.code == "not-pulled"
    with pytest.raises(ModelError, match="undim pull"):
        find_subject(name)
    for verb in (
        ["enhance", "x.png", "-o", str(tmp_path / "y.png")],
        ["batch", str(tmp_path / "in"), str(tmp_path / "z")],
    ):
        assert main([*verb, "--model", name]) == 2
        assert "undim pull" in capsys.readouterr().err
    assert hub.requests == []
    monkeypatch.setenv("UNDIM_PULL", "1")
    with Enhancer(name) as enhance:
        assert enhance(dark).mean() > dark.mean()
    assert hub.requests
    hub.requests.clear()
    Enhancer(name).close()
    assert hub.requests == []


def test_without_a_revision_it_is_told_and_stays_what_it_was(hub, capsys, caplog):
    first = hub.add(NIGHT, repository(), tag="v1")
    assert main(["pull", NIGHT]) == 0
    assert f"note: {NIGHT} is hf:{NIGHT}@{first} today" in capsys.readouterr().err
    second = hub.add(NIGHT, repository(README__md=b"# Another\n"))
    assert first in str(find_model_file(f"hf:{NIGHT}"))
    find_model_file(f"hf:{NIGHT}")
    assert [record.message for record in caplog.records if first in record.message] == [
        f"hf:{NIGHT} is hf:{NIGHT}@{first}, as it was pulled; that name always means the same"
    ]
    with pytest.raises(ModelError, match="not on this machine"):
        find_model_file(f"hf:{NIGHT}@{second}")
    assert pull(NIGHT).reference == Reference(NIGHT, second)
    assert second in str(find_model_file(f"hf:{NIGHT}"))
    assert pull(f"{NIGHT}@v1").reference.revision == first
    assert first in str(find_model_file(f"hf:{NIGHT}@v1"))


def test_what_is_there_is_not_fetched_again(hub):
    hub.add(NIGHT, repository())
    pull(NIGHT)
    hub.requests.clear()
    pull(NIGHT)
    assert hub.requests == [("GET", f"/api/models/{NIGHT}")]


def one_line(capsys):
    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert line.startswith("undim: error: ")
    assert "Traceback" not in told.err + told.out
    return line


@pytest.mark.parametrize("place", ["/api/models/", "/resolve/"])
@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "log in"), (403, "log in"), (404, "has no model"), (429, "status 429"), (500, "status 500 .*try again")],
)
def test_a_hub_that_refuses(hub, home, status, place, words, capsys):
    kept_before = hub.add("someone/other", repository())
    pull("someone/other")
    before = kept(home)
    hub.add(NIGHT, repository())
    hub.status[place] = status
    assert main(["pull", NIGHT]) == 2
    line = one_line(capsys)
    assert re.search(words, line), line
    assert hub.address in line
    assert kept(home) == before
    assert not (home / NIGHT).exists()
    Enhancer(f"hf:someone/other@{kept_before}").close()


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "SHA256SUMS"])
def test_a_body_that_breaks_off(hub, home, name, capsys):
    hub.add(NIGHT, repository())
    hub.cut.add(name)
    assert main(["pull", NIGHT]) == 2
    assert "Check the connection and try again" in one_line(capsys)
    assert kept(home) == []
    hub.cut.clear()
    assert main(["pull", NIGHT]) == 0


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
def test_a_wrong_checksum(hub, home, name, capsys):
    hub.add(NIGHT, repository())
    hub.spoilt.add(name)
    assert main(["pull", NIGHT]) == 2
    assert f"{name} does not have the checksum" in one_line(capsys)
    assert kept(home) == []


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path(__file__).with_name("executed"),))


TRAP = pickle.dumps(Trap())
FOREIGN = io.BytesIO()
np.savez(FOREIGN, a=np.zeros(3))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model__onnx": TRAP}, "model.onnx is not an ONNX file"),
        ({"model__safetensors": TRAP}, "model.safetensors is not a safetensors file"),
        ({"model__safetensors": FOREIGN.getvalue()}, "model.safetensors is not a safetensors file"),
        ({"model__safetensors": (2).to_bytes(8, "little") + b"{}"}, "does not say which network"),
        ({"model__onnx": None, "model__safetensors": None, "net__pth": TRAP}, "only pickles such as net.pth"),
        ({"model__onnx": None, "model__safetensors": None}, "it holds neither"),
        ({"README__md": None}, "it has no card"),
        ({"README__md": b" \n"}, "its card .* is empty"),
        ({"SHA256SUMS": None}, "it has no SHA256SUMS"),
        ({"SHA256SUMS": b"\xff\x00"}, "does not list model.onnx"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_repository_that_is_not_taken(hub, home, files, words, capsys):
    hub.add(NIGHT, repository(**files))
    assert main(["pull", NIGHT]) == 2
    line = one_line(capsys)
    assert re.search(words, line), line
    assert "is not taken" in line
    assert kept(home) == []
    assert not Path(__file__).with_name("executed").exists()


def test_pickles_beside_a_model_are_left_out(hub, home, capsys):
    hub.add(NIGHT, repository(net__pth=TRAP, pytorch_model__bin=TRAP, notes__txt=b"x"))
    assert main(["pull", NIGHT]) == 0
    assert "left out: net.pth, pytorch_model.bin" in capsys.readouterr().err
    assert {path.rpartition("/")[2] for _, path in hub.requests if "/resolve/" in path} == {
        "README.md", "SHA256SUMS", "model.onnx", "model.safetensors",
    }  # fmt: skip
    assert not [name for name in kept(home) if name.endswith((".pth", ".bin", ".txt"))]


def test_more_than_a_model_has_is_not_fetched(hub, monkeypatch):
    hub.add(NIGHT, repository())
    monkeypatch.setattr("undim.hub.contents.LARGEST", 100_000)
    with pytest.raises(HubError, match=r"it has 0\.0 GB; at most"):
        pull(NIGHT)
    assert not [path for _, path in hub.requests if "/resolve/" in path]


def test_without_a_network(hub, monkeypatch, capsys, dark):
    commit = hub.add(NIGHT, repository())
    pull(NIGHT)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["pull", NIGHT]) == 2
    assert "http://127.0.0.1:9 did not give" in one_line(capsys)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["pull", NIGHT]) == 2
    assert "HF_HUB_OFFLINE is set" in one_line(capsys)
    with Enhancer(f"hf:{NIGHT}@{commit}") as enhance:
        assert enhance(dark).mean() > dark.mean()


def test_unknown_names(hub, capsys):
    hub.add(NIGHT, repository())
    assert main(["pull", f"{NIGHT}@v7"]) == 2
    assert "has no revision 'v7'" in one_line(capsys)
    assert main(["pull", "someone/day"]) == 2
    assert "has no model someone/day, or it is private" in one_line(capsys)


@pytest.mark.parametrize(
    "name",
    [
        "night",
        "a/b/c",
        "a/../b",
        "../../etc/passwd",
        "a/b@",
        "a/b@../x",
        "a/b@x/../../y",
        "/a/b",
        "a b/c",
        "hf:hf:a/b",
        "-a/b",
        "",
    ],
)
def test_names_of_another_form(name, home):
    with pytest.raises(ModelError, match="named hf:owner/name@revision"):
        pull(name)
    with pytest.raises(ModelError, match="named hf:owner/name@revision"):
        find_model_file(f"hf:{name}")
    assert not home.exists()


def test_a_file_that_changed_since(hub, home):
    commit = hub.add(NIGHT, repository())
    name = f"hf:{NIGHT}@{commit}"
    file = pull(name).files[".onnx"]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match=f"has changed since it was pulled: undim pull {NIGHT}@{commit}"):
        Enhancer(name)
    assert pull(name).files[".onnx"].read_bytes() == ONNX
    (home / NIGHT / commit / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match="has changed"):
        Enhancer(name)
    (record,) = (home / NIGHT / "revisions").iterdir()
    record.write_text("[")
    pull(NIGHT)
    Enhancer(f"hf:{NIGHT}").close()


def test_a_pull_that_is_stopped_leaves_nothing(hub, home, monkeypatch):
    hub.add(NIGHT, repository())

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("undim.hub.pulling.check_folder", stop)
    assert main(["pull", NIGHT]) == 130
    assert kept(home) == []


def test_a_home_that_cannot_be_written(hub, home, capsys):
    hub.add(NIGHT, repository())
    home.parent.parent.mkdir(parents=True)
    home.parent.write_text("a file where the folder should be")
    assert main(["pull", NIGHT]) == 2
    one_line(capsys)


def test_two_at_once(hub, home):
    commit = hub.add(NIGHT, repository())
    failures = []

    def fetch():
        try:
            pull(NIGHT)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {name.split("/")[2] for name in kept(home)} == {commit, "revisions"}


def test_revisions_pulled_at_once_are_all_remembered(hub, home, monkeypatch):
    commit = hub.add(NIGHT, repository())
    pull(f"{NIGHT}@{commit}")
    ready = threading.Barrier(4)  # none writes before all have read what is known

    def write(path, text):
        ready.wait(timeout=60)
        write_text(path, text)

    monkeypatch.setattr("undim.hub.store.write_text", write)
    wanted = [Reference.read(f"{NIGHT}@v{number}") for number in range(4)]
    threads = [threading.Thread(target=record, args=(one, commit)) for one in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [settle(one) for one in wanted] == [Reference.read(f"{NIGHT}@{commit}")] * 4


def test_weights_alone(hub, dark):
    commit = hub.add(NIGHT, repository(model__onnx=None))
    name = str(pull(NIGHT).reference)
    assert name.endswith(commit)
    with pytest.raises(ModelError, match="take the runtime torch") as raised:
        Enhancer(name)
    assert raised.value.code == "weights"
    with Enhancer(name, runtime="torch") as enhance, Enhancer("tiny", runtime="torch") as shipped:
        assert np.array_equal(enhance(dark), shipped(dark))
    found = find_subject(name)
    assert (found.kind, found.onnx, found.weights.name) == ("pulled", None, "model.safetensors")


def test_an_onnx_file_alone(hub, model, dark):
    model.with_suffix(".safetensors").unlink()
    pushed = push(model, NIGHT)
    assert pushed.files == ("model.onnx", "README.md", "SHA256SUMS")
    name = str(pull(str(pushed.reference)).reference)
    Enhancer(name).close()
    with pytest.raises(ModelError, match=r"holds no \.safetensors"):
        Enhancer(name, runtime="torch")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda model: model.write_bytes(TRAP), "is not an ONNX file"),
        (lambda model: model.with_suffix(".safetensors").write_bytes(TRAP), "is not a safetensors file"),
        (lambda model: model.unlink(), "There is no file"),
        (lambda model: model.with_suffix(".md").unlink(), r"pushed with a card .* \(--card FILE\)"),
        (lambda model: model.with_suffix(".md").write_text(" "), "card .* is empty"),
        (
            lambda model: model.with_suffix(".md").write_text("# Night"),
            r"does not say the licence.* \(--licence NAME\)",
        ),
        (lambda model: model.with_suffix(".md").write_text("---\n[\n---\n"), "head of the card"),
    ],
    ids=["trap", "trap beside it", "no file", "no card", "empty card", "no licence", "head is not YAML"],
)
def test_what_is_not_pushed(hub, model, change, words, capsys):
    change(model)
    assert main(["push", str(model), NIGHT]) == 2
    line = one_line(capsys)
    assert re.search(words, line), line
    assert [path for _, path in hub.requests if NIGHT in path] == []


def test_pickles_are_not_pushed(hub, model):
    pickled = model.with_suffix(".pth")
    pickled.write_bytes(TRAP)
    with pytest.raises(UsageError, match="never pickles"):
        push(pickled, NIGHT)
    with pytest.raises(UsageError, match="pushed to owner/name"):
        push(model, f"{NIGHT}@v1")
    assert hub.requests == []


@pytest.mark.parametrize("place", ["/api/repos/create", "/preupload/", "/objects/batch", "/lfs/", "/commit/"])
@pytest.mark.parametrize(("status", "words"), [(403, "log in"), (500, "status 500")])
def test_a_hub_that_refuses_a_push(hub, model, place, status, words, capsys):
    hub.status[place] = status
    assert main(["push", str(model), NIGHT]) == 2
    assert words in one_line(capsys)
    assert not [files for _, files in hub.commits.get(NIGHT, ()) if "model.onnx" in files]


def test_a_push_of_nobody(hub, model, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(model), NIGHT]) == 2
    assert "HF_TOKEN" in one_line(capsys)


def test_licence_by_option_and_public(hub, model, capsys):
    model.with_suffix(".md").write_text("# Night\n")
    assert main(["push", str(model), NIGHT, "--licence", "cc-by-nc-4.0", "--public"]) == 0
    assert NIGHT not in hub.private
    assert hub.commits[NIGHT][-1][1]["README.md"].startswith(b"---\n")
    assert main(["pull", NIGHT]) == 0
    assert "licence: cc-by-nc-4.0" in capsys.readouterr().out


def test_a_private_one_needs_the_token(hub, model, monkeypatch, capsys):
    push(model, NIGHT)
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert main(["pull", NIGHT]) == 2
    assert "or it is private" in one_line(capsys)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["pull", NIGHT]) == 0


def test_without_huggingface_hub(hub, monkeypatch, capsys):
    commit = hub.add(NIGHT, repository())
    pull(NIGHT)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["pull", NIGHT]) == 2
    assert 'pip install "undim[hub]"' in one_line(capsys)
    Enhancer(f"hf:{NIGHT}@{commit}").close()


def test_running_a_pulled_model_imports_nothing_that_fetches(hub):
    name = str(pull(f"{NIGHT}@{hub.add(NIGHT, repository())}").reference)
    code = (
        f"import sys, undim; undim.Enhancer({name!r});"
        "sys.exit(sorted({'huggingface_hub', 'httpx', 'httpx2', 'requests', 'torch'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
