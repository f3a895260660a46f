"""The verb ``predict``: landmarks, labels and maps of image files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mahtrt.atomic import together
from mahtrt.data.datasets import SPACING_FILE, check_spacing, spacing_beside
from mahtrt.data.dicom_spacing import SpacingChoice
from mahtrt.data.file_dataset import Entry
from mahtrt.data.frames import split_frame
from mahtrt.data.sample import Sample
from mahtrt.data.spacing import Spacing
from mahtrt.destination import check_output
from mahtrt.errors import DataError, ImageError, UsageError, some_of
from mahtrt.measure.quantities import Selection
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.names import text_of_path
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.case_writers import CaseResult, CaseWriter, points_of_quantities
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.engine_choice import Require
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.map_files import OVERLAY, write_maps
from mahtrt.runtime.named_cases import case_names, cases_of_images, file_stems, image_name
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.overlay import write_overlay
from mahtrt.runtime.results import (
    Prediction,
    check_rows,
    csv_from_predictions,
    json_from_predictions,
    wide_heatmaps_note,
)
from mahtrt.runtime.session import Session
from mahtrt.runtime.told import Told, left_out_notes
from mahtrt.runtime.verdict import EngineVerdict, notes_of
from mahtrt.schema import plain
from mahtrt.spec import ModelSpec

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust

_Sidecar = tuple[Spacing | None, dict[str, Spacing]]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What to predict, and how.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        images: Image files, DICOM included, and folders of them. For a network of several inputs
            the images of a case one after the other, a folder of images for each input, a folder
            that holds these, or a CSV (:func:`mahtrt.data.cases.cases_of_paths`).
        engine: An engine of the bundle, None for its default.
        overlay: A folder for pictures.
        maps: A folder for the maps that the network gives, as 16-bit gray PNG files.
        csv: Where the caller will write the result as CSV: where that is somewhere, a network that
            gives only maps is refused.
        spacing_mm: Millimetres per pixel of every image; else what a spacing.json beside them or
            the files (DICOM) say.
        skip_bad: Leave out images that cannot be read.
        threads: Threads of one inference.
        trust: Whose signature the bundle has to have; None asks for none.
        require: Kind of device that the engine has to run on.
        quantities: A file that defines clinical quantities to measure (docs/quantities.md); "auto"
            for those that mahtrt ships and the landmarks allow; "none".
        writers: What writes a file for each case beside the pictures, such as reports
            (:mod:`mahtrt.dicom.case_files`).
    """

    bundle: Path
    images: Sequence[Path]
    engine: str | None = None
    overlay: Path | None = None
    maps: Path | None = None
    csv: str | None = None
    spacing_mm: float | None = None
    skip_bad: bool = False
    threads: int | None = None
    trust: Trust | None = None
    require: Require = "any"
    quantities: Path | str = "none"
    writers: Sequence[CaseWriter] = ()


@dataclass(frozen=True, slots=True)
class PredictResult:
    """What was found, and what the user should know about it.

    Attributes:
        bundle: The bundle's name.
        engine: The engine's name.
        verdict: What the bundle's accuracy gate said about the engine; None if it was not judged.
        device: What the engine ran on, ``cpu`` or ``cuda:0 NVIDIA H200``.
    """

    bundle: str
    engine: str
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...]
    verdict: EngineVerdict | None = None
    device: str = ""

    def to_json(self) -> str:
        """The document of ``mahtrt predict --json``."""
        about = {
            "bundle": self.bundle,
            "engine": self.engine,
            "verdict": plain(self.verdict) or {},
            "device": self.device,
        }
        return json_from_predictions(self.predictions, about=about)

    def to_csv(self) -> str:
        """A row per image and landmark or label.

        Raises:
            UsageError: The network gives only maps.
        """
        return csv_from_predictions(self.predictions)


def predict(options: PredictOptions, progress: StageProgress = silent) -> PredictResult:
    """Run a bundle on image files, one case in memory at a time.

    Pictures and the files of writers are written as their cases are done, and appear together when
    all of them are. Of maps the result keeps sizes and a few numbers alone: a session gives the
    maps themselves.

    Raises:
        UsageError: Maps are asked for of a network without any, or rows of one with only maps.
        ImageError: An image cannot be read (unless they are skipped).
        DataError: Paths that are no cases of the network's inputs, or no image is left.
        SpecError: A file of quantities that is not clear, or of which nothing can be measured.
        IntegrityError, UsageError, MissingComponentError: As ``open_session`` raises them.
    """
    if options.spacing_mm is not None:
        check_spacing(options.spacing_mm)
    with (
        open_session(
            options.bundle,
            engine=options.engine,
            threads=options.threads,
            trust=options.trust,
            require=options.require,
        ) as session,
        together(),  # files appear all of them, or none after an error
    ):
        selection = quantities_for(options.quantities, landmark_names(session.spec))
        predictions, told, skipped = _predict_all(session, options, selection, progress)
        name, verdict, device = session.name, session.verdict, session.device
        left_out = left_out_notes(skipped)
        doubt = wide_heatmaps_note(predictions)
        notes = (*session.engine_notes, *notes_of(name, verdict), *([doubt] if doubt else []))
        notes = (*notes, *_notes_on_quantities(options, selection))
        notes = (*notes, *(note for writer in options.writers for note in writer.notes()))
        if not predictions:
            raise DataError(
                "predict",
                got=f"{len(skipped)} image(s) of which none can be used ({left_out[0]})",
                expected="at least one",
            )
    bundle = text_of_path(Path(options.bundle).name)
    notes = (*notes, *told, *left_out)
    return PredictResult(bundle, name, tuple(predictions), notes, verdict, device)


def _predict_all(
    session: Session,
    options: PredictOptions,
    selection: Selection | None,
    progress: StageProgress,
) -> tuple[list[Prediction], list[str], list[ImageError]]:
    """What is found in every case, what is told of them, and why others were left out."""
    predictions: list[Prediction] = []
    told = Told()
    cases = cases_of_images(options.images, session.spec.input_names, options.spacing_mm, told)
    sidecars = {} if options.spacing_mm else _read_sidecars([case.path for case in cases])
    names, stems = case_names(cases), file_stems(cases)
    _check_outputs(options, session.spec, stems)
    rests_on = points_of_quantities(selection, landmark_names(session.spec)) if selection else {}
    todo, skipped = _begin_to_write(session, options, list(zip(cases, names, stems, strict=True)))
    for done, (case, name, stem) in enumerate(todo):
        progress("predicting", done, len(todo))
        try:
            sample = case.read()
            spacing = _spacing(options, case, sample, sidecars)
            found = session.run(*sample.images, spacing_mm=spacing.spacing_mm)
            values = (
                selection.values(found.points, found.names, spacing.spacing_mm) if selection else ()
            )
            written = _write_files(
                options, CaseResult(case, stem, found, values, rests_on, spacing)
            )
        except ImageError as error:
            if not options.skip_bad:
                raise
            skipped.append(error)
            continue
        image = image_name(case)
        extra = _write_pictures(options, stem, sample.image, found)
        extra |= told.of_image(image, sample, spacing.source)
        if case.others:
            extra["other_images"] = case.names_of_others
        extra |= written
        maps, found = found.map_summaries(), replace(found, maps={}, outputs=None)
        predictions.append(Prediction(image, found, extra, maps, name, quantities=values))
    return predictions, list(told.notes), skipped


def _begin_to_write(
    session: Session, options: PredictOptions, cases: list[tuple[Entry, str, str]]
) -> tuple[list[tuple[Entry, str, str]], list[ImageError]]:
    """The cases of which every writer can make a file, and why the others are left out.

    Raises:
        ImageError: One is refused, and bad images are not left out.
    """
    for writer in options.writers:
        writer.begin(session, Path(options.bundle), [case for case, *_ in cases])
    fit, skipped = [], list[ImageError]()
    for each in cases:
        try:
            for writer in options.writers:
                writer.check(each[0])
        except ImageError as error:
            if not options.skip_bad:
                raise
            skipped.append(error)
        else:
            fit.append(each)
    return fit, skipped


def _write_files(options: PredictOptions, result: CaseResult) -> dict[str, Any]:
    """What the JSON says of the files that writers made of a case."""
    written: dict[str, Any] = {}
    for writer in options.writers:
        written |= writer.write(result)
    return written


def _notes_on_quantities(options: PredictOptions, selection: Selection | None) -> Iterator[str]:
    """What the user should know of quantities that were asked for."""
    if str(options.quantities) == "none":
        return
    if selection is None:
        yield "no quantities that mahtrt ships can be measured of these landmarks"
    elif selection.skipped:
        names = some_of([each.name for each in selection.skipped])
        yield f"{selection.quantities.file}: without {names}, whose points are no landmarks here"


def _check_outputs(options: PredictOptions, spec: ModelSpec, stems: Sequence[str]) -> None:
    """Refuse what the network cannot give or a place that cannot be, before anything runs.

    Raises:
        UsageError: It cannot.
    """
    if options.overlay is not None and stems:
        check_output(_overlay_place(options.overlay, stems[0]))
    if options.csv is not None:
        check_rows(bool(landmark_names(spec)) or spec.output("logits") is not None)
    if options.maps is None:
        return
    outputs = [output for output in spec.outputs if output.kind == "map"]
    if not outputs:
        given = ", ".join(dict.fromkeys(output.kind for output in spec.outputs))
        raise UsageError("--maps", got=f"a network that gives {given}", expected="one with maps")
    check_output(options.maps / "map.png")


def _write_pictures(
    options: PredictOptions, stem: str, image: NDArray[Any], found: Landmarks
) -> dict[str, Any]:
    """Overlay and maps of an image, where they are asked for; what the JSON says of them."""
    extra: dict[str, Any] = {}
    if options.overlay is not None:
        place = _overlay_place(options.overlay, stem)
        write_overlay(place, image, found)
        extra["overlay"] = text_of_path(place)
    if options.maps is not None:
        extra["map_files"] = write_maps(options.maps, stem, found, image.shape[:2])
    return extra


def _spacing(
    options: PredictOptions, case: Entry, sample: Sample, sidecars: Mapping[Path, _Sidecar]
) -> SpacingChoice:
    """What the user says, the sidecar, or the file itself: the order of data sets; and which."""
    if options.spacing_mm is not None:
        return SpacingChoice((options.spacing_mm, options.spacing_mm), "--spacing-mm")
    common, by_name = sidecars.get(case.path.parent, (None, {}))
    beside = by_name.get(split_frame(case.path)[0].name) or common
    if beside or case.spacing_mm:
        return SpacingChoice(beside or case.spacing_mm, SPACING_FILE)
    return SpacingChoice(sample.spacing_mm) if sample.dicom is None else sample.dicom.spacing


def _read_sidecars(images: Sequence[Path]) -> dict[Path, _Sidecar]:
    """Folder to what the spacing.json in it says, each read once."""
    folders = dict.fromkeys(image.parent for image in images)
    return {folder: spacing_beside(folder) for folder in folders}


def _overlay_place(folder: Path, stem: str) -> Path:
    return folder / f"{stem}.{OVERLAY}.png"
