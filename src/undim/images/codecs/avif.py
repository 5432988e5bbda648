"""AVIF (AV1 in HEIF): 8, 10 and 12 bits."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

import numpy as np

from undim.images import xmp
from undim.images.codec import CheckSize, Codec, Format, Stored
from undim.images.codecs import isobmff, libvips, pillow
from undim.images.codecs.heic import name_colours
from undim.images.exif import read_orientation, with_prefix
from undim.images.picture import Picture, divide_by_alpha, split_channels

_SPEED = 8
"""Of 10. Speed 6, Pillow's choice, takes ten times as long for 0.2 dB."""
_QUALITY = 90


class Avif(Codec):
    """AVIF files: of 8 bits through Pillow, of more through libvips."""

    name, title, suffixes = "avif", "AVIF", (".avif",)
    writes = Format(holds=frozenset(("exif", "icc", "xmp")), grey=False, depth=12, quality=_QUALITY, side=65536)

    def sniff(self, header: bytes, suffix: str) -> bool:
        """A brand of AVIF."""
        return bool(isobmff.brands(header).intersection(isobmff.AVIF_BRANDS))

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """Libvips turns and crops the picture as the file says; Pillow crops none, and says in EXIF how to turn it."""
        start = isobmff.read_properties(stream)
        by_libvips = isobmff.is_deep(start) or isobmff.is_cropped(start)
        with pillow.opened(stream, "AVIF", check_size) as image:
            metadata = pillow.read_metadata(image)
            if by_libvips:
                lazy = libvips.LazyPicture(stream, "heif")
                pixels, alpha = split_channels(lazy.decode())
                if isobmff.is_grey(start) and (pixels == pixels[..., :1]).all():
                    pixels = np.ascontiguousarray(pixels[..., 0])
                if alpha is not None and isobmff.is_premultiplied(start):  # Pillow divides by itself
                    pixels = divide_by_alpha(pixels, alpha)
            else:
                lazy = None
                pixels, alpha = pillow.decode(image)
        metadata, notes = name_colours(metadata, start, grey=pixels.ndim == 2)
        turn = read_orientation(metadata.exif or b"")
        metadata = replace(
            metadata,
            exif=metadata.exif if isobmff.has_exif(start) else None,
            xmp=xmp.without_pointers(metadata.xmp or b"") or None,
            aspect=isobmff.read_aspect(start),
        )
        picture = Picture(pixels, alpha, metadata, self.name, notes=notes, bits=lazy.bits if lazy else None)
        return Stored(picture, turn, by_libvips, lost=isobmff.lost_parts(start))

    def encode(self, picture: Picture, stream: BinaryIO, quality: int | None) -> None:
        """Without chroma subsampling; 12 bits where the picture has more than 8."""
        if picture.pixels.dtype == np.uint16:
            libvips.write_deep_avif(picture, stream, quality or _QUALITY)
            return
        meta = picture.metadata
        options: dict[str, object] = {"exif": with_prefix(meta.exif)} if meta.exif else {}
        options |= {"icc_profile": meta.icc} if meta.icc else {}
        options |= {"xmp": meta.xmp} if meta.xmp else {}
        options["subsampling"] = "4:0:0" if picture.grey else "4:4:4"
        picture.to_image().save(stream, "AVIF", quality=quality or _QUALITY, speed=_SPEED, **options)
