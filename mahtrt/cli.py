"""The command line: the list of verbs. Each has a file of its own in :mod:`mahtrt.verbs`.

These files import heavy packages inside their functions, so that ``mahtrt --help`` is quick and a
machine without PyTorch can run bundles.
"""

from __future__ import annotations

from typing import Annotated

import typer

from mahtrt import __version__
from mahtrt.verbs import (
    bench,
    build,
    calibrate,
    compile,
    demo,
    doctor,
    export,
    inspect,
    models,
    pack,
    predict,
    train,
    verify,
)
from mahtrt.verbs.command import GroupedCommand
from mahtrt.verbs.console import show_logs

# In the order of --help.
VERBS = {
    "demo": demo,
    "models": models,
    "export": export,
    "calibrate": calibrate,
    "build": build,
    "compile": compile,
    "pack": pack,
    "bench": bench,
    "predict": predict,
    "inspect": inspect,
    "verify": verify,
    "doctor": doctor,
    "train": train,
}

app = typer.Typer(
    name="mahtrt",
    help="Takes landmark networks from PyTorch to measured engines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks of errors and the logs of libraries.")
    ] = False,
) -> None:
    if debug:
        show_logs()


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
