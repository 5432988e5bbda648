"""XMP: what promises a part that is gone is removed, whatever its prefix and its form, and nothing else."""

from xml.etree import ElementTree

import pytest

from undim.images import xmp

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SPACES = {
    "note": ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"),
    "gain map": ("http://ns.adobe.com/hdr-gain-map/1.0/", "Version"),
    "motion": ("http://ns.google.com/photos/1.0/camera/", "MotionPhoto"),
    "Apple": ("http://ns.apple.com/HDRGainMap/1.0/", "HDRGainMapVersion"),
}


def packet(declared, attribute="", element=""):
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" '
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {declared} tiff:Orientation="6" {attribute}>'
        f"<tiff:Make>Cam</tiff:Make>{element}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def parsed(content):
    return ElementTree.fromstring(content)  # noqa: S314 - made by this test


def without(name, content):
    return xmp.without_extension(content) if name == "note" else xmp.without_pointers(content)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("prefix", ["hdrgm", "GCamera", "ns1", "a-b.c"])
@pytest.mark.parametrize("form", ["attribute", "element", "empty", "single quotes"])
def test_promises_go_and_the_rest_stays(name, prefix, form):
    space, word = SPACES[name]
    full = f"{prefix}:{word}"
    attribute = {"attribute": f'{full}="1"', "single quotes": f"{full} = '1'"}.get(form, "")
    element = {"element": f"<{full}>1</{full}>", "empty": f"<{full}/>"}.get(form, "")
    left = without(name, packet(f'xmlns:{prefix}="{space}"', attribute, element))
    assert word.encode() not in left
    assert space.encode() not in left
    (description,) = parsed(left).iter(f"{{{RDF}}}Description")
    assert description.attrib == {f"{{{RDF}}}about": "", "{http://ns.adobe.com/tiff/1.0/}Orientation": "6"}
    assert [child.text for child in description] == ["Cam"]


def test_directory_of_appended_files_goes_as_a_whole():
    container, item = (f"http://ns.google.com/photos/1.0/container/{end}" for end in ("", "item/"))
    declared = f'xmlns:C="{container}" xmlns:I="{item}"'
    items = '<C:Directory><rdf:Seq><rdf:li><C:Item I:Mime="video/mp4" I:Length="7"/></rdf:li></rdf:Seq></C:Directory>'
    left = xmp.without_pointers(packet(declared, element=items))
    parsed(left)
    assert b"Length" not in left
    assert b"container" not in left


def test_other_properties_of_the_same_namespace_stay():
    declared = 'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
    left = xmp.without_pointers(packet(declared, 'GCamera:MicroVideo="1" GCamera:SpecialTypeID="portrait"'))
    assert b'GCamera:SpecialTypeID="portrait"' in left
    assert b"MicroVideo" not in left
    plain = packet('xmlns:dc="http://purl.org/dc/elements/1.1/"', 'dc:source="MotionPhoto 1"')
    assert xmp.without_pointers(plain) == plain


def test_orientation():
    assert b'tiff:Orientation="1"' in xmp.make_upright(packet(""))
