"""A model for Triton's Python backend: mahtrt's runtime and a packed bundle in its folder."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from mahtrt import __version__, files
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.pack import PackOptions, pack
from mahtrt.progress import StageProgress
from mahtrt.runtime.decode import landmark_names
from mahtrt.targets.table import find_target
from mahtrt.triton.config import InstanceKind, ModelConfig, Tensor, WarmupInput
from mahtrt.triton.landmark_model import BUNDLE, THREADS
from mahtrt.triton.options import TritonOptions
from mahtrt.triton.readme import readme_text
from mahtrt.triton.repository import ModelMark, RepositoryWriter
from mahtrt.triton.tensors import (
    LABELS_FILE,
    answer_tensors,
    image_tensor_names,
    request_tensors,
)

MODEL_FILE, README_FILE, WARMUP_FOLDER = "model.py", "README.md", "warmup"
ENVIRONMENT = "EXECUTION_ENV_PATH"  # of Triton's python_backend
_MOST_WARMUPS = 3

_MODEL_CODE = '''"""{about} Written by mahtrt export-triton {version}."""

try:
    from mahtrt.triton.{module} import {name} as TritonPythonModel
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{{error}}. Triton's Python backend needs an environment with mahtrt: see {readme}."
    ) from error

__all__ = ["TritonPythonModel"]
'''


def model_code(about: str, module: str, name: str, readme: str) -> str:
    """The ``model.py`` that Triton's Python backend loads."""
    return _MODEL_CODE.format(
        about=about, version=__version__, module=module, name=name, readme=readme
    )


def write_python_model(
    writer: RepositoryWriter, bundle: Bundle, options: TritonOptions, progress: StageProgress
) -> tuple[str, ...]:
    """Write the model; the bundle in it is what ``mahtrt pack`` writes.

    Returns:
        Notes for the user.
    """
    name, engine = options.model_name, bundle.engine(options.engine)
    warmups = warmup_inputs(bundle)
    config = python_config(bundle, engine, options, warmups)
    folder = writer.model(name, ModelMark(name, options.backend), config.to_text())
    version = folder / str(options.version)
    files.make_folder(version)
    packed = pack(PackOptions(bundle.path, version / BUNDLE, engine.name, options.trust), progress)
    readme = f"{name}/{README_FILE}"
    code = model_code("Landmarks of images.", "landmark_model", "LandmarkModel", readme)
    files.write_text(version / MODEL_FILE, code)
    write_front(folder, bundle, engine, config, options)
    return packed.notes


def python_config(
    bundle: Bundle,
    engine: EngineRecord,
    options: TritonOptions,
    warmups: Sequence[tuple[WarmupInput, ...]],
) -> ModelConfig:
    """What Triton is told of the model."""
    most = options.max_batch or engine.batch
    threads = {} if options.threads is None else {THREADS: str(options.threads)}
    return ModelConfig(
        name=options.model_name,
        backend="python",
        inputs=request_tensors(bundle.spec),
        outputs=answer_tensors(bundle.spec, engine),
        max_batch_size=most,
        instances=options.instances,
        kind=instance_kind(engine),
        queue_delay_us=options.queue_delay_us if most > 1 else None,
        parameters=threads | environment_parameter(options),
        warmups=tuple(warmups),
    )


def instance_kind(engine: EngineRecord) -> InstanceKind:
    """The kind of device that an engine runs on, as Triton calls it."""
    return "KIND_CPU" if find_target(engine.target).device == "cpu" else "KIND_GPU"


def environment_parameter(options: TritonOptions) -> dict[str, str]:
    """What the Python backend is told of its environment."""
    return {ENVIRONMENT: options.environment} if options.environment else {}


def warmup_inputs(bundle: Bundle) -> tuple[tuple[WarmupInput, ...], ...]:
    """Inputs of a few requests from the bundle's golden images; none where it keeps none."""
    golden = bundle.manifest.golden
    images = golden.images[:_MOST_WARMUPS] if golden else ()
    return tuple(
        tuple(
            WarmupInput(
                Tensor(image_tensor_names(bundle.spec, index)[0], "TYPE_STRING", (1,)),
                f"{number}-{index}.bytes",
            )
            for index in range(len(bundle.spec.inputs))
        )
        for number in range(len(images))
    )


def write_front(
    folder: Path,
    bundle: Bundle,
    engine: EngineRecord,
    config: ModelConfig,
    options: TritonOptions,
) -> None:
    """What lies in the folder of the model that is asked: labels, warm-up requests, README.

    A file of a warm-up request holds one element of a BYTES tensor as the protocol has it on the
    wire: its length in 4 bytes, little-endian, then its bytes.
    """
    if names := landmark_names(bundle.spec):
        files.write_text(folder / LABELS_FILE, "".join(f"{name}\n" for name in names))
    golden = bundle.manifest.golden
    if config.warmups and golden is not None:
        files.make_folder(folder / WARMUP_FOLDER)
        for inputs, image in zip(config.warmups, golden.images, strict=False):
            for each, picture in zip(inputs, image.pictures, strict=True):
                content = bundle.file(picture.image).read_bytes()
                packed = struct.pack("<I", len(content)) + content
                files.write_bytes(folder / WARMUP_FOLDER / each.file, packed)
    files.write_text(folder / README_FILE, readme_text(bundle, engine, config, options))
