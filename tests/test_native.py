"""Finding libmahtrt: what is used, what is said where it cannot be."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from mahtrt import native
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.errors import MissingComponentError


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(native.VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "mahtrt_native", None)
    native.forget()
    yield
    native.forget()


def package(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    module = types.ModuleType("mahtrt_native")
    module.library_path = lambda: path  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mahtrt_native", module)


def test_without_the_package_there_is_none() -> None:
    assert native.library_path() is None
    assert native.library() is None
    assert "not installed" in native.why_not()


@pytest.mark.parametrize("value", ["", "off", "OFF"])
def test_the_variable_turns_it_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, Path("/somewhere/libmahtrt.so.1"))
    assert native.library_path() == Path("/somewhere/libmahtrt.so.1")
    monkeypatch.setenv(native.VARIABLE, value)
    assert native.library_path() is None
    assert native.library() is None
    assert native.VARIABLE in native.why_not()


def test_a_package_that_cannot_be_loaded_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "libmahtrt.so.1"
    broken.write_bytes(b"no library")
    package(monkeypatch, broken)
    assert native.library() is None
    assert str(broken) in native.why_not()


def test_a_library_that_was_named_has_to_be_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(native.VARIABLE, str(tmp_path / "missing.so"))
    with pytest.raises(MissingComponentError, match=r"missing\.so"):
        native.library()
    monkeypatch.setenv(native.VARIABLE, "libm.so.6")
    with pytest.raises(MissingComponentError, match="mahtrt_abi"):
        native.library()


@pytest.mark.parametrize(("abi", "pixels"), [(2, PREPROCESS_VERSION), (1, PREPROCESS_VERSION + 1)])
def test_another_interface_or_preprocessing_is_refused(
    abi: int, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Function:
        def __init__(self, value: object) -> None:
            self.value = value

        def __call__(self) -> object:
            return self.value

    fake = types.SimpleNamespace(
        mahtrt_abi=Function(abi),
        mahtrt_version=Function(b"7.8.9"),
        mahtrt_last_error=Function(b""),
        mahtrt_preprocess_version=Function(pixels),
    )
    monkeypatch.setattr("mahtrt.native.ctypes.CDLL", lambda path: fake)
    monkeypatch.setenv(native.VARIABLE, "other.so")
    with pytest.raises(
        MissingComponentError, match=rf"7\.8\.9 with interface {abi} and preprocessing {pixels}"
    ):
        native.library()


def test_the_preprocessing_asked_for_is_that_of_python() -> None:
    assert native.PREPROCESS_VERSION == PREPROCESS_VERSION
