"""The C library reads of a manifest what Python reads, and refuses what Python refuses."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from native_library import NATIVE, native_build, run
from tiny_bundle import write_tiny

from mahtrt.bundle.manifest import (
    EngineRecord,
    GoldenImage,
    GoldenPicture,
    Manifest,
    manifest_from_bytes,
)
from mahtrt.bundle.records import AccuracyRecord, BudgetsRecord
from mahtrt.errors import IntegrityError
from mahtrt.spec import DecodeMethod, InputSpec, Interpolation, OutputKind, OutputSpec, Resize

SEEDS = NATIVE / "fuzz" / "seeds" / "manifest"
ZEROS = "0" * 64
# Of every type, within bounds and beyond; ... stands for no field.
VALUES: tuple[Any, ...] = (..., None, True, 70_000, -0.5, "x", [], {"a": 1})
# Parts that may be null: all but the one that is tried are, which takes a third of the time.
SPARE = ("host", "provenance", "calibration", "gate", "golden")
SPARE_OF_ENGINE = ("verdict", "accuracy", "latency", "build", "golden")


def print_manifest(path: Path) -> Any:
    return json.loads(run(native_build() / "tests" / "print_manifest", path))


def finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def input_fields(image: InputSpec) -> dict[str, Any]:
    orders = {"rgb": 0, "gray": 0, "bgr": 1}
    return {
        "name": image.name,
        "size": list(image.size),
        "channels": image.channels,
        "color_order": orders[image.color_order],
        "mean": list(image.mean),
        "std": list(image.std),
        "resize": get_args(Resize).index(image.resize),
        "interpolation": get_args(Interpolation).index(image.interpolation),
        "pad_value": image.pad_value,
    }


def output_fields(output: OutputSpec) -> dict[str, Any]:
    return {
        "name": output.name,
        "kind": get_args(OutputKind).index(output.kind),
        "frame": ["none", "network", "heatmap", "normalized"].index(output.frame),
        "labels": list(output.labels),
        "threshold": output.threshold,
    }


def accuracy_fields(record: AccuracyRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None

    def of(rows: Sequence[Any], *names: str) -> list[dict[str, Any]]:
        return [
            {"name": row.name} | {name: finite(getattr(row, name)) for name in names}
            for row in rows
        ]

    names = ("mean_px", "max_px", "worst_landmark_mean_px", "mean_mm", "p99_px")
    return {name: finite(getattr(record, name)) for name in names} | {
        "per_landmark": of(record.per_landmark, "mean_px", "max_px", "usual_spread_px"),
        "maps": of(record.maps, "mean", "max", "ssim"),
        "logits": of(record.logits, "max", "agreement"),
        "visibility": of(record.visibility, "max", "agreement"),
    }


def engine_fields(engine: EngineRecord) -> dict[str, Any]:
    device, verdict, latency = engine.device, engine.verdict, engine.latency
    return {
        "name": engine.name,
        "target": engine.target,
        "precision": engine.precision,
        "files": dict(engine.files),
        "batch": engine.batch,
        "device": {
            "name": device.name,
            "platform": device.platform,
            "inference_precision": device.inference_precision,
            "capabilities": list(device.capabilities),
            "threads": device.threads,
            "cores": device.cores,
            "settings": dict(device.settings),
        },
        "versions": dict(engine.versions),
        "passed": verdict.passed if verdict else None,
        "reasons": list(verdict.reasons) if verdict else [],
        "notes": list(engine.notes),
        "accuracy": accuracy_fields(engine.accuracy),
        "golden": accuracy_fields(engine.golden),
        "p50_ms": latency.p50_ms if latency else None,
    }


def picture_fields(picture: GoldenPicture) -> dict[str, Any]:
    wide = picture.dtype == "uint16"
    return {"image": picture.image, "shape": list(picture.shape), "wide": wide}


def golden_fields(vector: GoldenImage) -> dict[str, Any]:
    row, column = vector.spacing_mm or (None, None)
    first, *others = vector.pictures
    return {
        "name": vector.name,
        "points": vector.points,
        "picture": picture_fields(first),
        "spacing_row_mm": row,
        "spacing_column_mm": column,
        "others": [picture_fields(other) for other in others],
        "outputs": [
            {"name": each.name, "file": each.file, "shape": list(each.shape), "step": each.step}
            for each in vector.outputs
        ],
    }


def budget_fields(budgets: BudgetsRecord) -> dict[str, Any]:
    return {name: getattr(budgets, name) for name in BudgetsRecord.__slots__}


def fields(manifest: Manifest) -> dict[str, Any]:
    """What native/src/manifest.h keeps of a manifest."""
    spec, decode = manifest.spec, manifest.spec.decode
    return {
        "spec": {
            "family": spec.family,
            "inputs": [input_fields(image) for image in spec.inputs],
            "outputs": [output_fields(output) for output in spec.outputs],
            "landmarks": list(spec.landmarks),
            "decode": {
                "method": get_args(DecodeMethod).index(decode.method),
                "temperature": decode.temperature,
                "sigma": decode.sigma,
                "heatmap_size": list(decode.heatmap_size) if decode.heatmap_size else None,
            },
        },
        "precision": manifest.precision,
        "default_engine": manifest.default_engine,
        "engines": [engine_fields(engine) for engine in manifest.engines],
        "preprocess_version": manifest.preprocess_version,
        "golden": [golden_fields(each) for each in manifest.golden.images]
        if manifest.golden
        else [],
        "budgets": budget_fields(manifest.gate.budgets) if manifest.gate else None,
        "files": [
            {"path": file.path, "sha256": file.sha256, "size": file.size} for file in manifest.files
        ],
        "weight_bits": {
            graph.file: graph.weight_bits
            for graph in manifest.graphs
            if graph.weight_bits is not None
        },
    }


@pytest.mark.parametrize("name", ["whole", "version2", "golden_manifest"])
def test_values_of_manifests_are_those_that_python_reads(name: str) -> None:
    path = SEEDS / f"{name}.json"
    assert print_manifest(path) == fields(manifest_from_bytes(path.read_bytes(), name))


def test_values_of_a_bundle_are_those_that_python_reads(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.mahtrt") / "manifest.json"
    read = manifest_from_bytes(path.read_bytes(), "tiny")
    assert print_manifest(path) == fields(read)
    assert len(read.engines) == 4


def test_a_manifest_of_version_1_is_refused_with_what_helps() -> None:
    printer = native_build() / "tests" / "print_manifest"
    command = [str(printer), str(SEEDS / "version1.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == IntegrityError.exit_code
    assert "mahtrt pack OLD --out NEW" in done.stdout


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of what is in tables and lists, of lists the first item alone."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*path, name)
            if path != ("engines", 0) or name != "golden":  # like `accuracy`
                yield from places(item, (*path, name))
    elif isinstance(value, list) and value:
        yield (*path, 0)
        yield from places(value[0], (*path, 0))


def tables(data: dict[str, Any]) -> list[tuple[tuple[Any, ...], Any]]:
    """Every record with its path; tables with free names are none."""
    found = []
    for path in places(data):
        item: Any = data
        for step in path:
            item = item[step]
        if isinstance(item, dict) and not any("\u00e4" in name for name in item):
            found.append((path, item))
    return found


def slim(data: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """The manifest without the parts that a path does not go through."""
    made = data | {name: None for name in SPARE if name != path[0]}
    engine = data["engines"][0]
    spare = {name: None for name in SPARE_OF_ENGINE if name not in path[2:3]}
    return made | {"engines": [engine | spare]}


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a path; ``...`` takes it out."""
    made = copy.copy(data)
    if len(path) > 1:
        made[path[0]] = changed(data[path[0]], path[1:], value)
    elif value is ...:
        del made[path[0]]
    else:
        made[path[0]] = value
    return made


def sealed(data: dict[str, Any]) -> bytes:
    text = json.dumps(data | {"sha256": ZEROS}, separators=(",", ":"))[:-1]
    text = text.removesuffix(f',"sha256":"{ZEROS}"') + f',\n"sha256": "{ZEROS}"\n}}\n'
    return text.replace(ZEROS, hashlib.sha256(text.encode()).hexdigest()).encode()


def judged_by_python(manifest: bytes) -> bool:
    try:
        manifest_from_bytes(manifest, "manifest")
    except IntegrityError:
        return False
    return True


def test_every_field_takes_and_refuses_what_python_does(tmp_path: Path) -> None:
    data = json.loads((SEEDS / "whole.json").read_bytes())
    del data["sha256"]
    tries = [
        (path, value, sealed(changed(slim(data, path), path, value)))
        for path in places(data)
        for value in VALUES
        # The digest of a file is compared with its content in Python, and looked at here.
        if path[:3] != ("files", 0, "sha256")
    ]
    tries += [
        ((*path, "new"), 1, sealed(changed(slim(data, path), (*path, "new"), 1)))
        for path, item in tables(data)
    ]
    file = tmp_path / "manifests"
    file.write_bytes(b"\0".join(manifest for _, _, manifest in tries))
    said = run(native_build() / "tests" / "print_manifest", file, "--judge").splitlines()
    assert len(said) == len(tries) > 2500
    unlike = [
        (path, value, answer)
        for (path, value, manifest), answer in zip(tries, said, strict=True)
        if judged_by_python(manifest) != (answer == "")
    ]
    assert unlike == []
