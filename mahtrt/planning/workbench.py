"""Plans as engines of a target: built, measured, timed side by side."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mahtrt.benchmarks.accuracy import Annotations, LandmarkSet, measure
from mahtrt.benchmarks.timing import Timings, interleave
from mahtrt.calibration.plan import Plan
from mahtrt.data.preprocess import Placement, network_from_output, preprocess
from mahtrt.data.sample import Dataset
from mahtrt.engine.graph_file import GraphFile
from mahtrt.engine.manifest import EngineRecord
from mahtrt.engine.targets import find_target
from mahtrt.planning.blocks import Candidate
from mahtrt.planning.budget import Cost, cost_of
from mahtrt.planning.gains import find_owners, time_by_block
from mahtrt.planning.layers import profile
from mahtrt.planning.recipe import Recipe
from mahtrt.planning.store import Found
from mahtrt.spec import ModelSpec

_TIMED_TENSORS = 4


class Bench(Protocol):
    """What a planner needs of a target. Plans are equal where their INT8 nodes are."""

    def cost(self, plan: Plan) -> Cost:
        """How far the plan moves landmarks; of the plan without INT8: nothing, or BF16's share."""

    def race(self, plans: Mapping[str, Plan], seconds: float, seed: int) -> dict[str, Timings]:
        """The plans timed in one interleaved run."""

    def block_times_ms(self, plan: Plan) -> dict[str, float]:
        """Milliseconds per block, by the target's layer times."""

    def forget(self, plan: Plan) -> None:
        """The plan is out of the race; its engine may be closed."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """How engines are built and timed.

    Attributes:
        threads: Of one inference; None leaves it to the runtime.
        images: How many images of the evaluation data to use.
        rounds: Timed rounds of a race, fewer when its time is over.
        min_rounds: At least so many, whatever the time.
    """

    threads: int | None = None
    images: int = 16
    rounds: int = 60
    min_rounds: int = 7


class TargetBench:
    """Plans on a real target. Close it to give engines and files back.

    Args:
        target: By name; anything in :data:`mahtrt.engine.targets.TARGETS`.
        evaluation: Images, with annotations where it has them.
        block_times: Instead of the target's profiler: an ONNX file and the plan's precision
            (``float`` or ``int8``) to layer times in ms (see
            :func:`mahtrt.planning.layers.layers_from_profile`).
    """

    def __init__(
        self,
        graph: GraphFile,
        candidates: Sequence[Candidate],
        recipe: Recipe,
        target: str,
        evaluation: Dataset,
        settings: BenchSettings | None = None,
        *,
        block_times: Callable[[Path, str], Mapping[str, float]] | None = None,
    ) -> None:
        self.graph, self.candidates, self.recipe = graph, candidates, recipe
        self.target, self.settings = target, settings or BenchSettings()
        self._block_times = block_times
        self._folder = tempfile.TemporaryDirectory(prefix="mahtrt-plan-")
        self._built = 0
        self._engines: dict[tuple[str, ...], _Engine] = {}
        self._costs: dict[tuple[str, ...], Cost] = {}
        self._images = _Images(evaluation, graph.spec, self.settings.images)
        self._reference: tuple[Found, LandmarkSet] | None = None

    @property
    def float_precision(self) -> str:
        """``bf16`` where the target multiplies that natively, else ``fp32``."""
        if self.target == "openvino":
            from mahtrt.engine.openvino import has_native_bf16

            return "bf16" if has_native_bf16() else "fp32"
        return "fp32"

    def cost(self, plan: Plan) -> Cost:
        """See :class:`Bench`. The reference is the target's own FP32 engine."""
        key = plan.int8_nodes
        if key not in self._costs:
            reference, points = self._found_reference()
            found, ours = self._find(self._engine(plan))
            names = self.graph.spec.landmarks
            accuracy = measure(ours, points, names, self._images.annotations)
            self._costs[key] = cost_of(found, reference, accuracy)
        return self._costs[key]

    def race(self, plans: Mapping[str, Plan], seconds: float, seed: int) -> dict[str, Timings]:
        """See :class:`Bench`."""
        tensors = self._images.batches(self.graph.batch)[:_TIMED_TENSORS]
        calls = {name: _call(self._engine(plan), tensors) for name, plan in plans.items()}
        settings = self.settings
        timings = interleave(
            calls, warmup=2, rounds=settings.rounds, max_seconds=seconds, seed=seed
        )
        short = settings.min_rounds - next(iter(timings.values())).runs
        if short > 0:  # few rounds decide nothing
            more = interleave(calls, warmup=0, rounds=short, max_seconds=1e9, seed=seed + 1)
            return {
                name: Timings(
                    t.samples_ms + more[name].samples_ms, t.restless + more[name].restless
                )
                for name, t in timings.items()
            }
        return timings

    def block_times_ms(self, plan: Plan) -> dict[str, float]:
        """See :class:`Bench`."""
        from mahtrt.planning.layers import layers_from_profile

        engine = self._engine(plan)
        owners = find_owners(engine.model, self.candidates)
        if self._block_times is not None:
            precision = "int8" if plan.int8_nodes else "float"
            layers = layers_from_profile(self._block_times(engine.onnx_path, precision))
        else:
            layers = profile(
                self.target,
                engine.onnx_path,
                self._images.batches(self.graph.batch)[0],
                inference_precision="bf16" if self.float_precision == "bf16" else "f32",
                threads=self.settings.threads,
            )
        return time_by_block(layers, owners)

    def forget(self, plan: Plan) -> None:
        """See :class:`Bench`; what was measured is kept."""
        engine = self._engines.pop(plan.int8_nodes, None)
        if engine is not None:
            engine.backend.close()
            shutil.rmtree(engine.folder, ignore_errors=True)

    def close(self) -> None:
        """Close all engines and remove their files."""
        for engine in self._engines.values():
            engine.backend.close()
        self._engines.clear()
        self._folder.cleanup()

    def __enter__(self) -> TargetBench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _found_reference(self) -> tuple[Found, LandmarkSet]:
        if self._reference is None:
            engine = self._build(self.graph.proto, self.graph.path, "fp32", self._new_folder())
            self._reference = self._find(engine)
            engine.backend.close()
            shutil.rmtree(engine.folder, ignore_errors=True)
        return self._reference

    def _engine(self, plan: Plan) -> _Engine:
        key = plan.int8_nodes
        if key not in self._engines:
            self._engines[key] = self._quantized(plan) if key else self._float()
        return self._engines[key]

    def _float(self) -> _Engine:
        folder = self._new_folder()
        return self._build(self.graph.proto, self.graph.path, self.float_precision, folder)

    def _quantized(self, plan: Plan) -> _Engine:
        folder = self._new_folder()
        path = folder / "model.onnx"
        model = self.recipe.apply(self.graph.proto, plan)
        path.write_bytes(model.SerializeToString())
        for tensor in model.graph.initializer:  # of what is kept, only the names are needed
            tensor.ClearField("raw_data")
        return self._build(model, path, "int8", folder)

    def _new_folder(self) -> Path:
        self._built += 1
        folder = Path(self._folder.name) / str(self._built)
        folder.mkdir()
        return folder

    def _build(self, model: Any, onnx_path: Path, precision: str, folder: Path) -> _Engine:
        target, threads = find_target(self.target), self.settings.threads
        artifact = target.load_builder()(onnx_path, precision, folder / "engine", threads=threads)
        record = EngineRecord(
            name=f"{self.target}-{precision}",
            target=self.target,
            precision=precision,  # type: ignore[arg-type]
            files={role: path.name for role, path in artifact.files.items()},
            batch=artifact.batch,
            device=artifact.device,
            versions=artifact.versions,
        )
        backend = target.load_backend().open(
            record, artifact.files, self.graph.spec, threads=threads
        )
        return _Engine(backend, onnx_path, model, folder)

    def _find(self, engine: _Engine) -> tuple[Found, LandmarkSet]:
        outputs: list[Mapping[str, NDArray[np.float32]]] = [
            engine.backend.infer(batch) for batch in self._images.batches(self.graph.batch)
        ]
        return self._images.decode(outputs)


@dataclass(frozen=True, slots=True, eq=False)
class _Engine:
    """An open engine, the ONNX it was made from, that ONNX's nodes, and where its files are."""

    backend: Any
    onnx_path: Path
    model: Any
    folder: Path


def _call(engine: _Engine, tensors: Sequence[NDArray[np.float32]]) -> Callable[[], object]:
    turn = itertools.cycle(tensors)
    return lambda: engine.backend.infer(next(turn))


class _Images:
    """Evaluation images, prepared once.

    Attributes:
        annotations: What the data set knows about them.
    """

    def __init__(self, dataset: Dataset, spec: ModelSpec, limit: int) -> None:
        self.spec = spec
        samples = [dataset[i] for i in range(min(limit, len(dataset)))]
        prepared = [preprocess(sample.image, spec.input) for sample in samples]
        self.tensors = [tensor for tensor, _ in prepared]
        self.placements: list[Placement] = [placement for _, placement in prepared]
        points = np.full((len(samples), spec.num_landmarks, 2), np.nan)
        spacing = np.full((len(samples), 2), np.nan)
        for i, sample in enumerate(samples):
            if sample.points_px is not None and len(sample.points_px) == spec.num_landmarks:
                points[i] = sample.points_px
            if sample.spacing_mm is not None:
                spacing[i] = sample.spacing_mm
        self.annotations = Annotations(points, spacing)

    def batches(self, batch: int) -> list[NDArray[np.float32]]:
        """The images (B, C, H, W); the last batch is filled up with its own."""
        groups = [self.tensors[i : i + batch] for i in range(0, len(self.tensors), batch)]
        return [np.stack([g[i % len(g)] for i in range(batch)]) for g in groups]

    def decode(
        self, outputs: Sequence[Mapping[str, NDArray[np.float32]]]
    ) -> tuple[Found, LandmarkSet]:
        """Landmarks of all images, from the outputs of :meth:`batches`."""
        spec, count = self.spec, len(self.tensors)
        landmarks, spread = spec.output("landmarks"), spec.output("spread")
        assert landmarks is not None
        raw = np.concatenate([o[landmarks.name] for o in outputs])[:count]
        network = network_from_output(
            raw.reshape(count, spec.num_landmarks, 2), landmarks.frame, spec
        )
        wide = np.full((count, spec.num_landmarks), np.nan)
        if spread is not None:
            # Only compared with itself, so its own unit will do.
            values = np.concatenate([o[spread.name] for o in outputs])[:count]
            wide = values.reshape(count, spec.num_landmarks).astype(np.float64)
        image = [p.image_from_network(n) for p, n in zip(self.placements, network, strict=True)]
        found = Found(network.astype(np.float64), wide)
        return found, LandmarkSet(network_px=network, image_px=np.stack(image))
