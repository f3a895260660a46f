"""The verb ``predict``: landmarks of image files."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt.atomic import together
from mahtrt.data.datasets import check_spacing, spacing_beside
from mahtrt.data.images import read_image_and_spacing
from mahtrt.data.spacing import Spacing
from mahtrt.destination import check_output
from mahtrt.errors import DataError, ImageError
from mahtrt.names import text_of_path
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.overlay import write_overlay
from mahtrt.runtime.results import (
    Prediction,
    csv_from_predictions,
    json_from_predictions,
    wide_heatmaps_note,
)
from mahtrt.runtime.session import open_session
from mahtrt.runtime.verdict import EngineVerdict, notes_of
from mahtrt.schema import plain

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust

_Sidecar = tuple[Spacing | None, dict[str, Spacing]]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What to predict, and how.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        images: Image files, DICOM included.
        engine: An engine of the bundle, None for its default.
        overlay: A folder for pictures.
        spacing_mm: Millimetres per pixel of every image; else what a spacing.json beside them or
            the files (DICOM) say.
        skip_bad: Leave out images that cannot be read.
        threads: Threads of one inference.
        trust: Whose signature the bundle has to have; None asks for none.
    """

    bundle: Path
    images: Sequence[Path]
    engine: str | None = None
    overlay: Path | None = None
    spacing_mm: float | None = None
    skip_bad: bool = False
    threads: int | None = None
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class PredictResult:
    """Landmarks, and what the user should know about them.

    Attributes:
        bundle: The bundle's name.
        engine: The engine's name.
        verdict: What the bundle's accuracy gate said about the engine; None if it was not judged.
    """

    bundle: str
    engine: str
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...]
    verdict: EngineVerdict | None = None

    def to_json(self) -> str:
        """The document of ``mahtrt predict --json``."""
        about = {"bundle": self.bundle, "engine": self.engine, "verdict": plain(self.verdict) or {}}
        return json_from_predictions(self.predictions, about=about)

    def to_csv(self) -> str:
        """A row per image and landmark."""
        return csv_from_predictions(self.predictions)


def predict(options: PredictOptions, progress: StageProgress = silent) -> PredictResult:
    """Find the landmarks of image files, one image in memory at a time.

    Raises:
        ImageError: An image cannot be read (unless they are skipped).
        DataError: No image is left.
        IntegrityError, UsageError, MissingComponentError: As ``open_session`` raises them.
    """
    if options.spacing_mm is not None:
        check_spacing(options.spacing_mm)
    predictions, skipped = [], []
    sidecars = {} if options.spacing_mm else _read_sidecars(options.images)
    pictures = _overlay_places(options.images, options.overlay)
    if pictures and pictures[0] is not None:
        check_output(pictures[0])
    with (
        open_session(
            options.bundle, engine=options.engine, threads=options.threads, trust=options.trust
        ) as session,
        together(),  # pictures appear all of them, or none after an error
    ):
        for done, (path, picture) in enumerate(zip(options.images, pictures, strict=True)):
            progress("predicting", done, len(options.images))
            try:
                image, own = read_image_and_spacing(path)
                spacing = _spacing(options, path, own, sidecars)
                found = session.run(image, spacing_mm=spacing)
            except ImageError as error:
                if not options.skip_bad:
                    raise
                skipped.append(f"left out: {error}")
                continue
            if picture is not None:
                write_overlay(picture, image, found)
            extra = {"overlay": text_of_path(picture)} if picture else {}
            predictions.append(Prediction(text_of_path(path), found, extra))
        name, verdict = session.name, session.verdict
        doubt = wide_heatmaps_note(predictions)
        notes = (*session.engine_notes, *notes_of(name, verdict), *([doubt] if doubt else []))
        if not predictions:
            raise DataError(
                "predict",
                got=f"{len(skipped)} image(s) of which none can be used ({skipped[0]})",
                expected="at least one",
            )
    bundle = text_of_path(Path(options.bundle).name)
    return PredictResult(bundle, name, tuple(predictions), (*notes, *skipped), verdict)


def _spacing(
    options: PredictOptions, path: Path, own: Spacing | None, sidecars: Mapping[Path, _Sidecar]
) -> Spacing | None:
    """What the user says, the sidecar, or the file itself: the order of data sets."""
    if options.spacing_mm is not None:
        return options.spacing_mm, options.spacing_mm
    common, by_name = sidecars.get(path.parent, (None, {}))
    return by_name.get(path.name) or common or own


def _read_sidecars(images: Sequence[Path]) -> dict[Path, _Sidecar]:
    """Folder to what the spacing.json in it says, each read once."""
    folders = dict.fromkeys(image.parent for image in images)
    return {folder: spacing_beside(folder) for folder in folders}


def _overlay_places(images: Sequence[Path], folder: Path | None) -> list[Path | None]:
    """A picture per image; images of the same name in different folders get a number."""
    if folder is None:
        return [None] * len(images)
    places: dict[Path, None] = {}
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))
    for image in images:
        place = folder / f"{image.stem}.overlay.png"
        while place in places:
            place = folder / f"{image.stem}-{next(numbers[image.stem])}.overlay.png"
        places[place] = None
    return list(places)
