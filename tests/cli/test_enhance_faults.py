"""What goes wrong outside a picture's pixels: one clear line each, the rest is done, nothing half-written is left."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from undim.cli.main import main
from undim.images import read_picture


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """in/{a.png, b.png}: small pictures; the working folder is their parent."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(random.integers(0, 60, (20, 30, 3), dtype=np.uint8)).save(Path("in", name))
    return tmp_path


@pytest.fixture
def undim(gain, capsysbinary):
    """Run `undim enhance` in this process; returns (status, stderr lines)."""

    def run(*words):
        status = main(["enhance", *map(str, words), "--model", str(gain)])
        return status, capsysbinary.readouterr().err.decode().splitlines()

    return run


@pytest.fixture
def mounted(gain):
    """Run `undim enhance in -o out` with a file system of its own at a folder, then `ls -A` of it."""
    inside = ["unshare", "--mount", "--map-root-user"]
    probe = subprocess.run([*inside, "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this system does not let us mount: " + probe.stderr.decode().strip())

    def run(options, where="out"):
        words = f"{sys.executable} -m undim enhance in -o out --model {gain}"
        script = f"mount -t tmpfs -o {options} none {where} && {words}; echo $?; ls -A {where}"
        done = subprocess.run([*inside, "sh", "-c", script], capture_output=True, text=True, check=True)
        status, *files = done.stdout.splitlines()
        return int(status), done.stderr.splitlines(), files

    return run


def test_full_disk(folder, mounted):
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save("in/aa-large.png")
    Image.fromarray(noise).save("in/ab-large.jpg", quality=100)
    tifffile.imwrite("in/ac-large.tif", noise.astype(np.uint16) * 257, photometric="rgb")
    deep = io.BytesIO()
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(deep, "PNG")
    Path("in/ad-large.png").write_bytes(deep.getvalue())
    Path("out").mkdir()
    status, err, files = mounted("size=60k")
    assert (status, err[-1]) == (1, "undim: 2 done, 0 skipped, 4 failed")
    assert sorted(files) == ["a.png", "b.png"]
    assert len(err) == 5
    for line, name in zip(
        sorted(err[:-1]), ("aa-large.png", "ab-large.jpg", "ac-large.tif", "ad-large.png"), strict=True
    ):
        assert line.startswith(f"undim: failed: in/{name}: cannot be written")
        assert line.endswith("No space left on device")


def test_read_only_output(folder, mounted):
    Path("out").mkdir()
    status, err, files = mounted("ro")
    assert (status, files) == (2, [])
    assert err == ["undim: error: The output 'out' cannot be made: the folder 'out' is not writable."]


def test_read_only_folder_inside_the_output(folder, mounted):
    Path("in/deep").mkdir()
    Path("in/a.png").rename("in/deep/a.png")
    Path("out/deep").mkdir(parents=True)
    status, err, files = mounted("ro", "out/deep")
    assert (status, files) == (1, [])
    assert err == [
        "undim: failed: in/deep/a.png: cannot be written: Read-only file system",
        "undim: 1 done, 0 skipped, 1 failed",
    ]
    assert Path("out/b.png").exists()


def test_loops_of_links(folder, undim):
    Path("in/again").symlink_to(".")
    Path("in/up").symlink_to("..")
    Path("in/self.png").symlink_to("self.png")
    Path("in/one.png").symlink_to("two.png")
    Path("in/two.png").symlink_to("one.png")
    status, err = undim("in", "-o", "out")
    assert (status, err[-1]) == (1, "undim: 2 done, 0 skipped, 3 failed")
    assert sorted(err[:-1]) == [
        f"undim: failed: in/{name}.png: cannot be opened: Too many levels of symbolic links"
        for name in ("one", "self", "two")
    ]


def test_bombs_and_values_that_are_no_numbers(folder, undim):
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(10**6))
    chunks = (
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (header, pixels)
    )
    Path("in/bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    deep = bytearray(Path("in/bomb.png").read_bytes())
    deep[24] = 16
    deep[29:33] = struct.pack(">I", zlib.crc32(deep[12:29]))
    Path("in/bomb16.png").write_bytes(deep)
    tifffile.imwrite("in/bomb.tif", np.zeros((64, 64), np.uint16), photometric="minisblack", compression="zlib")
    data = bytearray(Path("in/bomb.tif").read_bytes())
    with tifffile.TiffFile("in/bomb.tif") as file:
        for name in ("ImageWidth", "ImageLength"):
            struct.pack_into("<I", data, file.pages[0].tags[name].valueoffset, 60000)
    Path("in/bomb.tif").write_bytes(data)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        values = np.full((8, 8, 3), 0.5, np.float32)
        values[1, 2] = value
        tifffile.imwrite(f"in/{name}.tif", values, photometric="rgb")
    status, err = undim("in", "-o", "out")
    assert (status, err[-1]) == (1, "undim: 2 done, 0 skipped, 5 failed")
    large = "has 60000 x 60000 = 3600000000 pixels, more than the limit max_pixels of 200000000"
    large += " (--max-pixels N allows larger ones)"
    bad = "has 3 values that are not finite (NaN or infinite); replace them first"
    assert sorted(err[:-1]) == [
        f"undim: failed: in/bomb.png: {large}",
        f"undim: failed: in/bomb.tif: {large}",
        f"undim: failed: in/bomb16.png: {large}",
        f"undim: failed: in/inf.tif: {bad}",
        f"undim: failed: in/nan.tif: {bad}",
    ]


def test_damaged_file_does_not_make_libraries_speak(folder, gain):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.open("in/a.png").save("c.tif", exif=exif)
    data = Path("c.tif").read_bytes()
    Path("in/cut.tif").write_bytes(data[: len(data) - 40])
    tifffile.imwrite("d.tif", np.zeros((64, 64, 3), np.uint16), photometric="rgb")
    Path("in/deep.tif").write_bytes(Path("d.tif").read_bytes()[:20000])
    words = [sys.executable, "-m", "undim", "enhance", "in", "-o", "out", "--model", str(gain)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line[:24] for line in sorted(done.stderr.splitlines())] == [
        "undim: 2 done, 0 skipped",
        "undim: failed: in/cut.ti",
        "undim: failed: in/deep.t",
    ]


def test_deep_pictures_and_raw_ones_have_the_names_of_what_they_become(folder, undim):
    heic = Path(__file__).parents[1] / "fixtures" / "deep.heic"
    Path("in/phone.HEIC").write_bytes(heic.read_bytes())
    Path("in/DSC1.NEF").write_bytes(b"II*\0" + bytes(40))
    tifffile.imwrite("in/scan.tif", np.zeros((9, 9, 3), np.uint16), photometric="rgb")
    status, err = undim("in", "-o", "out")
    assert (status, err[-1]) == (1, "undim: 4 done, 0 skipped, 1 failed")
    assert err[0].startswith("undim: failed: in/DSC1.NEF: is a camera raw file that cannot be developed")
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png", "phone.png", "scan.tif"]
    assert read_picture("out/phone.png").depth == read_picture("out/scan.tif").depth == 16
    assert read_picture("out/a.png").depth == 8
