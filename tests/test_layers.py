"""Every package imports only from the layers above it (docs/architecture.md draws them)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "mahtrt"
GROUND = (
    *("destination", "files", "names", "native", "scratch"),
    *("errors", "spec", "schema", "atomic", "digest", "interrupt", "machine"),
    *("cuda", "openvino_core", "cache", "progress", "parsing", "reading"),
)
LAYERS = (
    *("ground", "data", "bundle", "measure", "targets", "runtime", "dicom"),
    *("monitoring", "serving", "http", "triton", "distributed"),
    *("graph", "precision", "calibration", "models", "export", "benchmarks", "planning", "build"),
    *("inspection", "reporting", "dossier", "evaluation", "training", "finetuning"),
    *("verbs", "cli"),
)


def _modules() -> dict[str, Path]:
    """Dotted name to file of every module."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def _layer(module: str) -> str | None:
    """The layer of a module; None for ``mahtrt`` itself, which only points to names below it."""
    _, _, rest = module.partition(".")
    first = rest.partition(".")[0]
    return ("ground" if first in GROUND else first) if rest else None


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import of ours, lazy and type-only ones included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            source = node.module or ""
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield node.lineno, whole if whole in MODULES else source


def test_every_package_is_a_layer() -> None:
    assert {_layer(name) for name in MODULES} - {None} == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_from_those_above(layer: str) -> None:
    wrong = [
        f"{name}:{line} imports {imported}"
        for name, path in MODULES.items()
        if _layer(name) == layer
        for line, imported in _imports(path)
        if imported.startswith("mahtrt.")
        and LAYERS.index(_layer(imported) or "ground") > LAYERS.index(layer)
    ]
    assert wrong == []


def test_nothing_but_the_command_line_imports_the_verbs() -> None:
    users = {
        name
        for name, path in MODULES.items()
        for _, imported in _imports(path)
        if imported.startswith("mahtrt.verbs") and _layer(name) != "verbs"
    }
    assert users <= {"mahtrt", "mahtrt.cli"}


def test_the_picture_of_the_layers_is_this_order() -> None:
    page = (ROOT.parent / "docs/architecture.md").read_text(encoding="utf-8")
    picture = page.partition("```\n")[2].partition("```")[0]
    rows = [line.split() for line in picture.splitlines() if line.split()[0].isalpha()]
    assert tuple(row[0] for row in rows) == LAYERS
    assert sorted(rows[0][1:]) == sorted(GROUND)
