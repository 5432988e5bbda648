"""From pictures to pictures of the same bits through a network of floats."""

from __future__ import annotations

import math
import os
import threading
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from undim.enhance.memory import check_memory, choose_side, smaller_side
from undim.enhance.models import DEFAULT_MODEL, find_model
from undim.enhance.runtime import MINIMUM_SIDE, OnnxRuntime, OutOfMemoryError, Tiling, WholePicture
from undim.enhance.tiling import (
    CELL,
    Floats,
    Span,
    Tile,
    check_tile,
    inner_cells,
    join_tiles,
    place_crops,
    shrink,
    spread_tiles,
    weigh_crops,
)
from undim.errors import ModelError, PictureError, ShapeError, UsageError
from undim.images.picture import Picture, Pixels, full_scale, split_alpha, to_8_bit
from undim.luma import REC601


class Enhancer:
    """Makes dark pictures clear.

    `Enhancer()(image)` takes and returns

    - a uint8 or uint16 array, H x W x 3 (RGB, 0 to 255 or to 65535) or H x W (grey);
    - a PIL image. Modes L, LA, RGB, RGBA and I;16 stay, except that L and RGB with a transparent colour in `info` come
      back as LA and RGBA; alpha is carried untouched, `info` is copied without that colour. A palette image comes
      back as L, LA, RGB or RGBA, and other modes as L or RGB by the conversions of
      `undim.images.picture.split_alpha`. An EXIF orientation is neither applied nor changed.

    The network sees 16 bits as floats, and its output is rounded to 16 bits once.

    One enhancer may be called from several threads; they take turns.

    Args:
        model: name of a shipped model, or the path of an .onnx file that keeps the contract in
            `undim.enhance.runtime`.
        threads: CPU threads of the network; one per core if None.
        tile: side in pixels, at least 256, of the tiles that larger pictures are cut into, overlaps included; 0 for
            whole pictures always; "auto" for what the free memory suggests. What the network takes from the whole
            picture is taken once and told to every tile, so that they agree.

    Raises:
        ModelError: if the model is unknown, its file is not one, or it cannot be tiled though a side is given.
        UsageError: for another `tile`.
    """

    def __init__(
        self, model: str | os.PathLike[str] = DEFAULT_MODEL, *, threads: int | None = None, tile: Tile = "auto"
    ) -> None:
        check_tile(tile)
        self._runtime = OnnxRuntime(find_model(model), threads=threads)
        if tile not in ("auto", 0) and self._runtime.tiling is None:
            raise ModelError(
                f"{os.fspath(model)} does not tell what its tiles would have to share, so they would show; give 0 or "
                '"auto" as tile, or export it with a newer undim export.'
            )
        self._tile: Tile = tile
        self._turn = threading.Lock()

    @overload
    def __call__(self, image: Image.Image, *, strength: float = 1.0) -> Image.Image: ...
    @overload
    def __call__(self, image: npt.NDArray[np.uint8], *, strength: float = 1.0) -> npt.NDArray[np.uint8]: ...
    @overload
    def __call__(self, image: Pixels, *, strength: float = 1.0) -> Pixels: ...
    def __call__(self, image: Pixels | Image.Image, *, strength: float = 1.0) -> Pixels | Image.Image:
        """Enhance one image; the result has its size and kind.

        Args:
            image: as the class says.
            strength: from 0 (the input, exactly) to 1 (the network's output, rounded): a blend of encoded values.

        Raises:
            ShapeError: for an array of another shape or type.
            UsageError: for a strength outside [0, 1].
            PictureError: if the network fails or returns values that are not finite, the picture needs more memory
                than is free, or a PIL image cannot be decoded or has a mode that is not read.
        """
        if isinstance(image, Image.Image):
            pixels, alpha = decode(image)
            result = Picture(self._enhance(pixels, strength), alpha).to_image()
            result.info = {key: value for key, value in image.info.items() if key != "transparency"}
            return result
        return self._enhance(image, strength)

    def stop(self) -> None:
        """End the run in progress with a PictureError, and refuse further ones. May be called from any thread."""
        self._runtime.stop()

    def _enhance(self, pixels: Pixels, strength: float) -> Pixels:
        check_pixels(pixels)
        check_strength(strength)
        if strength == 0:
            return pixels.copy()
        height, width = pixels.shape[:2]
        with self._turn:  # one run at a time, held from the check on: a run that ends gives its memory back
            side = self._side(width, height)
            while True:
                check_memory(width, height, side)
                try:
                    return self._enhance_at(pixels, strength, side)
                except OutOfMemoryError:
                    may_tile = self._tile == "auto" and self._runtime.tiling is not None
                    smaller = smaller_side(width, height, side) if may_tile else None
                    if smaller is None:
                        raise
                    side = smaller

    def _side(self, width: int, height: int) -> int:
        """The side of the tiles, 0 for the whole picture."""
        if self._runtime.tiling is None:
            return 0
        side = choose_side(width, height) if self._tile == "auto" else self._tile // CELL * CELL
        return 0 if max(width, height) <= side else side

    def _enhance_at(self, pixels: Pixels, strength: float, side: int) -> Pixels:
        height, width = pixels.shape[:2]
        grey = pixels.ndim == 2
        if not side or self._runtime.tiling is None:
            output = self._runtime.run(to_batch(pixels))[0, :, :height, :width]
            return blend(pixels, to_pixels(output, pixels.dtype, grey=grey), strength)
        overlap = self._runtime.tiling.overlap
        rows, columns = spread_tiles(height, side, overlap), spread_tiles(width, side, overlap)
        whole = look_at_whole(self._runtime, self._runtime.tiling, pixels, side)
        last = (rows[-1], columns[-1])

        def make(tall: Span, wide: Span) -> Floats:
            batch = to_batch(pixels[slice(*tall), slice(*wide)])
            output = self._runtime.run(batch, whole, more=(tall, wide) != last)
            return output[0, :, : tall[1] - tall[0], : wide[1] - wide[0]]

        result = np.empty_like(pixels)
        for top, left, values in join_tiles(rows, columns, make):
            place = (slice(top, top + values.shape[1]), slice(left, left + values.shape[2]))
            result[place] = blend(pixels[place], to_pixels(values, pixels.dtype, grey=grey), strength)
        return result


def look_at_whole(runtime: OnnxRuntime, tiling: Tiling, pixels: Pixels, side: int) -> WholePicture:
    """Take what tiles are to be told, from a thumbnail and from crops, no more of them at once than a tile holds."""
    height, width = pixels.shape[:2]
    thumbnail = shrink(pixels, tiling.thumbnail)
    crops = place_crops(height, width)
    weights = weigh_crops(pixels, crops)
    rows, columns = inner_cells(height), inner_cells(width)
    (top, bottom), (left, right) = crops[0]
    batches = math.ceil(len(crops) * (bottom - top) * (right - left) / side**2)
    total = np.zeros((1, tiling.statistics), np.float32)
    for start in range(batches):  # each from all over the picture
        share = weights[start::batches].sum()
        if share > 0:
            parts = [to_batch(pixels[slice(*tall), slice(*wide)]) for tall, wide in crops[start::batches]]
            weighed = weights[start::batches] / share
            total += share * runtime.look(np.concatenate(parts), rows, columns, weighed, thumbnail)
    return WholePicture(thumbnail, total)


def decode(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """`split_alpha` of an image that Pillow may not have decoded yet; every failure is a PictureError.

    16-bit grey with a transparent colour becomes 8-bit grey with alpha: Pillow has no mode for more.
    """
    try:
        pixels, alpha = split_alpha(image)
        return (pixels, None) if alpha is None else (to_8_bit(pixels), to_8_bit(alpha))
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError("does not fit in memory") from error
    except Exception as error:  # on damaged files Pillow's codecs raise almost every built-in exception
        raise PictureError(f"cannot be decoded: {str(error).strip() or type(error).__name__}") from error


def check_pixels(pixels: npt.NDArray[Any]) -> None:
    """Raise ShapeError unless the array is uint8 or uint16, H x W or H x W x 3, and not empty."""
    allowed = "a uint8 or uint16 array H x W x 3 (RGB) or H x W (grey), or a PIL image"
    if not isinstance(pixels, np.ndarray):
        raise ShapeError(f"Got {type(pixels).__name__}; give {allowed}.")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ShapeError(f"Got an array of {pixels.dtype}; give {allowed}, with values from 0 to 255 or to 65535.")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or pixels.size == 0:
        alpha = " Pass image[..., :3] and put the alpha channel back." if pixels.shape[2:] == (4,) else ""
        raise ShapeError(f"Got an array of shape {pixels.shape}; give {allowed}.{alpha}")


def check_strength(strength: float) -> None:
    """Raise UsageError unless strength is in [0, 1]."""
    if not (math.isfinite(strength) and 0 <= strength <= 1):
        raise UsageError(f"strength is {strength}; allowed: 0 (the input) to 1 (fully enhanced).")


def to_batch(pixels: Pixels) -> npt.NDArray[np.float32]:
    """H x W x 3 or H x W uint8 or uint16 to 1 x 3 x H' x W' float32 in [0, 1].

    Grey fills all three channels. H' and W' are at least `MINIMUM_SIDE`: what is missing at the bottom and the right
    repeats the last row and column.
    """
    height, width = pixels.shape[:2]
    tall, wide = max(height, MINIMUM_SIDE), max(width, MINIMUM_SIDE)
    batch = np.empty((1, 3, tall, wide), np.float32)
    planes = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # (3, H, W); grey broadcasts over the channels
    np.divide(planes, np.float32(full_scale(pixels)), out=batch[0, :, :height, :width])
    batch[0, :, height:, :width] = batch[0, :, height - 1 : height, :width]
    batch[0, :, :, width:] = batch[0, :, :, width - 1 : width]
    return batch


def to_pixels(output: npt.NDArray[np.float32], kind: np.dtype[Any], *, grey: bool) -> Pixels:
    """3 x H x W float32 to H x W x 3 uint8 or uint16: clipped to [0, 1], times 255 or 65535, rounded.

    Grey: H x W of Rec. 601 luma. Works in the array it is given.

    Raises:
        PictureError: if a value is not finite.
    """
    if not np.isfinite(output).all():
        raise PictureError("could not be enhanced: the network returned values that are not finite")
    np.clip(output, 0, 1, out=output)
    output *= np.float32(np.iinfo(kind).max)
    if grey:
        luma: Pixels = np.rint(np.tensordot(np.asarray(REC601, np.float32), output, axes=1)).astype(kind)
        return luma
    np.rint(output, out=output)
    return np.ascontiguousarray(output.transpose(1, 2, 0).astype(kind))  # (H, W, 3)


def blend(image: Pixels, enhanced: Pixels, strength: float) -> Pixels:
    """round((1 - strength) * image + strength * enhanced) of two arrays of one shape and type, halves to even."""
    if strength == 1:
        return enhanced
    if image.dtype == np.uint16:
        mixed = (1 - strength) * image.astype(np.float64)
        mixed += strength * enhanced
        return np.rint(mixed, out=mixed).astype(np.uint16)
    values = np.arange(256, dtype=np.float64)
    table = np.rint((1 - strength) * values[:, None] + strength * values[None, :]).astype(np.uint8)
    result: Pixels = table[image, enhanced]
    return result
