"""``mahtrt native-info``: where the C library is, or how to install it."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
from foreign_network import run
from native_library import NATIVE, native_prefix
from native_library import run as run_program

from mahtrt.verbs.native_info import PACKAGE


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as it is in the wheel, with the library that the tests build."""
    prefix = native_prefix()
    package = ModuleType(PACKAGE)
    source = (NATIVE / "python" / PACKAGE / "__init__.py").read_text(encoding="utf-8")
    package.__dict__["__file__"] = str(prefix / "__init__.py")
    exec(compile(source, PACKAGE, "exec"), package.__dict__)
    # The wheel has no links; here libmahtrt.so is one, which library_path() passes over.
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    return prefix


def test_without_it_how_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    ended = run("native-info")
    assert ended.exit_code == 6
    assert "pip install ./native" in ended.stderr


def test_what_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = ModuleType(PACKAGE)
    package.__dict__["library_path"] = lambda: tmp_path / "libmahtrt.so.1"
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    ended = run("native-info")
    assert ended.exit_code == 6
    assert "libmahtrt.so.1" in ended.stderr


@pytest.mark.slow
def test_version_and_places_are_told(installed: Path) -> None:
    text = run("native-info").stdout
    told = json.loads(run("native-info", "--json", "-").stdout)
    header = (Path(told["include"]) / "mahtrt.h").read_text(encoding="utf-8")
    assert f'#define MAHTRT_VERSION "{told["version"]}"' in header
    assert f"#define MAHTRT_ABI {told['abi']}u" in header
    for name, file in [
        ("cmake", "mahtrtConfig.cmake"),
        ("pkgconfig", "mahtrt.pc"),
        ("samples", "landmarks.c"),
    ]:
        assert (Path(told[name]) / file).is_file()
    assert Path(told["library"]).is_relative_to(installed)
    assert re.search(r"to compile\s+cc program.c", text)


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_the_command_that_is_told_compiles_a_program(tmp_path: Path) -> None:
    command = json.loads(run("native-info", "--json", "-").stdout)["compile"]
    (tmp_path / "program.c").write_text(
        "#include <mahtrt.h>\n#include <stdio.h>\nint main(void) { puts(mahtrt_version()); }\n"
    )
    run_program("sh", "-c", f"cd {shlex.quote(str(tmp_path))} && {command}")
    assert run_program(tmp_path / "program").count(".") == 2
