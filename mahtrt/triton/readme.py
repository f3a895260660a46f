"""The README.md beside a model: what it takes and gives, and what Triton needs to run it."""

from __future__ import annotations

from mahtrt import __version__
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.names import visible
from mahtrt.runtime.decode import landmark_names
from mahtrt.triton.config import ModelConfig, Tensor
from mahtrt.triton.options import TritonOptions

# What mahtrt's runtime needs for engines of a target, besides what it comes with.
_EXTRAS = {
    "openvino": "",
    "onnxruntime": "cpu",
    "onnxruntime-cuda": "gpu",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt-rtx",
}
_RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}

# Of the extra dicom, without the versions that want numpy 2 (docs/triton.md).
_DICOM_BESIDE_NUMPY_1 = "'pydicom>=3' imagecodecs pyjpegls pylibjpeg pylibjpeg-openjpeg"

_TEXT = """# {name}

Landmarks of images, for NVIDIA Triton Inference Server. Written by `mahtrt export-triton`
{version} from the bundle `{bundle}`, engine `{engine}`, backend `{backend}`.

## Request

The first dimension of every tensor is the number of images, at most {most}; a request of one image
has 1 there. An image comes as the bytes of its file (PNG, JPEG, DICOM and others), or as pixels
(rows, columns, 1 or 3) of 8 or of 16 bits: exactly one of the inputs for it.

| input | type | shape of one image |
|---|---|---|
{inputs}

`spacing_mm` is (row, column) in mm per pixel; without it, that of a DICOM file is taken.

## Answer

| output | type | shape of one image |
|---|---|---|
{outputs}

`landmarks` are x and y in pixels of the image, pixel centres at integers, in the order of the names
below; `spread_px` is the standard deviation in the same pixels; a number that the network does not
give is NaN. `document` is JSON with all of it, millimetres included where the spacing is known.

Names: {names}.

## Python environment

Triton's Python backend runs `model.py` by a program of its own, `triton_python_backend_stub`, which
is made for one version of Python: a container's is that of its Ubuntu. The environment has to be of
that version and to hold mahtrt {version} and what runs the engine: `pip install '{extra}'`.
Where the server wants numpy below 2, as that of `nvidia-pytriton` 0.7.0, the extra `dicom` cannot
be installed: `pip install 'numpy<2' {plain} {dicom}`.
The stub finds it

- by `EXECUTION_ENV_PATH` in `config.pbtxt` (`mahtrt export-triton --environment PATH`): an archive
  made by `conda-pack`, or a folder, with a `bin/activate`; or else
- as the environment of the `python3` that is first on the server's `PATH`. The stub does not read
  `PYTHONPATH`.
{rest}"""

_ENSEMBLE = """
## Parts

`{name}` is an ensemble of `{name}_prepare` (Python), `{name}_network` (Triton's `{runtime}`
backend) and `{name}_decode` (Python). All have to be loaded; under explicit model control, load
`{name}`, and Triton loads its parts.
"""


def readme_text(
    bundle: Bundle, engine: EngineRecord, config: ModelConfig, options: TritonOptions
) -> str:
    """The README of the model that is asked for landmarks."""
    names = ", ".join(landmark_names(bundle.spec)) or "the network gives no landmarks"
    own = _EXTRAS.get(engine.target, "cpu") if options.backend == "python" else ""
    extras = f"dicom,{own}" if own else "dicom"
    return _TEXT.format(
        name=config.name,
        version=__version__,
        bundle=visible(bundle.path.name),
        engine=engine.name,
        backend=options.backend,
        most=config.max_batch_size or engine.batch,
        inputs="\n".join(_row(tensor, config) for tensor in config.inputs),
        outputs="\n".join(_row(tensor, config) for tensor in config.outputs),
        names=visible(names),
        extra=f"mahtrt[{extras}]",
        plain=f"'mahtrt[{own}]'" if own else "mahtrt",
        dicom=_DICOM_BESIDE_NUMPY_1,
        rest=_rest(config, options),
    )


def _row(tensor: Tensor, config: ModelConfig) -> str:
    dims = tensor.dims if config.max_batch_size else tensor.dims[1:]
    shape = ", ".join("any" if size < 0 else str(size) for size in dims)
    kind = tensor.data_type.removeprefix("TYPE_")
    kind = "BYTES" if kind == "STRING" else kind
    optional = " (optional)" if tensor.optional else ""
    return f"| `{visible(tensor.name)}`{optional} | {kind} | ({shape}) |"


def _rest(config: ModelConfig, options: TritonOptions) -> str:
    if not config.steps:
        return ""
    return _ENSEMBLE.format(name=config.name, runtime=_RUNTIMES[options.backend])
