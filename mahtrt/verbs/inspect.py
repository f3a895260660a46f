"""``mahtrt inspect``: what is in a file, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mahtrt.verbs.command import GENERAL, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, show, write_json
from mahtrt.verbs.options import Explain, Json, TrustArguments


@dataclass(frozen=True, kw_only=True)
class InspectArguments(TrustArguments):
    """What ``mahtrt inspect`` is given."""

    file: Annotated[Path, argument("ONNX file, .mahtrt folder or TensorRT engine file.")]
    top: Annotated[int, option(GENERAL, "Number of the largest layers to show.", least=1)] = 10
    graphs: Annotated[
        bool, option(GENERAL, "ONNX graphs of a bundle are looked into as well.", "--graphs")
    ] = False
    explain: Explain = False
    json: Json = None


@as_command
def command(arguments: InspectArguments) -> None:
    """Show what is in an ONNX file, a bundle or an engine.

    Precisions, weights, largest layers, inputs and outputs, plan and provenance.
    """
    from mahtrt.inspection.inspect import InspectOptions, inspect

    options = InspectOptions(arguments.file, arguments.top, arguments.graphs, arguments.trust())
    with StageDisplay() as display:
        found = inspect(options, display)
    if arguments.json is not None:
        write_json(found.to_dict(), arguments.json)
    else:
        from mahtrt.verbs.inspection_tables import tables_of

        show(tables_of(found, explain=arguments.explain))
