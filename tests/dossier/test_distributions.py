from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mahtrt.dossier.distributions import runtime_packages


def test_what_mahtrt_needs_is_there_and_nothing_of_other_extras() -> None:
    found = runtime_packages()
    needed = [Requirement(text) for text in metadata.requires("mahtrt") or []]
    core = {canonicalize_name(each.name) for each in needed if each.marker is None}
    assert core <= set(found)
    assert not {"torch", "onnx", "onnxruntime", "pytest"} & set(found)
    assert next(iter(found)) == "mahtrt"
    assert set(found["mahtrt"].requires) == {*core, "python"}


def test_the_extras_of_a_target_bring_its_packages() -> None:
    assert "onnxruntime" in runtime_packages(("cpu",))


def make_distribution(folder: Path, name: str, *lines: str) -> None:
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines]) + "\n"
    )


@pytest.mark.parametrize(
    ("lines", "licence", "supplier", "url"),
    [
        (("License-Expression: MIT", "Author: Ann"), "MIT", "Ann", ""),
        (("License: MIT License", "Author-email: Ann <a@b.example>"), "MIT", "Ann", ""),
        (("License: UNKNOWN", "Classifier: License :: OSI Approved :: MIT License"), "MIT", "", ""),
        (("License: Of\n        many lines", "Home-page: https://a.b"), "", "", "https://a.b"),
        (
            ("Project-URL: Docs, https://d.b", "Project-URL: Home, https://h.b"),
            "",
            "",
            "https://h.b",
        ),
        (("Author-email: a@b.example",), "", "a@b.example", ""),
    ],
)
def test_metadata_are_read_as_packages_write_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: tuple[str, ...],
    licence: str,
    supplier: str,
    url: str,
) -> None:
    make_distribution(tmp_path, "mahtrt", 'Requires-Dist: odd; extra == "x"', "Requires-Dist: gone")
    make_distribution(tmp_path, "odd", *lines)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert list(runtime_packages()) == ["mahtrt", "python"]
    found = runtime_packages(("x",))["odd"]
    assert (found.licence, found.supplier, found.url) == (licence, supplier, url)
