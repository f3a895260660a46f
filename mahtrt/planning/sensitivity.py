"""Measuring how far landmarks move, and other outputs change, when one block alone is reduced.

It is INT8, or half precision, and all the rest is FP32. The quantised graph is executed literally,
as its Q/DQ nodes say, by ONNX Runtime with its INT8 kernels off, and half precision is rounded by
arithmetic (:mod:`mahtrt.precision.emulation`): what is found are the errors of the number format
itself and of no target's kernels. For each block
only the part of the graph behind it is run, from tensors that the floating-point network gave
(:mod:`mahtrt.graph.subgraph`). Blocks share such a run as long as their tensors fit in memory.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.graph_file import GraphFile
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.subgraph import boundary, downstream, extract, size_in_bytes, upstream
from mahtrt.measure.distances import other_distances, other_targets
from mahtrt.measure.judged import OutputSet, judged_outputs
from mahtrt.planning.blocks import Candidate, compose, decidable
from mahtrt.planning.matrix import BlockRow, Sensitivity, cells_of, other_cells
from mahtrt.planning.recipe import NetworkToPlan
from mahtrt.planning.store import LandmarkStore, StoredLandmarks
from mahtrt.precision.emulation import emulate_half
from mahtrt.precision.types import Half
from mahtrt.runtime.decode import check_judged, decode_batches, landmark_names, needed_outputs
from mahtrt.targets.onnxruntime.run import OrtMode, open_onnx

Tensors = dict[str, NDArray[Any]]

DEFAULT_MEMORY_MIB = 2560


@dataclass(frozen=True, slots=True)
class SensitivityOptions:
    """How to measure.

    Attributes:
        cache: Folder that keeps results between runs, None for none.
        half: Half precision to measure beside INT8; None for INT8 alone.
        int8: Whether to measure INT8.
        memory_mib: For the tensors that blocks start from; more means fewer runs of the network.
        threads: For ONNX Runtime; None lets it choose.
    """

    cache: Path | None = None
    half: Half | None = None
    int8: bool = True
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
        network: Candidates that cannot be INT8 are passed over, but for half precision.
        images: Preprocessed cases (C, H, W), a few; with more, p99 means more.
        progress: Called with the blocks done and their number.

    Raises:
        DataError: No images.
        ModelError: A network that gives nothing to measure by, or that ONNX Runtime cannot run.
        SpecError: The ranges lack a tensor.
    """
    options, graph, recipe = options or SensitivityOptions(), network.graph, network.recipe
    if not images:
        raise DataError("sensitivity", got="no images", expected="at least one")
    digest = _digest(images)
    store = LandmarkStore(options.cache)
    base = _key(graph, digest)
    measuring = _Measuring(network, images, options)
    reference = _reference(store, base, measuring)
    trials = [*_int8_trials(network)] if options.int8 else []
    if options.half is not None:
        trials += _half_trials(network, options.half)
    keys = {trial: {**base, **trial.key} for trial in trials}
    kept = {trial: store.read(key) for trial, key in keys.items()}
    found = {t: k for t, k in kept.items() if k is not None and k.targets == reference.targets}
    tell = progress or (lambda *_: None)
    tell(len(found), len(trials))
    for trial, measured in measuring.trials([t for t in trials if t not in found]):
        store.write(keys[trial], measured)
        found[trial] = measured
        tell(len(found), len(trials))
    rows = {t: _row(t, reference, found[t], graph.spec.heatmap_cell_px) for t in trials}
    return Sensitivity(
        landmarks=(*landmark_names(graph.spec), *(target.name for target in reference.targets)),
        blocks=tuple(row for trial, row in rows.items() if not trial.is_half),
        half_blocks=tuple(row for trial, row in rows.items() if trial.is_half),
        half=options.half or "",
        images=len(images),
        images_digest=digest,
        onnx_sha256=graph.sha256,
        recipe=recipe.digest(),
        method=recipe.method_name,
        weight_bits=recipe.weight_bits,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A block in a precision.

    Attributes:
        nodes: The products that are reduced.
        key: What its numbers depend on beside graph and images.
        reduce: The part of the graph behind the block -> the same with the block reduced.
    """

    candidate: Candidate
    nodes: tuple[str, ...]
    key: Mapping[str, Any]
    reduce: Callable[[onnx.ModelProto], onnx.ModelProto]
    is_half: bool = False


def _int8_trials(network: NetworkToPlan) -> Iterator[_Trial]:
    recipe, digest = network.recipe, network.recipe.digest()
    for candidate in decidable(network.candidates):
        whole = compose(network.candidates, [candidate.name])
        blocks = tuple(replace(b, float_nodes={}) for b in whole.blocks if b.precision == "int8")
        yield _Trial(
            candidate,
            candidate.nodes,
            {"recipe": digest, "nodes": list(candidate.nodes)},
            functools.partial(recipe.apply, plan=Plan(blocks)),
        )


def _half_trials(network: NetworkToPlan, half: Half) -> Iterator[_Trial]:
    for candidate in network.candidates:
        nodes = (*candidate.nodes, *candidate.float_nodes)
        yield _Trial(
            candidate,
            nodes,
            {"half": half, "nodes": list(nodes)},
            functools.partial(_round_alone, nodes=nodes, half=half),
            is_half=True,
        )


def _round_alone(part: onnx.ModelProto, nodes: Collection[str], half: Half) -> onnx.ModelProto:
    """A graph in which all products but some stay FP32."""
    index = GraphIndex(part)
    others = [
        key
        for key, node in zip(index.keys, index.nodes, strict=True)
        if node.op_type in PRODUCTS and key not in nodes
    ]
    return emulate_half(part, half, others)


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
    trial: _Trial, reference: StoredLandmarks, found: StoredLandmarks, cell_px: float
) -> BlockRow:
    candidate = trial.candidate
    return BlockRow(
        name=candidate.name,
        nodes=trial.nodes,
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
        self.options = options
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

    def trials(self, trials: Sequence[_Trial]) -> Iterator[tuple[_Trial, StoredLandmarks]]:
        """The landmarks with one block after another reduced."""
        for group in self._groups(trials):
            yield from self._measure(group)

    def _groups(self, trials: Sequence[_Trial]) -> Iterator[list[_Trial]]:
        """Trials whose tensors of all images fit in memory together."""
        group: list[_Trial] = []
        tensors: set[str] = set()
        for trial in trials:
            more = tensors | set(self._boundary(trial))
            if group and self._bytes(more) * len(self.feeds) > self.options.memory_mib * 2**20:
                yield group
                group, more = [], set(self._boundary(trial))
            group.append(trial)
            tensors = more
        if group:
            yield group

    def _measure(self, group: Sequence[_Trial]) -> Iterator[tuple[_Trial, StoredLandmarks]]:
        tensors = sorted({name for trial in group for name in self._boundary(trial)})
        made = [name for name in tensors if name in self.index.producer]
        prefix = _Runner(
            extract(self.index, upstream(self.index, made), made), made, self.options.threads
        )
        # Only a group of one can be too large for memory; it goes through in parts.
        room = self.options.memory_mib * 2**20 // max(1, self._bytes(set(tensors)))
        step = len(self.feeds) if len(group) > 1 else min(max(1, room), len(self.feeds))
        results: dict[_Trial, list[Tensors]] = {trial: [] for trial in group}
        for start in range(0, len(self.feeds), step):
            kept = [{**feed, **prefix(feed)} for feed in self.feeds[start : start + step]]
            if start + step >= len(self.feeds):
                prefix.close()
            for trial in group:
                runner = self._open(trial)
                needed = self._boundary(trial)
                found = [runner({n: k[n] for n in needed}) for k in kept]
                if runner.outputs != self.outputs:  # what the block does not lead to stays
                    same = self._float_outputs[start : start + step]
                    found = [a | b for a, b in zip(same, found, strict=True)]
                results[trial] += found
                runner.close()
                if len(results[trial]) == len(self.feeds):
                    yield trial, self._found(results.pop(trial))

    def _open(self, trial: _Trial) -> _Runner:
        """The part of the graph behind a block, with the block reduced.

        It gives those outputs that the block leads to: a block of another head leads to none.
        """
        behind = downstream(self.index, trial.nodes)
        made = {name for position in behind for name in self.index.nodes[position].output}
        outputs = [name for name in self.outputs if name in made]
        if not outputs:
            return _Runner(onnx.ModelProto(), [], self.options.threads)
        part = extract(
            self.index, behind, [o.name for o in self.proto.graph.output if o.name in made]
        )
        assert {self.index.position_of[node] for node in trial.nodes} <= set(behind)
        return _Runner(trial.reduce(part), outputs, self.options.threads)

    def _boundary(self, trial: _Trial) -> tuple[str, ...]:
        return boundary(self.index, downstream(self.index, trial.nodes))

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
