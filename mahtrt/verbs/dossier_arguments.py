"""The options of ``mahtrt report --dossier``, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mahtrt.errors import UsageError
from mahtrt.verbs.command import MEASURING, OUTPUT, option

if TYPE_CHECKING:
    from mahtrt.dossier.options import DossierOptions
    from mahtrt.reporting.options import ReportOptions


@dataclass(frozen=True, kw_only=True)
class DossierArguments:
    """What a dossier is asked to hold."""

    dossier: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Folder for the documents of a technical file about one bundle, which is measured for "
            "it. Exit code 3 where an accuracy is over its limit, 4 where the latency is.",
        ),
    ] = None
    pdf: Annotated[
        bool, option(OUTPUT, "The dossier holds the page as PDF, which needs a browser.")
    ] = True
    changed_from: Annotated[
        Path | None,
        option(MEASURING, "Earlier bundle of the same network: --dossier reports the change."),
    ] = None
    rebuild: Annotated[
        int,
        option(
            MEASURING,
            "How many times --dossier builds the default engine again, to see how far landmarks "
            "move between builds.",
            least=0,
        ),
    ] = 0

    def dossier_options(self, asked: ReportOptions) -> DossierOptions | None:
        """What the dossier is asked to hold, None where none is asked for.

        Args:
            asked: The options of the page.

        Raises:
            UsageError: Several bundles, a page beside the dossier's, or measurements that were
                made before its protocol; or options of a dossier without one.
        """
        if self.dossier is None:
            self._refuse_alone()
            return None
        for name, got in (
            ("--measured", "measurements made before the protocol" if asked.measured else ""),
            ("--html", "a page beside the dossier's own" if asked.html else ""),
            ("bundles", f"{len(asked.bundles)} bundles" if len(asked.bundles) != 1 else ""),
        ):
            if got:
                expected = "one bundle, measured now, and nothing beside --dossier"
                raise UsageError(f"{name} with --dossier", got=got, expected=expected)
        from mahtrt.dossier.options import DossierOptions
        from mahtrt.reporting.report import asked_of_bench

        return DossierOptions(
            asked_of_bench(asked.bundles[0], asked),
            self.dossier,
            pdf=self.pdf,
            pictures=asked.pictures,
            changed_from=self.changed_from,
            rebuild=self.rebuild,
            sensitivity=tuple(asked.sensitivity),
        )

    def _refuse_alone(self) -> None:
        """Raises UsageError for options of a dossier where there is none."""
        for name, is_given in (
            ("--no-pdf", not self.pdf),
            ("--changed-from", self.changed_from is not None),
            ("--rebuild", self.rebuild != 0),
        ):
            if is_given:
                fix = "Give --dossier DIR too."
                raise UsageError(name, got="no dossier", expected="--dossier", fix=fix)
