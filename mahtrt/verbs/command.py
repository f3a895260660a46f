"""How a verb becomes a command: its options are the fields of a dataclass, listed in groups."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from mahtrt.names import visible
from mahtrt.verbs.choices import Complete
from mahtrt.verbs.console import Talk, talking
from mahtrt.verbs.ending import ends_well, show_logs
from mahtrt.verbs.places import check_results, keep_inputs

# Groups of options in the order of --help; what only experts need comes last.
ENGINES, NETWORK, DATA, MEASURING, BUDGETS = "Engines", "Network", "Data", "Measuring", "Budgets"
REFERENCE, TRAINING, OUTPUT, GENERAL = "PyTorch reference", "Training", "Output", "Options"
PLAN, INT8, TENSORRT = "Precision plan", "INT8 (expert)", "TensorRT (expert)"
SIGNATURE, LOSS = "Signature", "Loss"
SERVICE, TLS = "Service", "TLS"
DICOM_NODE = "DICOM node"
CLUSTER = "Large archives"
GROUPS = (
    *(
        "Arguments",
        SERVICE,
        DICOM_NODE,
        NETWORK,
        ENGINES,
        DATA,
        TRAINING,
        LOSS,
        MEASURING,
        BUDGETS,
        PLAN,
        OUTPUT,
        CLUSTER,
        REFERENCE,
    ),
    *(GENERAL, TLS, SIGNATURE, INT8, TENSORRT),
)

# --ray alone is --ray=local; what is behind it belongs to it where it is an address.
_RAY, _RAY_ALONE = "--ray", "local"
_RAY_ADDRESS = re.compile(r"local|auto|[^/\\]+:[0-9]{1,5}")
_EMPTY = re.compile(r"(--[^=]+)=")

# Of the package click, or of the copy that newer versions of typer have.
UsageError: Any = typer.BadParameter.__mro__[1]

Arguments = TypeVar("Arguments")


def argument(text: str, complete: Complete | None = None) -> Any:
    """What typer has to know of an argument, besides its type."""
    return typer.Argument(help=text, autocompletion=complete)


def option(
    group: str,
    text: str,
    *names: str,
    least: int | None = None,
    most: int | None = None,
    complete: Complete | None = None,
) -> Any:
    """What typer has to know of an option, besides its type and default.

    Args:
        complete: What a shell completes its value with (:mod:`mahtrt.verbs.choices`).
    """
    return typer.Option(
        *names, help=text, rich_help_panel=group, min=least, max=most, autocompletion=complete
    )


# Before the verb, and behind each.
Quiet = Annotated[
    bool, option(GENERAL, "No progress and no talk: only results and errors.", "--quiet")
]
Debug = Annotated[
    bool, option(GENERAL, "Show tracebacks of errors and the logs of libraries.", "--debug")
]
_COMMON: dict[str, Any] = {"_context": typer.Context, "quiet": Quiet, "debug": Debug}


@dataclass(frozen=True, slots=True)
class ResultFile:
    """Marks an option that names a file for a result, or ``-`` for stdout."""


def as_command(function: Callable[[Arguments], None]) -> Callable[..., None]:
    """A typer command whose options are the fields of ``function``'s only parameter."""
    hints = get_type_hints(function)
    (kind,) = (hint for name, hint in hints.items() if name != "return")
    annotations = get_type_hints(kind, include_extras=True)

    results = [
        field.name
        for field in fields(kind)
        if ResultFile() in getattr(annotations[field.name], "__metadata__", ())
    ]

    @functools.wraps(function)
    def called(*, _context: typer.Context, quiet: bool, debug: bool, **values: Any) -> None:
        if debug:
            show_logs()
        is_data = any(values[name] == "-" for name in results)
        with talking(Talk(quiet or bool(_context.obj), is_data)):
            run(kind(**values))

    @ends_well
    def run(arguments: Arguments) -> None:
        check_results({f"--{name}": getattr(arguments, name) for name in results})
        keep_inputs(*_outputs_and_inputs(arguments, annotations))
        function(arguments)

    called.__annotations__ = {**annotations, **_COMMON}
    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *(_parameter(field.name, field.default, annotations) for field in fields(kind)),
            _parameter("_context", MISSING, _COMMON),
            *(_parameter(name, False, _COMMON) for name in ("quiet", "debug")),
        ]
    )
    return called


def _parameter(name: str, default: Any, annotations: dict[str, Any]) -> inspect.Parameter:
    default = inspect.Parameter.empty if default is MISSING else default
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotations[name])


def _outputs_and_inputs(
    arguments: Any, annotations: dict[str, Any]
) -> tuple[dict[str, Path], list[Path]]:
    """Options with what they write to, and every other path; DATA may be one."""
    outputs: dict[str, Path] = {}
    inputs: list[Path] = []
    for name, annotation in annotations.items():
        given = getattr(arguments, name)
        metadata = getattr(annotation, "__metadata__", ())
        group = next((m.rich_help_panel for m in metadata if hasattr(m, "rich_help_panel")), None)
        if group == OUTPUT and isinstance(given, (str, Path)):
            outputs[f"--{name}"] = Path(given)
        elif group == DATA and isinstance(given, str):
            inputs.append(Path(given))
        elif group != OUTPUT:
            several = given if isinstance(given, list) else [given]
            inputs += (path for path in several if isinstance(path, Path))
    return outputs, inputs


class GroupedCommand(TyperCommand):
    """A command whose ``--help`` is plain text, with its options in groups."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Refuse empty names and values: an empty path would be the working folder."""
        _refuse_empty(args, ctx)
        if any(_RAY in parameter.opts for parameter in self.params):
            args = _with_ray_value(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then the options of each group."""
        found: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            group = getattr(parameter, "rich_help_panel", None) or GENERAL
            if record := parameter.get_help_record(ctx):
                found.setdefault("Arguments" if is_argument else group, []).append(record)
        for group in GROUPS:
            if group in found:
                with formatter.section(group):
                    formatter.write_dl(found[group])


def _with_ray_value(args: Sequence[str]) -> list[str]:
    """Arguments in which --ray has a value."""
    end_of_options = args.index("--") if "--" in args else len(args)
    given = list(args)
    for index, word in enumerate(given[:end_of_options]):
        following = given[index + 1] if index + 1 < len(given) else ""
        if word == _RAY and not _RAY_ADDRESS.fullmatch(following):
            given[index] = f"{_RAY}={_RAY_ALONE}"
    return given


def _refuse_empty(args: Sequence[str], ctx: Any) -> None:
    end_of_options = args.index("--") if "--" in args else len(args)
    for index, given in enumerate(args):
        found = _EMPTY.fullmatch(given) if index < end_of_options else None
        if not given or found:
            before = args[index - 1] if 0 < index < end_of_options else ""
            name = found[1] if found else before if before.startswith("--") else "an argument"
            raise UsageError(f"{name}: got an empty value; expected a text or a number", ctx)


class Commands(TyperGroup):
    """The verbs. What is wrong with a command line is said without acting on the terminal."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _visible_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _visible_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def _visible_errors() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        told = error.format_message()
        shown = "\n".join(map(visible, told.split("\n")))
        if shown == told:
            raise
        raise UsageError(shown, error.ctx) from error
