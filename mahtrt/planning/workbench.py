"""Plans as engines of a target: built, measured, timed side by side."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from mahtrt import files
from mahtrt.bundle.plan import Plan
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.data.feed import Feed
from mahtrt.data.sample import Dataset
from mahtrt.graph.index import GraphIndex
from mahtrt.measure.timing import TimingOptions, Timings, interleave
from mahtrt.planning.blocks import Candidate
from mahtrt.planning.evaluation import EvaluationImages, Found
from mahtrt.planning.gains import find_owners, time_by_block
from mahtrt.planning.recipe import NetworkToPlan
from mahtrt.precision.float32 import lost_float32
from mahtrt.precision.float_graph import float_graph
from mahtrt.scratch import temporary_folder
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.backend import Backend, EngineToOpen
from mahtrt.targets.graph_kinds import FloatType, GraphKind, HalfType
from mahtrt.targets.layers import Layer
from mahtrt.targets.table import find_target
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions, Target

_Key = tuple[tuple[str, ...], tuple[str, ...]]
_TIMED_TENSORS = 4
_FINITE_IMAGES = 2  # FP16 overflows in one image or in none


class Bench(Protocol):
    """What a planner needs of a target. Plans are equal where their INT8 and FP32 nodes are.

    Attributes:
        target: Name of the target.
        float_precision: What a plan's floating-point part runs in.
    """

    @property
    def target(self) -> str: ...
    @property
    def float_precision(self) -> str: ...

    def accuracy(self, plan: Plan) -> AccuracyRecord:
        """How far the plan is from FP32; without INT8: nothing, or half precision's share."""

    def race(self, plans: Mapping[str, Plan], seconds: float, seed: int) -> dict[str, Timings]:
        """The plans timed in one interleaved run."""

    def block_times_ms(self, plan: Plan, *, whole: bool = False) -> dict[str, float]:
        """Milliseconds per block, by the target's layer times.

        Args:
            whole: With the products that cannot be INT8.
        """

    def keeps_fp32(self, candidate: Candidate) -> bool:
        """Whether the target can keep a block in FP32 beside half precision."""

    def forget(self, plan: Plan) -> None:
        """The plan is out of the race; its engine may be closed."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """How engines are built and timed.

    Attributes:
        engine: How engines are built and opened.
        images: How many images of the evaluation data to use.
        rounds: Timed rounds of a race, fewer when its time is over.
        min_rounds: The fewest rounds, whatever the time.
        int8_float: What the rest of an INT8 engine computes in, where the graph's types decide
            (TensorRT); the plan without INT8 is all of it.
        half: What plans without INT8 are for; None where plans are for INT8.
        others: Names of other targets that engines of the plan are built for too.
    """

    engine: EngineOptions = DEFAULT_OPTIONS
    images: int = 16
    rounds: int = 60
    min_rounds: int = 7
    int8_float: FloatType = "fp16"
    half: HalfType | None = None
    others: tuple[str, ...] = ()


class TargetBench:
    """Plans on a real target. Close it to give engines and files back.

    Candidates are the target's graph without INT8, and what the recipe quantises of it.

    Args:
        target: Name of a target in :data:`mahtrt.targets.table.TARGETS`.
        evaluation: Images, with annotations where it has them.
        tell: Callback that is told how a long build gets on.

    Raises:
        MissingComponentError: The target's engines cannot run on this machine.
        GateError: FP16 was to be planned with, and numbers of this network overflow in it.
    """

    def __init__(
        self,
        network: NetworkToPlan,
        target: str,
        evaluation: Dataset,
        settings: BenchSettings | None = None,
        *,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.network, self.graph = network, network.graph
        self.target, self.settings = target, settings or BenchSettings()
        self._kind = find_target(target)
        self._options = replace(self.settings.engine, trial=True, progress=tell)
        self._kind.check_timing(self._options)
        self._built = 0
        self._engines: dict[_Key, _Engine] = {}
        self._accuracies: dict[_Key, AccuracyRecord] = {}
        self._layers: dict[_Key, list[Layer]] = {}
        self._images = EvaluationImages(evaluation, self.graph.spec, self.settings.images)
        self._reference: Found | None = None
        if self._float_kind.declares == "fp16":
            from mahtrt.precision.half import check_half

            check_half(self.graph, self._images.feeds[:_FINITE_IMAGES], self._options.threads)
        self._files = ExitStack()
        self._folder = self._files.enter_context(temporary_folder())

    @property
    def float_precision(self) -> FloatType:
        """What a plan's floating-point part runs in."""
        return self.settings.half or self._kind.float_type(self.settings.int8_float)

    def accuracy(self, plan: Plan) -> AccuracyRecord:
        """See :class:`Bench`.

        The reference is the FP32 engine of :meth:`mahtrt.targets.target.Target.reference`.
        """
        key = _key(plan)
        if key not in self._accuracies:
            reference, ours = self._found_reference(), self._find(self._engine(plan))
            self._accuracies[key] = self._images.measure(ours, reference)
        return self._accuracies[key]

    def race(self, plans: Mapping[str, Plan], seconds: float, seed: int) -> dict[str, Timings]:
        """See :class:`Bench`."""
        feeds = self._images.batches(self.graph.batch)[:_TIMED_TENSORS]
        calls = {name: _call(self._engine(plan), feeds) for name, plan in plans.items()}
        settings = self.settings
        asked = TimingOptions(2, settings.rounds, max_seconds=seconds, seed=seed)
        timings = interleave(calls, asked)
        short = settings.min_rounds - next(iter(timings.values())).runs
        if short <= 0:
            return timings
        # Few rounds decide nothing.
        asked = TimingOptions(0, short, max_seconds=math.inf, seed=seed + 1)
        more = interleave(calls, asked)
        return {
            name: Timings(t.samples_ms + more[name].samples_ms, t.restless + more[name].restless)
            for name, t in timings.items()
        }

    def block_times_ms(self, plan: Plan, *, whole: bool = False) -> dict[str, float]:
        """See :class:`Bench`."""
        engine = self._engine(plan)
        owners = find_owners(engine.model, self.network.candidates, whole=whole)
        return time_by_block(self._layers_of(plan, engine), owners)

    def keeps_fp32(self, candidate: Candidate) -> bool:
        """See :class:`Bench`."""
        products = (*candidate.nodes, *candidate.float_nodes)
        targets = dict.fromkeys((self.target, *self.settings.others))
        return not any(lost_float32(self._index, products, find_target(t)) for t in targets)

    def _layers_of(self, plan: Plan, engine: _Engine) -> list[Layer]:
        """The layer times of a plan, measured once: a target compiles it anew for them."""
        key = _key(plan)
        if key not in self._layers:
            feed, threads = self._images.batches(self.graph.batch)[0], self._options.threads
            self._layers[key] = self._kind.profile(engine.artifact, engine.backend, feed, threads)
        return self._layers[key]

    def forget(self, plan: Plan) -> None:
        """See :class:`Bench`; what was measured is kept."""
        engine = self._engines.pop(_key(plan), None)
        if engine is not None:
            engine.backend.close()
            files.remove_tree(engine.folder)

    def close(self) -> None:
        """Close all engines and remove their files."""
        for engine in self._engines.values():
            engine.backend.close()
        self._engines.clear()
        self._files.close()

    def __enter__(self) -> TargetBench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _found_reference(self) -> Found:
        if self._reference is None:
            engine = self._build(
                self.graph.proto,
                self.graph.path,
                "fp32",
                self._new_folder(),
                self._kind.reference(),
            )
            self._reference = self._find(engine)
            engine.backend.close()
            files.remove_tree(engine.folder)
        return self._reference

    def _engine(self, plan: Plan) -> _Engine:
        key = _key(plan)
        if key not in self._engines:
            self._engines[key] = self._quantized(plan) if plan.int8_nodes else self._float(plan)
        return self._engines[key]

    @property
    def _float_kind(self) -> GraphKind:
        return self._kind.graph_kind(self.float_precision)

    @cached_property
    def _index(self) -> GraphIndex:
        return GraphIndex(self.graph.proto)

    @cached_property
    def _float_graph(self) -> onnx.ModelProto:
        """The graph of the plan without INT8 and FP32."""
        return float_graph(self.graph.proto, self._float_kind)

    def _without_int8(self, plan: Plan) -> onnx.ModelProto:
        """The graph of a plan before anything in it is INT8."""
        if not plan.fp32_nodes:
            return self._float_graph
        return float_graph(self.graph.proto, self._float_kind, plan.fp32_nodes)

    def _float(self, plan: Plan) -> _Engine:
        folder, path = self._new_folder(), self.graph.path
        if plan.is_fp32:
            return self._build(self.graph.proto, path, "fp32", folder)
        graph = self._without_int8(plan)
        if graph is not self.graph.proto:
            path = folder / "model.onnx"
            _write(graph, path)
        return self._build(graph, path, self.float_precision, folder)

    def _quantized(self, plan: Plan) -> _Engine:
        folder = self._new_folder()
        path = folder / "model.onnx"
        model = self.network.recipe.apply(self._without_int8(plan), plan)
        _write(model, path)
        for tensor in model.graph.initializer:  # of what is kept, only the names are needed
            tensor.ClearField("raw_data")
        return self._build(model, path, "int8", folder)

    def _new_folder(self) -> Path:
        self._built += 1
        folder = self._folder / str(self._built)
        files.make_folder(folder)
        return folder

    def _build(
        self,
        model: Any,
        onnx_path: Path,
        precision: str,
        folder: Path,
        target: Target | None = None,
    ) -> _Engine:
        kind = target or self._kind
        artifact = kind.build(onnx_path, precision, folder / "engine", self._options)
        record, threads = artifact.record(kind.name, precision), self._options.threads
        backend = kind.open(EngineToOpen(record, artifact.files, self.graph.spec, threads))
        return _Engine(backend, artifact, model, folder)

    def _find(self, engine: _Engine) -> Found:
        outputs: list[Mapping[str, NDArray[np.float32]]] = [
            engine.backend.infer(batch) for batch in self._images.batches(self.graph.batch)
        ]
        return self._images.decode(outputs)


@dataclass(frozen=True, slots=True, eq=False)
class _Engine:
    """An open engine, what was built, the nodes of the ONNX it was made from, and its folder."""

    backend: Backend
    artifact: EngineArtifact
    model: Any
    folder: Path


def _key(plan: Plan) -> _Key:
    return plan.int8_nodes, plan.fp32_nodes


def _write(model: onnx.ModelProto, path: Path) -> None:
    # The bytes that a build writes, so that it may find the engine in the cache.
    files.write_bytes(path, model.SerializeToString(deterministic=True))


def _call(engine: _Engine, feeds: Sequence[Feed]) -> Callable[[], object]:
    turn = itertools.cycle(feeds)
    return lambda: engine.backend.infer(next(turn))
