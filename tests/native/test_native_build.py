"""The C library is built with warnings as errors, passes its own tests, and is what it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from native_abi import functions
from native_library import NATIVE, native_build, native_library, native_prefix, needed, run

HEADER = (NATIVE / "include" / "mahtrt.h").read_text(encoding="utf-8")
MOST_BYTES = 440_000


@pytest.mark.slow
def test_the_tests_of_the_library_pass() -> None:
    run(needed("ctest"), "--test-dir", native_build(), "--output-on-failure", "--parallel", "2")


@pytest.mark.slow
def test_the_library_exports_what_its_header_declares() -> None:
    listed = run(needed("nm"), "-D", "--defined-only", native_library()).splitlines()
    rows = [line.split() for line in listed]
    # "A" is the name of the version that the others have.
    assert sorted(name.partition("@")[0] for _, kind, name in rows if kind != "A") == functions()


@pytest.mark.slow
def test_the_library_needs_libc_and_libm_only() -> None:
    needs = re.findall(r"NEEDED\s+(\S+)", run(needed("objdump"), "-p", native_library()))
    assert set(needs) <= {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}


@pytest.mark.slow
def test_the_library_is_small_without_its_symbols(tmp_path: Path) -> None:
    stripped = tmp_path / "libmahtrt.so.1"
    run(needed("strip"), "--strip-unneeded", "-o", stripped, native_library())
    assert stripped.stat().st_size < MOST_BYTES


@pytest.mark.slow
def test_versions_are_those_of_the_header() -> None:
    """The file's number is the interface's, the packages' version the library's."""
    (version,) = re.findall(r'#define MAHTRT_VERSION "(\S+)"', HEADER)
    (abi,) = re.findall(r"#define MAHTRT_ABI (\d+)u", HEADER)
    library = native_prefix() / "lib" / f"libmahtrt.so.{abi}"
    assert library.is_file()
    assert f"Version: {version}\n" in (library.parent / "pkgconfig" / "mahtrt.pc").read_text()
    config = (library.parent / "cmake" / "mahtrt" / "mahtrtConfigVersion.cmake").read_text()
    assert f'set(PACKAGE_VERSION "{version}")' in config


def test_both_licence_files_are_one_text() -> None:
    assert (NATIVE / "LICENSE").read_text() == (NATIVE.parent / "LICENSE").read_text()
