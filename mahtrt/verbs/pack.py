"""``mahtrt pack``: what one engine of a bundle needs, and nothing else."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mahtrt.verbs.command import ENGINES, OUTPUT, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, answer, hint, say, write_json
from mahtrt.verbs.documents import pack_document
from mahtrt.verbs.options import Json, TrustArguments


@dataclass(frozen=True, kw_only=True)
class PackArguments(TrustArguments):
    """What ``mahtrt pack`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder.")]
    out: Annotated[Path, option(OUTPUT, "Bundle to write.")]
    engine: Annotated[
        str | None,
        option(ENGINES, "Engine of the bundle, or a target; the bundle's default without it."),
    ] = None
    json: Json = None


@as_command
def command(arguments: PackArguments) -> None:
    """Keep only what one engine of a bundle needs.

    The new bundle has the engine, its graph, its verdict and the golden images.
    """
    from mahtrt.bundle.pack import PackOptions, pack

    trust = arguments.trust()
    options = PackOptions(arguments.bundle, arguments.out, arguments.engine, trust)
    with StageDisplay() as display:
        result = pack(options, display)
    if arguments.json is not None:
        write_json(pack_document(result), arguments.json)
    for note in result.notes:
        say(f"note: {note}")
    before, after = result.bytes_before / 2**20, result.bytes_after / 2**20
    answer(f"{result.path}  {result.manifest.default_engine}  {after:.1f} MiB of {before:.1f} MiB")
    hint(f"mahtrt verify {shlex.quote(str(result.path))}  (on the machine where it will run)")
