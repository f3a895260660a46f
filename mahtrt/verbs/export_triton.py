"""``mahtrt export-triton``: a bundle as a model of a Triton model repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from mahtrt.verbs.choices import one_of
from mahtrt.verbs.command import ENGINES, OUTPUT, SERVICE, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, answer, say, write_json
from mahtrt.verbs.options import Json, Threads, TrustArguments

if TYPE_CHECKING:
    from mahtrt.triton.options import TritonBackend, TritonOptions


@dataclass(frozen=True, kw_only=True)
class ExportTritonArguments(TrustArguments):
    """What ``mahtrt export-triton`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder.")]
    out: Annotated[Path, option(OUTPUT, "Model repository: new, empty, or Triton's already.")]
    backend: Annotated[
        str,
        option(
            ENGINES,
            "What runs the network: python (mahtrt's runtime), or Triton's own onnx, openvino or "
            "tensorrt in an ensemble.",
            complete=one_of("python", "onnx", "openvino", "tensorrt"),
        ),
    ] = "python"
    name: Annotated[str | None, option(SERVICE, "The model's name; the bundle's without it.")] = (
        None
    )
    model_version: Annotated[int, option(SERVICE, "The model's version.", least=1)] = 1
    engine: Annotated[
        str | None,
        option(ENGINES, "Engine of the bundle, or a target; the bundle's default without it."),
    ] = None
    instances: Annotated[
        int, option(SERVICE, "How many of the model run at a time, each a process.", least=1)
    ] = 1
    threads: Threads = None
    max_batch: Annotated[
        int | None,
        option(SERVICE, "Most images of a request; the engine's batch without it.", least=1),
    ] = None
    queue_delay_us: Annotated[
        int,
        option(SERVICE, "Longest that Triton waits to fill a batch, in microseconds.", least=0),
    ] = 0
    environment: Annotated[
        str | None,
        option(SERVICE, "Packed Python environment with mahtrt (EXECUTION_ENV_PATH of Triton)."),
    ] = None
    json: Json = None

    def options(self) -> TritonOptions:
        """What Python takes."""
        from mahtrt.triton.options import TritonOptions

        same = (
            *("bundle", "out", "name", "engine", "instances", "threads", "max_batch"),
            *("queue_delay_us", "environment"),
        )
        return TritonOptions(
            **{name: getattr(self, name) for name in same},
            backend=cast("TritonBackend", self.backend),
            version=self.model_version,
            trust=self.trust(),
        )


@as_command
def command(arguments: ExportTritonArguments) -> None:
    """Write a bundle as a model for NVIDIA Triton Inference Server.

    The README.md beside the model says what it takes and gives, and what Triton needs.
    """
    from mahtrt.triton.export import export_triton

    with StageDisplay() as display:
        result = export_triton(arguments.options(), display)
    if arguments.json is not None:
        write_json(result.to_dict(), arguments.json)
    for note in result.notes:
        say(f"note: {note}")
    answer(
        f"{result.repository / result.model}  version {result.version}  {result.engine}"
        f"  ({', '.join(result.models)})"
    )
