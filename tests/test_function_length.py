"""Functions stay short enough to be read at a glance."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "mahtrt"
MOST_LINES = 40


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Lines that are no docstring, no comment and not empty."""
    first = node.body[0]
    has_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    text = range(first.lineno, (first.end_lineno or 0) + 1) if has_text else range(0)
    numbers = range(node.lineno, (node.end_lineno or 0) + 1)
    code = (lines[number - 1].strip() for number in numbers if number not in text)
    return sum(1 for line in code if line and not line.startswith("#"))


def test_no_function_has_more_than_forty_lines() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in ROOT.rglob("*.py")
        for source in [path.read_text(encoding="utf-8")]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and code_lines(node, source.splitlines()) > MOST_LINES
    }
    assert long == set()
