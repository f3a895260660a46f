"""The JSON documents of verbs whose results have none of their own; docs/json.md lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mahtrt.names import text_of_path
from mahtrt.schema import plain

if TYPE_CHECKING:
    from pathlib import Path

    from mahtrt.build.result import BuildResult
    from mahtrt.bundle.pack import PackResult
    from mahtrt.bundle.signature import SignResult
    from mahtrt.export.onnx import ExportResult
    from mahtrt.finetuning.qat import QatResult
    from mahtrt.runtime.expectation.records import ImageParity
    from mahtrt.runtime.verify import VerifyResult
    from mahtrt.training.train import TrainResult
    from mahtrt.verbs.calibrate import CalibrateResult


def export_document(result: ExportResult) -> dict[str, Any]:
    """``mahtrt.export/1``."""
    return {
        "schema": "mahtrt.export/1",
        "onnx": text_of_path(result.path),
        "bytes": result.path.stat().st_size,
        "sha256": result.sha256,
        "spec": plain(result.spec),
        "parity": plain(result.parity.to_dict()),
        "graph_passes": plain(result.changes),
        **_expectation(result.expectation),
    }


def calibrate_document(result: CalibrateResult, out: Path) -> dict[str, Any]:
    """``mahtrt.calibrate/1``."""
    return {
        "schema": "mahtrt.calibrate/1",
        "folder": text_of_path(out),
        "files": list(result.written),
        "card": plain(result.card),
        "notes": plain(result.notes),
    }


def qat_document(result: QatResult) -> dict[str, Any]:
    """``mahtrt.qat/1``."""
    return {
        "schema": "mahtrt.qat/1",
        "onnx": text_of_path(result.path),
        "steps": result.steps,
        "minutes": result.minutes,
        "validation": [{"step": step, "error": plain(error)} for step, error in result.errors],
        "shipped_px": plain(result.shipped_px),
        **plain(result.judged),
    }


def build_document(result: BuildResult, verb: str) -> dict[str, Any]:
    """``mahtrt.build/1``, or ``mahtrt.compile/1`` of the same keys."""
    return {
        "schema": f"mahtrt.{verb}/1",
        "bundle": text_of_path(result.path),
        "default_engine": result.manifest.default_engine,
        "passed": all(verdict.passed for verdict in result.verdicts.values()),
        "verdicts": plain(result.verdicts),
        "left_out_images": plain(result.skipped),
        "notes": plain(result.notes),
        "report": result.report.to_dict(),
    }


def pack_document(result: PackResult) -> dict[str, Any]:
    """``mahtrt.pack/1``."""
    return {
        "schema": "mahtrt.pack/1",
        "bundle": text_of_path(result.path),
        "engine": result.manifest.default_engine,
        "bytes_before": result.bytes_before,
        "bytes_after": result.bytes_after,
        "notes": plain(result.notes),
    }


def sign_document(result: SignResult) -> dict[str, Any]:
    """``mahtrt.sign/1``."""
    signature = text_of_path(result.path)
    return {"schema": "mahtrt.sign/1", "signature": signature, "files": result.files}


def verify_document(result: VerifyResult, bundle: Path) -> dict[str, Any]:
    """``mahtrt.verify/1``."""
    return {
        "schema": "mahtrt.verify/1",
        "bundle": text_of_path(bundle),
        "files": result.files,
        "signature": result.signature,
        "replays": plain(result.replays),
        **_expectation(result.expectation),
    }


def train_document(result: TrainResult, steps: int, judged_on: str) -> dict[str, Any]:
    """``mahtrt.train/1``.

    Args:
        judged_on: What the scores were measured on, in words.
    """
    scores = result.scores
    found = None if scores is None else {"data": plain(judged_on), **plain(scores.to_dict())}
    return {
        "schema": "mahtrt.train/1",
        "checkpoint": text_of_path(result.path),
        "steps": steps,
        "loss": plain(result.loss),
        "scores": found,
        "spec": plain(result.spec),
    }


def _expectation(found: ImageParity | None) -> dict[str, Any]:
    """What the comparison with the user's own pipeline found, where there was one."""
    return {} if found is None else {"expectation": found.to_dict()}


def expectation_document(schema: str, found: ImageParity) -> dict[str, Any]:
    """What a verb tells that ended because the landmarks do not agree."""
    return {"schema": schema, **_expectation(found)}
