"""The command line: the list of verbs. Each has a file of its own in :mod:`mahtrt.verbs`.

These files import heavy packages inside their functions, so that ``mahtrt --help`` is quick and a
machine without PyTorch can run bundles.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated

import typer

from mahtrt import __version__
from mahtrt.interrupt import unwind_on_signals
from mahtrt.verbs import (
    bench,
    build,
    calibrate,
    compile,
    demo,
    doctor,
    evaluate,
    export,
    export_triton,
    inspect,
    models,
    native_info,
    pack,
    predict,
    qat,
    report,
    serve,
    sign,
    train,
    verify,
)
from mahtrt.verbs.command import Commands, Debug, GroupedCommand, Quiet
from mahtrt.verbs.ending import say_refused, show_defect, show_logs

_STDERR = 2
# In the order of --help.
VERBS = {
    "demo": demo,
    "models": models,
    "export": export,
    "calibrate": calibrate,
    "qat": qat,
    "build": build,
    "compile": compile,
    "pack": pack,
    "bench": bench,
    "report": report,
    "predict": predict,
    "serve": serve,
    "export-triton": export_triton,
    "inspect": inspect,
    "verify": verify,
    "sign": sign,
    "doctor": doctor,
    "native-info": native_info,
    "train": train,
    "evaluate": evaluate,
}

app = typer.Typer(
    name="mahtrt",
    cls=Commands,
    help="Takes landmark networks from PyTorch to measured engines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name, _verb in VERBS.items():
    app.command(_name, cls=GroupedCommand)(_verb.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Debug = False,
    quiet: Quiet = False,
) -> None:
    context.obj = quiet
    if debug:
        show_logs()


def main() -> None:
    """The console script."""
    sys.excepthook = show_defect
    unwind_on_signals()
    _prepare_streams()
    try:
        app()
    except OSError as error:  # writing help, before there is a verb
        if error.errno is None:
            raise
        say_refused(error)
        with contextlib.suppress(OSError):
            sys.stdout.close()  # else the interpreter tries again, and complains
        sys.exit(1)


def _prepare_streams() -> None:
    """Let no text be lost for a stream's encoding, and no file take a closed stream's number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        continue
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
