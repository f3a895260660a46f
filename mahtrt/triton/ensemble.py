"""An ensemble: a preparing model, the network on one of Triton's own backends, a decoding model.

The engine's batch is fixed, so that every shape here is whole (``max_batch_size`` 0): requests hold
N images, N at most the batch, and the network always runs its whole batch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np

from mahtrt import files
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import ModelError, UsageError
from mahtrt.runtime.decode import needed_outputs
from mahtrt.runtime.landmarks import usual_spread_px
from mahtrt.spec import ModelSpec
from mahtrt.targets.kernel_decode.record import DECODE_ROLE
from mahtrt.triton.config import ModelConfig, Step, Tensor
from mahtrt.triton.options import TritonOptions
from mahtrt.triton.python_model import (
    MODEL_FILE,
    instance_kind,
    model_code,
    python_parameters,
    write_front,
)
from mahtrt.triton.repository import ModelMark, RepositoryWriter
from mahtrt.triton.stage_facts import FACTS_FILE, StageFacts
from mahtrt.triton.tensors import PLACEMENT, SPACING_OF_IMAGE, answer_tensors, request_tensors

_BETWEEN = (
    Tensor(PLACEMENT, "TYPE_FP64", (-1, 4)),
    Tensor(SPACING_OF_IMAGE, "TYPE_FP64", (-1, 2)),
)


@dataclass(frozen=True, slots=True)
class NativeBackend:
    """How one of Triton's own backends runs a network.

    Attributes:
        name: What Triton calls it.
        target: The target whose engines it runs.
        files: Role of the engine's file to the file's name in the version's folder.
    """

    name: str
    target: str
    files: dict[str, str]


BACKENDS = {
    "onnx": NativeBackend("onnxruntime", "onnxruntime", {"onnx": "model.onnx"}),
    "openvino": NativeBackend("openvino", "openvino", {"ir": "model.xml", "weights": "model.bin"}),
    "tensorrt": NativeBackend("tensorrt", "tensorrt", {"plan": "model.plan"}),
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
    if DECODE_ROLE in engine.files:
        raise UsageError(
            f"engine {engine.name}",
            got="an engine whose decoding is a kernel of mahtrt's own",
            expected="an engine that gives landmarks by itself",
            fix="Use --backend python.",
        )
    return engine


def write_ensemble(
    writer: RepositoryWriter, bundle: Bundle, options: TritonOptions
) -> tuple[str, ...]:
    """Write the four models.

    Returns:
        Notes for the user.

    Raises:
        UsageError: As :func:`engine_for`.
        ModelError: The graph of the engine does not give what the spec says.
    """
    engine, native = engine_for(bundle, options), BACKENDS[options.backend]
    mark = ModelMark(options.model_name, options.backend)
    configs = ensemble_configs(bundle, engine, options, output_shapes(bundle, engine))
    folders = [writer.model(each.name, mark, each.to_text()) for each in configs]
    for folder in folders:
        files.make_folder(folder / str(options.version))
    prepare, network, decode, front = folders
    facts = json.dumps(_facts(bundle, engine, native).to_plain(), indent=1)
    readme = f"{options.model_name}/README.md"
    for folder, module in ((prepare, "PrepareModel"), (decode, "DecodeModel")):
        version = folder / str(options.version)
        files.write_text(version / FACTS_FILE, facts + "\n")
        about = "Images to the network's input." if folder is prepare else "Outputs to landmarks."
        files.write_text(version / MODEL_FILE, model_code(about, "stage_models", module, readme))
    for role, name in native.files.items():
        bundle.file(engine.files[role]).copy_to(network / str(options.version) / name)
    write_front(front, bundle, engine, configs[-1], options)
    return _notes(engine, options)


def ensemble_configs(
    bundle: Bundle,
    engine: EngineRecord,
    options: TritonOptions,
    shapes: dict[str, tuple[int, ...]],
) -> tuple[ModelConfig, ModelConfig, ModelConfig, ModelConfig]:
    """What Triton is told of the preparing, the network, the decoding model and the ensemble.

    Args:
        shapes: Output name to shape, the batch first.
    """
    spec, name, batch = bundle.spec, options.model_name, engine.batch
    native, given = BACKENDS[options.backend], options.instances
    asked = tuple(tensor.of_several() for tensor in request_tensors(spec))
    answers = tuple(tensor.of_several() for tensor in answer_tensors(spec, engine))
    fed = tuple(
        Tensor(each.name, "TYPE_FP32", (batch, each.channels, *each.size)) for each in spec.inputs
    )
    outputs = tuple(Tensor(each, "TYPE_FP32", shape) for each, shape in shapes.items())
    needed = tuple(each for each in outputs if each.name in needed_outputs(spec))
    told = python_parameters(options)
    told.pop("threads", None)
    prepare = ModelConfig(
        f"{name}_prepare", "python", asked, (*fed, *_BETWEEN), instances=given, parameters=told
    )
    network = ModelConfig(
        f"{name}_network",
        native.name,
        fed,
        outputs if options.backend == "tensorrt" else needed,
        file=next(iter(native.files.values())),
        instances=given,
        kind=instance_kind(engine),
        parameters=_network_parameters(engine, options),
    )
    decode = ModelConfig(
        f"{name}_decode",
        "python",
        (*needed, *_BETWEEN),
        tuple(replace(each, labels="") for each in answers),  # the file is the ensemble's
        instances=given,
        parameters=told,
    )
    front = ModelConfig(
        name,
        "",
        asked,
        answers,
        instances=0,
        steps=_steps((prepare, network, decode), options.version),
    )
    return prepare, network, decode, front


def _steps(models: tuple[ModelConfig, ...], version: int) -> tuple[Step, ...]:
    """The ensemble's steps.

    Between them a tensor has its name with the number of its step in front; what the last step
    makes is the answer.
    """
    found, known = list[Step](), {tensor.name: tensor.name for tensor in models[0].inputs}
    for number, model in enumerate(models):
        mark = "" if model is models[-1] else f"{number}:"
        made = {each.name: f"{mark}{each.name}" for each in model.outputs}
        taken = {tensor.name: known[tensor.name] for tensor in model.inputs}
        found.append(Step(model.name, version, taken, made))
        known |= made
    return tuple(found)


def _network_parameters(engine: EngineRecord, options: TritonOptions) -> dict[str, str]:
    """What the backend of the network is told besides, by the names in its README."""
    found = dict[str, str]()
    if options.backend == "openvino":
        found["PERFORMANCE_HINT"] = "LATENCY"
        if engine.device.inference_precision == "bf16":
            found["HINT_BF16"] = "YES"
    names = {"onnx": "intra_op_thread_count", "openvino": "INFERENCE_NUM_THREADS"}
    if options.threads is not None and options.backend in names:
        found[names[options.backend]] = str(options.threads)
    return found


def _notes(engine: EngineRecord, options: TritonOptions) -> tuple[str, ...]:
    """What the user should know of the engine on Triton's own backend."""
    unlike = "Its accuracy was judged on mahtrt's runtime, not on Triton's backend."
    if options.backend == "tensorrt":
        made = ", ".join(f"{name} {version}" for name, version in engine.versions.items())
        return (f"Triton has to have the TensorRT that made the engine ({made}), and such a GPU.",)
    if options.backend == "openvino" and engine.device.inference_precision != "bf16":
        # The backend's README knows a hint for BF16 and none against it.
        return (unlike, "On a CPU with BF16, OpenVINO takes BF16 where nothing asks for FP32.")
    return (unlike,)


def _facts(bundle: Bundle, engine: EngineRecord, native: NativeBackend) -> StageFacts:
    usual = usual_spread_px(engine, bundle.spec)
    known = () if usual is None else tuple(None if np.isnan(v) else float(v) for v in usual)
    return StageFacts(
        spec=bundle.spec.to_dict(),
        batch=engine.batch,
        preprocess_version=bundle.manifest.preprocess_version,
        usual_spread_px=known,
        engine=engine.name,
        runtime=f"triton {native.name}",
    )


def output_shapes(bundle: Bundle, engine: EngineRecord) -> dict[str, tuple[int, ...]]:
    """Output name to shape of the graph that an engine was made from, in the order of the spec.

    Raises:
        ModelError: The graph lacks an output of the spec, or has one without a fixed shape.
    """
    from mahtrt.targets.openvino.run import read_model

    graph = bundle.file(engine.files["onnx"])
    model, found = read_model(graph), dict[str, tuple[int, ...]]()
    by_name = {name: output for output in model.outputs for name in output.get_names()}
    for name in (output.name for output in bundle.spec.outputs):
        if name not in by_name or by_name[name].get_partial_shape().is_dynamic:
            got = "no such output" if name not in by_name else "an output without a fixed shape"
            raise ModelError(f"{graph}: output {name!r}", got=got, expected="one of a fixed shape")
        found[name] = tuple(int(size) for size in by_name[name].get_shape())
    _check_batch(found, engine.batch, bundle.spec)
    return found


def _check_batch(shapes: dict[str, tuple[int, ...]], batch: int, spec: ModelSpec) -> None:
    wrong = [name for name, shape in shapes.items() if shape[:1] != (batch,)]
    if wrong:
        got = f"output {wrong[0]} of shape {shapes[wrong[0]]}"
        raise ModelError(f"network {spec.family}", got=got, expected=f"{batch} images first")
