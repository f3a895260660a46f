"""docs/bundle-format.md and docs/preprocessing.md say all: a reader written from them alone."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import page_reader
import pytest
import tiny_network as tiny

from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.bundle.manifest import Manifest
from mahtrt.bundle.plan import Plan
from mahtrt.bundle.reference_statistics import ReferenceStatistics
from mahtrt.data.preprocess import preprocess
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.schema import Between
from mahtrt.targets.kernel_decode.record import KernelDecode

PAGE = (Path(__file__).parents[2] / "docs/bundle-format.md").read_text(encoding="utf-8")
HEAD = "| field | type | meaning |\n|---|---|---|\n"
JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "any"}


def records(root: type) -> dict[str, type]:
    """Every dataclass that a file is made of, by its name."""
    found, waiting = {root.__name__: root}, list(typing.get_type_hints(root).values())
    while waiting:
        hint = waiting.pop()
        waiting += typing.get_args(hint)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            found[hint.__name__] = hint
            waiting += typing.get_type_hints(hint).values()
    return found


def json_type(hint: Any) -> str:
    """How the page calls a type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        name = typing.cast(type, hint).__name__
        return f"[{name}](#{name.lower()})"
    if origin is Literal:
        return "string"
    if origin is Annotated:  # a number within bounds, or one that was measured
        bounded = any(isinstance(each, Between) for each in args[1:])
        return json_type(args[0]) + ("" if bounded else " or null")
    if origin in (typing.Union, types.UnionType):
        return f"{json_type(args[0])} or null"
    if origin is tuple:
        kind = json_type(args[0])
        return f"array of {kind}" if args[-1] is Ellipsis else f"array of {len(args)} {kind}s"
    return JSON_TYPES[hint] if origin is None else f"object of {json_type(args[1])}"


def literals(hint: Any) -> list[str]:
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    return [value for arg in typing.get_args(hint) for value in literals(arg)]


def rows(name: str) -> dict[str, tuple[str, str]]:
    """Field to type and meaning, of the page's table on a record."""
    section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S)
    assert section is not None, f"no section on {name}"
    table = section[1].partition(HEAD)[2].partition("\n\n")[0]
    lines = (line.strip("| ").split(" | ") for line in table.splitlines())
    return {field.strip("`"): (kind, meaning) for field, kind, meaning in lines}


RECORDS = records(Manifest) | records(Plan) | records(KernelDecode) | records(ReferenceStatistics)


@pytest.mark.parametrize("name", RECORDS)
def test_the_page_has_every_field_with_its_type_and_values(name: str) -> None:
    hints, told = typing.get_type_hints(RECORDS[name], include_extras=True), rows(name)
    fields = [field.name for field in dataclasses.fields(RECORDS[name])]
    assert {field: kind for field, (kind, _) in told.items()} == {
        field: json_type(hints[field]) for field in fields
    }
    for field in fields:
        meaning = told[field][1]
        assert meaning, field
        assert all(f"`{value}`" in meaning for value in literals(hints[field])), field


def test_the_page_is_of_this_version() -> None:
    assert f"[preprocessing.md](preprocessing.md) describes version {PREPROCESS_VERSION} |" in PAGE
    told = set(re.findall(r"^\| `(mahtrt\.\w+)` \|", PAGE, re.M))
    assert {"mahtrt.spec", "mahtrt.source", "mahtrt.parity", "mahtrt.quantization"} <= told


def test_links_of_the_page_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.M)
    known = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= known


def test_a_bundle_is_read_with_the_page_and_the_standard_library(tiny_bundle: Path) -> None:
    program = [sys.executable, "-I", "-S", page_reader.__file__, str(tiny_bundle)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    bundle = read_bundle(tiny_bundle)
    engine = bundle.engine()
    assert (found["engine"], found["target"]) == (engine.name, engine.target)
    places = bundle.engine_files(engine)
    assert found["sizes"] == {role: len(place.read_bytes()) for role, place in places.items()}
    for theirs, ours in zip(found["golden"], read_golden(bundle), strict=True):
        assert theirs["name"] == ours.name
        np.testing.assert_array_equal(np.moveaxis(theirs["planes"], 0, -1), ours.image)
        np.testing.assert_array_equal(np.float32(theirs["points"]), ours.points_px)
        tensor, _ = preprocess(ours.image, bundle.spec.input)
        np.testing.assert_array_equal(np.float32(theirs["tensor"]), tensor)


def test_a_changed_manifest_is_noticed(tmp_path: Path, tiny_bundle: Path) -> None:
    raw = (tiny_bundle / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(raw.replace("golden-0", "golden-9"))
    with pytest.raises(AssertionError):
        page_reader.read_manifest(tmp_path)


def test_the_pages_png_reader_knows_every_filter() -> None:
    image, _ = tiny.make_image(0, zoom=3)
    noise = np.random.default_rng(0).integers(0, 65536, (9, 7, 3), np.uint16)
    for given in (image, noise, noise[..., 0]):
        for kind in range(5):
            option = [cv2.IMWRITE_PNG_FILTER, 8 << kind]
            _, data = cv2.imencode(".png", given if given.ndim == 2 else given[..., ::-1], option)
            planes = page_reader.read_png(data.tobytes(), list(given.shape), given.dtype.name)
            found = planes[0] if given.ndim == 2 else np.moveaxis(np.array(planes), 0, -1)
            np.testing.assert_array_equal(found, given)
