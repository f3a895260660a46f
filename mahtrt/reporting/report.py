"""Report: the document of one or several bundles, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mahtrt.atomic import write_text_atomic
from mahtrt.benchmarks.bench import bench, images_of
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.report import SCHEMA as BENCH_SCHEMA
from mahtrt.benchmarks.report import BenchReport
from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.plan import plan_from_json, plan_name
from mahtrt.data.sample import Dataset
from mahtrt.errors import DataError, UsageError, require, shown
from mahtrt.measure.map_cases import MapCase
from mahtrt.parsing import read_json, read_json_file
from mahtrt.progress import StageProgress, silent
from mahtrt.reading import Wanted
from mahtrt.reporting.blocks import Cases
from mahtrt.reporting.document import At
from mahtrt.reporting.options import ReportOptions, ReportResult
from mahtrt.reporting.page import SCHEMA, html_of, page_of
from mahtrt.reporting.pictures import pictured_cases
from mahtrt.reporting.sections.worst import cases_of
from mahtrt.schema import check_schema

_BENCH = Wanted("the JSON of a mahtrt bench", DataError, "Give what mahtrt bench --json wrote.")
_SENSITIVITY = Wanted(
    "the sensitivity of a network's blocks", DataError, "Give what mahtrt calibrate wrote."
)
_SENSITIVITY_SCHEMA = "mahtrt.sensitivity/2"
_STORED = "report.json"


def report(options: ReportOptions, progress: StageProgress = silent) -> ReportResult:
    """Put together what is known of bundles, measure what is not, and write the page.

    Raises:
        UsageError: No bundle, or as many JSON files as there are not bundles.
        DataError: A bundle without measurements, or a file that is not what it should be.
        IntegrityError: A bundle was changed.
        MissingComponentError: The template engine of the page is not installed.
        MahtrtError: What :func:`mahtrt.bench` raises, where bundles are measured.
    """
    _check(options)
    bundles = [read_bundle(path, trust=options.trust) for path in options.bundles]
    measured = _measurements(bundles, options, progress)
    documents = [each.document for each in measured]
    document = document_of(bundles, documents, options.sensitivity)
    page = None
    if options.html is not False:
        maps = [each.maps for each in measured]
        page = page_for(document, _images(bundles, options), maps)
    if page is not None and isinstance(options.html, Path):
        write_text_atomic(options.html, page)
    verdicts = [At(each, "", "bench")["verdict"] for each in documents]
    reasons = [str(item.value) for verdict in verdicts for item in verdict["reasons"].items()]
    codes = [each.exit_code for each in measured if each.exit_code]
    passed = all(verdict.flag("pass") for verdict in verdicts)
    return ReportResult(document, page, passed, tuple(reasons), min(codes, default=0))


def document_of(
    bundles: Sequence[Bundle],
    benches: Sequence[Mapping[str, Any]],
    sensitivity: Sequence[Path] = (),
) -> dict[str, Any]:
    """The ``mahtrt.report/1`` of bundles and the JSON documents of their benches.

    Args:
        sensitivity: Files of ``mahtrt calibrate``, in the order of the bundles.

    Raises:
        DataError: A file that does not hold a sensitivity.
    """
    parts: list[dict[str, Any]] = []
    for number, (bundle, measured) in enumerate(zip(bundles, benches, strict=True)):
        part: dict[str, Any] = {"bench": dict(measured)}
        if (plan := _plan(bundle)) is not None:
            part["plan"] = plan
        if number < len(sensitivity):
            part["sensitivity"] = _sensitivity(sensitivity[number])
        parts.append(part)
    return {"schema": SCHEMA, "bundles": parts}


def page_for(
    document: Mapping[str, Any],
    images: Sequence[Dataset | None] = (),
    maps: Sequence[Sequence[MapCase]] = (),
    *,
    where: str = "report",
) -> str:
    """The page of a document as HTML.

    Args:
        images: The images that each bundle was measured on, for pictures of the worst cases; None
            or nothing for no pictures.
        maps: The worst maps of each bundle, of a network that has no landmarks.

    Raises:
        DataError: A value that a bench does not write.
        MissingComponentError: The template engine is not installed.
    """
    parts = At(document, "", where)["bundles"].items()
    pictured: list[Cases | None] = []
    for number, part in enumerate(parts):
        dataset = images[number] if number < len(images) else None
        cases = cases_of(part["bench"])
        names = [str(item.value) for item in part["bench"]["model"]["landmarks"].items()]
        worst = maps[number] if number < len(maps) else ()
        if dataset is None or cases is None or not (names or worst):
            pictured.append(None)
        else:
            pictured.append(pictured_cases(cases, dataset, names, worst))
    return html_of(page_of(document, cases=pictured, where=where))


def page_of_bench(options: BenchOptions, measured: BenchReport) -> str:
    """The page of one bench as HTML, with pictures of the images that it was measured on.

    Raises:
        MissingComponentError: The template engine is not installed.
    """
    bundle = read_bundle(options.bundle, trust=options.trust)
    document = document_of([bundle], [measured.to_dict()])
    return page_for(document, [images_of(bundle, options, [])], [measured.map_cases])


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is known of one bundle: the document of its bench, and more where it ran just now."""

    document: dict[str, Any]
    maps: tuple[MapCase, ...] = ()
    exit_code: int = 0


def _check(options: ReportOptions) -> None:
    if not options.bundles:
        raise UsageError("report", got="no bundle", expected="at least one")
    for name, files in (("--measured", options.measured), ("--sensitivity", options.sensitivity)):
        if files and len(files) != len(options.bundles):
            raise UsageError(
                name,
                got=f"{len(files)} file(s) for {len(options.bundles)} bundle(s)",
                expected="one for each bundle, in their order",
            )
    if options.html is not False:
        require("jinja2", extra="report", needed_for="the page of a report")


def _measurements(
    bundles: Sequence[Bundle], options: ReportOptions, progress: StageProgress
) -> list[_Measured]:
    """The document of each bundle's bench: given, measured now, or written by its build."""
    if options.measured:
        pairs = zip(bundles, options.measured, strict=True)
        return [
            _Measured(_checked(_as_bench(read_json_file(path, _BENCH), str(path)), bundle, path))
            for bundle, path in pairs
        ]
    if options.data is not None:
        reports = [bench(asked_of_bench(bundle.path, options), progress) for bundle in bundles]
        return [_Measured(each.to_dict(), each.map_cases, each.exit_code) for each in reports]
    return [_Measured(_stored(bundle)) for bundle in bundles]


def asked_of_bench(bundle: Path, options: ReportOptions) -> BenchOptions:
    """How a bundle is measured."""
    asked = BenchOptions(
        bundle,
        data=options.data,
        points=options.points,
        spacing_mm=options.spacing_mm,
        skip_bad=options.skip_bad,
        reference=options.reference,
        model=options.model,
        limits=options.limits,
        latency_budget_ms=options.latency_budget_ms,
        threads=options.threads,
        trust=options.trust,
    )
    return asked if options.images is None else replace(asked, images=options.images)


def _stored(bundle: Bundle) -> dict[str, Any]:
    """The report that a build wrote into its bundle."""
    if _STORED not in bundle.records:
        raise DataError(
            str(bundle.path),
            got="a bundle without measurements",
            expected=f"{_STORED} in it",
            fix="Give --data to measure now, or --measured with the JSON of a bench.",
        )
    file = bundle.file(_STORED)
    return _as_bench(read_json(file.read_bytes(), str(file), "a report"), str(file))


def _as_bench(data: Any, where: str) -> dict[str, Any]:
    """What was read, if it is a bench."""
    if not isinstance(data, dict):
        raise DataError(where, got=shown(data), expected="the JSON of a mahtrt bench")
    check_schema(str(data.get("schema", "none")), BENCH_SCHEMA, where)
    return data


def _checked(document: dict[str, Any], bundle: Bundle, path: Path) -> dict[str, Any]:
    """The document, if it is of this bundle's graph, as far as both tell of theirs."""
    model = At(document, "", str(path))["model"]
    provenance, known = model.get("provenance"), bundle.manifest.provenance
    measured = provenance.text("onnx_sha256") if provenance is not None else ""
    landmarks = tuple(item.value for item in model["landmarks"].items())
    is_other = known is not None and measured not in ("", known.onnx_sha256)
    if is_other or landmarks != bundle.spec.landmarks:
        raise DataError(
            str(path),
            got=f"a bench of another network, in {model.text('bundle', 'a bundle')}",
            expected=f"one of {bundle.path}",
            fix="Give the files in the order of the bundles.",
        )
    return document


def _plan(bundle: Bundle) -> dict[str, Any] | None:
    """The plan of the bundle's precision, without the names of single products."""
    name = plan_name(bundle.manifest.precision)
    if name not in bundle.records:
        return None
    file = bundle.file(name)
    table = plan_from_json(file.read_bytes(), where=str(file)).to_dict()
    dropped = ("nodes", "float_nodes")
    blocks = [{k: v for k, v in each.items() if k not in dropped} for each in table["blocks"]]
    return table | {"blocks": blocks}


def _sensitivity(path: Path) -> dict[str, Any]:
    data = read_json_file(path, _SENSITIVITY)
    if not isinstance(data, dict):
        raise DataError(str(path), got=shown(data), expected="what mahtrt calibrate wrote")
    check_schema(str(data.get("schema", "none")), _SENSITIVITY_SCHEMA, str(path))
    return data


def _images(bundles: Sequence[Bundle], options: ReportOptions) -> list[Dataset | None]:
    """The images of each bundle, where pictures are wanted: those of DATA, else golden ones."""
    if not options.pictures:
        return []
    return [_images_of(bundle, options) for bundle in bundles]


def _images_of(bundle: Bundle, options: ReportOptions) -> Dataset | None:
    if options.data is None and bundle.manifest.golden is None:
        return None
    return images_of(bundle, asked_of_bench(bundle.path, options), [])
