"""GIF: still pictures."""

from __future__ import annotations

from typing import BinaryIO

from undim.images.codec import CheckSize, Codec, Stored
from undim.images.codecs import pillow
from undim.images.picture import Metadata, Picture


class Gif(Codec):
    """GIF files of one frame."""

    name, title, suffixes = "gif", "GIF", (".gif",)

    def sniff(self, header: bytes, suffix: str) -> bool:
        """The signature with its two versions."""
        return header.startswith((b"GIF87a", b"GIF89a"))

    def decode(self, stream: BinaryIO, check_size: CheckSize) -> Stored:
        """Through Pillow."""
        with pillow.opened(stream, "GIF", check_size) as image:
            pixels, alpha = pillow.decode(image)
            comment, packet = image.info.get("comment"), image.info.get("xmp")
        metadata = Metadata(
            xmp=packet if isinstance(packet, bytes) else None,
            comments=(comment,) if isinstance(comment, bytes) and comment else (),
        )
        return Stored(Picture(pixels, alpha, metadata, self.name))
