"""The samples of the C library, compiled against its installed tree as users would compile them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from native_library import compiler, configure, native_prefix, needed, run
from sealing import change_manifest
from tiny_maps import build_bundle, spec_of

STRICT = ("-Wall", "-Wextra", "-pedantic", "-Werror", "-O1")

Command = list[str]


def openvino_folder() -> str:
    """The folder of OpenVINO's libraries in the package of this Python."""
    spec = importlib.util.find_spec("openvino")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "libs")


def library_folder() -> Path:
    return native_prefix() / "lib"


def sources() -> Path:
    """The samples' sources, as they are installed."""
    return native_prefix() / "share" / "mahtrt" / "samples"


def pkg_config() -> list[str]:
    """Flags for the compiler; the program finds the library where it lies now."""
    place = str(library_folder() / "pkgconfig")
    told = run(needed("pkg-config"), "--cflags", "--libs", "mahtrt", PKG_CONFIG_PATH=place)
    return [*told.split(), f"-Wl,-rpath,{library_folder()}"]


def build_c(folder: Path) -> Command:
    cc = compiler("CC", "cc", "gcc", "clang")
    program = folder / "landmarks"
    run(cc, "-std=c99", *STRICT, sources() / "landmarks.c", "-o", program, *pkg_config())
    return [str(program)]


def build_cpp(folder: Path) -> Command:
    cxx = compiler("CXX", "c++", "g++", "clang++")
    program = folder / "landmarks_cpp"
    run(cxx, "-std=c++17", *STRICT, sources() / "landmarks.cpp", "-o", program, *pkg_config())
    return [str(program)]


def build_cmake(folder: Path) -> Command:
    """Both by find_package; the one in C is given."""
    package = library_folder() / "cmake" / "mahtrt"
    configure(sources(), folder / "build", f"-Dmahtrt_DIR={package}", "-DCMAKE_BUILD_TYPE=Release")
    run(needed("cmake"), "--build", folder / "build")
    assert (folder / "build" / "landmarks_cpp").is_file()
    return [str(folder / "build" / "landmarks")]


def build_csharp(folder: Path) -> Command:
    mcs, mono = needed("mcs"), needed("mono")
    program = folder / "landmarks.exe"
    names = ("Landmarks.cs", "Mahtrt.cs")
    run(mcs, "-warnaserror", f"-out:{program}", *(sources() / "csharp" / name for name in names))
    return [mono, str(program)]


def build_rust(folder: Path) -> Command:
    rustc_flags = {"RUSTFLAGS": "-Dwarnings", "MAHTRT_LIB_DIR": str(library_folder())}
    manifest = sources() / "rust" / "Cargo.toml"
    cargo = (needed("cargo"), "build", "--quiet", "--offline", "--manifest-path", manifest)
    run(*cargo, "--target-dir", folder / "target", **rustc_flags)
    return [str(folder / "target" / "debug" / "landmarks")]


def build_python(folder: Path) -> Command:
    """Nothing is built: without site-packages, to show that it needs none."""
    return [sys.executable, "-S", str(sources() / "python" / "landmarks.py")]


BUILDERS: dict[str, Callable[[Path], Command]] = {
    "c": build_c,
    "c++": build_cpp,
    "cmake": build_cmake,
    "c#": build_csharp,
    "rust": build_rust,
    "python": build_python,
}


def bundle_of_pairs(place: Path) -> Path:
    """A bundle of two inputs, a map and labels, whose default is the engine of OpenVINO."""
    build_bundle(place, spec_of("before", "after"), golden=2)
    change_manifest(place, lambda data: data.update(default_engine="openvino-fp32"))
    return place


def start(command: Command, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a sample, with OpenVINO and the library where this checkout has them."""
    folder = str(library_folder())
    places = {
        "MAHTRT_RUNTIME_DIR": openvino_folder(),
        "MAHTRT_LIBRARY": f"{folder}/libmahtrt.so.1",
        "LD_LIBRARY_PATH": folder,  # for mono
    }
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
