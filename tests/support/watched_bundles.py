"""Bundles with reference statistics, made from others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mahtrt.bundle.bundle import Bundle, read_bundle, write_bundle
from mahtrt.bundle.reference_statistics import ReferenceStatistics, write_reference
from mahtrt.monitoring.reference import reference_of


def some_reference(images: int = 40) -> ReferenceStatistics:
    """Statistics of images whose median is about one half, and whose spacing is 0.1 mm."""
    rng = np.random.default_rng(0)
    rows = [
        {"image.p50": float(rng.normal(0.5, 0.05)), "image.spacing_mm": 0.1} for _ in range(images)
    ]
    return reference_of(rows, "tiny-fp32")


def with_reference(source: Path, out: Path, reference: ReferenceStatistics) -> Bundle:
    """A copy of a bundle that keeps these statistics."""
    bundle = read_bundle(source)
    with write_bundle(out) as writer:
        writer.take(bundle, bundle.records)
        write_reference(writer, reference)
        writer.finish(replace(bundle.manifest, files=()))
    return read_bundle(out)
