"""The package and its tests are imported where OpenVINO, TensorRT and PyCUDA are missing.

A machine with a GPU often has PyTorch and none of them, and tests marked gpu run there: no file may
import these packages at its top.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import run_python

ROOT = Path(__file__).parents[1]
ABSENT = {"openvino", "tensorrt", "tensorrt_rtx_bindings", "tensorrt_rtx_libs", "pycuda"}


@pytest.mark.parametrize("folder", ["mahtrt", "tests", "experiments"])
def test_no_file_imports_at_its_top_what_may_be_missing(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node, name in _imported_at_top(path)
        if name.partition(".")[0] in ABSENT
    ]
    assert found == []


def test_without_openvino_the_networks_of_tests_are_built_for_what_is_there(
    tmp_path: Path,
) -> None:
    program = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(ROOT / "tests/support")!r}, {str(ROOT)!r}]
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in {sorted(ABSENT)}
        return None if hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
import cpus
from tiny_network import build_bundle, make_image
import mahtrt

with mahtrt.open(build_bundle(Path({str(tmp_path)!r}) / "tiny.mahtrt")) as session:
    print(session.run(make_image(0)[0]).points.shape, session.spec.family)
"""
    ended = run_python("-c", program)
    assert ended.stdout == "(3, 2) tiny\n", ended.stderr


def _imported_at_top(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Statements of a module that run when it is imported, with the modules that they import."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((node, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node, node.module
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += [each for each in ast.iter_child_nodes(node) if not _for_types(each)]


def _for_types(node: ast.AST) -> bool:
    """Whether it is an ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
