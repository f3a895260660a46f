"""What tests of dossiers share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_fakes import FakeDataset

from mahtrt.benchmarks.options import BenchOptions
from mahtrt.dossier.options import DossierResult

IMAGES = 9  # enough for intervals


@dataclass(frozen=True)
class Written:
    """A dossier and the bundles that it is about."""

    bundle: Path
    old: Path
    result: DossierResult

    def text(self, name: str) -> str:
        return (self.result.folder / name).read_text(encoding="utf-8")

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))


def quick(bundle: Path, **more: Any) -> BenchOptions:
    """A bench of few calls, on images of 2 image pixels per network pixel and 0.5 mm each."""
    data = FakeDataset(IMAGES, annotated=False)
    usual: dict[str, Any] = {
        "data": data,
        "images": IMAGES,
        "rounds": 1,
        "threads": 1,
        "cold_starts": 0,
    }
    return BenchOptions(bundle, **(usual | more))
