import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny_models import save_unary
from undim import Enhancer
from undim.cli.main import VERBS, Verb, main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """in/{a.png, b.jpg, deep/c.webp}; the working folder is their parent."""
    monkeypatch.chdir(tmp_path)
    Path("in/deep").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "deep/c.webp"):
        Image.fromarray(random.integers(0, 60, (20, 30, 3), dtype=np.uint8)).save(Path("in", name))
    return tmp_path


@pytest.fixture
def undim(gain, capsysbinary):
    """Run `undim enhance` in this process; returns (status, stdout bytes, stderr lines)."""

    def run(*words, model=gain):
        status = main(["enhance", *map(str, words), "--model", str(model)])
        out, err = capsysbinary.readouterr()
        return status, out, err.decode().splitlines()

    return run


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir())


def test_folder_is_mirrored_and_nothing_else_is_written(folder, undim, gain):
    status, out, err = undim("in", "-o", "out")
    assert (status, out, err) == (0, b"", ["undim: 3 done, 0 skipped, 0 failed"])
    assert files_below("out") == ["a.png", "b.jpg", "deep/c.webp"]
    wanted = Enhancer(gain)(np.asarray(Image.open("in/a.png")))
    np.testing.assert_array_equal(np.asarray(Image.open("out/a.png")), wanted)
    assert [Image.open(Path("out", name)).format for name in files_below("out")] == ["PNG", "JPEG", "WEBP"]


def test_existing_outputs_are_kept_unless_overwrite(folder, undim):
    Path("out").mkdir()
    Path("out/a.png").write_bytes(b"mine")
    status, _, err = undim("in", "-o", "out")
    assert status == 0
    assert err[-1].startswith("undim: 2 done, 1 skipped")
    assert Path("out/a.png").read_bytes() == b"mine"
    assert undim("in", "-o", "out", "--overwrite")[2] == ["undim: 3 done, 0 skipped, 0 failed"]
    assert Image.open("out/a.png").size == (30, 20)


@pytest.mark.parametrize(
    ("word", "codec"),
    [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF"), ("bmp", "BMP"), ("avif", "AVIF")],
)
def test_format(folder, undim, word, codec):
    assert undim("in", "-o", "out", "--format", word)[0] == 0
    assert files_below("out") == [f"a.{word}", f"b.{word}", f"deep/c.{word}"]
    assert {Image.open(Path("out", name)).format for name in files_below("out")} == {codec}


def test_strength_blends_with_the_input(folder, undim):
    undim("in/a.png", "-o", "zero.png", "--strength", "0")
    undim("in/a.png", "-o", "third.png", "--strength", "0.3")
    undim("in/a.png", "-o", "full.png")
    source, zero, third, full = (
        np.asarray(Image.open(name)).astype(float) for name in ("in/a.png", "zero.png", "third.png", "full.png")
    )
    np.testing.assert_array_equal(zero, source)
    np.testing.assert_array_equal(third, np.rint(0.7 * source + 0.3 * full))


def test_series_gives_one_look(folder, undim):
    random = np.random.default_rng(0)
    dark, darker = (random.integers(0, most, (160, 200, 3), dtype=np.uint8) for most in (90, 30))
    for name, pixels in (("dark", dark), ("darker", darker)):
        Image.fromarray(pixels).save(f"{name}.png")
    Path("broken.png").write_bytes(b"no picture")

    def ratio(*options):
        status, _, err = undim(
            "dark.png", "darker.png", "broken.png", "-o", "out", "--overwrite", *options, model="tiny"
        )
        assert status == 1
        assert sum("broken.png" in line for line in err) == 1
        means = [np.asarray(Image.open(f"out/{name}.png")).mean() for name in ("dark", "darker")]
        return means[0] / means[1]

    assert ratio() < 1.6  # each is brought to about the same brightness
    assert ratio("--series") > 2  # one stays a third as bright as the other, as far as white allows


def test_fast_and_series_are_refused_where_they_cannot_be(folder, undim, monkeypatch):
    for option in ("--fast", "--series"):
        status, _, err = undim("in", "-o", "out", option)
        assert status == 2
        assert len(err) == 1
        assert "neither fast nor a series" in err[0]
    status, _, err = undim("-", "-o", "out.png", "--series", model="tiny")
    assert status == 2
    assert "give files" in err[0]
    assert not Path("out").exists()


def test_quality(folder, undim):
    undim("in/b.jpg", "-o", "low.jpg", "--quality", "10")
    undim("in/b.jpg", "-o", "high.jpg")
    assert Path("low.jpg").stat().st_size < Path("high.jpg").stat().st_size


def test_bad_pictures_are_named_and_the_others_finished(folder, undim):
    whole = Path("in/b.jpg").read_bytes()
    Path("in/empty.jpg").write_bytes(b"")
    Path("in/short.jpg").write_bytes(whole[: len(whole) // 2])
    Path("in/text.png").write_text("hello")
    Path("in/phone.jxl").write_bytes(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40))
    Path("in/notes.txt").write_text("ignored")
    Image.new("RGB", (1, 1)).save("in/one.png")
    Image.new("1", (100, 100)).save("in/wide.png")
    status, _, err = undim("in", "-o", "out", "--max-pixels", "900")
    assert status == 1
    assert files_below("out") == ["a.png", "b.jpg", "deep/c.webp", "one.png"]
    assert sorted(err[:-1]) == [
        "undim: failed: in/empty.jpg: is empty (0 bytes)",
        next(line for line in err if "phone.jxl: is a JPEG XL picture" in line),
        next(line for line in err if "short.jpg: is damaged or truncated" in line),
        (
            "undim: failed: in/text.png: is not a picture that Undim reads "
            "(JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, PNM, HEIC or camera raw)"
        ),
        next(line for line in err if "wide.png: has 100 x 100 = 10000 pixels, more than the limit max_pixels" in line),
    ]
    assert err[-1] == "undim: 4 done, 0 skipped, 5 failed"


def test_json(folder, undim):
    Path("in/bad.png").write_bytes(b"x" * 400)
    Path("out").mkdir()
    Path("out/a.png").write_bytes(b"mine")
    status, out, err = undim("in", "-o", "out", "--json")
    report = json.loads(out)
    assert status == 1
    assert len(err) == 1
    assert {key: report[key] for key in ("done", "skipped", "failed")} == {"done": 2, "skipped": 1, "failed": 1}
    assert [(item["input"], item["output"], item["status"]) for item in report["files"]] == [
        ("in/a.png", "out/a.png", "skipped"),
        ("in/b.jpg", "out/b.jpg", "done"),
        ("in/bad.png", "out/bad.png", "failed"),
        ("in/deep/c.webp", "out/deep/c.webp", "done"),
    ]
    for item in report["files"]:
        assert set(item) == {"input", "output", "status", "reason", "notes", "seconds", "stages", "parts"}
        reached = {"done": ["read", "enhance", "write"], "failed": ["read"], "skipped": []}
        assert list(item["stages"]) == reached[item["status"]]
        assert sum(item["stages"].values()) <= item["seconds"] + 0.003
        assert set(item["parts"]) == ({"prepare", "network", "blend"} if item["status"] == "done" else set())
        assert sum(item["parts"].values()) <= item["stages"].get("enhance", 0) + 0.003
        assert item["notes"] == []
        assert item["seconds"] >= 0
        assert (item["reason"] is None) == (item["status"] == "done")


def test_metadata_orientation_alpha_and_grey(folder, undim):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    Image.open("in/b.jpg").save("turned.jpg", exif=exif)
    alpha = np.random.default_rng(1).integers(0, 256, (9, 9, 2), dtype=np.uint8)
    Image.fromarray(alpha, "LA").save("alpha.png")
    assert undim("turned.jpg", "alpha.png", "-o", "out")[0] == 0
    turned = Image.open("out/turned.jpg")
    assert turned.size == (20, 30)
    assert (turned.getexif()[0x0112], turned.getexif()[0x010F]) == (1, "Maker")
    kept = Image.open("out/alpha.png")
    assert kept.mode == "LA"
    np.testing.assert_array_equal(np.asarray(kept)[..., 1], alpha[..., 1])


def test_pipes(folder, undim, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("in/a.png").read_bytes())))
    status, out, err = undim("-", "-o", "-")
    assert (status, err) == (0, [])
    undim("in/a.png", "-o", "file.png")
    assert out == Path("file.png").read_bytes()
    status, out, _ = undim("in/a.png", "-o", "-", "--format", "jpg")
    assert out.startswith(b"\xff\xd8\xff")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no picture")))
    status, out, err = undim("-", "-o", "-")
    assert (status, out, len(err)) == (1, b"", 1)
    assert err[0].startswith("undim: failed: -: ")


def test_closed_stdin_is_not_needed_for_files_and_named_for_pipes(folder, undim, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert undim("in/a.png", "-o", "out")[0] == 0
    status, _, err = undim("-", "-o", "clear.png")
    assert (status, err[0]) == (1, "undim: failed: -: cannot be read: standard input is closed")


def test_picture_that_needs_too_much_memory_does_not_cost_the_others(folder, undim, monkeypatch):
    monkeypatch.setattr("undim.enhance.memory.free_memory", lambda: 10**6)
    Image.new("L", (100, 100)).save("in/large.png")
    status, _, err = undim("in", "-o", "out")
    assert (status, err[-1]) == (1, "undim: 3 done, 0 skipped, 1 failed")
    assert err[0].startswith("undim: failed: in/large.png: is 100 x 100 pixels, which needs about 0.0 GB of memory")


def test_sigterm_is_left_alone_where_the_process_has_its_own_way_with_it():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert main(["--version"]) == 0
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_more_jobs_give_the_same_files(folder, undim):
    undim("in", "-o", "one", "--jobs", "1")
    undim("in", "-o", "four", "--jobs", "4")
    for name in files_below("one"):
        assert Path("one", name).read_bytes() == Path("four", name).read_bytes()
    assert files_below("one") == files_below("four")


@pytest.mark.parametrize(
    "words",
    [
        ["nope.jpg", "-o", "out"],
        ["in/*.nope", "-o", "out"],
        ["in", "-o", "in"],
        ["in", "-o", "out", "--format", "gif"],
        ["in", "-o", "out", "--quality", "0"],
        ["in", "-o", "out", "--quality", "many"],
        ["in", "-o", "out", "--strength", "1.5"],
        ["in", "-o", "out", "--strength", "nan"],
        ["in", "-o", "out", "--jobs", "0"],
        ["in", "-o", "out", "--max-pixels", "0"],
        ["in", "-o", "out", "--tile", "100"],
        ["in", "-o", "out", "--tile", "-1"],
        ["in", "-o", "out", "--tile", "large"],
        ["in", "-o", "out", "--tile", "512"],  # which this model's file does not tell how to
        ["in", "-o", "out", "--unknown"],
        ["in"],
        ["-o", "out"],
        ["in/a.png", "-o", "-", "--json"],
        ["in", "-o", "-"],
        ["-", "in", "-o", "out"],
        ["in/a.png", "in/deep/../a.png", "in/b.jpg", "-o", "in/a.png"],
        ["in", "in/a.png", "in/deep/c.webp", "-o", "in/b.jpg"],
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(folder, undim, words):
    before = files_below(".")
    status, out, err = undim(*words)
    assert (status, out, len(err)) == (2, b"", 1)
    assert err[0].startswith("undim: error: ")
    assert files_below(".") == before


def test_models_that_are_none(folder, undim):
    Path("bad.onnx").write_text("hello")
    for model, words in (("bad.onnx", "not a model"), ("absent.onnx", "no model file"), ("candelabra", "no model")):
        status, _, err = undim("in", "-o", "out", model=model)
        assert (status, len(err)) == (2, 1)
        assert words in err[0]
    assert not Path("out").exists()


def test_network_that_fails_leaves_no_file(folder, undim, tmp_path):
    Image.new("RGB", (20, 20)).save("in/a.png")
    status, _, err = undim("in/a.png", "-o", "out", model=save_unary(tmp_path / "log.onnx", "Log"))
    assert status == 1
    assert "not finite" in err[0]
    assert not Path("out").exists()


def test_fault_in_one_picture_does_not_cost_the_others(folder, undim, monkeypatch):
    def fail(picture, target, *rest):
        if target.name == "b.jpg":
            raise ZeroDivisionError("a bug")
        return ()

    monkeypatch.setattr("undim.jobs.coder.write_picture", fail)
    status, _, err = undim("in", "-o", "out")
    assert (status, err[-1]) == (1, "undim: 2 done, 0 skipped, 1 failed")
    assert "a bug" in err[0]


def test_libtiff_does_not_speak_for_itself(folder, gain):
    data = io.BytesIO()
    Image.open("in/a.png").save(data, "TIFF", compression="tiff_lzw")
    broken = bytearray(data.getvalue())
    broken[600:800] = bytes(200)
    Path("broken.tif").write_bytes(broken)
    words = [sys.executable, "-m", "undim", "enhance", "broken.tif", "in/b.jpg", "-o", "out", "--model", str(gain)]
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == 1
    assert all(line.startswith("undim: ") for line in run.stderr.splitlines())
    assert run.stderr.count("\n") == 2
    closed = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *words[:4], "in/a.png", *words[6:]], cwd=folder)
    assert closed.returncode == 0
    assert Image.open("out/a.png").size == (30, 20)


def test_odd_names_stay_on_one_line(folder, undim):
    odd = os.fsdecode(b"in/line\nbreak\xff\x1b[31m.png")
    Path(odd).write_bytes(b"not a picture")
    Path(os.fsdecode(b"in/good\xff.png")).write_bytes(Path("in/a.png").read_bytes())
    status, out, err = undim("in", "-o", "out", "--json")
    assert (status, len(err)) == (1, 1)
    assert r"in/line\nbreak\udcff\x1b[31m.png: is not" in err[0]
    assert odd in [item["input"] for item in json.loads(out)["files"]]
    assert Image.open(os.fsdecode(b"out/good\xff.png")).size == (30, 20)


def test_command_itself(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("undim 0")
    assert main(["--help"]) == 0
    assert "enhance" in capsys.readouterr().out
    assert main(["enhance", "--help"]) == 0
    assert "--max-pixels" in capsys.readouterr().out
    assert main(["enhanse"]) == 2
    assert "no command 'enhanse'" in capsys.readouterr().err


def test_verb_whose_extra_is_missing_names_it(capsys, monkeypatch, tmp_path):
    (tmp_path / "needy.py").write_text("import module_that_is_absent\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(VERBS, "needy", Verb("needy:needy", "", extra="torch"))
    assert main(["needy"]) == 2
    line = capsys.readouterr().err
    assert line == (
        'undim: error: undim needy needs module_that_is_absent, which is not installed: pip install "undim[torch]".\n'
    )


def test_python_m_undim_and_no_torch(folder, gain):
    code = (
        "import sys; from undim.cli.main import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 7 * bool({'torch', 'rich.progress'} & set(sys.modules)))"
    )
    words = ["enhance", "in", "-o", "out", "--model", str(gain)]
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "undim: 3 done, 0 skipped, 0 failed\n")
    run = subprocess.run([sys.executable, "-m", "undim", *words], capture_output=True, text=True)
    assert run.returncode == 0
    assert "3 skipped" in run.stderr


def test_closed_pipe_is_one_line(folder, gain):
    words = [sys.executable, "-m", "undim", "enhance", "in/a.png", "-o", "-", "--model", str(gain)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        err = process.stderr.read().decode()
        status = process.wait()
    assert (status, err) == (1, "undim: error: standard output was closed before everything was written\n")


@pytest.mark.parametrize(("number", "wanted"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_is_clean(folder, gain, number, wanted):
    for index in range(300):
        Path(f"in/copy{index}.png").write_bytes(Path("in/a.png").read_bytes())
    words = [sys.executable, "-m", "undim", "enhance", "in", "-o", "out", "--model", str(gain)]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        for _ in range(500):
            if Path("out").exists() and any(Path("out").iterdir()):
                break
            time.sleep(0.01)
        process.send_signal(number)
        err = process.stderr.read().decode()
        status = process.wait()
    assert status == wanted
    assert err.strip() == "undim: stopped"
    assert not [name for name in files_below("out") if name.endswith(".tmp")]
    for name in files_below("out"):
        Image.open(Path("out", name)).load()


def test_watch_enhances_what_arrives_until_stopped(folder, gain):
    words = [sys.executable, "-m", "undim", "enhance", "in", "-o", "out", "--watch", "--model", str(gain)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(files_below("out")) == 3 if Path("out").exists() else False)
        content = Path("in/a.png").read_bytes()
        with Path("in/late.png").open("wb") as file:
            file.write(content[:200])
            file.flush()
            time.sleep(0.5)
            file.write(content[200:])
        Path("in/bad.png").write_bytes(b"no picture")
        Path("in/empty.png").touch()
        wait_for(lambda: "late.png" in files_below("out"))
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=20)[1].splitlines()
    assert process.returncode == 1
    assert files_below("out") == ["a.png", "b.jpg", "deep/c.webp", "late.png"]
    assert sum("bad.png" in line for line in err) == 1
    assert sum("empty.png" in line for line in err) == 1
    assert err[-1] == "undim: 4 done, 0 skipped, 2 failed"


@pytest.mark.parametrize(
    ("output", "reason"), [("in", "is the folder that is watched"), ("in/a.png", "is not a folder")]
)
def test_watch_says_at_once_where_it_cannot_write(folder, undim, output, reason):
    status, _, err = undim("in", "-o", output, "--watch")
    assert status == 2
    assert len(err) == 1
    assert reason in err[0]


def test_a_folder_in_the_place_of_an_output_is_no_output(folder, undim, gain):
    Path("out/a.png").mkdir(parents=True)
    status, _, err = undim("in/a.png", "-o", "out", "--model", str(gain))
    assert status == 1
    assert err == [
        "undim: failed: in/a.png: cannot be written: 'out/a.png' is a folder",
        "undim: 0 done, 0 skipped, 1 failed",
    ]


@pytest.mark.parametrize("words", [("in/a.png",), ("in", "in/a.png"), ("in", "--series"), ("in", "--json")])
def test_watch_takes_one_folder(folder, undim, words):
    status, _, err = undim(*words, "-o", "out", "--watch")
    assert status == 2
    assert err == ["undim: error: --watch takes one folder and -o FOLDER, without --series and --json."]


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_runtime_and_precision(folder, undim, monkeypatch):
    status, out, _ = undim("in/a.png", "-o", "a.png", "--json", "--runtime", "auto")
    assert (status, json.loads(out)["runtime"]) == (0, "onnxruntime float32")
    status, _, err = undim("in", "-o", "out", "--runtime", "opnvino")
    assert (status, len(err)) == (2, 1)
    assert err[0].startswith(
        "undim: error: There is no runtime 'opnvino'. Did you mean 'openvino'? Known: auto, onnxruntime, openvino,"
    )
    assert undim("in", "-o", "out", "--precision", "half")[0] == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert undim("in", "-o", "out", "--runtime", "openvino") == (
        2,
        b"",
        ['undim: error: The runtime openvino is not installed: pip install "undim[openvino]".'],
    )
    assert not Path("out").exists()


def test_what_the_library_logs_is_a_line(folder, undim, monkeypatch):
    def log(self, pixels, **_):
        logging.getLogger("undim.enhance").warning("now in\n%s", "float32")
        return pixels

    monkeypatch.setattr(Enhancer, "__call__", log)
    assert undim("in/a.png", "-o", "a.png")[2] == ["undim: note: now in float32", "undim: 1 done, 0 skipped, 0 failed"]
    assert not logging.getLogger("undim").handlers


def test_nothing_is_reported_and_nothing_left_in_the_home_folder(folder, gain):
    home = Path("home").resolve()
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    words = [sys.executable, "-m", "undim", "enhance", "in/a.png", "-o", "a.png", "--model", str(gain)]
    subprocess.run(words, env={**kept, "HOME": str(home)}, check=True)
    assert Path("a.png").is_file()
    assert list(home.iterdir()) == []


def test_help_shows_names_not_types(capsys):
    for verb in (["enhance"], ["train"], ["study", "report"], ["redundancy", "dmr"]):
        assert main([*verb, "--help"]) == 0
        text = capsys.readouterr().out
        assert not re.search(r"<[\w\[\] ]+>|\{|\}", text)
    assert main(["enhance", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: undim enhance [OPTIONS] PATH...\n" in text
    assert re.search(r"^  PATH\.\.\. +Pictures, folders", text, re.MULTILINE)


def test_a_file_whose_name_begins_with_a_dash(folder, undim):
    Path("in/a.png").rename("-dash.png")
    status, _, err = undim("-dash.png", "-o", "out")
    assert status == 2
    assert "To name the file '-dash.png', put -- before it, or write ./-dash.png" in err[0]
    assert undim("./-dash.png", "-o", "out")[0] == 0
    assert Path("out/-dash.png").is_file()


def test_pictures_with_one_output_do_not_stop_the_others(folder, undim):
    Image.open("in/a.png").save("in/a.gif")
    status, out, _ = undim("in", "-o", "out", "--json")
    assert status == 0
    assert [item["output"] for item in json.loads(out)["files"]] == [
        "out/a.gif.png",
        "out/a.png.png",
        "out/b.jpg",
        "out/deep/c.webp",
    ]


def test_videos_are_told_of(folder, undim):
    for name in ("x.mp4", "y.MOV"):
        Path("in", name).write_bytes(b"\0\0\0\x18ftypisom")
    status, _, err = undim("in", "-o", "out")
    assert status == 0
    assert err[0] == "undim: note: 2 videos were passed over, such as in/x.mp4: undim video makes them clear"
    status, _, err = undim("in/x.mp4", "-o", "out2")
    assert status == 1
    assert err[0] == "undim: failed: in/x.mp4: is a video, not a picture (undim video makes a video clear)"
    status, out, _ = undim("in", "-o", "out3", "--json")
    assert status == 0
    assert json.loads(out)["done"] == 3


def test_exposure_is_the_librarys(folder, undim, gain):
    assert undim("in/a.png", "-o", "plain.png", "--exposure", "0")[0] == 0
    assert undim("in/a.png", "-o", "same.png")[0] == 0
    assert Path("plain.png").read_bytes() == Path("same.png").read_bytes()
    assert undim("in/a.png", "-o", "up.png", "--exposure", "0.5", "--strength", "0.5")[0] == 0
    expected = Enhancer(gain)(np.asarray(Image.open("in/a.png")), strength=0.5, exposure=0.5)
    np.testing.assert_array_equal(np.asarray(Image.open("up.png")), expected)
    status, _, err = undim("in/a.png", "-o", "no.png", "--exposure", "3")
    assert status == 2
    assert "exposure is 3.0; allowed: -2 (darker) to +2 (brighter) stops (--exposure)" in err[0]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_the_mode_of_a_replaced_file_stays(folder, undim):
    Path("in/a.png").chmod(0o600)
    assert undim("in/a.png", "-o", "in/a.png", "--overwrite")[0] == 0
    assert Path("in/a.png").stat().st_mode & 0o777 == 0o600
    Path("in/b.jpg").chmod(0o664)
    assert undim("in", "-o", "out")[0] == 0
    assert undim("in", "-o", "out", "--overwrite")[0] == 0
    mask = os.umask(0)
    os.umask(mask)
    assert Path("out/b.jpg").stat().st_mode & 0o777 == 0o666 & ~mask
