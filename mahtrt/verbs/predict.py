"""``mahtrt predict``: what a network finds in image files, as a table, JSON, CSV or pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mahtrt.errors import UsageError
from mahtrt.verbs.command import (
    CLUSTER,
    DATA,
    ENGINES,
    OUTPUT,
    ResultFile,
    argument,
    as_command,
    option,
)
from mahtrt.verbs.console import StageDisplay, answer, say, show, write_json, write_text
from mahtrt.verbs.options import (
    Json,
    Ray,
    RequiredDevice,
    SkipBad,
    SpacingMm,
    Threads,
    TrustArguments,
    device_from_text,
)

if TYPE_CHECKING:
    from mahtrt.runtime.case_writers import CaseWriter


@dataclass(frozen=True, kw_only=True)
class PredictArguments(TrustArguments):
    """What ``mahtrt predict`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder.")]
    images: Annotated[
        list[Path],
        argument(
            "Image files, DICOM included, or folders of them. For a network of several inputs: a "
            "CSV, a folder with a folder for each input, one folder for each, or the images case "
            "by case."
        ),
    ]
    engine: Annotated[
        str | None,
        option(ENGINES, "Engine of the bundle, or a target; the bundle's default without it."),
    ] = None
    require: RequiredDevice = "any"
    json: Json = None
    csv: Annotated[
        str | None, option(OUTPUT, "File for the result as CSV; - is stdout."), ResultFile()
    ] = None
    overlay: Annotated[
        Path | None, option(OUTPUT, "Folder for pictures with the result drawn on them.")
    ] = None
    maps: Annotated[
        Path | None, option(OUTPUT, "Folder for the network's maps, as 16-bit gray PNG files.")
    ] = None
    dicom_sr: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Folder for a DICOM structured report of each image; images have to be DICOM.",
        ),
    ] = None
    slicer: Annotated[
        Path | None,
        option(OUTPUT, "File (.mrk.json) or folder for the landmarks as markups of 3D Slicer."),
    ] = None
    landmark_codes: Annotated[
        Path | None,
        option(DATA, "File (TOML) with codes of landmarks and quantities, for --dicom-sr."),
    ] = None
    spacing_mm: SpacingMm = None
    quantities: Annotated[
        str,
        option(
            DATA,
            "File (TOML) that defines clinical quantities, such as angles, to measure; auto: those "
            "that mahtrt ships and the landmarks allow; none.",
        ),
    ] = "none"
    skip_bad: SkipBad = False
    threads: Threads = None
    out: Annotated[
        str | None,
        option(
            OUTPUT,
            "Data set for archives of any size: a folder or URL of Parquet files, with a row for "
            "each image, bad ones included. A run that ended early goes on where it was.",
        ),
    ] = None
    retry_errors: Annotated[
        bool,
        option(
            OUTPUT,
            "Files of IMAGES that have a row with an error in the data set are done again, with "
            "--out.",
            "--retry-errors",
        ),
    ] = False
    ray: Ray = None
    watch: Annotated[
        bool,
        option(
            CLUSTER,
            "Folders are watched, with --out: files are run as they appear, until Ctrl-C.",
            "--watch",
        ),
    ] = False
    workers: Annotated[
        int | None,
        option(CLUSTER, "Number of workers of --ray; as many as there are cores.", least=1),
    ] = None
    files_per_part: Annotated[
        int, option(CLUSTER, "Files of which the rows go into one Parquet file.", least=1)
    ] = 256


@as_command
def command(arguments: PredictArguments) -> None:
    """Find landmarks, labels and maps in images.

    With --out, IMAGES may also be CSV lists of files and URLs such as s3://bucket/archive.
    """
    if arguments.out is not None:
        _into_data_set(arguments, arguments.out)
        return
    for name in ("watch", "ray", "retry_errors"):
        if getattr(arguments, name):
            raise UsageError(
                f"--{name.replace('_', '-')}", got="no --out", expected="a data set to write"
            )
    from mahtrt.atomic import together
    from mahtrt.runtime.predict import PredictOptions, predict
    from mahtrt.verbs.prediction_tables import table_of

    options = PredictOptions(
        bundle=arguments.bundle,
        images=arguments.images,
        engine=arguments.engine,
        overlay=arguments.overlay,
        maps=arguments.maps,
        csv=arguments.csv,
        spacing_mm=arguments.spacing_mm,
        skip_bad=arguments.skip_bad,
        threads=arguments.threads,
        trust=arguments.trust(),
        require=device_from_text(arguments.require),
        quantities=arguments.quantities,
        writers=_writers(arguments),
    )
    with together(), StageDisplay() as display:
        result = predict(options, display)
        if arguments.json is not None:
            write_text(result.to_json(), arguments.json)
        if arguments.csv is not None:
            write_text(result.to_csv(), arguments.csv)
    for note in result.notes:
        say(f"note: {note}")
    if arguments.json is None and arguments.csv is None:
        show(table_of(result))


def _into_data_set(arguments: PredictArguments, out: str) -> None:
    """The verb for archives of any size.

    Raises:
        UsageError: An option that says nothing of data sets.
    """
    from mahtrt.distributed.options import DatasetOptions
    from mahtrt.distributed.predict_dataset import predict_dataset

    for name in ("csv", "maps", "dicom_sr", "slicer", "landmark_codes", "skip_bad"):
        if getattr(arguments, name):
            raise UsageError(
                f"--{name.replace('_', '-')}", got="--out", expected="one of the two alone"
            )
    options = DatasetOptions(
        bundle=arguments.bundle,
        archives=arguments.images,
        out=out,
        ray=arguments.ray,
        engine=arguments.engine,
        overlay=arguments.overlay,
        spacing_mm=arguments.spacing_mm,
        threads=arguments.threads,
        workers=arguments.workers,
        trust=arguments.trust(),
        require=device_from_text(arguments.require),
        quantities=arguments.quantities,
        files_per_part=arguments.files_per_part,
        watch=arguments.watch,
        retry_errors=arguments.retry_errors,
    )
    with StageDisplay() as display:
        result = predict_dataset(options, display)
    if arguments.json is not None:
        write_json(result.to_dict(), arguments.json)
    for note in result.notes:
        say(f"note: {note}")
    before = f", {result.done_before} files were done before" if result.done_before else ""
    answer(
        f"{result.out}: {result.rows} rows by {result.engine} ({result.errors} with an error)"
        f"{before}; {result.images_per_s:.1f} images/s with {result.workers} worker(s)"
        f"{_told_deaths(result.restarts)}"
    )


def _told_deaths(restarts: int) -> str:
    """What became of the files of workers that died, as the end of a line."""
    if not restarts:
        return ""
    who = "1 worker died; its" if restarts == 1 else f"{restarts} workers died; their"
    return f"; {who} files were done again"


def _writers(arguments: PredictArguments) -> list[CaseWriter]:
    """What writes a file for each image, where it is asked for.

    Raises:
        UsageError: Codes without a report that they could stand in.
    """
    if arguments.landmark_codes is not None and arguments.dicom_sr is None:
        raise UsageError("--landmark-codes", got="no --dicom-sr", expected="a report to write")
    if arguments.dicom_sr is None and arguments.slicer is None:
        return []
    from mahtrt.dicom.case_files import MarkupsWriter, ReportWriter

    writers: list[CaseWriter] = []
    if arguments.dicom_sr is not None:
        writers.append(ReportWriter(arguments.dicom_sr, arguments.landmark_codes))
    if arguments.slicer is not None:
        writers.append(MarkupsWriter(arguments.slicer))
    return writers
