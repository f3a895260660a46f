"""``mahtrt predict``: landmarks of image files, as a table, JSON, CSV or pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mahtrt.verbs.command import ENGINES, OUTPUT, ResultFile, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, say, show, write_text
from mahtrt.verbs.options import Json, SkipBad, SpacingMm, Threads, TrustArguments

if TYPE_CHECKING:
    from rich.table import Table

    from mahtrt.runtime.predict import PredictResult


@dataclass(frozen=True, kw_only=True)
class PredictArguments(TrustArguments):
    """What ``mahtrt predict`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder.")]
    images: Annotated[list[Path], argument("Image files, DICOM included.")]
    engine: Annotated[
        str | None,
        option(ENGINES, "Engine of the bundle, or a target; the bundle's default without it."),
    ] = None
    json: Json = None
    csv: Annotated[
        str | None, option(OUTPUT, "File for the result as CSV; - is stdout."), ResultFile()
    ] = None
    overlay: Annotated[
        Path | None, option(OUTPUT, "Folder for pictures with the landmarks drawn on them.")
    ] = None
    spacing_mm: SpacingMm = None
    skip_bad: SkipBad = False
    threads: Threads = None


@as_command
def command(arguments: PredictArguments) -> None:
    """Find landmarks in images."""
    from mahtrt.atomic import together
    from mahtrt.runtime.predict import PredictOptions, predict

    options = PredictOptions(
        bundle=arguments.bundle,
        images=arguments.images,
        engine=arguments.engine,
        overlay=arguments.overlay,
        spacing_mm=arguments.spacing_mm,
        skip_bad=arguments.skip_bad,
        threads=arguments.threads,
        trust=arguments.trust(),
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


def table_of(result: PredictResult) -> Table:
    """A row per image and landmark."""
    from rich.table import Table

    from mahtrt.verbs.rendering import line

    # Text and not str: brackets in a file's name are no markup.
    table = Table(title=line(f"{result.bundle} · {result.engine}"), title_justify="left")
    for column in ("image", "landmark"):
        table.add_column(column)
    for column in ("x px", "y px", "confidence", "spread px"):
        table.add_column(column, justify="right")
    table.add_column("")  # a remark
    for prediction in result.predictions:
        for index, row in enumerate(prediction.landmarks.to_dict()["landmarks"]):
            numbers = (row["x"], row["y"], row["confidence"], row["spread_px"])
            table.add_row(
                line(prediction.image if index == 0 else ""),
                line(row["name"]),
                *("" if number is None else f"{number:.2f}" for number in numbers),
                "wide heatmap" if row["two_peaks"] else "",
            )
    return table
