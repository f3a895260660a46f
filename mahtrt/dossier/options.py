"""What a dossier is asked to hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt.benchmarks.options import BenchOptions


@dataclass(frozen=True, slots=True)
class DossierOptions:
    """What a dossier holds, and where it is written.

    Attributes:
        bench: The measuring run: bundle, images, reference and limits. All engines of the bundle
            that run here take part.
        folder: The dossier; a dossier that is there is replaced.
        pdf: Whether the page is printed to PDF too, which needs a browser.
        pictures: Whether the page holds pictures of the worst cases, which are parts of images.
        changed_from: An earlier bundle of the same network, for a change report.
        rebuild: How many times the default engine is built again; 0 leaves that out.
        sensitivity: ``sensitivity.json`` of ``mahtrt calibrate``, for the page; none or one.
    """

    bench: BenchOptions
    folder: Path
    pdf: bool = True
    pictures: bool = True
    changed_from: Path | None = None
    rebuild: int = 0
    sensitivity: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class DossierResult:
    """A dossier that was written.

    Attributes:
        files: Names of its files.
        bench: The document ``mahtrt.bench/1`` of the measuring run.
        accuracy_pass: Whether every accuracy that was judged is within its limits: of the engines,
            of each pair of them, of the change and of the rebuilt engines.
        latency_pass: Whether the default engine's latency is.
        reasons: Why the dossier is not a pass, one sentence each.
    """

    folder: Path
    files: tuple[str, ...]
    bench: dict[str, Any]
    accuracy_pass: bool
    latency_pass: bool
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` writes."""
        return {
            "schema": "mahtrt.dossier/1",
            "folder": self.folder.name,
            "files": list(self.files),
            "accuracy_pass": self.accuracy_pass,
            "latency_pass": self.latency_pass,
            "pass": self.passed,
            "reasons": list(self.reasons),
        }

    @property
    def passed(self) -> bool:
        """Whether everything is within its limits."""
        return self.accuracy_pass and self.latency_pass

    @property
    def exit_code(self) -> int:
        """3 where an accuracy is over its limit, else 4 where the latency is, else 0."""
        from mahtrt.errors import GateError, LatencyError

        if not self.accuracy_pass:
            return GateError.exit_code
        return 0 if self.latency_pass else LatencyError.exit_code
