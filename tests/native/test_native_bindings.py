"""Structs that samples declare in other languages lie in memory as the C compiler lays them."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path

import pytest
from native_abi import layout
from native_library import NATIVE, needed, run

SAMPLES = NATIVE / "samples"
# The name of each in the other languages, and in C.
BOUND = {"Options": "mahtrt_options", "Image": "mahtrt_image", "Landmark": "mahtrt_landmark"}


@pytest.fixture(scope="module")
def wanted() -> list[str]:
    """``struct bytes`` and ``struct.field offset``, sorted."""
    rows = [line.split() for line in layout().splitlines()]
    bound = [row for row in rows if row[0].partition(".")[0] in BOUND.values()]
    return sorted(f"{name} {number}" for name, number, *_ in bound)


def test_those_of_ctypes(wanted: list[str]) -> None:
    place = SAMPLES / "python" / "landmarks.py"
    spec = importlib.util.spec_from_file_location("sample_landmarks", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = []
    for name, struct in BOUND.items():
        kind = getattr(module, name)
        found.append(f"{struct} {ctypes.sizeof(kind)}")
        found += [f"{struct}.{field} {getattr(kind, field).offset}" for field, _ in kind._fields_]
    assert sorted(found) == wanted


@pytest.mark.slow
def test_those_of_csharp(tmp_path: Path, wanted: list[str]) -> None:
    mcs, mono = needed("mcs"), needed("mono")
    lines = "".join(f'Tell(typeof(Mahtrt.{name}), "{c}");' for name, c in BOUND.items())
    (tmp_path / "Layout.cs").write_text(f"""
using System;
using System.Runtime.InteropServices;
class Layout {{
    static void Tell(Type kind, string c) {{
        Console.WriteLine(c + " " + Marshal.SizeOf(kind));
        foreach (var field in kind.GetFields())
            Console.WriteLine(c + "." + field.Name + " " + Marshal.OffsetOf(kind, field.Name));
    }}
    static void Main() {{ {lines} }}
}}""")
    program = tmp_path / "layout.exe"
    run(mcs, f"-out:{program}", tmp_path / "Layout.cs", SAMPLES / "csharp" / "Mahtrt.cs")
    assert sorted(run(mono, program).splitlines()) == wanted


@pytest.mark.slow
def test_those_of_rust(tmp_path: Path, wanted: list[str]) -> None:
    rustc = needed("rustc")
    bindings = SAMPLES / "rust" / "src" / "mahtrt.rs"
    lines = []
    for name, struct in BOUND.items():
        (body,) = re.findall(rf"pub struct {name} {{(.*?)}}", bindings.read_text(), re.DOTALL)
        kind = f"mahtrt::{name}"
        lines.append(f'println!("{struct} {{}}", size_of::<{kind}>());')
        lines += [
            f'println!("{struct}.{field} {{}}", offset_of!({kind}, {field}));'
            for field in re.findall(r"pub (\w+):", body)
        ]
    (tmp_path / "layout.rs").write_text(f"""
#![allow(dead_code)]
#[path = "{bindings}"]
mod mahtrt;
use std::mem::{{offset_of, size_of}};
fn main() {{ {"".join(lines)} }}
""")
    # Nothing is called, so nothing is linked.
    program = tmp_path / "layout"
    run(rustc, "--edition=2021", "-Copt-level=1", tmp_path / "layout.rs", "-o", program)
    assert sorted(run(program).splitlines()) == wanted
