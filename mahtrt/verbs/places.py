"""Whether the outputs of a command have places of their own, before the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from mahtrt.errors import UsageError


def check_results(results: Mapping[str, str | None]) -> None:
    """Refuse files for results that cannot be written, before the work.

    Args:
        results: Option to the name that was given, ``-`` for stdout; None where none was.

    Raises:
        UsageError: Stdout is closed, or two results have one place.
        BuildError: A place cannot be written.
    """
    from mahtrt.destination import check_output, find_destination

    places: dict[object, str] = {}
    for name, given in results.items():
        if given is None:
            continue
        option = f"{name} {given}"
        if given == "-":
            if sys.stdout is None:
                raise UsageError(option, got="a closed stdout", expected="an open one, or a file")
            place: object = "-"
        else:
            check_output(Path(given))
            place = find_destination(Path(given)).target or option
        if place in places:
            raise UsageError(
                f"{places[place]} {option}",
                got="two results for stdout" if place == "-" else "two results for one file",
                expected="one",
            )
        places[place] = option


def keep_inputs(outputs: Mapping[str, Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read, before the work.

    Args:
        outputs: Option to the file or folder that it names.
        inputs: What is read, as far as it is there.

    Raises:
        UsageError: An output is an input, also by a link, or lies within a bundle that is read.
    """
    for given in (path for path in inputs if os.path.exists(path)):
        place = Path(os.path.realpath(given))
        is_bundle = (place / "manifest.json").exists()
        for option, output in outputs.items():
            target = Path(os.path.realpath(output))
            if target == place and not place.is_dir():
                got = "a file that is read"
            elif is_bundle and target.is_relative_to(place):
                got = f"a place in the bundle {given}, which is read"
            else:
                continue
            raise UsageError(
                f"{option} {output}",
                got=got,
                expected="a place of its own",
                fix="Choose another place.",
            )
