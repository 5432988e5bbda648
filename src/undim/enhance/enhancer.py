"""From pictures to pictures of the same bits through a network of floats."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypedDict, Unpack, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from undim.arrays import Floats, Pixels, Span
from undim.cancellation import NEVER, Cancellation
from undim.contract import CELL
from undim.enhance.convert import blend, to_batch, to_pixels
from undim.enhance.exposure import check_exposure, expose_pixels
from undim.enhance.fast import CROPS, Crop, fit_model, reduced_size
from undim.enhance.inputs import check_count, check_strength, decode, is_whole, take_pixels, turn_upright
from undim.enhance.memory import check_memory, choose_side, smaller_side
from undim.enhance.parts import part
from undim.enhance.planes import reduce
from undim.enhance.survey import look_and_see, look_at_all, look_at_whole, see
from undim.enhance.tiling import (
    FEWER_PIXELS,
    MARGIN,
    SAMPLED_PIXELS,
    Tile,
    check_tile,
    join_tiles,
    spread_tiles,
)
from undim.enhance.turn import Turn
from undim.errors import ModelError, ShapeError, UsageError
from undim.hub.finding import find_model_file
from undim.images.picture import Picture
from undim.runtimes.base import OutOfMemoryError, Runtime, Tiling, WholePicture
from undim.runtimes.precision import PrecisionWish, check_precision
from undim.runtimes.table import (
    DEFAULT_RUNTIME,
    PAYS_FROM,
    RuntimeWish,
    check_runtime,
    find_runtime,
    open_runtime,
    reads_of,
)
from undim.shipped import DEFAULT_MODEL, MODELS_FOLDER

Piece = tuple[int, int, Floats]
"""Top row, left column and values, 3 x h x w, not clamped, of a part of the enhanced picture."""
SURVEYED = 0.3
"""Share of the time of a picture in tiles after which every part of it was looked at, about."""
MOST_THREADS = 1024
"""Threads that may be asked for: each takes memory, and machines have fewer cores."""


class CallOptions(TypedDict, total=False):
    """What may be told to each call of an `Enhancer`, as `Enhancer.__call__` says."""

    strength: float
    exposure: float
    fast: bool | None
    look: WholePicture | None
    cancellation: Cancellation | None
    deadline: float | None
    progress: Callable[[float], None]


class Enhancer:
    """Makes dark pictures clear.

    `Enhancer()(image)` takes and returns

    - a uint8 or uint16 array, H x W x 3 (RGB, 0 to 255 or to 65535) or H x W (grey); what comes back is in the
      machine's own byte order;
    - a PIL image, which comes back upright, as viewers show it: an EXIF orientation is applied, and taken out of
      `info`. Modes L, LA, RGB, RGBA and I;16 stay, except that L and RGB with a transparent colour in `info` come
      back as LA and RGBA; alpha is carried untouched, `info` is copied without that colour. A palette image comes
      back as L, LA, RGB or RGBA, and other modes as L or RGB by the conversions of
      `undim.images.picture.split_alpha`.

    The network sees 16 bits as floats, and its output is rounded to 16 bits once.

    One enhancer may be called from several threads; they take turns, in the order in which they came. It can be
    pickled: what comes back loads the model anew. In a process that was forked off it does the same where the runtime
    can; where not, a call says so. It is a context manager that closes it at the end.

    Args:
        model: name of a shipped model; `hf:owner/name@revision` of one that `undim pull` has fetched from a hub; or the
            path of an .onnx file that keeps `undim.contract`, with the runtime "torch", or another that reads them, of
            a .safetensors file of Undim's.
        threads: CPU threads of all that a call does, 1 to 1024; one per core if None.
        tile: side in pixels, at least 256, of the tiles that larger pictures are cut into, overlaps included; 0 for
            whole pictures always; "auto" for what the free memory suggests. What the network takes from the whole
            picture is taken once and told to every tile, so that they agree.
        fast: whether pictures of 3 megapixels and more go through the network at a reduced size, as
            `undim.enhance.fast` says.
        runtime: what runs the network, one of `undim.runtimes.table.RUNTIMES`; "auto" for the fastest of those that
            are installed, measured once on this machine, where the work is large: pictures from 3 megapixels on.
        precision: "float32"; "bfloat16", where runtime and processor have it; "auto" for bfloat16 where a shipped model
            loses at most 0.02 dB by it.
        expect_many: whether so many pictures follow that "auto" pays for small ones too, and that the work around the
            network is worth the cores that its threads would wait on.
        max_waiting: how many calls may wait for their turn; one more raises a PictureError with the code "busy". None
            for any number.

    Raises:
        ModelError: if the model is unknown, its file is not one, or it cannot be tiled though `tile` or `fast` asks
            for what needs this.
        UsageError: for another `tile`, `threads` or `max_waiting`, or a runtime or precision that is unknown or not
            there.

    Examples:
        >>> import numpy as np
        >>> from undim import Enhancer
        >>> dark = np.full((32, 48, 3), 12, np.uint8)  # H x W x 3, RGB
        >>> with Enhancer("tiny") as enhance:
        ...     clear = enhance(dark)
        >>> clear.shape, clear.dtype.name, bool(clear.mean() > dark.mean())
        ((32, 48, 3), 'uint8', True)
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
        expect_many: bool = False,
        max_waiting: int | None = None,
    ) -> None:
        tile = int(tile) if is_whole(tile) else tile
        check_tile(tile)
        check_precision(precision)
        check_runtime(runtime)
        self._chooses = runtime == "auto"
        self._wish: RuntimeWish = runtime
        self._path = find_model_file(model, reads_of(runtime))
        self._name = os.fspath(model)
        self._threads = check_count("threads", threads, 1, MOST_THREADS)
        self._precision: PrecisionWish = precision
        self._tile: Tile = tile
        self._fast = fast
        self._expect_many = expect_many
        self._max_waiting = check_count("max_waiting", max_waiting, 0)
        self._closed = False
        self._load()
        if tile not in ("auto", 0) or fast:
            self._tiling()

    def _load(self) -> None:
        """Load the model, in this process."""
        self._process = os.getpid()
        self._turn = Turn(self._max_waiting)
        self._calls: set[Cancellation] = set()
        self._counting = threading.Lock()
        self._fastest: Runtime | None = None
        """What "auto" takes for large work, once that has come."""
        self._runtime: Runtime
        if self._chooses and self._expect_many:
            self._runtime = self._fastest = self._open_fastest()
        elif self._chooses:  # in float32, the one precision that the default runtime has
            self._runtime = open_runtime(DEFAULT_RUNTIME, self._path, threads=self._threads)
        else:
            self._runtime = open_runtime(self._wish, self._path, threads=self._threads, precision=self._precision)
        if self._expect_many:  # others are read and written meanwhile
            self._runtime.share_cores()
        self._first = self._runtime
        self._used: list[str] = []

    def __getstate__(self) -> dict[str, object]:
        """What it was made with: sessions and locks belong to one process."""
        return {
            "model": self._name if self._path.parent == MODELS_FOLDER else os.fspath(self._path),
            "threads": self._threads,
            "tile": self._tile,
            "fast": self._fast,
            "runtime": self._wish,
            "precision": self._precision,
            "expect_many": self._expect_many,
            "max_waiting": self._max_waiting,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the model anew."""
        self.__init__(**state)  # type: ignore[misc]  # the one that has what state holds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload
    def __call__(self, image: Image.Image, **options: Unpack[CallOptions]) -> Image.Image: ...
    @overload
    def __call__(self, image: npt.NDArray[np.uint8], **options: Unpack[CallOptions]) -> npt.NDArray[np.uint8]: ...
    @overload
    def __call__(self, image: npt.NDArray[np.uint16], **options: Unpack[CallOptions]) -> npt.NDArray[np.uint16]: ...
    @overload
    def __call__(self, image: Pixels, **options: Unpack[CallOptions]) -> Pixels: ...
    def __call__(
        self,
        image: Pixels | Image.Image,
        *,
        strength: float = 1.0,
        exposure: float = 0.0,
        fast: bool | None = None,
        look: WholePicture | None = None,
        cancellation: Cancellation | None = None,
        deadline: float | None = None,
        progress: Callable[[float], None] = lambda _: None,
    ) -> Pixels | Image.Image:
        """Enhance one image; the result has its kind, and its size as viewers show it.

        Args:
            image: as the class says.
            strength: from 0 (the input, exactly) to 1 (the network's output, rounded): a blend of encoded values.
            exposure: from -2 to 2 stops, by the curve of `undim.enhance.exposure` on the blend; 0 changes nothing.
            fast: as of the class; None for what that was given.
            look: what to take for the whole picture that this one is a part of: what `survey` returned, or the
                `undim.enhance.survey.average` of it over a series, for one look. `None`: the picture's own.
            cancellation: lets another thread end this call, while it waits for its turn too.
            deadline: a reading of `time.monotonic()` at which the call ends, waiting included. `None` or infinity:
                never.
            progress: called now and then, from the calling thread, with the share of the picture that is done, 0 to 1.

        Raises:
            ShapeError: for an array of another shape or type, or an image without pixels.
            UsageError: for a strength that is not in [0, 1], an exposure that is not in [-2, 2], a deadline that is
                not a number, a closed enhancer, or one whose runtime did not survive a fork.
            ModelError: for a look, or `fast`, where the model cannot be tiled.
            CancelledError: if the call was asked to end, or its deadline has passed.
            PictureError: if the network fails or returns values that are not finite, the picture needs more memory
                than is free, too many wait already, or a PIL image cannot be decoded or has a mode that is not read.
        """
        settled = check_strength(strength), check_exposure(exposure), self._fast if fast is None else fast
        if not isinstance(image, Image.Image):
            with self._call(cancellation, deadline) as call:
                return self._enhance(take_pixels(image), *settled, look, call, progress)
        upright = turn_upright(image)
        pixels, alpha = decode(upright)
        with self._call(cancellation, deadline) as call:
            result = Picture(self._enhance(pixels, *settled, look, call, progress), alpha).to_image()
        result.info = {key: value for key, value in upright.info.items() if key != "transparency"}
        return result

    def survey(
        self,
        image: Pixels | Image.Image,
        *,
        cancellation: Cancellation | None = None,
        deadline: float | None = None,
    ) -> WholePicture:
        """What the network takes from the whole picture: to be given as `look` to others, averaged over a series.

        Args:
            image: as of `__call__`.
            cancellation: likewise.
            deadline: likewise.

        Raises:
            ShapeError, UsageError, CancelledError, PictureError: as `__call__`.
            ModelError: if the model cannot be tiled.
        """
        pixels = decode(turn_upright(image))[0] if isinstance(image, Image.Image) else take_pixels(image)
        height, width = pixels.shape[:2]
        with (
            self._call(cancellation, deadline) as call,
            self._turn.taken(call),
            self._choose(width, height, fast=self._fast).under(call) as runtime,
        ):
            tiling = self._tiling()
            side = self._side(width, height)
            check_memory(width, height, side)
            if side and not (self._fast and reduced_size(height, width)):
                return look_at_all(runtime, tiling, pixels, side)
            sampled = FEWER_PIXELS if side and self._fast else SAMPLED_PIXELS
            return look_at_whole(runtime, tiling, pixels, side or max(height, width), sampled)

    def warm_up(self, width: int = 256, height: int = 256) -> None:
        """Enhance a grey picture of that size, so that the first real one of it does not wait for what is made once.

        Args:
            width: in pixels.
            height: in pixels.

        Raises:
            UndimError: as `__call__`.
        """
        if not all(is_whole(side) and side >= 1 for side in (width, height)):
            raise ShapeError(f"A picture of {width} x {height} pixels cannot be made; give whole numbers from 1 on.")
        self(np.full((height, width, 3), 128, np.uint8))

    def stop(self) -> None:
        """End all calls in progress with a CancelledError, not later ones. May be called from any thread."""
        with self._counting:
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def close(self) -> None:
        """End all calls in progress, give back what the model takes, and refuse further calls. May be called again."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        with self._turn.taken(NEVER):
            self._used = self._used or [str(self._runtime)]
            del self._runtime, self._first
            self._fastest = None

    @property
    def runtime(self) -> str:
        """What ran the network so far and in which precision, such as "openvino bfloat16"; several joined by "and"."""
        return " and ".join(self._used or [str(self._runtime)])

    @contextmanager
    def _call(self, cancellation: Cancellation | None, deadline: float | None) -> Iterator[Cancellation]:
        """One call, which its caller's cancellation, its deadline and `stop` end."""
        if self._process != os.getpid() and not self._closed:
            self._reload()
        call = Cancellation(deadline)
        with self._counting:
            if self._closed:
                raise UsageError("This enhancer was closed; make another one.", code="closed")
            self._calls.add(call)
        try:
            with call.following(cancellation):
                yield call
        finally:
            with self._counting:
                self._calls.discard(call)

    def _reload(self) -> None:
        """In a process that was forked off: threads of the runtime and locks did not come along."""
        for runtime in (self._first, self._fastest):
            if runtime is not None and not find_runtime(runtime.name).survives_fork:
                raise UsageError(
                    f"This enhancer loaded {runtime.name} before its process was forked, and {runtime.name} does not "
                    "survive that: make the enhancer in the new process, or start processes by spawn.",
                    code="forked",
                )
        _LEFT_BEHIND.extend((self._first, self._fastest))
        self._load()

    def _open_fastest(self) -> Runtime:
        from undim.runtimes.choice import open_fastest  # no small picture waits for what it imports

        return open_fastest(self._path, threads=self._threads, precision=self._precision)

    def _choose(self, width: int, height: int, *, fast: bool) -> Runtime:
        """With "auto", take the runtime for pictures of this size: the same for the same size, whatever came before."""
        if self._chooses:
            reduced = reduced_size(height, width) if fast else None
            if self._first is self._fastest or math.prod(reduced or (height, width)) < PAYS_FROM:
                self._runtime = self._first
            else:
                self._fastest = self._fastest or self._open_fastest()
                self._runtime = self._fastest
        if str(self._runtime) not in self._used:
            self._used.append(str(self._runtime))
        return self._runtime

    def _tiling(self) -> Tiling:
        if self._runtime.tiling is None:
            raise ModelError(
                f"{self._name} does not tell what parts of a picture would have to share, so they would not agree; "
                'give 0 or "auto" as tile, neither fast nor a series, or export it with a newer undim export.',
                code="no-tiling",
            )
        return self._runtime.tiling

    def _enhance(
        self,
        pixels: Pixels,
        strength: float,
        exposure: float,
        fast: bool,
        look: WholePicture | None,
        call: Cancellation,
        progress: Callable[[float], None],
    ) -> Pixels:
        if look is not None or fast:
            self._tiling()
        if strength == 0:
            call.check()
            return expose_pixels(pixels, exposure)
        height, width = pixels.shape[:2]
        # One run at a time, held from the check on: a run that ends gives its memory back.
        with self._turn.taken(call), self._choose(width, height, fast=fast).under(call) as runtime:
            side = self._side(width, height)
            while True:
                work = _Work(pixels, strength, exposure, fast, look, runtime, progress)
                try:
                    return self._enhance_at(work, side)
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

    def _enhance_at(self, work: _Work, side: int) -> Pixels:
        pixels = work.pixels
        size = pixels.shape[:2]
        reduced = reduced_size(*size) if work.fast else None
        if reduced is not None:
            pieces = self._fast_pieces(work, reduced, side)
        else:
            check_memory(size[1], size[0], side)
            pieces = self._tiles(work, side) if side else _whole(pixels, work)
        result = np.empty_like(pixels)
        for top, left, values in pieces:
            place = (slice(top, top + values.shape[1]), slice(left, left + values.shape[2]))
            with part("blend"):
                enhanced = to_pixels(values, pixels.dtype, grey=pixels.ndim == 2)
                result[place] = blend(pixels[place], enhanced, work.strength, work.exposure)
        return result

    def _tiles(self, work: _Work, side: int) -> Iterator[Piece]:
        tiling = self._tiling()
        pixels, runtime = work.pixels, work.runtime
        height, width = pixels.shape[:2]
        rows, columns = (spread_tiles(length, side, tiling.overlap) for length in (height, width))
        surveyed = SURVEYED if work.look is None else 0.0
        with part("survey"):
            whole = work.look or look_at_all(
                runtime, tiling, pixels, side, lambda share: work.progress(surveyed * share)
            )
        last = (rows[-1], columns[-1])
        total, made = len(rows) * len(columns), 0

        def make(tall: Span, wide: Span) -> Floats:
            nonlocal made
            with part("prepare"):
                batch = to_batch(pixels[slice(*tall), slice(*wide)])
            with part("network"):
                output = runtime.run(batch, whole, more=(tall, wide) != last)
            made += 1
            work.progress(surveyed + (1 - surveyed) * made / total)
            return output[0, :, : tall[1] - tall[0], : wide[1] - wide[0]]

        return join_tiles(rows, columns, make)

    def _fast_pieces(self, work: _Work, reduced: Span, side: int) -> Iterator[Piece]:
        # As large as a picture that is not cut: one more level of tiles would save nothing.
        check_memory(reduced[1], reduced[0])
        pixels, runtime = work.pixels, work.runtime
        with part("survey"):
            if work.look is None:
                whole, spans, seen = look_and_see(runtime, self._tiling(), pixels, side or max(reduced), CROPS)
            else:
                whole, (spans, seen) = work.look, see(runtime, pixels, work.look, CROPS)
        with part("prepare"):
            small, texture = reduce(pixels, reduced, self._threads)
        with part("network"):
            enhanced = runtime.run(small[None], whole)[0]
        inner = slice(MARGIN, -MARGIN)
        crops = [
            Crop(
                (rows[0] + MARGIN, rows[1] - MARGIN),
                (columns[0] + MARGIN, columns[1] - MARGIN),
                values[:, inner, inner],
            )
            for (rows, columns), values in zip(spans, seen, strict=True)
        ]
        with part("blend"):
            model = fit_model(pixels, small, texture, enhanced, crops, self._threads)
        bands = model.apply(pixels, self._threads)
        while True:
            with part("blend"):
                band = next(bands, None)
            if band is None:
                return
            yield band[0], 0, band[1]


@dataclass(frozen=True)
class _Work:
    """One picture, and what is to become of it."""

    pixels: Pixels
    strength: float
    exposure: float
    fast: bool
    look: WholePicture | None
    runtime: Runtime
    progress: Callable[[float], None]


def _whole(pixels: Pixels, work: _Work) -> Iterator[Piece]:
    height, width = pixels.shape[:2]
    with part("prepare"):
        batch = to_batch(pixels)
    with part("network"):
        output = work.runtime.run(batch, work.look)
    yield 0, 0, output[0, :, :height, :width]


_LEFT_BEHIND: list[Runtime | None] = []
"""Of the parent process: to end them here would wait for threads that are not here."""
