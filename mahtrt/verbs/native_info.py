"""``mahtrt native-info``: where the C library is, and how a program is compiled with it."""

from __future__ import annotations

import ctypes
import importlib
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mahtrt.errors import MissingComponentError
from mahtrt.verbs.command import as_command
from mahtrt.verbs.console import show, write_json
from mahtrt.verbs.options import Json

if TYPE_CHECKING:
    from mahtrt.verbs.tables import FittedTable

SCHEMA = "mahtrt.native-info/1"
PACKAGE = "mahtrt_native"
_FIX = "Install it in a clone of the repository: pip install ./native (it needs a C++ compiler)."


@dataclass(frozen=True, slots=True)
class NativeInfoResult:
    """The C library of the package mahtrt-native.

    Attributes:
        abi: Number of its interface: MAHTRT_ABI of ``mahtrt.h``.
        include: Folder of ``mahtrt.h`` and ``mahtrt.hpp``.
        cmake: Folder of ``mahtrtConfig.cmake``.
        pkgconfig: Folder of ``mahtrt.pc``.
        samples: Folder of the samples' sources.
    """

    version: str
    abi: int
    library: Path
    include: Path
    cmake: Path
    pkgconfig: Path
    samples: Path

    @property
    def compile(self) -> str:
        """A shell command that makes a program of ``program.c``."""
        place, folder = shlex.quote(str(self.pkgconfig)), shlex.quote(str(self.library.parent))
        flags = f"$(PKG_CONFIG_PATH={place} pkg-config --cflags --libs mahtrt)"
        return f"cc program.c -o program {flags} -Wl,-rpath,{folder}"

    @property
    def configure(self) -> str:
        """A shell command for a project that calls ``find_package(mahtrt)``."""
        return f"cmake -S . -B build -Dmahtrt_DIR={shlex.quote(str(self.cmake))}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of ``mahtrt native-info --json``."""
        fields = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(self).items()}
        commands = {"compile": self.compile, "configure": self.configure}
        return {"schema": SCHEMA, **fields, **commands}


@dataclass(frozen=True, kw_only=True)
class NativeInfoArguments:
    """What ``mahtrt native-info`` is given."""

    json: Json = None


@as_command
def command(arguments: NativeInfoArguments) -> None:
    """Say where the C library is, and how to compile with it."""
    found = native_info()
    if arguments.json is not None:
        write_json(found.to_dict(), arguments.json)
    else:
        show(table_of(found))


def native_info() -> NativeInfoResult:
    """Find the C library and load it.

    Raises:
        MissingComponentError: It is not installed, or cannot be loaded here.
    """
    package = _package()
    path = package.library_path()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingComponentError(
            "libmahtrt", got=str(error), expected="a library that can be loaded", fix=_FIX
        ) from error
    library.mahtrt_version.restype = ctypes.c_char_p
    return NativeInfoResult(
        version=library.mahtrt_version().decode(),
        abi=library.mahtrt_abi(),
        library=path,
        include=package.include_dir(),
        cmake=package.cmake_dir(),
        pkgconfig=package.pkgconfig_dir(),
        samples=package.samples_dir(),
    )


def _package() -> ModuleType:
    try:
        return importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            "libmahtrt",
            got="no Python package mahtrt-native",
            expected="it to be installed",
            fix=_FIX,
        ) from error


def table_of(found: NativeInfoResult) -> FittedTable:
    """What was found, a row each, for a terminal."""
    from mahtrt.verbs.tables import Column, FittedTable

    rows = {
        "libmahtrt": f"{found.version}, interface {found.abi}",
        "library": str(found.library),
        "headers": str(found.include),
        "CMake": str(found.cmake),
        "pkg-config": str(found.pkgconfig),
        "samples": str(found.samples),
        "to compile": found.compile,
        "or by CMake": found.configure,
    }
    return FittedTable((Column(""), Column("", is_prose=True)), list(rows.items()))
