"""An ensemble: a preparing model, the network on one of Triton's own backends, a decoding model.

The engine's batch is fixed, so that every shape here is whole (``max_batch_size`` 0): requests hold
N images, N at most the batch, and the network always runs its whole batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mahtrt import files
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.runtime.decode import needed_outputs
from mahtrt.runtime.landmarks import usual_spread_px
from mahtrt.triton.config import ModelConfig, Step, Tensor
from mahtrt.triton.native_backends import (
    BACKENDS,
    NativeBackend,
    backend_notes,
    engine_for,
    network_parameters,
    output_shapes,
)
from mahtrt.triton.options import TritonOptions
from mahtrt.triton.python_model import (
    MODEL_FILE,
    README_FILE,
    environment_parameter,
    instance_kind,
    model_code,
    write_front,
)
from mahtrt.triton.repository import ModelMark, RepositoryWriter
from mahtrt.triton.stage_facts import FACTS_FILE, StageFacts
from mahtrt.triton.tensors import PLACEMENT, SPACING_OF_IMAGE, answer_tensors, request_tensors

_BETWEEN = (
    Tensor(PLACEMENT, "TYPE_FP64", (-1, 4)),
    Tensor(SPACING_OF_IMAGE, "TYPE_FP64", (-1, 2)),
)
_ABOUT = {
    "PrepareModel": "Images to the network's input.",
    "DecodeModel": "The network's outputs to landmarks.",
}


def write_ensemble(
    writer: RepositoryWriter, bundle: Bundle, options: TritonOptions
) -> tuple[str, ...]:
    """Write the four models.

    Returns:
        Notes for the user.

    Raises:
        UsageError: As :func:`mahtrt.triton.native_backends.engine_for`.
        ModelError: The graph of the engine does not give what the spec says.
    """
    engine, native = engine_for(bundle, options), BACKENDS[options.backend]
    mark = ModelMark(options.model_name, options.backend)
    configs = ensemble_configs(bundle, engine, options, output_shapes(bundle, engine))
    folders = [writer.model(each.name, mark, each.to_text()) for each in configs]
    prepare, network, decode, front = folders
    versions = {folder: folder / str(options.version) for folder in folders}
    for version in versions.values():
        files.make_folder(version)
    facts = json.dumps(stage_facts(bundle, engine, native).to_plain(), indent=1) + "\n"
    readme = f"{options.model_name}/{README_FILE}"
    for folder, name in ((prepare, "PrepareModel"), (decode, "DecodeModel")):
        files.write_text(versions[folder] / FACTS_FILE, facts)
        code = model_code(_ABOUT[name], "stage_models", name, readme)
        files.write_text(versions[folder] / MODEL_FILE, code)
    for role, name in native.files.items():
        bundle.file(engine.files[role]).copy_to(versions[network] / name)
    write_front(front, bundle, engine, configs[-1], options)
    return backend_notes(engine, options)


def ensemble_configs(
    bundle: Bundle,
    engine: EngineRecord,
    options: TritonOptions,
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[ModelConfig, ModelConfig, ModelConfig, ModelConfig]:
    """What Triton is told of the preparing, the network, the decoding model and the ensemble.

    Args:
        shapes: Output name to shape, the batch first.
    """
    spec, name = bundle.spec, options.model_name
    asked = tuple(tensor.of_several() for tensor in request_tensors(spec))
    answers = tuple(tensor.of_several() for tensor in answer_tensors(spec, engine))
    network = _network_config(bundle, engine, options, shapes)
    needed = tuple(each for each in network.outputs if each.name in needed_outputs(spec))
    unnamed = tuple(replace(each, labels="") for each in answers)  # the file is the ensemble's
    prepare, decode = (
        ModelConfig(
            f"{name}_{part}",
            "python",
            inputs,
            outputs,
            instances=options.instances,
            parameters=environment_parameter(options),
        )
        for part, inputs, outputs in (
            ("prepare", asked, (*network.inputs, *_BETWEEN)),
            ("decode", (*needed, *_BETWEEN), unnamed),
        )
    )
    steps = _steps((prepare, network, decode), options.version)
    front = ModelConfig(name, "", asked, answers, instances=0, steps=steps)
    return prepare, network, decode, front


def _network_config(
    bundle: Bundle,
    engine: EngineRecord,
    options: TritonOptions,
    shapes: Mapping[str, tuple[int, ...]],
) -> ModelConfig:
    """The network by names and whole shapes; every output where the backend wants all."""
    native = BACKENDS[options.backend]
    wanted = [name for name in shapes if native.is_bound or name in needed_outputs(bundle.spec)]
    return ModelConfig(
        f"{options.model_name}_network",
        native.name,
        tuple(
            Tensor(each.name, "TYPE_FP32", (engine.batch, each.channels, *each.size))
            for each in bundle.spec.inputs
        ),
        tuple(Tensor(name, "TYPE_FP32", shapes[name]) for name in wanted),
        file=native.file,
        instances=options.instances,
        kind=instance_kind(engine),
        parameters=network_parameters(engine, options),
    )


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


def stage_facts(bundle: Bundle, engine: EngineRecord, native: NativeBackend) -> StageFacts:
    """What the preparing and the decoding model have to know."""
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
