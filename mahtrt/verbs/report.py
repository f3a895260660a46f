"""``mahtrt report``: a page about bundles, for people who read rather than run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mahtrt.errors import UsageError
from mahtrt.verbs.command import (
    DATA,
    MEASURING,
    OUTPUT,
    ResultFile,
    argument,
    as_command,
    option,
)
from mahtrt.verbs.console import StageDisplay, answer, complain, write_json, write_text
from mahtrt.verbs.dossier_arguments import DossierArguments
from mahtrt.verbs.options import (
    DATA_HELP,
    BudgetArguments,
    Json,
    Points,
    ReferenceArguments,
    SkipBad,
    SpacingMm,
    Threads,
    TrustArguments,
    points_from_text,
)

if TYPE_CHECKING:
    from mahtrt.dossier.options import DossierOptions
    from mahtrt.reporting.options import ReportOptions


@dataclass(frozen=True, kw_only=True)
class ReportArguments(DossierArguments, TrustArguments, ReferenceArguments, BudgetArguments):
    """What ``mahtrt report`` is given."""

    bundles: Annotated[list[Path], argument("Bundles: .mahtrt folders. Several are compared.")]
    html: Annotated[
        str | None, option(OUTPUT, "File for the page, which needs no other file."), ResultFile()
    ] = None
    pictures: Annotated[
        bool, option(OUTPUT, "Parts of the images of the worst cases are shown on the page.")
    ] = True
    measured: Annotated[
        list[Path] | None,
        option(
            MEASURING,
            "JSON of mahtrt bench, one for each bundle in their order. Without it, bundles are "
            "measured on --data, and without that, what their build measured is shown.",
        ),
    ] = None
    sensitivity: Annotated[
        list[Path] | None,
        option(
            MEASURING,
            "sensitivity.json of mahtrt calibrate, one for each bundle in their order.",
        ),
    ] = None
    data: Annotated[str | None, option(DATA, "DATA to measure on. " + DATA_HELP)] = None
    images: Annotated[
        int | None, option(DATA, "Number of its images to use, evenly spread.", least=1)
    ] = None
    points: Points = None
    skip_bad: SkipBad = False
    spacing_mm: SpacingMm = None
    latency_budget_ms: Annotated[
        float,
        option(MEASURING, "Largest p99 of the default engine's end-to-end time, where measured."),
    ] = 100.0
    threads: Threads = None
    json: Json = None

    def options(self) -> ReportOptions:
        """The verb's options."""
        from mahtrt.reporting.options import ReportOptions

        return ReportOptions(
            bundles=self.bundles,
            html=self.html is not None,
            latency_budget_ms=self.latency_budget_ms,
            measured=tuple(self.measured or ()),
            data=self.data,
            points=points_from_text(self.points),
            spacing_mm=self.spacing_mm,
            skip_bad=self.skip_bad,
            images=self.images,
            reference=self.reference,
            model=self.source(),
            limits=self.limits(),
            sensitivity=tuple(self.sensitivity or ()),
            pictures=self.pictures,
            threads=self.threads,
            trust=self.trust(),
        )


def _write_dossier(options: DossierOptions, json: str | None) -> NoReturn:
    """Write a dossier, say where, and end with its exit code."""
    from mahtrt.dossier.dossier import write_dossier

    with StageDisplay() as display:
        result = write_dossier(options, display)
    if json is not None:
        write_json(result.to_dict(), json)
    answer(f"Dossier: {result.folder} ({len(result.files)} files)")
    for reason in result.reasons:
        complain(f"error: {reason}")
    raise typer.Exit(result.exit_code)


@as_command
def command(arguments: ReportArguments) -> None:
    """Write a page about bundles, or a dossier to file.

    It shows verdict, speed, accuracy, worst cases, plan and provenance, and compares several
    bundles. It is one HTML file that needs no network, and holds the JSON of its numbers. With
    --data, exit code 3 says that an engine is over an accuracy budget, 4 that the latency is;
    what was measured earlier is shown, and not judged again.
    """
    from mahtrt.atomic import together
    from mahtrt.reporting.report import report

    dossier = arguments.dossier_options(arguments.options())
    if dossier is not None:
        _write_dossier(dossier, arguments.json)
    if arguments.html is None and arguments.json is None:
        raise UsageError(
            "report",
            got="neither --html nor --json nor --dossier",
            expected="at least one",
            fix="Give --html report.html.",
        )
    with together(), StageDisplay() as display:
        result = report(arguments.options(), display)
        if arguments.json is not None:
            write_json(result.document, arguments.json)
        if arguments.html is not None and result.page is not None:
            write_text(result.page, arguments.html)
    answer(f"Verdict: {'passed' if result.passed else 'not passed'}")
    if arguments.html not in (None, "-"):
        answer(f"Page: {arguments.html}")
    for reason in result.reasons:
        complain(f"error: {reason}" if result.exit_code else reason)
    raise typer.Exit(result.exit_code)
