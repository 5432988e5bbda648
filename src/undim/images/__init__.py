"""Pictures in and out: files and bytes on one side, arrays of 8 or 16 bits on the other."""

from undim.images.codec import Format
from undim.images.formats import FORMATS, PICTURE_SUFFIXES
from undim.images.picture import Metadata, Picture
from undim.images.reading import MAX_PIXELS, read_picture
from undim.images.writing import encode_picture, write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "Format",
    "Metadata",
    "Picture",
    "encode_picture",
    "read_picture",
    "write_picture",
]
