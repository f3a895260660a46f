"""The wheel mahtrt-native: one for every Python, with all that a C program needs."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
from native_library import NATIVE, compiler, configure, needed, run
from native_wheel import built_wheel, unpacked_wheel

import mahtrt

PROJECT = tomllib.loads((NATIVE / "pyproject.toml").read_text())
FILES = (
    "lib/libmahtrt.so.1",
    "include/mahtrt.h",
    "include/mahtrt.hpp",
    "lib/cmake/mahtrt/mahtrtConfig.cmake",
    "lib/pkgconfig/mahtrt.pc",
    "share/mahtrt/samples/landmarks.c",
    "share/mahtrt/samples/rust/Cargo.toml",
    "py.typed",
)


def test_it_has_the_version_of_mahtrt() -> None:
    assert PROJECT["project"]["version"] == mahtrt.__version__
    place = NATIVE / "python" / "mahtrt_native" / "__init__.py"
    assert f'__version__ = "{mahtrt.__version__}"' in place.read_text()


@pytest.mark.slow
def test_it_holds_everything_once() -> None:
    wheel = built_wheel()
    assert wheel.name == f"mahtrt_native-{mahtrt.__version__}-py3-none-linux_x86_64.whl"
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {f"mahtrt_native/{name}" for name in FILES} <= set(names)
    assert [name for name in names if ".so" in name] == ["mahtrt_native/lib/libmahtrt.so.1"]


@pytest.mark.slow
def test_its_functions_name_what_is_there() -> None:
    site = unpacked_wheel()
    for name, file in [
        ("library", ""),
        ("include", "mahtrt.hpp"),
        ("cmake", "mahtrtConfig.cmake"),
        ("pkgconfig", "mahtrt.pc"),
        ("samples", "landmarks.c"),
    ]:
        told = run(sys.executable, "-m", "mahtrt_native", name, PYTHONPATH=str(site))
        assert (Path(told.strip()) / file).is_file()


@pytest.mark.slow
def test_cmake_finds_it_there(tmp_path: Path) -> None:
    package = unpacked_wheel() / "mahtrt_native"
    samples = package / "share" / "mahtrt" / "samples"
    configure(samples, tmp_path, f"-Dmahtrt_DIR={package / 'lib/cmake/mahtrt'}")
    run(needed("cmake"), "--build", tmp_path, "--target", "landmarks")


@pytest.mark.slow
def test_pkg_config_finds_it_there(tmp_path: Path) -> None:
    package = unpacked_wheel() / "mahtrt_native"
    place = str(package / "lib" / "pkgconfig")
    told = run(needed("pkg-config"), "--cflags", "--libs", "mahtrt", PKG_CONFIG_PATH=place)
    source = package / "share/mahtrt/samples/landmarks.c"
    run(compiler("CC", "cc", "gcc", "clang"), source, "-o", tmp_path / "landmarks", *told.split())
