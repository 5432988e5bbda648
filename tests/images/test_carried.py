"""What files carry besides pixels: each row of the table, in each output format, found in the bytes by other means."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from undim.images import FORMATS, Metadata, Picture, encode_picture, read_picture
from undim.images.carried import CARRIED, LOST, table
from undim.images.formats import CODECS, named

Y, X = np.mgrid[0:48, 0:64]
PIXELS = np.stack([20 + 2 * X, 30 + 2 * Y, 25 + X + Y], axis=-1).astype(np.uint8)
XMP = (
    b"<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>"
    b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about='' "
    b"xmlns:dc='http://purl.org/dc/elements/1.1/' dc:source='kept'%s>%s</rdf:Description></rdf:RDF></x:xmpmeta>"
)
PLAIN_XMP = XMP % (b"", b"")
GUID = b"0123456789ABCDEF0123456789ABCDEF"
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0" + GUID + struct.pack(">II", 900, 0) + b"<x:xmpmeta/>".ljust(900)
IIM = b"\x1c\x02\x78\0\x0dA dark street\x1c\x02\x19\0\x05night"
RESOURCES = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IIM)) + IIM + bytes(len(IIM) % 2)
PREVIEW = b"8BIM\x04\x0c\0\0" + struct.pack(">I", 32) + b"\xff\xd8old preview".ljust(32, b"\0")
TEXT = b"Author\0A. Nobody"
COMMENT = b"made by a test"
FLIR = b"FLIR\0\1\0\1" + bytes(range(60))
GEO = {33550: (0.5, 0.5, 0.0), 33922: (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0)}
GEO_KEYS = (1, 1, 0, 1, 1024, 0, 1, 1)


def saved(form, image=None, **options):
    stream = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(stream, form, **options)
    return stream.getvalue()


def jpeg(*segments, behind=b"", **options):
    """A JPEG with segments (marker and content) behind JFIF's."""
    data = saved("JPEG", quality=95, **options)
    made = b"".join(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments)
    return data[:20] + made + data[20:] + behind


def xmp_segment(packet):
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet


def png(*chunks):
    data = saved("PNG")
    made = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return data[:33] + made + data[33:]


def tiff(*tags, pages=(PIXELS,), second=1, **options):
    """A TIFF with tags of tifffile's kind (number, type, count, value); a second page has NewSubfileType `second`."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for index, page in enumerate(pages):
            extra = [(*tag, True) for tag in tags] if not index else []
            more = {"subfiletype": second} if index else options
            kind = {"photometric": "rgb"} if page.ndim == 3 else {}
            writer.write(page, metadata=None, software=False, extratags=extra, **kind, **more)
    return stream.getvalue()


def geotiff(*more):
    tags = [(tag, 12, len(values), values) for tag, values in GEO.items()]
    return tiff(*tags, (34735, 3, len(GEO_KEYS), GEO_KEYS), *more)


def exif_block(order="<", note=b""):
    """EXIF with a maker, an exposure and, at a place that the note itself names, a maker note."""
    maker = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"Cam\0")
    exposure = struct.pack(f"{order}HHII", 0x829A, 5, 1, 400)
    where = struct.pack(f"{order}HHII", 0x927C, 7, len(note), 420)
    main = struct.pack(f"{order}H", 2) + maker + struct.pack(f"{order}HHII", 0x8769, 4, 1, 100) + bytes(4)
    inner = struct.pack(f"{order}H", 2 if note else 1) + exposure + (where if note else b"") + bytes(4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    block = ((head + main).ljust(100, b"\0") + inner).ljust(400, b"\0") + struct.pack(f"{order}II", 1, 50)
    return block.ljust(420, b"\0") + note


def tags_of(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags.values()}


def is_exif_kept(data, form):
    if form == "tif":
        tags = tags_of(data)
        return (tags.get(271), tags.get(34665, {}).get("ExposureTime")) == ("Cam", (1, 50))
    return exif_block() in data


def is_resolution_kept(data, form):
    return Image.open(io.BytesIO(data)).info.get("dpi") == pytest.approx((240, 240), rel=1e-3)


def is_aspect_kept(data, form):
    if form == "png":
        return b"pHYs\0\0\0\2\0\0\0\1\0" in data
    if form == "tif":
        tags = tags_of(data)
        return (tags.get(282), tags.get(283), tags.get(296)) == ((2, 1), (1, 1), 1)
    info = Image.open(io.BytesIO(data)).info
    return (info.get("jfif_unit"), info.get("jfif_density")) == (0, (2, 1))


def are_geo_tags_kept(data, form):
    tags = tags_of(data) if form == "tif" else {}
    return {tag: tags.get(tag) for tag in GEO} == GEO and tags.get(34735) == GEO_KEYS


def is_in(*parts):
    return lambda data, _: all(part in data for part in parts)


MADE = {
    "exif": (jpeg((0xE1, b"Exif\0\0" + exif_block())), is_exif_kept, "the EXIF data are not kept"),
    "xmp": (jpeg(xmp_segment(PLAIN_XMP)), is_in(PLAIN_XMP), "the XMP data are not kept"),
    "xmp_extension": (
        jpeg(xmp_segment(XMP % (b" xmpNote:HasExtendedXMP='" + GUID + b"'", b"")), (0xE1, EXTENSION)),
        is_in(EXTENSION, b"HasExtendedXMP"),
        "the second part of the XMP data is not kept",
    ),
    "photoshop": (
        jpeg((0xED, b"Photoshop 3.0\0" + RESOURCES + PREVIEW)),
        is_in(RESOURCES),
        "the IPTC caption and keywords are not kept",
    ),
    "text": (png((b"tEXt", TEXT)), is_in(b"tEXt" + TEXT), "the text chunks (author, description and the like) are not"),
    "chunks": (
        png((b"sCAL", b"\x011.0\x002.0"), (b"prVt", b"of a program")),
        is_in(b"sCAL\x011.0\x002.0", b"prVtof a program"),
        "its further PNG chunks (sCAL, prVt) are not kept",
    ),
    "comments": (jpeg((0xFE, COMMENT)), is_in(COMMENT), "the comment is not kept"),
    "segments": (jpeg((0xE1, FLIR)), is_in(FLIR), "its further JPEG segments (APP1 FLIR) are not kept"),
    "geography": (geotiff(), are_geo_tags_kept, "the GeoTIFF tags are not kept"),
    "tags": (
        tiff((269, 2, 0, "deed 5"), (65001, 3, 2, (7, 9))),
        lambda data, form: form == "tif" and (tags_of(data).get(269), tags_of(data).get(65001)) == ("deed 5", (7, 9)),
        "its further TIFF tags (DocumentName, 65001) are not kept",
    ),
    "dpi": (jpeg(dpi=(240, 240)), is_resolution_kept, "the resolution of 240 dots per inch is not kept"),
    "aspect": (
        jpeg().replace(b"JFIF\0\1\1\0\0\1\0\1", b"JFIF\0\1\1\0\0\2\0\1"),
        is_aspect_kept,
        "that its pixels are not square (resolution 2 x 1 without a unit) is not kept",
    ),
}
HDRGM = b" xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'"
ITEMS = (
    b"<Container:Directory xmlns:Container='http://ns.google.com/photos/1.0/container/'><rdf:Seq><rdf:li>"
    b"<Container:Item Item:Semantic='%s' Item:Length='793'/></rdf:li></rdf:Seq></Container:Directory>"
)
MOTION = (
    b" xmlns:GCamera='http://ns.google.com/photos/1.0/camera/' GCamera:MotionPhoto='1' GCamera:MotionPhotoVersion='1'"
)
THUMBNAIL = b"\xff\xd8\xff\xdb small old preview \xff\xd9"


def multi(kind, second):
    """A JPEG, its multi-picture index, and a second picture of this type behind it."""
    entries = struct.pack("<IIIHHIIIHH", 0x030000, 0, 0, 0, 0, kind, len(second), 0, 0, 0)
    fixed = struct.pack("<HHHI4sHHIIHHII", 3, 0xB000, 7, 4, b"0100", 0xB001, 4, 1, 2, 0xB002, 7, 32, 50) + bytes(4)
    index = b"MPF\0II*\0" + struct.pack("<I", 8) + fixed + entries
    bare = jpeg((0xE2, index))
    at = bare.index(b"MPF\0") + 4
    place = bare.index(entries) + 16 + 8
    return bare[:place] + struct.pack("<I", len(bare) - at) + bare[place + 4 :] + second


def with_thumbnail():
    block = exif_block()
    main_end = 8 + 2 + 24
    second = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, len(block) + 30, 0x0202, 4, 1, len(THUMBNAIL)) + bytes(4)
    block = block[:main_end] + struct.pack("<I", len(block)) + block[main_end + 4 :] + second + THUMBNAIL
    return jpeg((0xE1, b"Exif\0\0" + block), (0xE0, b"JFXX\0\x10" + THUMBNAIL), (0xED, b"Photoshop 3.0\0" + PREVIEW))


GAIN_MAP = jpeg(xmp_segment(XMP % (HDRGM, b"")))
UNKEPT = {
    "thumbnail": [with_thumbnail()],
    "previews": [multi(0x010002, saved("JPEG")), jpeg(behind=saved("JPEG"))],
    "gain map": [
        jpeg(xmp_segment(XMP % (HDRGM, ITEMS % b"GainMap")), behind=GAIN_MAP),
        jpeg((0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"), behind=GAIN_MAP),
        multi(0, GAIN_MAP),
        multi(0, jpeg(xmp_segment(XMP % (b" apdi:AuxiliaryImageType='urn:com:apple:photo:2020:aux:hdrgainmap'", b"")))),
    ],
    "motion": [
        jpeg(xmp_segment(XMP % (MOTION, ITEMS % b"MotionPhoto")), behind=b"\0\0\0\x18ftypmp42" + bytes(90)),
        jpeg(behind=b"\0\0\0\x18ftypmp42" + bytes(range(90))),
    ],
    "depth": [multi(0, jpeg(xmp_segment(XMP % (b" a='urn:com:apple:photo:2018:aux:disparity'", b""))))],
    "pictures": [
        multi(0x020002, saved("JPEG")),
        saved("MPO", save_all=True, append_images=[Image.fromarray(PIXELS[::-1].copy())]),
        saved("PPM") * 2,
    ],
    "copies": [tiff(pages=(PIXELS, PIXELS[::2, ::2].copy()))],
    "mask": [tiff(pages=(PIXELS, np.ones((48, 64), bool)), second=4)],
    "layers": [tiff((37724, 7, 12, b"Adobe Photo\0"))],
    "samples": [tiff(pages=(np.dstack((PIXELS, PIXELS)),), extrasamples=["unspecified"] * 3)],
    "gdal": [tiff((42113, 2, 0, "0")), tiff((42112, 2, 0, "<GDALMetadata/>"))],
    "credentials": [jpeg((0xEB, b"JP\0\1\0\0\0\1\0\0\0\x10jumbc2pa")), png((b"caBX", b"jumbc2pa"))],
    "trailer": [jpeg(behind=b"PK\3\4 an archive"), saved("PNG") + b"PK\3\4 an archive"],
    "orientation": [geotiff((274, 3, 1, 6))],
}
POINTERS = re.compile(rb"hdrgm|GainMap|MotionPhoto|Container:Directory|MPF\0|21496|ftypmp42|small old preview|c2pa")


def through(data, form):
    """The bytes of the file written, and all notes."""
    picture = read_picture(data)
    stream = io.BytesIO()
    notes = encode_picture(picture, stream, form)
    return stream.getvalue(), (*picture.notes, *notes)


def test_rows_are_the_fields_of_the_metadata():
    assert {row.field for row in CARRIED} | {"icc", "colour_chunks"} == set(Metadata.__dataclass_fields__)
    assert set(MADE) == {row.field for row in CARRIED}
    assert set(UNKEPT) | {"main"} == set(LOST)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("row", CARRIED, ids=lambda row: row.field)
def test_kept_byte_by_byte_or_one_note(row, form):
    data, is_kept, words = MADE[row.field]
    written, notes = through(data, form)
    them = "it" if " is not" in words else "them"
    expected = () if row.field in FORMATS[form].holds else (f"{named(form).title} files do not take {them}",)
    told = [note for note in notes if not (row.field == "xmp_extension" and note.startswith("the XMP data"))]
    assert is_kept(written, form) == (row.field in FORMATS[form].holds)
    assert [note.rpartition(": ")[2] for note in told] == list(expected)
    assert all(note.startswith(words) and "\n" not in note for note in told)
    assert b"HasExtendedXMP" not in written or EXTENSION in written


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", UNKEPT)
def test_what_describes_the_old_pixels_goes_with_one_note_and_no_pointer(name, form):
    for data in UNKEPT[name]:
        written, notes = through(data, form)
        others = [note for note in notes if "files do not take" not in note]
        assert others == ([LOST[name].note] if LOST[name].note else [])
        assert POINTERS.search(written) is None
        assert named(form).sniff(written[:64], "")


def test_the_table_of_the_manual_is_this_one():
    manual = (Path(__file__).parents[2] / "docs" / "pictures.md").read_text()
    assert table(CODECS) in manual


@pytest.mark.parametrize("order", ["<", ">"])
def test_maker_notes_keep_their_bytes_and_their_place(order):
    """Many hold offsets from the start of the block: here it holds its own."""
    note = b"Maker\0" + struct.pack("<I", 420) + bytes(range(200))
    picture = Picture(PIXELS, metadata=Metadata(exif=exif_block(order, note)))
    for _ in range(2):  # JPEG to TIFF and back, twice
        for form in ("tif", "jpg", "png", "webp"):
            stream = io.BytesIO()
            assert encode_picture(picture, stream, form) == ()
            data = stream.getvalue()
            start = {"tif": 0, "jpg": data.find(b"Exif\0\0") + 6}.get(form, data.find(exif_block(order, note)[:4]))
            if form == "webp":
                start = data.find(exif_block(order, note)[:4], data.find(b"EXIF"))
            assert data[start + 420 : start + 420 + len(note)] == note
            if form == "tif":
                assert tags_of(data)[34665]["MakerNote"] == note
            picture = read_picture(data)


def test_ordinary_camera_files_give_no_note_and_no_resolution_that_they_had_not():
    note = b"Maker\0" + bytes(300)
    block = exif_block(note=note)
    camera = jpeg((0xE1, b"Exif\0\0" + block), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + PLAIN_XMP), behind=bytes(64))
    for form in ("jpg", "png", "webp", "avif", "tif"):
        written, notes = through(camera, form)
        assert notes == ()
        # Where there is none, Pillow says 72 of a JPEG with EXIF, and 1 of a TIFF.
        assert form in ("jpg", "tif") or "dpi" not in Image.open(io.BytesIO(written)).info
    written, _ = through(camera, "jpg")
    assert written[13:18] == b"\0\0\1\0\1"  # JFIF: no unit, 1 x 1
    assert 282 not in tags_of(through(camera, "tif")[0])
