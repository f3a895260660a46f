"""OpenVINO as a user runs it without mahtrt: no rewrites, its own reader, latency's settings."""

from __future__ import annotations

from mahtrt.errors import MissingComponentError, ModelError, require
from mahtrt.openvino_core import shared_core
from mahtrt.spec import ModelSpec
from mahtrt.targets.openvino.run import OpenVinoBackend, config_for, has_native_bf16, reason_of


def open_fp32(data: bytes, spec: ModelSpec, threads: int | None) -> OpenVinoBackend:
    """An ONNX file's content in FP32.

    Args:
        threads: Threads of one inference; None leaves their number to the runtime.

    Raises:
        ModelError: OpenVINO refuses it.
    """
    return _opened(data, spec, threads, "f32")


def open_bf16(data: bytes, spec: ModelSpec, threads: int | None) -> OpenVinoBackend:
    """The same under the hint for BF16.

    Raises:
        MissingComponentError: The CPU does not multiply BF16.
        ModelError: OpenVINO refuses it.
    """
    if not has_native_bf16():
        raise MissingComponentError(
            "openvino", got="a CPU without native BF16", expected="one that multiplies BF16"
        )
    return _opened(data, spec, threads, "bf16")


def _opened(
    data: bytes, spec: ModelSpec, threads: int | None, inference_precision: str
) -> OpenVinoBackend:
    require("openvino", extra="", needed_for="the peer")
    core = shared_core()
    config = config_for(inference_precision, threads)
    try:
        compiled = core.compile_model(core.read_model(data), "CPU", config)
    except RuntimeError as error:
        raise ModelError(
            "the plain export", got=reason_of(error), expected="one that OpenVINO compiles"
        ) from error
    return OpenVinoBackend(compiled, spec, "openvino")
