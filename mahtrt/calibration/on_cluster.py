"""Ranges of tensors over large sets of images, collected on a cluster.

Each worker looks at parts of the images; the parts are merged here in the order of the images.
What merges is exact (:mod:`mahtrt.calibration.seen`), so the ranges are those of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mahtrt.calibration.ranges import (
    Ranges,
    check_percentile,
    ranges_of_parts,
    segments,
    snapshots_of,
)
from mahtrt.calibration.seen import RangeLooker, SeenPart
from mahtrt.data.datasets import is_phantom, open_dataset
from mahtrt.data.subset import NetworkTensors, Subset
from mahtrt.distributed.cluster import joined_cluster
from mahtrt.distributed.mapping import Mapping
from mahtrt.errors import DataError
from mahtrt.graph.graph_file import GraphFile, read_graph

IMAGES_PER_PART = 64


@dataclass(frozen=True, slots=True)
class RangeWork:
    """What every worker is told.

    Attributes:
        onnx: The export; nodes of a cluster read it from the same path, as well as ``data``.
        sha256: Its digest.
        data: DATA.
        images: How many images that holds.
        threads: Of one inference.
    """

    onnx: Path
    sha256: str
    data: str
    images: int
    tensors: tuple[str, ...]
    threads: int = 1


def collect_on_cluster(
    address: str,
    graph: GraphFile,
    work: RangeWork,
    percentile: float,
    progress: Callable[[int, int], None],
) -> Ranges:
    """The ranges of some tensors, as :func:`mahtrt.calibration.ranges.collect_ranges` gives them.

    Args:
        address: As for :func:`mahtrt.distributed.cluster.joined_cluster`.
        progress: Called with the images done and their number.

    Raises:
        MissingComponentError: The cluster cannot be reached.
        DataError, ModelError: As ``collect_ranges``, and where a node has other files.
    """
    check_percentile(percentile)
    batch = graph.batch
    places = segments(work.images, batch, IMAGES_PER_PART)
    named = [str(work.onnx), *([] if is_phantom(work.data) else [work.data])]
    mapping = Mapping(partial(_looker, work), places, named, threads=work.threads)
    with joined_cluster(address) as cluster:

        def told() -> Iterator[SeenPart]:
            done = 0
            for part in mapping.results(cluster):
                done += part.images
                progress(done, work.images)
                yield part

        return ranges_of_parts(told(), percentile, snapshots_of(work.images, batch))


def _looker(work: RangeWork) -> Callable[[Sequence[int]], SeenPart]:
    """What looks at the images from a start to an end."""
    graph = read_graph(work.onnx)
    if graph.sha256 != work.sha256:
        raise DataError(
            str(work.onnx),
            got=f"another file on a node ({graph.sha256[:12]})",
            expected=f"{work.sha256[:12]}, as where the run was started",
        )
    dataset = open_dataset(work.data, inputs=graph.spec.input_names)
    if len(dataset) != work.images:
        raise DataError(
            work.data, got=f"{len(dataset)} images on a node", expected=f"{work.images}"
        )
    looker = RangeLooker(graph.path, work.tensors, work.threads)

    def look(place: Sequence[int]) -> SeenPart:
        start, stop = place
        return looker.look_at(
            NetworkTensors(Subset(dataset, range(start, stop)), graph.spec, kept_mib=0), start
        )

    return look
