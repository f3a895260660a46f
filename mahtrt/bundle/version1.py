"""Bundles of the first format, ``mahtrt.bundle/1``: their manifest and their golden vectors.

A manifest is rewritten as a manifest ``/2``, which is then read as strictly as any other: a field
that ``/1`` did not have is left where it is and refused there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import IntegrityError

SCHEMA = "mahtrt.bundle/1"
GOLDEN_NAME = "golden.npz"

# What of an engine's device only its target has; what of its build the builder did not find.
_SETTINGS = ("hardware_compatibility", "provider")
_HOW_BUILT = ("key", "key_sha256", "cached", "seconds")

Table = dict[str, Any]


def upgraded(data: Table, where: str) -> Table:
    """The plain data of a manifest ``/1`` as those of a manifest ``/2``.

    Raises:
        IntegrityError: A part that has to be moved is not there, or is not a table.
    """
    try:
        return _upgraded(dict(data))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            where, got=f"a part that cannot be read ({error!r})", expected=f"a manifest {SCHEMA}"
        ) from error


def _upgraded(data: Table) -> Table:
    calibration, gate = dict(data.pop("calibration", {})), dict(data.pop("gate", {}))
    verdicts, weight_bits = gate.pop("engines", {}), calibration.pop("weight_bits", {})
    gate.pop("passed", None)  # follows from the verdicts
    data.pop("plan", None)  # the same as plan.json
    engines = [_engine(engine, verdicts.get(engine["name"])) for engine in data.pop("engines")]
    graphs = [
        {
            "name": name,
            "file": file,
            "precision": name.partition("-")[0],
            "batch": engines[0].get("batch", 1) if engines else 1,
            "weight_bits": weight_bits.get(name),
        }
        for name, file in data.pop("models").items()
    ]
    version = calibration.pop("preprocess_version", 1)
    return {
        **data,
        "graphs": graphs,
        "engines": engines,
        "preprocess_version": version,
        "host": data.get("host") or None,
        "provenance": _provenance(dict(data.get("provenance", {}))),
        "calibration": _calibration(calibration),
        "gate": gate or None,
        "golden": _golden(data.get("golden")),
    }


def _engine(engine: Table, verdict: Table | None) -> Table:
    engine = dict(engine)
    accuracy, latency = dict(engine.pop("accuracy", {})), dict(engine.pop("latency_ms", {}))
    accuracy.pop("measured_on", None)  # the verdict has it
    latency.pop("scope", None)
    build = dict(engine.pop("build", {}))
    how = {name: build.pop(name) for name in _HOW_BUILT if name in build}
    return {
        **engine,
        "device": _device(dict(engine.get("device", {}))),
        "verdict": verdict,
        "accuracy": accuracy or None,
        "latency": _renamed(latency, p50="p50_ms", p90="p90_ms") or None,
        "build": {**how, "facts": build} if how else None,
    }


def _device(device: Table) -> Table:
    device.pop("flavour", None)  # the same as the engine's target
    if "gpu" in device:
        device["gpu"] = device["gpu"] or ""
    settings = {name: device.pop(name) for name in _SETTINGS if name in device}
    device = _renamed(device, gpu="name", compute_capabilities="capabilities", tried="tried_ms")
    return {**device, "settings": settings}


def _provenance(provenance: Table) -> Table | None:
    if not provenance:
        return None
    digest, parity = provenance.pop("onnx_sha256"), provenance.pop("parity", None)
    return {"onnx_sha256": digest, "source": provenance, "parity": parity or None}


def _calibration(calibration: Table) -> Table | None:
    # The card has the first two; scaled channels are no choice any more.
    for name in ("images", "digest", "equalized"):
        calibration.pop(name, None)
    return calibration or None


def _golden(golden: Table | None) -> Table | None:
    if golden is None:
        return None
    golden = dict(golden)
    del golden["images"]  # their number: GOLDEN_NAME has them
    if golden.pop("file", GOLDEN_NAME) != GOLDEN_NAME:
        raise ValueError(f"golden images outside of {GOLDEN_NAME}")
    return golden


def _renamed(table: Table, **names: str) -> Table:
    return {names.get(name, name): value for name, value in table.items()}


def read_golden_arrays(
    path: Path,
) -> list[tuple[str, NDArray[Any], NDArray[np.float32], NDArray[np.float64]]]:
    """Name, image, landmarks and spacing (NaN where unknown) of each golden vector.

    Raises:
        IntegrityError: The file does not hold golden vectors.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [
                (str(name), *(arrays[f"{what}_{i}"] for what in ("image", "points", "spacing")))
                for i, name in enumerate(arrays["names"])
            ]
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(str(path), got=str(error), expected="golden vectors") from error
