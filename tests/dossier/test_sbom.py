from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from mahtrt.bundle.bundle import read_bundle
from mahtrt.dossier.distributions import Package, runtime_packages
from mahtrt.dossier.sbom import sbom_text

PACKAGES = runtime_packages(("cpu",))


@pytest.fixture(scope="module")
def text(bundles: tuple[Path, Path]) -> str:
    return sbom_text(read_bundle(bundles[1]), PACKAGES)


def test_the_sbom_validates_against_its_schema(text: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert json.loads(text)["specVersion"] == "1.6"


def test_two_runs_give_equal_bytes(bundles: tuple[Path, Path], text: str) -> None:
    assert sbom_text(read_bundle(bundles[1]), runtime_packages(("cpu",))) == text
    assert (
        json.loads(sbom_text(read_bundle(bundles[0]), PACKAGES))["serialNumber"]
        != (json.loads(text)["serialNumber"])
    )


def test_every_file_and_package_is_a_component(bundles: tuple[Path, Path], text: str) -> None:
    components = {each["bom-ref"]: each for each in json.loads(text)["components"]}
    for record in read_bundle(bundles[1]).manifest.files:
        hashes = components[f"file:{record.path}"]["hashes"]
        assert hashes == [{"alg": "SHA-256", "content": record.sha256}]
    for name in ("numpy", "openvino", "onnxruntime", "mahtrt"):
        found = components[f"package:{name}"]
        assert found["version"] == metadata.version(name)
        assert found["purl"] == f"pkg:pypi/{name}@{metadata.version(name)}"
    assert components["package:openvino"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]


def test_what_depends_on_what_is_told(text: str) -> None:
    graph = {
        each["ref"]: set(each.get("dependsOn", ())) for each in json.loads(text)["dependencies"]
    }
    assert {"engine:openvino-int8", "package:mahtrt"} <= graph["bundle"]
    assert graph["engine:openvino-int8"] == {
        "file:model.int8.onnx",
        "package:mahtrt",
        "package:openvino",
    }
    assert {"package:numpy", "package:openvino", "package:python"} <= graph["package:mahtrt"]
    known = {each["bom-ref"] for each in json.loads(text)["components"]} | {"bundle"}
    assert set(graph) | set().union(*graph.values()) <= known


def test_licences_that_are_no_identifiers_keep_their_names(bundles: tuple[Path, Path]) -> None:
    packages = {
        name: Package(name, "1", licence, "", "", "", ())
        for name, licence in (("a", "MIT"), ("b", "MIT OR Apache-2.0"), ("c", "Free as in air"))
    }
    text = sbom_text(read_bundle(bundles[1]), packages)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {each["name"]: each.get("licenses") for each in json.loads(text)["components"]}
    assert found["a"] == [{"license": {"id": "MIT"}}]
    assert found["b"] == [{"expression": "MIT OR Apache-2.0"}]
    assert found["c"] == [{"license": {"name": "Free as in air"}}]
