"""A dossier: one measuring run, and the documents that rest on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.report import BenchReport
from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.dossier import change, equivalence, protocol, rebuild, verification
from mahtrt.dossier.change_facts import check_same_network
from mahtrt.dossier.cohort import ImageSet, on_images, open_image_set
from mahtrt.dossier.contents import extras_of
from mahtrt.dossier.distributions import runtime_packages
from mahtrt.dossier.folder import DossierWriter, check_replaceable, write_folder
from mahtrt.dossier.model_card import model_card_values
from mahtrt.dossier.options import DossierOptions, DossierResult
from mahtrt.dossier.pdf import find_browser, print_pdf
from mahtrt.dossier.rendering import render
from mahtrt.dossier.sbom import FILE_NAME as SBOM_NAME
from mahtrt.dossier.sbom import sbom_text
from mahtrt.dossier.third_party import csv_of_rows, third_party_rows
from mahtrt.errors import UsageError, require
from mahtrt.measure.map_cases import MapCase
from mahtrt.progress import StageProgress, silent
from mahtrt.reporting.report import document_of, page_for


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is known before the run.

    Attributes:
        browser: What prints the page; None where no PDF is wanted.
    """

    options: DossierOptions
    bundle: Bundle
    old: Bundle | None
    browser: Path | None


@dataclass(slots=True)
class _Judged:
    """What was judged so far."""

    failed: list[str] = field(default_factory=list)
    latency_pass: bool = True


def write_dossier(options: DossierOptions, progress: StageProgress = silent) -> DossierResult:
    """Measure a bundle once, and write what a technical file needs of it.

    The folder is also written where something is over its limits: the result says so, and so do the
    documents.

    Raises:
        DataError: No bundle, no images, or an earlier bundle of another network.
        UsageError: The folder holds something else, limits that cannot be, or nothing to compare
            with.
        IntegrityError: A bundle was changed.
        MissingComponentError: A package or a browser that a document needs is missing.
        BuildError: The disk is full, or a target refuses a graph.
    """
    plan = _checked(options, progress)
    with write_folder(options.folder) as writer:
        images = open_image_set(plan.bundle, options.bench, progress)
        sha256, fixed = _fix_protocol(plan, images, writer)
        started = protocol.now()
        report = bench(on_images(options.bench, images), progress)
        report = replace(report, warnings=(*images.notes, *report.warnings))
        span = verification.Span(started, protocol.now())
        judged = _Judged(latency_pass=report.latency_pass)
        found = _write_results(plan, images, report, (sha256, fixed, span), writer, judged)
        _write_comparisons(plan, images, writer, judged, progress)
        _write_materials(plan, found, writer)
        measured = report.to_dict()
        writer.json("bench.json", measured)
        _write_page(plan, images, (measured, report.map_cases), writer, progress)
        passed = not judged.failed and judged.latency_pass
        writer.finish({"bundle": protocol.bundle_facts(plan.bundle), "passed": passed})
        files = tuple(sorted(place.name for place in writer.root.iterdir()))
    reasons = (*judged.failed, *_reasons_of_latency(report))
    return DossierResult(
        options.folder, files, measured, not judged.failed, judged.latency_pass, reasons
    )


def _checked(options: DossierOptions, progress: StageProgress) -> _Plan:
    """Refuse what can be refused before the long work, and read the bundles."""
    check_replaceable(options.folder)
    for module in ("jinja2", "cyclonedx"):
        require(module, extra="report", needed_for="a dossier")
    browser = find_browser() if options.pdf else None
    options.bench.limits.check()
    progress("hashing", 0, 0)
    trust = options.bench.trust
    bundle = read_bundle(options.bench.bundle, trust=trust)
    old = None
    for path in filter(None, (options.bench.bundle, options.changed_from)):
        if options.folder.resolve().is_relative_to(path.resolve()):
            raise UsageError(
                f"--dossier {options.folder}",
                got=f"a place in the bundle {path}",
                expected="a place of its own",
                fix="Choose another folder.",
            )
    if options.changed_from is not None:
        old = read_bundle(options.changed_from, trust=trust)
        check_same_network(old, bundle)
    if options.rebuild:
        rebuild.check_rebuild(bundle, options.rebuild)
    return _Plan(options, bundle, old, browser)


def _fix_protocol(
    plan: _Plan, images: ImageSet, writer: DossierWriter
) -> tuple[str, dict[str, Any]]:
    """Write the protocol; its digest, and what it says."""
    more: dict[str, Any] = {"rebuild": plan.options.rebuild}
    if plan.old is not None:
        more["changed_from"] = protocol.bundle_facts(plan.old)
    document = protocol.protocol_document(plan.bundle, plan.options.bench, images, more)
    return writer.json(protocol.FILE_NAME, document), document


def _write_results(
    plan: _Plan,
    images: ImageSet,
    report: BenchReport,
    fixed: tuple[str, dict[str, Any], verification.Span],
    writer: DossierWriter,
    judged: _Judged,
) -> dict[str, Any]:
    """Write the result of the verification and the certificate; the result.

    Args:
        fixed: Digest and document of the protocol, and when the run was.
    """
    sha256, document, span = fixed
    limits = plan.options.bench.limits
    found = verification.verification_document(report, limits, sha256, span)
    bundle = protocol.bundle_facts(plan.bundle)
    writer.json(verification.FILE_NAME, found)
    writer.text(
        "verification.md",
        render("verification.md", {"bundle": bundle, "protocol": document, "result": found}),
    )
    judged.failed += _reasons("verification", found["engines"], "name")
    certificate = equivalence.equivalence_document(plan.bundle, report, images, limits, sha256)
    writer.json(equivalence.FILE_NAME, certificate)
    writer.text("equivalence.md", render("equivalence.md", certificate))
    judged.failed += _reasons("equivalence", certificate["pairs"], "first", "second")
    judged.failed += _reasons("equivalence", certificate["outputs"], "engine")
    return found


def _write_comparisons(
    plan: _Plan, images: ImageSet, writer: DossierWriter, judged: _Judged, progress: StageProgress
) -> None:
    """Write the change report and the rebuild jitter, where asked for."""
    asked = plan.options.bench
    if plan.old is not None:
        versions = change.Versions(plan.old, plan.bundle, images, asked.limits, asked.threads)
        found = change.change_document(versions, progress)
        writer.json(change.FILE_NAME, found)
        writer.text("change.md", render("change.md", change.values_of(found)))
        judged.failed += _reasons("change", found["engines"], "first", "second")
        if not found["complete"]:
            judged.failed.append("change: the two default engines were not compared")
    if plan.options.rebuild:
        setting = rebuild.RebuildSetting(plan.options.rebuild, asked.limits, asked.threads)
        found = rebuild.rebuild_document(plan.bundle, images, setting, progress)
        writer.json(rebuild.FILE_NAME, found)
        writer.text("rebuild.md", render("rebuild.md", found))
        judged.failed += _reasons("rebuild", found["builds"], "second")


def _write_materials(plan: _Plan, found: Mapping[str, Any], writer: DossierWriter) -> None:
    """Write what the bundle is made of: SBOM, third-party software, model card.

    Args:
        found: The result of the verification.
    """
    packages = runtime_packages(extras_of(plan.bundle))
    writer.text(SBOM_NAME, sbom_text(plan.bundle, packages))
    rows = third_party_rows(packages)
    writer.text("third_party.csv", csv_of_rows(rows))
    name = plan.bundle.path.resolve().name
    writer.text("third_party.md", render("third_party.md", {"name": name, "rows": rows}))
    writer.text("model_card.md", render("model_card.md", model_card_values(plan.bundle, found)))


def _write_page(
    plan: _Plan,
    images: ImageSet,
    measured: tuple[dict[str, Any], Sequence[MapCase]],
    writer: DossierWriter,
    progress: StageProgress,
) -> None:
    """Write the page of the measuring run, and print it where a PDF is wanted.

    Args:
        measured: The document of the bench, and its worst maps.
    """
    options = plan.options
    document = document_of([plan.bundle], [measured[0]], options.sensitivity)
    pictured = [images.dataset] if options.pictures else []
    writer.text("report.html", page_for(document, pictured, [measured[1]], where="report.html"))
    if plan.browser is not None:
        progress("printing", 0, 0)
        print_pdf(plan.browser, writer.root / "report.html", writer.root / "report.pdf")


def _reasons(subject: str, judged: list[dict[str, Any]], *names: str) -> Iterator[str]:
    """Why something failed, in sentences.

    Args:
        names: Fields that say what was judged.
    """
    for each in judged:
        who = " and ".join(str(each[name]) for name in names)
        yield from (f"{subject} of {who}: {h['reason']}" for h in each["limits"] if h["reason"])


def _reasons_of_latency(report: BenchReport) -> Iterator[str]:
    if not report.latency_pass:
        yield (
            f"{report.judged_row.name}: end_to_end p99 {report.judged_p99_ms:.4g} ms is over its "
            f"budget of {report.latency_budget_ms:g} ms"
        )
