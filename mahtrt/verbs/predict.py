"""Landmarks of image files: what ``mahtrt predict`` does."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.atomic import temporary_sibling, write_text_atomic
from mahtrt.data.datasets import SPACING_FILE, check_spacing, read_spacing_file
from mahtrt.data.images import read_image_and_spacing
from mahtrt.errors import DataError, ImageError
from mahtrt.runtime.overlay import write_overlay
from mahtrt.runtime.results import Prediction, csv_from_predictions, json_from_predictions
from mahtrt.runtime.session import open_session
from mahtrt.runtime.verdict import notes_of

if TYPE_CHECKING:
    from rich.table import Table

_Spacing = tuple[float, float]
_Sidecar = tuple[_Spacing | None, dict[str, _Spacing]]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How to predict.

    Attributes:
        engine: An engine of the bundle, None for its default.
        overlay: A folder for pictures.
        spacing_mm: Of every image; else what a spacing.json beside them or the files (DICOM) say.
        skip_bad: Leave out images that cannot be read.
        threads: Of one inference.
    """

    engine: str | None = None
    overlay: Path | None = None
    spacing_mm: float | None = None
    skip_bad: bool = False
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class PredictResult:
    """What was found, and what the user should know about it.

    Attributes:
        verdict: What the bundle's accuracy gate said about the engine, {} where it was not judged.
    """

    bundle: str
    engine: str
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...]
    verdict: Mapping[str, Any] = field(default_factory=dict)


def predict_files(bundle: Path, images: Sequence[Path], options: PredictOptions) -> PredictResult:
    """Find the landmarks of image files, one image in memory at a time.

    Raises:
        ImageError: An image cannot be read (unless they are skipped).
        DataError: No image is left.
        IntegrityError, UsageError, MissingComponentError: As ``open_session`` raises them.
    """
    if options.spacing_mm is not None:
        check_spacing(options.spacing_mm)
    predictions, skipped = [], []
    given = None if options.spacing_mm is None else (options.spacing_mm, options.spacing_mm)
    sidecars = {} if given else _read_sidecars(images)
    pictures = _overlay_places(images, options.overlay)
    with (
        open_session(bundle, engine=options.engine, threads=options.threads) as session,
        _pictures_together(options.overlay) as drawn,
    ):
        for path, picture in zip(images, pictures, strict=True):
            try:
                image, spacing = read_image_and_spacing(path)
                common, by_name = sidecars.get(path.parent, (None, {}))
                # As data sets do it: the user, the sidecar, the file itself.
                spacing = given or by_name.get(path.name) or common or spacing
                found = session.run(image, spacing_mm=spacing)
            except ImageError as error:
                if not options.skip_bad:
                    raise
                skipped.append(f"left out: {error}")
                continue
            if picture is not None and drawn is not None:
                write_overlay(drawn / picture.name, image, found)
            extra = {"overlay": str(picture)} if picture else {}
            predictions.append(Prediction(str(path), found, extra))
        name, verdict = session.name, session.verdict
        notes = (*session.engine_notes, *notes_of(name, verdict))
        if not predictions:
            raise DataError(
                "predict",
                got=f"{len(skipped)} image(s) of which none can be used ({skipped[0]})",
                expected="at least one",
            )
    return PredictResult(bundle.name, name, tuple(predictions), (*notes, *skipped), verdict)


def write_results(result: PredictResult, *, json: str | None, csv: str | None) -> None:
    """Write the results as asked; ``-`` is stdout."""
    if json is not None:
        about = {
            "bundle": result.bundle,
            "engine": result.engine,
            "verdict": dict(result.verdict),
        }
        _write(json_from_predictions(result.predictions, about=about), json)
    if csv is not None:
        _write(csv_from_predictions(result.predictions), csv)


def results_table(result: PredictResult) -> Table:
    """The results for a terminal: a row per image and landmark."""
    from rich.table import Table
    from rich.text import Text

    # Text and not str: brackets in a file's name are no markup.
    table = Table(title=Text(f"{result.bundle} · {result.engine}"), title_justify="left")
    for column in ("image", "landmark"):
        table.add_column(column)
    for column in ("x px", "y px", "confidence", "spread px"):
        table.add_column(column, justify="right")
    for prediction in result.predictions:
        for index, row in enumerate(prediction.landmarks.to_dict()["landmarks"]):
            numbers = (row["x"], row["y"], row["confidence"], row["spread_px"])
            table.add_row(
                Text(prediction.image if index == 0 else ""),
                Text(row["name"]),
                *("" if number is None else f"{number:.2f}" for number in numbers),
            )
    return table


def _read_sidecars(images: Sequence[Path]) -> dict[Path, _Sidecar]:
    """Folder to what the spacing.json in it says, each read once."""
    folders = dict.fromkeys(image.parent for image in images)
    found = (folder / SPACING_FILE for folder in folders)
    return {place.parent: read_spacing_file(place) for place in found if place.is_file()}


def _write(text: str, target: str) -> None:
    if target == "-":
        sys.stdout.write(text)
    else:
        write_text_atomic(Path(target), text)


@contextlib.contextmanager
def _pictures_together(folder: Path | None) -> Iterator[Path | None]:
    """A place for pictures, which reach ``folder`` all together or, after an error, not at all."""
    if folder is None:
        yield None
        return
    with temporary_sibling(folder) as place:
        place.mkdir()
        yield place
        folder.mkdir(exist_ok=True)
        for picture in place.iterdir():
            os.replace(picture, folder / picture.name)


def _overlay_places(images: Sequence[Path], folder: Path | None) -> list[Path | None]:
    """A picture per image; images of the same name in different folders get a number."""
    if folder is None:
        return [None] * len(images)
    places: list[Path | None] = []
    for image in images:
        numbered = (f"{image.stem}-{count}" for count in itertools.count(2))
        names = itertools.chain((image.stem,), numbered)
        tries = (folder / f"{name}.overlay.png" for name in names)
        places.append(next(place for place in tries if place not in places))
    return places
