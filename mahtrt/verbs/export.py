"""``mahtrt export``: a network to ONNX, with a parity table."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mahtrt.errors import UsageError, require
from mahtrt.verbs.choices import networks
from mahtrt.verbs.command import DATA, GENERAL, NETWORK, OUTPUT, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, answer, hint, say, show, write_json
from mahtrt.verbs.documents import export_document
from mahtrt.verbs.expectation_text import comparing, lines_of
from mahtrt.verbs.options import (
    DATA_HELP,
    Expect,
    ExpectPx,
    InputSize,
    Json,
    Kwarg,
    keywords_from_texts,
    size_from_text,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mahtrt.bundle.origin import ParityRowRecord
    from mahtrt.export.options import ExportOptions
    from mahtrt.export.parity import ParityTable


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    """What ``mahtrt export`` is given."""

    model: Annotated[
        str,
        argument(
            "Network: family[/variant] (mahtrt models lists them), package.module:factory or "
            "path/file.py:factory.",
            networks,
        ),
    ]
    checkpoint: Annotated[
        Path | None,
        option(
            NETWORK,
            "Weights (.safetensors or .pt); demo means those that mahtrt ships. Without a "
            "checkpoint the weights are random.",
        ),
    ] = None
    input_size: InputSize = None
    kwarg: Kwarg = None
    spec: Annotated[
        Path | None, option(NETWORK, "Spec (TOML) of a network that mahtrt does not know.")
    ] = None
    seed: Annotated[int, option(NETWORK, "Seed of random weights.")] = 0
    batch: Annotated[int, option(GENERAL, "Images per inference, static.", least=1)] = 1
    opset: Annotated[int, option(GENERAL, "ONNX opset.")] = 20
    no_pass: Annotated[
        list[str] | None,
        option(GENERAL, "Name of a graph rewrite to leave out. May be repeated."),
    ] = None
    data: Annotated[
        str | None,
        option(
            DATA,
            "DATA on which parity is measured, 8 cases at most; synthetic ones without it. "
            f"{DATA_HELP}",
        ),
    ] = None
    expect: Expect = None
    expect_px: ExpectPx = 0.25
    out: Annotated[Path, option(OUTPUT, "ONNX file to write.")] = Path("model.onnx")
    json: Json = None

    def options(self) -> ExportOptions:
        """The verb's options.

        Raises:
            UsageError: An input size for a network whose spec says it, or text without a value.
        """
        from mahtrt.export.options import ExportOptions
        from mahtrt.models.families import is_known
        from mahtrt.models.reference import ModelSource

        settings = keywords_from_texts(self.kwarg)
        if self.input_size is not None:
            if not is_known(self.model):
                raise UsageError(
                    "--input-size",
                    got=f"a size for {self.model}",
                    expected="none: the spec of a foreign network says it",
                    fix="Change the size of the input in the spec.",
                )
            settings["input_size"] = size_from_text(self.input_size)
        source = ModelSource(self.model, self.checkpoint, settings, self.spec, self.seed)
        skip = tuple(self.no_pass or ())
        return ExportOptions(
            source,
            self.out,
            self.data,
            self.opset,
            self.batch,
            skip,
            self.expect,
            self.expect_px,
        )


@as_command
def command(arguments: ExportArguments) -> None:
    """Export a network to ONNX, and prove parity with PyTorch.

    The file has static shapes and holds everything that the other commands need to know.
    """
    require("torch", extra="export", needed_for="export")
    from mahtrt.export.export import export
    from mahtrt.export.parity import ParityError

    options = arguments.options()
    if arguments.checkpoint is None:
        weights = f"random weights (seed {arguments.seed})"
        say(f"note: no --checkpoint, so {arguments.model} gets {weights}")
    with StageDisplay() as display:
        try:
            result = comparing(lambda: export(options, display), "mahtrt.export/1", arguments.json)
        except ParityError as error:
            show(parity_table(error.table), to_stderr=True)
            raise
    if arguments.json is not None:
        write_json(export_document(result), arguments.json)
    show(parity_table(result.parity))
    if result.expectation is not None:
        answer(*lines_of(result.expectation))
    answer(f"{result.path}  {result.path.stat().st_size / 2**20:.1f} MiB  sha256 {result.sha256}")
    onnx, bundle = (
        shlex.quote(str(result.path.with_suffix(suffix))) for suffix in (".onnx", ".mahtrt")
    )
    hint(f"mahtrt build {onnx} --fp32 --int8 --calib YOUR_IMAGES --out {bundle}")


def parity_table(table: ParityTable) -> RenderableType:
    """A row per output, and what was compared."""
    from rich.console import Group

    from mahtrt.export.parity import ADVICE
    from mahtrt.verbs.rendering import Indented, line
    from mahtrt.verbs.tables import Column, FittedTable, numbers

    failed = "FAIL, by rounding" if table.reason else "FAIL"
    columns = (
        *(Column("output"), Column("kind")),
        *(*numbers("max abs", "mean abs", "error", "tolerance"), Column("")),
    )
    rows = [_cells(row, failed) for row in table.rows]
    told = [f"{table.images} image(s), {table.runtime} against PyTorch"]
    told += [f"{table.reason}. {ADVICE}"] if table.reason else []
    return Group(FittedTable(columns, rows), *(Indented(line(text), 0, 2) for text in told))


def _cells(row: ParityRowRecord, failed: str) -> tuple[str, ...]:
    unit = " px" if row.unit == "px" else ""
    return (
        row.output,
        row.kind,
        f"{row.max_abs:.2e}{unit}",
        f"{row.mean_abs:.2e}{unit}",
        f"{row.error:.2e} {row.unit}",
        f"{row.tolerance:g}",
        "pass" if row.passed else failed,
    )
