"""Files are changed in one place, which tests can make fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from mahtrt import files

ROOT = Path(__file__).parents[1] / "mahtrt"
# Names that change files wherever they are called; those of modules, with the module.
METHODS = {"write_text", "write_bytes", "mkdir", "unlink", "rmdir", "touch", "symlink_to", "rename"}
METHODS |= {"hardlink_to", "chmod", "lchmod"}
FUNCTIONS = {
    "os": {"replace", "rename", "mkdir", "makedirs", "unlink", "remove", "rmdir", "link", "symlink"}
    | {"truncate", "renames", "removedirs", "mkfifo", "write"},
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move", "rmtree"},
    "tempfile": {"TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile", "mkdtemp", "mkstemp"},
    "onnx": {"save", "save_model"},
    "np": {"save", "savez", "savetxt", "savez_compressed"},
    "cv2": {"imwrite"},
}


# What writes to a path or to an open file; ours is one in memory, always of this name.
SAVING = {"save", "save_file", "save_model", "tofile", "dump"}


def changes(tree: ast.AST) -> Iterator[int]:
    """Lines that change files without mahtrt.files."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        opened = name == "open" or (isinstance(node.func, ast.Name) and node.func.id == "open")
        given = (*node.args, *(keyword.value for keyword in node.keywords))
        modes = [str(each.value) for each in given if isinstance(each, ast.Constant)]
        passed = [ast.unparse(argument) for argument in node.args]
        if (
            (name in METHODS and owner != "files")
            or (name in SAVING and "content" not in passed)
            or name in FUNCTIONS.get(owner, set())
            or (opened and any(set(mode) & set("wax") and len(mode) < 4 for mode in modes))
        ):
            yield node.lineno


def test_files_are_changed_in_one_place() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in ROOT.rglob("*.py")
        if path.name != "files.py"
        for line in changes(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_what_is_looked_for_is_found() -> None:
    wrong = (
        "path.write_text('x')",
        "picture.save(path)",
        "open(path, 'w')",
        "path.open(mode='ab')",
        "os.replace(a, b)",
        "shutil.rmtree(a)",
        "tempfile.mkdtemp()",
        "(folder / 'a').mkdir()",
    )
    assert all(list(changes(ast.parse(text))) for text in wrong)
    right = ("open(path, 'rb')", "path.open('rb')", "text.replace('a', 'w')", "files.rename(a, b)")
    assert not any(list(changes(ast.parse(text))) for text in right)


def test_half_a_surrogate_pair_is_written_as_its_escape(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.json", '"caf\udce9"')
    assert (tmp_path / "a.json").read_bytes() == b'"caf\\udce9"'
