"""Engines of several bundles of one network and PyTorch, in one interleaved run.

    python experiments/interleave_bundles.py planned.mahtrt:openvino-int8 plain.mahtrt:openvino-fp32

``mahtrt bench`` compares the engines of one bundle. This is for what is in two: a network exported
with and without graph rewrites, say, or built with two plans. PyTorch is the reference, found from
the first bundle's provenance. The last line of stdout is the report as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2

from mahtrt.benchmarks.compare import Contender, compare
from mahtrt.benchmarks.options import CompareOptions
from mahtrt.benchmarks.reference import tuned_torch_as_reference
from mahtrt.benchmarks.report import ReportFacts
from mahtrt.bundle.bundle import read_bundle
from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset, Sample
from mahtrt.models.reference import find_reference
from mahtrt.runtime.opening import open_session
from mahtrt.verbs.console import show
from mahtrt.verbs.report_text import report_table


class Resized:
    """Images at an acquisition's size, without annotations."""

    def __init__(self, dataset: Dataset, height: int, width: int) -> None:
        self._dataset, self._size = dataset, (width, height)
        self.source = f"{dataset.source} at {width}x{height}"
        self.names = tuple(dataset.names)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self._dataset[index]
        image = cv2.resize(sample.image, self._size)
        return dataclasses.replace(sample, image=image, points_px=None, spacing_mm=None)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def main() -> int:
    given = _arguments()
    first = Path(given.engines[0].rpartition(":")[0])
    bundle = read_bundle(first)
    found = find_reference(
        bundle.spec, bundle.manifest.source, folders=(first.resolve().parent, Path.cwd())
    )
    if found is None:
        print("no PyTorch reference beside the first bundle", file=sys.stderr)
        return 1
    reference = tuned_torch_as_reference(found, bundle.spec, 1, "cpu", given.threads)
    contenders = [reference.contender]
    for each in given.engines:
        place, _, name = each.rpartition(":")
        session = open_session(place, engine=name, threads=given.threads)
        assert session.engine is not None
        label = f"{Path(place).stem}:{name}"
        record = session.engine
        contenders.append(Contender(label, record.target, record.precision, record.batch, session))
    report = compare(
        contenders,
        Resized(open_dataset(given.data), 2400, 1935),
        CompareOptions(
            rounds=given.rounds, warmup=1, max_seconds=given.max_seconds, threads=given.threads
        ),
        ReportFacts(reference.described, torch=[reference.facts]),
    )
    show(report_table(report), to_stderr=True)
    print(json.dumps(report.to_dict()))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("engines", nargs="+", metavar="BUNDLE:ENGINE")
    parser.add_argument("--data", default="phantom:3@13")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--max-seconds", type=float, default=200.0)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
