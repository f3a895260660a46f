"""Triton's own backends: which engine each runs, with which files and parameters.

The parameters are those of the READMEs of Triton's ``onnxruntime_backend`` and
``openvino_backend``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.contents import held
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import ModelError, UsageError
from mahtrt.openvino_core import read_onnx
from mahtrt.targets.table import find_target
from mahtrt.triton.options import TritonOptions


@dataclass(frozen=True, slots=True)
class NativeBackend:
    """How one of Triton's own backends runs a network.

    Attributes:
        name: What Triton calls it.
        target: The target whose engines it runs.
        files: Role of the engine's file to the file's name in the version's folder; the first is
            the one that the backend opens.
        threads: Its parameter for the threads of one inference; "" where it has none.
        parameters: What it is told of every engine.
        bf16: What it is told besides of an engine that was judged in BF16.
        is_bound: Whether its engines run only with what made them, on such a GPU, and have to give
            every output that they have.
    """

    name: str
    target: str
    files: Mapping[str, str]
    threads: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    bf16: Mapping[str, str] = field(default_factory=dict)
    is_bound: bool = False

    @property
    def file(self) -> str:
        """The file that the backend opens."""
        return next(iter(self.files.values()))


BACKENDS = {
    "onnx": NativeBackend(
        "onnxruntime", "onnxruntime", {"onnx": "model.onnx"}, "intra_op_thread_count"
    ),
    "openvino": NativeBackend(
        "openvino",
        "openvino",
        {"ir": "model.xml", "weights": "model.bin"},
        "INFERENCE_NUM_THREADS",
        parameters={"PERFORMANCE_HINT": "LATENCY"},
        bf16={"HINT_BF16": "YES"},
    ),
    "tensorrt": NativeBackend("tensorrt", "tensorrt", {"plan": "model.plan"}, is_bound=True),
}


def engine_for(bundle: Bundle, options: TritonOptions) -> EngineRecord:
    """The engine whose network the backend runs.

    Raises:
        UsageError: The bundle has none of the backend's target, or not the files it needs.
    """
    native = BACKENDS[options.backend]
    engine = bundle.engine(options.engine or native.target)
    missing = [role for role in native.files if role not in engine.files]
    if engine.target != native.target or missing:
        raise UsageError(
            f"engine {engine.name}",
            got=f"an engine of target {engine.target} with the files {', '.join(engine.files)}",
            expected=f"one of {native.target} with {', '.join(native.files)}",
            fix=f"Compile one (mahtrt compile BUNDLE --target {native.target}), or use "
            "--backend python.",
        )
    # Whatever stands behind such an engine, Triton's backend would leave out.
    if native.is_bound and set(find_target(engine.target).roles(engine)) - native.files.keys():
        raise UsageError(
            f"engine {engine.name}",
            got="an engine whose decoding is a kernel of mahtrt's own",
            expected="an engine that gives landmarks by itself",
            fix="Use --backend python.",
        )
    return engine


def network_parameters(engine: EngineRecord, options: TritonOptions) -> dict[str, str]:
    """What the backend of the network is told besides the model's tensors."""
    native = BACKENDS[options.backend]
    found = dict(native.parameters)
    if engine.device.inference_precision == "bf16":
        found |= native.bf16
    if options.threads is not None and native.threads:
        found[native.threads] = str(options.threads)
    return found


def backend_notes(engine: EngineRecord, options: TritonOptions) -> tuple[str, ...]:
    """What the user should know of an engine on Triton's own backend."""
    native = BACKENDS[options.backend]
    found = ["The engine was judged on mahtrt's runtime, not on Triton's backend."]
    if native.is_bound:
        made = ", ".join(f"{name} {version}" for name, version in engine.versions.items())
        found.append(f"Triton has to have what made the engine ({made}), and such a GPU.")
    if native.bf16 and engine.device.inference_precision != "bf16":
        # The backend's README knows a hint for BF16 and none against it.
        found.append("On a CPU with BF16, OpenVINO takes BF16 where nothing asks for FP32.")
    return tuple(found)


def output_shapes(bundle: Bundle, engine: EngineRecord) -> dict[str, tuple[int, ...]]:
    """Output name to shape, the batch first, of the graph that an engine was made from.

    Returns:
        In the order of the spec.

    Raises:
        ModelError: The graph lacks an output of the spec, or has one without a fixed shape.
    """
    graph = bundle.file(engine.files["onnx"])
    with held(graph) as place:
        model = read_onnx(place)
    found = dict[str, tuple[int, ...]]()
    by_name = {name: output for output in model.outputs for name in output.get_names()}
    for name in (output.name for output in bundle.spec.outputs):
        if name not in by_name or by_name[name].get_partial_shape().is_dynamic:
            got = "no such output" if name not in by_name else "an output without a fixed shape"
            raise ModelError(f"{graph}: output {name!r}", got=got, expected="one of a fixed shape")
        shape = tuple(int(size) for size in by_name[name].get_shape())
        if shape[:1] != (engine.batch,):
            expected = f"{engine.batch} images first"
            raise ModelError(f"{graph}: output {name!r}", got=f"shape {shape}", expected=expected)
        found[name] = shape
    return found
