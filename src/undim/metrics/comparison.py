"""Several models on the same pictures: one after the other, each in a process of its own."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from undim.arrays import Bytes
from undim.data.reading import read_rgb
from undim.data.sets import group_by_name
from undim.errors import DataError, UsageError
from undim.metrics.comparison_worker import Ask, Made, Ready, Start
from undim.metrics.evaluation import SMALLEST
from undim.metrics.protocol import PROTOCOL, PictureScores, Scores, measure
from undim.metrics.report import as_record, versions
from undim.results.comparison import ComparedModel, ComparedOutput, ComparedPicture, ComparisonDocument
from undim.results.document import finite

IMAGES = "images"
"""The folder of the outputs, as MODEL/PICTURE.png."""
PATIENCE = 10.0
"""Seconds that a process has to end after its last word."""
_UNSAFE = re.compile(r"[^\w.-]+")
AnswerT = TypeVar("AnswerT", bound=BaseModel)


@dataclass(frozen=True)
class Candidate:
    """A picture to compare on."""

    name: str
    path: Path
    reference: Path | None = None
    failure: str | None = None
    """Why it cannot be taken, where that is known already."""


@dataclass
class Comparison:
    """What came of it."""

    document: ComparisonDocument
    scores: dict[str, Scores]
    """By model, of the pictures that it made."""


@dataclass
class Watchers:
    """Who is told while it goes on."""

    done: Callable[[], None] = lambda: None
    """Called after each picture of each model, whatever became of it."""
    failed: Callable[[str], None] = lambda _line: None
    """Called with a line on each failure."""
    shown: Callable[[str, str, Bytes], None] = lambda _picture, _column, _pixels: None
    """Called with each picture to look at: its name, whether it is `INPUT`, `REFERENCE` or a model's, its pixels."""


INPUT, REFERENCE = "input", "reference"


def name_models(models: Sequence[str]) -> dict[str, str]:
    """A short name of each, good for a folder and told apart: of a file its stem, of a run its folder's name.

    Raises:
        UsageError: if there is none, or one stands twice.
    """
    if not models:
        raise UsageError("There is no model to compare: name at least one.")
    twice = next((model for model, count in Counter(models).items() if count > 1), None)
    if twice is not None:
        raise UsageError(f"The model {twice!r} stands there twice: name each once.")
    short = [_UNSAFE.sub("_", model if ":" in model else Path(model).stem).strip("._") or "model" for model in models]
    return dict(zip(_tell_apart(short, [INPUT, REFERENCE]), models, strict=True))


def name_pictures(paths: Sequence[str]) -> list[str]:
    """A name of each: its stem, or where that stands twice its file's name, and numbers where that does, too."""
    stems = Counter(Path(path).stem for path in paths)
    return _tell_apart([Path(path).stem if stems[Path(path).stem] == 1 else Path(path).name for path in paths])


def _tell_apart(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """The names, those that came before (in any case: some file systems do not tell) with a number behind."""
    seen = {name.lower() for name in taken}
    told = []
    for name in names:
        number, new = 2, name
        while new.lower() in seen:
            new, number = f"{name}-{number}", number + 1
        seen.add(new.lower())
        told.append(new)
    return told


def find_references(paths: Sequence[str], references: Path | None) -> list[Path | None]:
    """The reference of each picture, found by its name without the suffix; None where there is none.

    Args:
        paths: of the pictures.
        references: a folder, or for one picture a file.

    Raises:
        UsageError: if it is neither.
        DataError: if no picture has one, or one has two.
    """
    if references is None:
        return [None] * len(paths)
    if references.is_file() and len(paths) == 1:
        return [references]
    if not references.is_dir():
        raise UsageError(f"References are a folder, or a file for one picture. Got {references}.")
    groups = group_by_name(references)
    found = [groups.get(Path(path).stem, []) for path in paths]
    if not any(found):
        raise DataError(f"{references} has no reference of any picture: they are found by name, whatever the suffix.")
    double = next((paths for paths in found if len(paths) > 1), None)
    if double is not None:
        raise DataError(f"{references} holds {double[0].name} and {double[1].name}: which one is meant?")
    return [paths[0] if paths else None for paths in found]


def compare_models(
    candidates: Sequence[Candidate],
    models: Mapping[str, str],
    folder: Path,
    watchers: Watchers,
    *,
    device: str = "cpu",
    threads: int = 1,
) -> Comparison:
    """Enhance all pictures with all models, into `IMAGES`, and measure what comes out.

    Whatever fails is told and left out, and all else goes on.

    Args:
        candidates: the pictures.
        models: what they are called, see `name_models`, and what they are.
        folder: where outputs are written.
        watchers: who is told.
        device: of what runs in PyTorch: auto, cpu or cuda.
        threads: CPU threads of each model.
    """
    pictures, references = _look(candidates, watchers)
    there = [one for one, told in zip(candidates, pictures, strict=True) if told.width is not None]
    outputs: list[ComparedOutput] = []
    told_models: list[ComparedModel] = []
    scores: dict[str, Scores] = {}
    for name, model in models.items():
        run = _Run(name, Start(model=model, device=device, threads=threads), folder, watchers)
        for one in there:
            run.take(one, references.get(one.name))
        run.close()
        scores[name] = Scores(tuple(run.scores))
        told_models.append(run.told(pictures))
        outputs += run.outputs
    notes = () if references else ("There are no references: nothing here says which output is nearer to the truth.",)
    document = ComparisonDocument(
        models=tuple(told_models),
        pictures=tuple(pictures),
        outputs=tuple(outputs),
        threads=threads,
        protocol=PROTOCOL,
        versions=versions(),
        notes=notes,
    )
    return Comparison(document, scores)


def _look(candidates: Sequence[Candidate], watchers: Watchers) -> tuple[list[ComparedPicture], dict[str, Path]]:
    """Read each picture and its reference once: what is told of each, and the references that can be used."""
    told: list[ComparedPicture] = []
    references: dict[str, Path] = {}
    for one in candidates:
        size: tuple[int, int] | None = None
        failure = one.failure
        try:
            if failure is None:
                pixels = read_rgb(one.path)
                size = pixels.shape[1], pixels.shape[0]
                watchers.shown(one.name, INPUT, pixels)
                if one.reference is not None:
                    watchers.shown(one.name, REFERENCE, _read_reference(one.reference, pixels.shape))
                    references[one.name] = one.reference
        except DataError as error:
            failure = str(error).rstrip(".")
        if failure is not None:
            watchers.failed(f"{one.name}: {failure}")
        told.append(
            ComparedPicture(
                name=one.name,
                path=str(one.path),
                width=size[0] if size else None,
                height=size[1] if size else None,
                reference=str(one.reference) if one.name in references else None,
                failure=failure,
            )
        )
    return told, references


def _read_reference(path: Path, shape: tuple[int, ...]) -> Bytes:
    pixels = read_rgb(path)
    if pixels.shape != shape:
        (height, width), (tall, wide) = pixels.shape[:2], shape[:2]
        raise DataError(f"its reference {path} is {width} x {height}, and the picture {wide} x {tall}: no scores.")
    if min(shape[:2]) < SMALLEST:
        raise DataError(f"it has a side of {min(shape[:2])}, and SSIM needs {SMALLEST} pixels: no scores.")
    return pixels


@dataclass
class _Run:
    """One model on all pictures."""

    name: str
    start: Start
    folder: Path
    watchers: Watchers
    outputs: list[ComparedOutput] = field(default_factory=list)
    scores: list[PictureScores] = field(default_factory=list)
    ready: Ready | None = None
    peaks: list[Made] = field(default_factory=list)
    _worker: _Worker | None = None

    def take(self, one: Candidate, reference: Path | None) -> None:
        """Enhance and measure one picture, in the process that there is or in a new one."""
        relative = Path(IMAGES, self.name, f"{one.name}.png")
        made = self._make(Ask(source=one.path, target=self.folder / relative))
        scored: PictureScores | None = None
        if made.failure is None:
            self.peaks.append(made)
            pixels = read_rgb(self.folder / relative)
            scored = measure(one.name, pixels, None if reference is None else read_rgb(reference), read_rgb(one.path))
            self.scores.append(scored)
            self.watchers.shown(one.name, self.name, pixels)
        elif self.ready is None or self.ready.failure is None:  # else it was told once
            self.watchers.failed(f"{one.name} with {self.name}: {made.failure}")
        self.outputs.append(
            ComparedOutput(
                picture=one.name,
                model=self.name,
                seconds=made.seconds if scored else None,
                output=relative.as_posix() if scored else None,
                scores=as_record(scored) if scored else None,
                failure=made.failure,
            )
        )
        self.watchers.done()

    def _make(self, ask: Ask) -> Made:
        if self.ready is not None and self.ready.failure is not None:
            return Made(failure=self.ready.failure)
        if self._worker is None:
            self._worker = _Worker(self.start)
            self.ready = self._worker.hear(Ready)
            if self.ready.failure is not None:
                self.watchers.failed(f"{self.name}: {self.ready.failure}")
                return Made(failure=self.ready.failure)
        made = self._worker.ask(ask)
        if self._worker.is_gone:
            self.close()  # the next picture starts another process
        return made

    def close(self) -> None:
        """End its process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def told(self, pictures: Sequence[ComparedPicture]) -> ComparedModel:
        """What the document says of the model."""
        ready = self.ready or Ready()
        sizes = {one.name: (one.width or 0) * (one.height or 0) for one in pictures}
        done = [(one.seconds, sizes[one.picture]) for one in self.outputs if one.seconds is not None]
        total = sum(seconds for seconds, _ in done)
        all_scores = Scores(tuple(self.scores))
        return ComparedModel(
            name=self.name,
            model=self.start.model,
            runtime=ready.runtime or None,
            device=ready.device or None,
            file=ready.file,
            sha256=ready.sha256,
            notes=ready.notes,
            load_seconds=ready.seconds if ready.runtime else None,
            seconds=statistics.fmean(seconds for seconds, _ in done) if done else None,
            megapixels_per_second=sum(pixels for _, pixels in done) / 1e6 / total if total else None,
            peak_memory=max((one.peak_memory for one in self.peaks if one.peak_memory is not None), default=None),
            peak_device_memory=max(
                (one.peak_device_memory for one in self.peaks if one.peak_device_memory is not None), default=None
            ),
            pictures=len(done),
            psnr=finite(all_scores.psnr),
            ssim=all_scores.ssim,
            niqe=all_scores.niqe,
            failure=ready.failure,
        )


class _Worker:
    """The process that a model runs in."""

    def __init__(self, start: Start) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "undim.metrics.comparison_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the starter alone, which then lets go of all
        )
        self.is_gone = False
        self._tell(start)

    def ask(self, ask: Ask) -> Made:
        """Enhance one picture."""
        self._tell(ask)
        return self.hear(Made)

    def hear(self, kind: type[AnswerT]) -> AnswerT:
        """The next answer; a failure if the process ended without one."""
        with self._or_end():
            line = self._process.stdout.readline() if self._process.stdout is not None else b""
            with suppress(ValidationError):
                return kind.model_validate_json(line)
            self.is_gone = True
            return kind.model_validate({"failure": self._death()})

    def _tell(self, said: BaseModel) -> None:
        if self._process.stdin is not None:
            with self._or_end(), suppress(BrokenPipeError):  # it died; its answer will say so
                self._process.stdin.write(said.model_dump_json().encode() + b"\n")
                self._process.stdin.flush()

    @contextmanager
    def _or_end(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _death(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self._process.kill()
        status = self._process.wait()
        if status < 0:
            return f"its process was ended by signal {-status}, perhaps for want of memory"
        return f"its process ended with status {status}, see above"

    def close(self) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
