"""The verbs as functions: the same names as on the command line, and real functions for good."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import mahtrt
from mahtrt.cli import VERBS

# A session is for programs alone; a dossier is an option of ``mahtrt report``, a data set of
# ``mahtrt predict``.
PYTHON_ONLY = {"open", "write_dossier", "predict_dataset"}
IMPORT_EVERYTHING = """
import importlib, pkgutil, types, mahtrt
for module in pkgutil.walk_packages(mahtrt.__path__, "mahtrt."):
    importlib.import_module(module.name)
from mahtrt.export.onnx import export_onnx
for name in ("build", "export", "models"):
    assert isinstance(getattr(mahtrt, name), types.FunctionType), name
    assert isinstance(importlib.import_module(f"mahtrt.{name}"), types.ModuleType), name
"""


def test_the_verbs_of_the_command_line_are_those_of_python() -> None:
    functions = {name for name in mahtrt.__all__ if isinstance(getattr(mahtrt, name), FunctionType)}
    assert functions - PYTHON_ONLY == {verb.replace("-", "_") for verb in VERBS}


@pytest.mark.slow
@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"doctor", "models", "native-info"}))
def test_a_verb_takes_its_options_and_who_is_told_of_progress(verb: str) -> None:
    function = getattr(mahtrt, verb.replace("-", "_"))
    who = {"serve": "tell"}.get(verb, "progress")  # a service has events, and no end to near
    assert list(inspect.signature(function).parameters) == ["options", who]
    assert hasattr(mahtrt, f"{verb.rpartition('-')[2].capitalize()}Options")


@pytest.mark.slow
def test_a_verb_keeps_its_name_beside_a_package_of_that_name() -> None:
    """In a process of its own: here, all of it is imported already."""
    subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], check=True)


def test_type_checkers_are_told_of_the_same_names() -> None:
    tree = ast.parse(Path(mahtrt.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        (alias.asname or alias.name): statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    open_session = told.pop("open_session")
    assert {**told, "open": open_session} == {
        name: getattr(mahtrt, name).__module__ for name in mahtrt.__all__ if name != "__version__"
    }


@pytest.mark.slow
def test_every_module_can_be_imported() -> None:
    for module in pkgutil.walk_packages(mahtrt.__path__, "mahtrt."):
        importlib.import_module(module.name)
