"""Measuring how far landmarks move, and other outputs change, when one block alone is INT8.

The quantised graph is executed literally, as its Q/DQ nodes say, by ONNX Runtime with its INT8
kernels off: what is found are the errors of INT8 itself and of no target's kernels. For each block
only the part of the graph behind it is run, from tensors that the floating-point network gave
(:mod:`mahtrt.graph.subgraph`). Blocks share such a run as long as their tensors fit in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mahtrt.bundle.plan import Plan
from mahtrt.data.feed import Feed, batches
from mahtrt.errors import DataError
from mahtrt.graph.graph_file import GraphFile
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.subgraph import boundary, downstream, extract, size_in_bytes, upstream
from mahtrt.measure.distances import other_distances, other_targets
from mahtrt.measure.judged import OutputSet, judged_outputs
from mahtrt.planning.blocks import Candidate, compose, decidable
from mahtrt.planning.matrix import BlockRow, Sensitivity, cells_of, other_cells
from mahtrt.planning.recipe import NetworkToPlan
from mahtrt.planning.store import LandmarkStore, StoredLandmarks
from mahtrt.runtime.decode import check_judged, decode_batches, landmark_names, needed_outputs
from mahtrt.targets.onnxruntime.run import OrtMode, open_onnx

Tensors = dict[str, NDArray[Any]]

DEFAULT_MEMORY_MIB = 2560


@dataclass(frozen=True, slots=True)
class SensitivityOptions:
    """How to measure.

    Attributes:
        cache: Folder that keeps results between runs, None for none.
        memory_mib: For the tensors that blocks start from; more means fewer runs of the network.
        threads: For ONNX Runtime; None lets it choose.
    """

    cache: Path | None = None
    memory_mib: int = DEFAULT_MEMORY_MIB
    threads: int | None = None


def measure_sensitivity(
    network: NetworkToPlan,
    images: Sequence[Feed],
    options: SensitivityOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """The landmark x block matrix.

    Args:
        network: Candidates without a choice are passed over.
        images: Preprocessed cases (C, H, W), a few; with more, p99 means more.
        progress: Called with the blocks done and their number.

    Raises:
        DataError: No images.
        ModelError: A network that gives nothing to measure by, or that ONNX Runtime cannot run.
        SpecError: The ranges lack a tensor.
    """
    options, graph, recipe = options or SensitivityOptions(), network.graph, network.recipe
    blocks = decidable(network.candidates)
    if not images:
        raise DataError("sensitivity", got="no images", expected="at least one")
    digest = _digest(images)
    store = LandmarkStore(options.cache)
    base = _key(graph, digest)
    measuring = _Measuring(network, images, options)
    reference = _reference(store, base, measuring)
    keys = {c.name: {**base, "recipe": recipe.digest(), "nodes": list(c.nodes)} for c in blocks}
    found = {
        c.name: kept
        for c in blocks
        if (kept := store.read(keys[c.name])) is not None and kept.targets == reference.targets
    }
    tell, cell_px = progress or (lambda *_: None), graph.spec.heatmap_cell_px
    tell(len(found), len(blocks))
    for name, measured in measuring.blocks([c for c in blocks if c.name not in found]):
        store.write(keys[name], measured)
        found[name] = measured
        tell(len(found), len(blocks))
    return Sensitivity(
        landmarks=(*landmark_names(graph.spec), *(target.name for target in reference.targets)),
        blocks=tuple(_row(c, reference, found[c.name], cell_px) for c in blocks),
        images=len(images),
        images_digest=digest,
        onnx_sha256=graph.sha256,
        recipe=recipe.digest(),
        method=recipe.method_name,
        weight_bits=recipe.weight_bits,
    )


def _reference(
    store: LandmarkStore, key: Mapping[str, Any], measuring: _Measuring
) -> StoredLandmarks:
    """What the floating-point network finds: kept, or measured now."""
    found = store.read(key)
    if found is None:
        found = measuring.reference()
        store.write(key, found)
    return found


def _key(graph: GraphFile, images_digest: str) -> dict[str, Any]:
    """What everything that is measured of a graph depends on."""
    key: dict[str, Any] = {"onnx": graph.sha256, "images": images_digest}
    others = [output.name for output in judged_outputs(graph.spec)]
    return {**key, "outputs": others} if others else key


def _row(
    candidate: Candidate, reference: StoredLandmarks, found: StoredLandmarks, cell_px: float
) -> BlockRow:
    return BlockRow(
        name=candidate.name,
        nodes=candidate.nodes,
        flops_share=round(candidate.flops_share, 6),
        ruled_out=candidate.ruled_out,
        excluded=candidate.excluded,
        cells=(
            *cells_of(found.points_px - reference.points_px, reference.spread_px, cell_px),
            *other_cells(found.others, found.targets),
        ),
    )


def _digest(images: Sequence[Feed]) -> str:
    digest = hashlib.sha256()
    for feed in images:
        for image in feed.values():
            digest.update(np.ascontiguousarray(image, np.float32).tobytes())
    return digest.hexdigest()


class _Measuring:
    """The runs behind the matrix."""

    def __init__(
        self, network: NetworkToPlan, images: Sequence[Feed], options: SensitivityOptions
    ) -> None:
        graph = network.graph
        self.spec, self.proto = graph.spec, graph.proto
        self.index = GraphIndex(graph.proto)
        self.candidates, self.recipe, self.options = network.candidates, network.recipe, options
        check_judged(graph.spec, f"network {graph.spec.family}")
        confidence = graph.spec.output("confidence")
        needed = needed_outputs(graph.spec)
        self.outputs = [name for name in needed if not confidence or name != confidence.name]
        self.images = len(images)
        # Batches as the graph wants them; the last is filled up with its own images.
        self.feeds = [dict(feed) for feed, _ in batches(images, graph.batch)]

    def reference(self) -> StoredLandmarks:
        """The landmarks of the floating-point network."""
        return self._found(self._float_outputs)

    @cached_property
    def _float_outputs(self) -> list[Tensors]:
        runner = _Runner(self.proto, self.outputs, self.options.threads)
        return [runner(feed) for feed in self.feeds]

    def blocks(self, candidates: Sequence[Candidate]) -> Iterator[tuple[str, StoredLandmarks]]:
        """The landmarks with one block after another in INT8."""
        for group in self._groups(candidates):
            yield from self._measure(group)

    def _groups(self, candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
        """Candidates whose tensors of all images fit in memory together."""
        group: list[Candidate] = []
        tensors: set[str] = set()
        for candidate in candidates:
            more = tensors | set(self._boundary(candidate))
            if group and self._bytes(more) * len(self.feeds) > self.options.memory_mib * 2**20:
                yield group
                group, more = [], set(self._boundary(candidate))
            group.append(candidate)
            tensors = more
        if group:
            yield group

    def _measure(self, group: Sequence[Candidate]) -> Iterator[tuple[str, StoredLandmarks]]:
        tensors = sorted({name for c in group for name in self._boundary(c)})
        made = [name for name in tensors if name in self.index.producer]
        prefix = _Runner(
            extract(self.index, upstream(self.index, made), made), made, self.options.threads
        )
        # Only a group of one can be too large for memory; it goes through in parts.
        room = self.options.memory_mib * 2**20 // max(1, self._bytes(set(tensors)))
        step = len(self.feeds) if len(group) > 1 else min(max(1, room), len(self.feeds))
        results: dict[str, list[Tensors]] = {c.name: [] for c in group}
        for start in range(0, len(self.feeds), step):
            kept = [{**feed, **prefix(feed)} for feed in self.feeds[start : start + step]]
            if start + step >= len(self.feeds):
                prefix.close()
            for candidate in group:
                runner = self._open(candidate)
                needed = self._boundary(candidate)
                found = [runner({n: k[n] for n in needed}) for k in kept]
                if runner.outputs != self.outputs:  # what the block does not lead to stays
                    same = self._float_outputs[start : start + step]
                    found = [a | b for a, b in zip(same, found, strict=True)]
                results[candidate.name] += found
                runner.close()
                if len(results[candidate.name]) == len(self.feeds):
                    yield candidate.name, self._found(results.pop(candidate.name))

    def _open(self, candidate: Candidate) -> _Runner:
        """The part of the graph behind a block, with the block in INT8.

        It gives those outputs that the block leads to: a block of another head leads to none.
        """
        behind = downstream(self.index, candidate.nodes)
        made = {name for position in behind for name in self.index.nodes[position].output}
        outputs = [name for name in self.outputs if name in made]
        if not outputs:
            return _Runner(onnx.ModelProto(), [], self.options.threads)
        part = extract(
            self.index, behind, [o.name for o in self.proto.graph.output if o.name in made]
        )
        inside = {self.index.keys[position] for position in behind}
        whole = compose(self.candidates, [candidate.name])
        blocks = tuple(replace(b, float_nodes={}) for b in whole.blocks if b.precision == "int8")
        assert all(node in inside for block in blocks for node in block.nodes)
        return _Runner(self.recipe.apply(part, Plan(blocks)), outputs, self.options.threads)

    def _boundary(self, candidate: Candidate) -> tuple[str, ...]:
        return boundary(self.index, downstream(self.index, candidate.nodes))

    def _bytes(self, tensors: set[str]) -> int:
        return sum(size_in_bytes(self.index, name) for name in tensors)

    @cached_property
    def _float_others(self) -> OutputSet:
        return decode_batches(self._float_outputs, self.images, self.spec).others

    def _found(self, results: Sequence[Tensors]) -> StoredLandmarks:
        decoded, theirs = decode_batches(results, self.images, self.spec), self._float_others
        return StoredLandmarks(
            decoded.points_px.astype(np.float64),
            decoded.spread_px.astype(np.float64),
            other_distances(decoded.others, theirs, self.spec),
            other_targets(self.spec, theirs),
        )


class _Runner:
    """A model in ONNX Runtime that computes what its nodes say, Q/DQ included."""

    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str], threads: int | None) -> None:
        self.outputs, self._inputs, self._session = list(outputs), list[str](), None
        if not outputs:  # nothing to compute
            return
        text = model.SerializeToString()
        self._session = open_onnx(text, "ONNX graph", threads=threads, mode=OrtMode.LITERAL_INT8)
        self._inputs = [port.name for port in self._session.get_inputs()]

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> Tensors:
        if self._session is None:
            return {}
        arrays = self._session.run(self.outputs, {name: feed[name] for name in self._inputs})
        return dict(zip(self.outputs, arrays, strict=True))

    def close(self) -> None:
        """Give the memory back before the next part is opened."""
        self._session = None
