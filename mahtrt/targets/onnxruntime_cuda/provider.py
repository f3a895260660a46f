"""Opens a graph with ONNX Runtime's CUDA provider, and with nothing else.

Left alone, ONNX Runtime gives nodes that the provider does not take to the CPU, and the whole graph
where the provider cannot be loaded. Both are refused here: ``session.disable_cpu_ep_fallback``
makes the first an error, and the providers of the opened session tell the second. ONNX Runtime's
error does not name the nodes; a second look, with the fallback allowed and the assignment of nodes
recorded (``session.record_ep_graph_assignment_info``, since 1.24), does. Nodes that only compute
shapes belong on the CPU (ONNX Runtime puts them there to be faster): they are a note.

What is set, and why:

- ``use_tf32=0``: FP32 is FP32, unless asked otherwise; the provider's default multiplies with the
  mantissa of FP16.
- ``cudnn_conv_algo_search=HEURISTIC``: cuDNN's choice is the same in every session. The default,
  EXHAUSTIVE, measures, so that two sessions of a pool can round differently.
- ``user_compute_stream``: our stream, so that copies, kernels and the network are done in order.
- ``do_copy_in_default_stream=1``: copies inside the graph use that stream too.
- ``arena_extend_strategy=kSameAsRequested``: shapes are static, so the arena need not grow ahead.
- ``enable_cuda_graph``: the first run in a thread also records and plays a graph, which every
  later run of that thread plays.
- ``session.disable_quant_qdq``: Q/DQ are computed as they stand. The provider has no INT8
  convolution (ONNX Runtime's list of CUDA kernels), so what a CPU fuses would only be lost here.

Sources: ONNX Runtime's page of the CUDA execution provider and the headers of its provider options
and of its session option keys, versions 1.22 to 1.31.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mahtrt.bundle.contents import held
from mahtrt.errors import BuildError, MissingComponentError, some_of
from mahtrt.reading import Content

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
CONV_SEARCH = "HEURISTIC"
_SILENT = 4  # its errors come as exceptions
# What shapes are computed with; exports have static shapes, so that there is hardly ever any.
_SHAPE_SOURCES = frozenset({"Shape", "Size"})
_SHAPE_WORK = _SHAPE_SOURCES | {"Cast", "Concat", "Gather", "Slice", "Squeeze", "Unsqueeze"}


@dataclass(frozen=True, slots=True)
class ProviderOptions:
    """How a session is opened.

    Attributes:
        device_id: Number of the GPU among those that the process sees.
        stream: Handle of the stream that everything is done on; None leaves that to ONNX Runtime.
        graph: Whether runs are recorded as a CUDA graph.
        tf32: Whether FP32 products may be multiplied as TF32.
    """

    device_id: int = 0
    stream: int | None = None
    graph: bool = False
    tf32: bool = False

    def provider(self) -> tuple[str, dict[str, str]]:
        """As ONNX Runtime takes them."""
        given = {
            "device_id": str(self.device_id),
            "use_tf32": str(int(self.tf32)),
            "cudnn_conv_algo_search": CONV_SEARCH,
            "do_copy_in_default_stream": "1",
            "arena_extend_strategy": "kSameAsRequested",
            "enable_cuda_graph": str(int(self.graph)),
        }
        if self.stream is not None:
            given["user_compute_stream"] = str(self.stream)
        return CUDA_PROVIDER, given


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A session that runs on the GPU, and what to tell of it."""

    session: Any
    notes: tuple[str, ...] = ()


def open_on_gpu(
    ort: Any,
    model: Content,
    where: str,
    options: ProviderOptions,
    settings: Mapping[str, Any] | None = None,
) -> Opened:
    """An ``InferenceSession`` all of whose work is done on the GPU.

    Args:
        ort: The package.
        model: An ONNX file.
        where: What an error is about.
        settings: More attributes of ``SessionOptions``.

    Raises:
        BuildError: ONNX Runtime refuses the graph, or nodes of it that are more than shapes would
            run on the CPU.
        MissingComponentError: The CUDA provider cannot be loaded.
    """
    try:
        return Opened(_checked(_open(ort, model, options, settings, strict=True), where))
    except MissingComponentError:
        raise
    except Exception as error:  # its exceptions have no public names
        first = str(error).partition("\n")[0]
        # Whatever went wrong: does it go well where the CPU may help?
        session = _helped(ort, model, options, settings)
        if session is None:
            raise refused(where, first) from error
        _checked(session, where)
        return Opened(session, _on_cpu(session, where, first))


def refused(where: str, reason: str) -> BuildError:
    """The error about a graph that ONNX Runtime does not open on the GPU."""
    return BuildError(where, got=reason, expected="a graph that ONNX Runtime runs on the GPU")


def _open(
    ort: Any,
    model: Content,
    options: ProviderOptions,
    settings: Mapping[str, Any] | None,
    *,
    strict: bool,
) -> Any:
    given = ort.SessionOptions()
    given.log_severity_level = _SILENT
    given.intra_op_num_threads = 1  # nothing is computed on the CPU
    given.add_session_config_entry("session.disable_quant_qdq", "1")
    if strict:
        given.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    else:
        given.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for name, value in (settings or {}).items():
        setattr(given, name, value)
    with held(model) as source:
        # Without enable_fallback=0, an error makes it print to stdout and take the CPU.
        session = ort.InferenceSession(
            str(source), given, providers=[options.provider()], enable_fallback=0
        )
    for each in (*session.get_inputs(), *session.get_outputs()):
        _ = each.name  # not UTF-8: an error that only looking at it brings up
    return session


def _helped(
    ort: Any, model: Content, options: ProviderOptions, settings: Mapping[str, Any] | None
) -> Any:
    """A session that may also use the CPU; None where there is none either."""
    with contextlib.suppress(Exception):  # the first error is the one to tell
        return _open(ort, model, options, settings, strict=False)
    return None


def _checked(session: Any, where: str) -> Any:
    """A session whose provider was loaded.

    Raises:
        MissingComponentError: ONNX Runtime went on without it.
    """
    providers = session.get_providers()
    if CUDA_PROVIDER in providers:
        return session
    raise MissingComponentError(
        where,
        got=f"a session on {', '.join(providers)}",
        expected=f"one on {CUDA_PROVIDER}: it could not be loaded",
        fix="mahtrt doctor says what is missing.",
    )


def _on_cpu(session: Any, where: str, reason: str) -> tuple[str, ...]:
    """What to tell of nodes on the CPU that only compute shapes.

    Raises:
        BuildError: There are others, or ONNX Runtime is too old to tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise refused(where, reason)
    nodes = [
        node
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == CPU_PROVIDER
        for node in part.get_nodes()
    ]
    kinds = {node.op_type for node in nodes}
    told = some_of([f"{node.op_type} {node.name}".strip() for node in nodes])
    if not nodes or kinds - _SHAPE_WORK or not kinds & _SHAPE_SOURCES:
        raise refused(where, f"nodes that would run on the CPU: {told}" if nodes else reason)
    return (f"Shapes are computed on the CPU: {told}.",)
