"""What the service answers: the command line's bytes, or a problem with its status."""

import io
import json
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image

from undim.cli.main import main
from undim.serve.app import NOTES, _notes


def ask(service, content, query="", **more):
    return httpx.post(f"{service.url}/v1/enhance{query}", content=content, timeout=60, **more)


def picture(form, size=(60, 40), **options):
    """A file of some format with metadata."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 90, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x010E] = "ein Name"
    if form == "TIFF16":
        tifffile.imwrite(stream, pixels.astype(np.uint16) * 257, photometric="rgb", compression="zlib")
    else:
        image.save(stream, form, exif=exif, **options)
    return stream.getvalue()


CASES = [
    ("a.jpg", "JPEG", "", []),
    ("a.jpg", "JPEG", "?quality=60&strength=0.5", ["--quality", "60", "--strength", "0.5"]),
    ("a.png", "PNG", "?exposure=-0.75", ["--exposure=-0.75"]),
    ("a.webp", "WEBP", "?format=avif", ["--format", "avif"]),
    ("a.avif", "AVIF", "?format=tif", ["--format", "tif"]),
    ("a.tif", "TIFF16", "", []),
    ("a.tif", "TIFF16", "?format=jpg", ["--format", "jpg"]),
    ("a.bmp", "BMP", "?format=webp&fast=true", ["--format", "webp"]),
]


@pytest.mark.parametrize(("name", "form", "query", "words"), CASES)
def test_the_answer_is_what_the_command_line_writes(service, gain, tmp_path, name, form, query, words):
    content = picture(form)
    (tmp_path / name).write_bytes(content)
    if "fast" in query:
        query = query.replace("&fast=true", "")  # the tiny model cannot be tiled
    suffix = {"": name[1:]}.get(query.partition("format=")[2], f".{query.partition('format=')[2]}")
    target = tmp_path / f"out{suffix}"
    assert main(["enhance", str(tmp_path / name), "-o", str(target), "--model", str(gain), *words]) == 0
    kinds = {".jpg": "image/jpeg", ".tif": "image/tiff"}
    answers = [ask(service, content, query), ask(service, None, query, files={"file": (name, content)})]
    # A body is judged by what it is, whatever is said of it.
    answers.append(ask(service, content, query, headers={"Content-Type": "text/plain"}))
    answers.append(ask(service, content, query, headers={"Content-Type": "multipart/form-data; boundary=x"}))
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.content == target.read_bytes()
        assert answer.headers["Content-Type"] == kinds.get(suffix, f"image/{suffix[1:]}")
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.slow
def test_a_shipped_model_and_fast(service, tmp_path, cat):
    stream = io.BytesIO()
    large = Image.open(io.BytesIO(cat)).convert("RGB").resize((2100, 1500))
    large.save(stream, "PNG", compress_level=1)
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    outputs = []
    for words, query in ([[], ""], [["--fast"], "&fast=true"]):
        target = tmp_path / f"out{len(outputs)}.png"
        assert main(["enhance", str(tmp_path / "a.png"), "-o", str(target), "--model", "tiny", *words]) == 0
        answer = ask(service, stream.getvalue(), f"?model=tiny{query}")
        assert answer.content == target.read_bytes()
        outputs.append(answer.content)
    assert outputs[0] != outputs[1]
    known = httpx.get(f"{service.url}/v1/models").json()
    assert known["default"] == "gain"
    assert {one["name"]: one["loaded"] for one in known["models"]} == {"gain": False, "tiny": True}


def test_notes_are_ascii_json_in_a_header(service):
    answer = ask(service, picture("JPEG", comment="Grüße"), "?format=webp")
    notes = json.loads(answer.headers["Undim-Notes"])
    assert notes == ["the comment is not kept: WebP files do not take it"]
    assert "Undim-Notes" not in ask(service, picture("PNG")).headers
    assert "read;dur=" in answer.headers["Server-Timing"]


def test_notes_that_are_too_long_for_a_header_are_cut():
    notes = [f"Nachricht {number} über etwas" for number in range(500)]
    cut = json.loads(_notes(notes))
    assert len(_notes(notes)) <= NOTES
    assert cut[:-1] == notes[: len(cut) - 1]
    assert cut[-1] == f"and {500 - len(cut) + 1} more"
    assert len(_notes(["x" * 100_000])) <= NOTES
    assert _notes(["ä"]).isascii()


@pytest.mark.parametrize(
    ("content", "query", "status", "words"),
    [
        (b"", "", 422, "is empty"),
        (b"hello", "", 415, "is not a picture that Undim reads"),
        (b"\xff\x0a" + bytes(90), "", 415, "JPEG XL"),
        (picture("JPEG")[:800], "", 422, "The file "),
        (picture("PNG")[:-200], "", 422, "truncated"),
        (picture("PNG"), "?strength=1.5", 422, 'strength is "1.5"'),
        (picture("PNG"), "?strength=nan", 422, "strength is"),
        (picture("PNG"), "?exposure=-3", 422, "exposure is"),
        (picture("PNG"), "?quality=0", 422, "quality is"),
        (picture("PNG"), "?quality=1.5", 422, "quality is"),
        (picture("PNG"), "?format=gif", 422, "format is"),
        (picture("PNG"), "?fast=perhaps", 422, "fast is"),
        (picture("PNG"), "?model=tinny", 422, "Did you mean 'tiny'?"),
        (picture("PNG"), "?model=/etc/passwd", 422, "no model '/etc/passwd' here"),
        (picture("PNG"), "?model=../models/lol.onnx", 422, "Offered: gain, tiny"),
        (picture("PNG"), "?strenght=1", 422, "Did you mean 'strength'?"),
        (picture("PNG"), "?strength=1&strength=0", 422, "more than once"),
        (picture("PNG"), f"?model={quote('bad' + chr(13) + chr(10) + 'Set-Cookie: a=b')}", 422, "no model"),
        (picture("PNG"), "?fast=true&model=gain", 422, "This model cannot be tiled"),
    ],
)
def test_problems_have_a_status_and_a_document(service, content, query, status, words):
    answer = ask(service, content, query)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["code"]
    assert words in problem["detail"]
    assert "set-cookie" not in answer.headers


def test_forms(service, cat):
    wrong = ask(service, None, files={"picture": ("a.png", cat)})
    assert (wrong.status_code, wrong.json()["detail"]) == (422, "The form has no file in the field 'file'.")
    text = ask(
        service,
        b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\nhello\r\n--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert text.status_code == 422
    broken = ask(service, b"--x\r\nnonsense", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert broken.status_code == 422
    for one in (wrong, text, broken):
        assert one.json()["code"] == "form"
        assert not one.json()["detail"].endswith("..")
    for more in ({"strength": "0"}, {"file": "again"}):
        given = ask(service, None, data=more, files={"file": ("a.png", cat)})
        assert (given.status_code, "parameters go in the query" in given.json()["detail"]) == (422, True)
    names = ("../../etc/passwd", "фото.png", "a\r\nb.png")
    assert [ask(service, None, files={"file": (name, cat)}).status_code for name in names] == [200] * 3


@pytest.mark.parametrize("before", [b"", b"\r\n", b"This is a form.\r\nIn MIME.\r\n"])
def test_what_stands_before_a_forms_first_part_is_passed_over(service, cat, before):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = before + head + cat + b"\r\n--x--\r\n"
    answer = ask(service, body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, answer.content) == (200, ask(service, cat).content)


def test_what_is_wrong_with_a_form_is_not_a_line_of_its_own(service):
    for body in (b"--x\r\nnonsense", b"--x\r\n\x00: y\r\n\r\n", b"--x--abc\r\n--x"):
        assert ask(service, body, headers={"Content-Type": "multipart/form-data; boundary=x"}).status_code == 422
    assert [line for line in service.lines() if not line.startswith(("{", "undim: "))] == []


def test_a_compressed_body_is_not_unpacked(service, cat):
    answer = ask(service, cat, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, "encoded as gzip" in answer.json()["detail"]) == (415, True)


def test_routes_answer_head_as_get_without_the_body(service):
    for path in ("/", "/healthz", "/readyz", "/v1/models", "/metrics", "/openapi.json", "/page/main.js"):
        got, head = httpx.get(service.url + path), httpx.head(service.url + path)
        assert (got.status_code, head.status_code) == (200, 200)
        assert got.content
        assert head.content == b""
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert head.headers["Content-Length"]


def test_unknown_addresses_and_methods_are_problems(service):
    cases = [
        ("GET", "/v1/enhance", 405),
        ("DELETE", "/", 405),
        ("GET", "/nope", 404),
        ("GET", "/page/../app.py", 404),
        ("GET", "/page/%2e%2e/app.py", 404),
        ("GET", "/page/settings.py", 404),
        ("POST", "/v1/enhance/", 404),
        ("GET", "/v1/models/", 404),
    ]
    codes = {404: "not-found", 405: "method"}
    for method, path, status in cases:
        answer = httpx.request(method, service.url + path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
        assert answer.json()["detail"]
        assert answer.json()["code"] == codes[status]


def test_every_answer_has_the_headers_that_keep_a_page_to_itself(service):
    for path in ("/", "/page/style.css", "/v1/models", "/nope"):
        headers = httpx.get(service.url + path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "Access-Control-Allow-Origin" not in headers
    evil = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert "Access-Control-Allow-Origin" not in httpx.options(f"{service.url}/v1/enhance", headers=evil).headers


def test_figures_count_what_happened(service, cat):
    names = (
        'undim_requests_total{route="/v1/enhance",status="200"}',
        'undim_failures_total{reason="not-a-picture"}',
        "undim_pixels_total",
        'undim_stage_seconds_count{stage="enhance"}',
    )
    before = [service.figure(name) for name in names]
    assert ask(service, cat).status_code == 200
    assert ask(service, b"text").status_code == 415
    width, height = Image.open(io.BytesIO(cat)).size
    after = [service.figure(name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, width * height, 1]
    text = httpx.get(f"{service.url}/metrics").text
    ours = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(line.startswith("undim_") for line in ours)
    assert service.figure('undim_memory_bytes{of="service"}') > 1e7
    assert service.figure('undim_memory_bytes{of="decoders"}') > 1e7
    assert service.figure('undim_queue{of="inside"}') == 0


def test_logs_hold_no_name_and_no_pixel(service, cat):
    assert ask(service, None, files={"file": ("geheim.png", cat)}).status_code == 200
    line = service.logged()[-1]
    assert (line["method"], line["route"], line["status"], line["sent"] > 1000) == ("POST", "/v1/enhance", 200, True)
    assert set(line["stages"]) == {"read", "enhance", "write"}
    assert "geheim" not in "".join(service.lines())


def test_the_openapi_document_has_examples_that_run(service, cat):
    document = httpx.get(f"{service.url}/openapi.json").json()
    operation = document["paths"]["/v1/enhance"]["post"]
    examples = {
        one["name"]: one["schema"]["examples"][0] for one in operation["parameters"] if "examples" in one["schema"]
    }
    assert set(examples) >= {"model", "strength", "exposure"}
    answer = httpx.post(f"{service.url}/v1/enhance", params=examples, content=cat)
    assert answer.status_code == 200
    assert {"200", "401", "408", "413", "415", "422", "429", "431", "503", "504"} <= set(operation["responses"])
    assert all("431" in one["responses"] for path in document["paths"].values() for one in path.values())
    assert "security" not in operation  # this one asks for no token
    models = document["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    offer = document["components"]["schemas"][models["$ref"].rpartition("/")[2]]
    assert set(offer["required"]) == set(httpx.get(f"{service.url}/v1/models").json())
    [command] = [line for line in document["info"]["description"].split("`") if line.startswith("curl")]
    assert command == "curl --data-binary @dark.jpg http://127.0.0.1:8000/v1/enhance -o clear.jpg"
