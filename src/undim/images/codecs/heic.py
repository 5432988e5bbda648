"""HEIC files through pi-heif (libheif and libde265), which the extra `heic` installs."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

import numpy as np

from undim.errors import PictureError
from undim.images import profiles, xmp
from undim.images.codec import CheckSize, Codec, Stored
from undim.images.codecs import isobmff
from undim.images.exif import read_orientation, strip_prefix
from undim.images.picture import Metadata, Picture, divide_by_alpha, scale, split_channels
from undim.installed import add_extra


class Heic(Codec):
    """HEIC files: the main picture, of 8 bits and more."""

    name, title, suffixes = "heic", "HEIC", (".heic", ".heif", ".hif")

    def sniff(self, header: bytes, suffix: str) -> bool:
        """A brand of HEVC, or of pictures in general."""
        return bool(isobmff.brands(header).intersection(isobmff.HEVC_BRANDS))

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """Libheif turns the picture as the file says."""
        try:
            import pi_heif
        except ImportError as error:
            raise PictureError(f"is a HEIC picture, which needs pi-heif: {add_extra('heic')}") from error
        start = isobmff.read_properties(stream)
        stream.seek(0)
        file = pi_heif.open_heif(stream, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        image = file[file.primary_index]
        check_size(image.size)
        samples = np.array(image)  # a copy: the memory is gone with the file
        bits = image.info["bit_depth"]
        if samples.dtype != np.uint8:
            samples = scale(samples, 2**bits - 1, 65535)
        pixels, alpha = split_channels(samples[..., None] if samples.ndim == 2 else samples)
        if image.premultiplied_alpha and alpha is not None:
            pixels = divide_by_alpha(pixels, alpha)
        exif, packet = strip_prefix(image.info["exif"] or b""), image.info.get("xmp") or b""
        metadata = Metadata(exif or None, image.info.get("icc_profile"), xmp.without_pointers(packet) or None)
        metadata, notes = name_colours(metadata, start, grey=pixels.ndim == 2)
        metadata = replace(metadata, aspect=isobmff.read_aspect(start))
        lost = list(isobmff.lost_parts(start))
        if xmp.tells_motion(packet):
            lost.append("motion")
        if image.info.get("depth_images"):
            lost.append("depth")
        if len(file) > 1:
            lost.append("main")
        picture = Picture(pixels, alpha, metadata, self.name, notes=notes, bits=bits)
        return Stored(picture, read_orientation(exif), turned=True, lost=tuple(lost))


def name_colours(metadata: Metadata, start: bytes, *, grey: bool) -> tuple[Metadata, tuple[str, ...]]:
    """The metadata with a profile of the numbers that name colours in place of one, and a note where none can be."""
    named = None if metadata.icc else isobmff.coded_colours(start)
    if named is None:
        return metadata, ()
    try:
        return replace(metadata, icc=profiles.by_numbers(*named, grey=grey)), ()
    except ValueError as error:
        return metadata, (profiles.note_on_numbers(str(error)),)
