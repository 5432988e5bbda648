"""From pictures to pictures of the same bits through a network of floats."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from undim.arrays import Floats, Pixels, Span
from undim.contract import CELL
from undim.enhance.auto_strength import find_need
from undim.enhance.convert import blend, to_batch, to_pixels
from undim.enhance.fast import CROPS, Crop, fit_model, reduced_size
from undim.enhance.memory import check_memory, choose_side, smaller_side
from undim.enhance.planes import reduce
from undim.enhance.survey import look_and_see, look_at_all, look_at_whole, see
from undim.enhance.tiling import FEWER_PIXELS, MARGIN, SAMPLED_PIXELS, Tile, check_tile, join_tiles, spread_tiles
from undim.errors import ModelError, PictureError, ShapeError, UsageError
from undim.images.picture import Picture, split_alpha, to_8_bit
from undim.runtimes.base import OutOfMemoryError, Runtime, Tiling, WholePicture
from undim.runtimes.precision import PrecisionWish, check_precision
from undim.runtimes.table import DEFAULT_RUNTIME, PAYS_FROM, RuntimeWish, check_runtime, open_runtime
from undim.shipped import DEFAULT_MODEL, find_model

Piece = tuple[int, int, Floats]
"""Top row, left column and values, 3 x h x w, not clamped, of a part of the enhanced picture."""
Strength = float | Literal["auto"]
"""How far to go from the input (0) to the network's output (1); "auto": as far as each place of the picture needs."""


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
            `undim.contract`.
        threads: CPU threads of the network; one per core if None.
        tile: side in pixels, at least 256, of the tiles that larger pictures are cut into, overlaps included; 0 for
            whole pictures always; "auto" for what the free memory suggests. What the network takes from the whole
            picture is taken once and told to every tile, so that they agree.
        fast: whether pictures of 3 megapixels and more go through the network at a reduced size, as
            `undim.enhance.fast` says.
        runtime: what runs the network, one of `undim.runtimes.table.RUNTIMES`; "auto" for the fastest of those that
            are installed, measured once on this machine, where the work is large: pictures from 3 megapixels on.
        precision: "float32"; "bfloat16", where runtime and processor have it; "auto" for bfloat16 where a shipped model
            loses at most 0.02 dB by it.
        many: whether so many pictures follow that "auto" pays for small ones too.

    Raises:
        ModelError: if the model is unknown, its file is not one, or it cannot be tiled though `tile` or `fast` asks
            for what needs this.
        UsageError: for another `tile`, or a runtime or precision that is unknown or not there.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        threads: int | None = None,
        tile: Tile = "auto",
        fast: bool = False,
        runtime: RuntimeWish = DEFAULT_RUNTIME,
        precision: PrecisionWish = "auto",
        many: bool = False,
    ) -> None:
        check_tile(tile)
        check_precision(precision)
        check_runtime(runtime)
        self._path = find_model(model)
        self._threads = threads
        self._precision: PrecisionWish = precision
        self._runtime: Runtime
        self._fastest: Runtime | None = None
        """What "auto" takes for large work, once that has come."""
        self._chooses = runtime == "auto"
        if self._chooses and many:
            self._runtime = self._fastest = self._open_fastest()
        elif self._chooses:  # in float32, the one precision that the default runtime has
            self._runtime = open_runtime(DEFAULT_RUNTIME, self._path, threads=threads)
        else:
            self._runtime = open_runtime(runtime, self._path, threads=threads, precision=precision)
        self._first = self._runtime
        self._used: list[Runtime] = []
        self._stopped = False
        self._name = os.fspath(model)
        if tile not in ("auto", 0) or fast:
            self._tiling()
        self._tile: Tile = tile
        self._fast = fast
        self._turn = threading.Lock()

    @overload
    def __call__(
        self, image: Image.Image, *, strength: Strength = 1.0, look: WholePicture | None = None
    ) -> Image.Image: ...
    @overload
    def __call__(
        self, image: npt.NDArray[np.uint8], *, strength: Strength = 1.0, look: WholePicture | None = None
    ) -> npt.NDArray[np.uint8]: ...
    @overload
    def __call__(self, image: Pixels, *, strength: Strength = 1.0, look: WholePicture | None = None) -> Pixels: ...
    def __call__(
        self, image: Pixels | Image.Image, *, strength: Strength = 1.0, look: WholePicture | None = None
    ) -> Pixels | Image.Image:
        """Enhance one image; the result has its size and kind.

        Args:
            image: as the class says.
            strength: from 0 (the input, exactly) to 1 (the network's output, rounded): a blend of encoded values.
                "auto" goes by `undim.enhance.auto_strength`: a picture that needs nothing comes back as it is, one half
                dark is raised where it is dark.
            look: what to take for the whole picture that this one is a part of: what `survey` returned, or the
                `undim.enhance.survey.average` of it over a series, for one look. `None`: the picture's own.

        Raises:
            ShapeError: for an array of another shape or type.
            UsageError: for a strength that is neither "auto" nor in [0, 1].
            ModelError: for a look where the model cannot be tiled.
            PictureError: if the network fails or returns values that are not finite, the picture needs more memory
                than is free, or a PIL image cannot be decoded or has a mode that is not read.
        """
        if isinstance(image, Image.Image):
            pixels, alpha = decode(image)
            result = Picture(self._enhance(pixels, strength, look), alpha).to_image()
            result.info = {key: value for key, value in image.info.items() if key != "transparency"}
            return result
        return self._enhance(image, strength, look)

    def survey(self, image: Pixels | Image.Image) -> WholePicture:
        """What the network takes from the whole picture: to be given as `look` to others, averaged over a series.

        Raises:
            ShapeError: as `__call__`.
            ModelError: if the model cannot be tiled.
            PictureError: as `__call__`.
        """
        pixels = decode(image)[0] if isinstance(image, Image.Image) else image
        check_pixels(pixels)
        tiling = self._tiling()
        height, width = pixels.shape[:2]
        with self._turn:
            self._choose(width, height)
            side = self._side(width, height)
            check_memory(width, height, side)
            if side and not (self._fast and reduced_size(height, width)):
                return look_at_all(self._runtime, tiling, pixels, side)
            sampled = FEWER_PIXELS if side and self._fast else SAMPLED_PIXELS
            return look_at_whole(self._runtime, tiling, pixels, side or max(height, width), sampled)

    def stop(self) -> None:
        """End the run in progress with a PictureError, and refuse further ones. May be called from any thread."""
        self._stopped = True
        for runtime in (self._first, self._fastest):
            if runtime is not None:
                runtime.stop()

    @property
    def runtime(self) -> str:
        """What ran the network so far and in which precision, such as "openvino bfloat16"; several joined by "and"."""
        return " and ".join(dict.fromkeys(str(runtime) for runtime in self._used or [self._runtime]))

    def _open_fastest(self) -> Runtime:
        from undim.runtimes.choice import open_fastest  # no small picture waits for what it imports

        return open_fastest(self._path, threads=self._threads, precision=self._precision)

    def _choose(self, width: int, height: int) -> None:
        """With "auto", take the runtime for pictures of this size: the same for the same size, whatever came before."""
        if self._chooses:
            reduced = reduced_size(height, width) if self._fast else None
            if self._first is self._fastest or math.prod(reduced or (height, width)) < PAYS_FROM:
                self._runtime = self._first
            else:
                if self._fastest is None:
                    self._fastest = self._open_fastest()
                    if self._stopped:
                        self._fastest.stop()
                self._runtime = self._fastest
        if self._runtime not in self._used:
            self._used.append(self._runtime)

    def _tiling(self) -> Tiling:
        if self._runtime.tiling is None:
            raise ModelError(
                f"{self._name} does not tell what parts of a picture would have to share, so they would not agree; "
                'give 0 or "auto" as tile, neither fast nor a series, or export it with a newer undim export.'
            )
        return self._runtime.tiling

    def _enhance(self, pixels: Pixels, strength: Strength, look: WholePicture | None) -> Pixels:
        check_pixels(pixels)
        check_strength(strength)
        if look is not None:
            self._tiling()
        if strength == 0:
            return pixels.copy()
        height, width = pixels.shape[:2]
        with self._turn:  # one run at a time, held from the check on: a run that ends gives its memory back
            self._choose(width, height)
            side = self._side(width, height)
            while True:
                try:
                    return self._enhance_at(pixels, strength, look, side)
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

    def _enhance_at(self, pixels: Pixels, strength: Strength, look: WholePicture | None, side: int) -> Pixels:
        size = pixels.shape[:2]
        need = find_need(pixels) if isinstance(strength, str) else None
        if need is not None:
            if need.whole == 0:
                return pixels.copy()
            small = np.rint(65535 * need.small.transpose(1, 2, 0)).astype(np.uint16)
            [(_, _, output)] = self._whole(small, look)
            need = need.following(output)
        reduced = reduced_size(*size) if self._fast else None
        if reduced is not None:
            pieces = self._fast_pieces(pixels, look, reduced, side)
        else:
            check_memory(size[1], size[0], side)
            pieces = self._tiles(pixels, look, side) if side else self._whole(pixels, look)
        result = np.empty_like(pixels)
        for top, left, values in pieces:
            rows, columns = (top, top + values.shape[1]), (left, left + values.shape[2])
            place = (slice(*rows), slice(*columns))
            share = strength if need is None else need.strength(pixels[place], size, rows, columns)
            enhanced = to_pixels(values, pixels.dtype, grey=pixels.ndim == 2)
            result[place] = blend(pixels[place], enhanced, share)  # type: ignore[arg-type]  # "auto" has a need
        return result

    def _whole(self, pixels: Pixels, look: WholePicture | None) -> Iterator[Piece]:
        height, width = pixels.shape[:2]
        yield 0, 0, self._runtime.run(to_batch(pixels), look)[0, :, :height, :width]

    def _tiles(self, pixels: Pixels, look: WholePicture | None, side: int) -> Iterator[Piece]:
        tiling = self._tiling()
        height, width = pixels.shape[:2]
        rows, columns = (spread_tiles(length, side, tiling.overlap) for length in (height, width))
        whole = look or look_at_all(self._runtime, tiling, pixels, side)
        last = (rows[-1], columns[-1])

        def make(tall: Span, wide: Span) -> Floats:
            batch = to_batch(pixels[slice(*tall), slice(*wide)])
            output = self._runtime.run(batch, whole, more=(tall, wide) != last)
            return output[0, :, : tall[1] - tall[0], : wide[1] - wide[0]]

        return join_tiles(rows, columns, make)

    def _fast_pieces(self, pixels: Pixels, look: WholePicture | None, reduced: Span, side: int) -> Iterator[Piece]:
        # As large as a picture that is not cut: one more level of tiles would save nothing.
        check_memory(reduced[1], reduced[0])
        if look is None:
            whole, spans, seen = look_and_see(self._runtime, self._tiling(), pixels, side or max(reduced), CROPS)
        else:
            whole, (spans, seen) = look, see(self._runtime, pixels, look, CROPS)
        small, texture = reduce(pixels, reduced, self._threads)
        enhanced = self._runtime.run(small[None], whole)[0]
        inner = slice(MARGIN, -MARGIN)
        crops = [
            Crop(
                (rows[0] + MARGIN, rows[1] - MARGIN),
                (columns[0] + MARGIN, columns[1] - MARGIN),
                values[:, inner, inner],
            )
            for (rows, columns), values in zip(spans, seen, strict=True)
        ]
        model = fit_model(pixels, small, texture, enhanced, crops, self._threads)
        for top, values in model.apply(pixels, self._threads):
            yield top, 0, values


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


def check_strength(strength: Strength) -> None:
    """Raise UsageError unless strength is "auto" or in [0, 1]."""
    if strength != "auto" and not (isinstance(strength, int | float) and 0 <= strength <= 1):
        raise UsageError(f"strength is {strength}; allowed: 0 (the input) to 1 (fully enhanced), or auto.")
