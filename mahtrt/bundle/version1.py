"""Bundles of the first format, ``mahtrt.bundle/1``: their manifest and their golden vectors.

A manifest is rewritten as a manifest ``/2``, which is then read as strictly as any other: a field
that ``/1`` did not have is left where it is and refused there.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import IntegrityError, MahtrtError
from mahtrt.names import visible
from mahtrt.reading import Content
from mahtrt.spec import upgraded_spec

SCHEMA = "mahtrt.bundle/1"
GOLDEN_NAME = "golden.npz"

# What of an engine's device only its target has; what of its build the builder did not find.
_SETTINGS = ("hardware_compatibility", "provider")
# What an engine of OpenVINO had beside its ONNX. Later ones mean a graph that was edited further.
_IR = ("ir", "weights")
_HOW_BUILT = ("key", "key_sha256", "cached", "seconds")

Table = dict[str, Any]
GoldenArrays = tuple[str, NDArray[Any], NDArray[np.float32], NDArray[np.float64]]


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
    spec = data.get("spec")
    return {
        **data,
        "spec": upgraded_spec(spec) if isinstance(spec, dict) else spec,
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
        "files": {role: path for role, path in engine["files"].items() if role not in _IR},
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


def read_golden_arrays(file: Content, landmarks: int, most_bytes: int) -> list[GoldenArrays]:
    """Name, image, landmarks and spacing (NaN where unknown) of each golden vector.

    Args:
        landmarks: How many each has.
        most_bytes: Largest size of all arrays together; more is refused before it is unpacked.

    Raises:
        IntegrityError: The file does not hold golden vectors.
    """
    try:
        return list(_golden_arrays(_Arrays(file.read_bytes(), most_bytes), landmarks))
    except MahtrtError:
        raise
    except Exception as error:  # those of ZIP, deflate and NumPy's headers have no common base
        got = str(error) or type(error).__name__
        raise IntegrityError(str(file), got=got, expected="golden vectors") from error


def _golden_arrays(arrays: _Arrays, landmarks: int) -> Iterator[GoldenArrays]:
    for i, name in enumerate(arrays.read("names", "U", (None,))):
        image = arrays.read(f"image_{i}", "u", None)
        points = arrays.read(f"points_{i}", "f", (landmarks, 2))
        spacing = arrays.read(f"spacing_{i}", "f", (2,))
        if (
            image.itemsize > 2
            or image.ndim not in (2, 3)
            or image.shape[2:] not in ((), (1,), (3,))
        ):
            raise ValueError(f"image {i} of {image.dtype} and shape {image.shape}")
        if not (np.isnan(spacing) | ((spacing > 0) & np.isfinite(spacing))).all():
            raise ValueError(f"spacing {i} of {spacing} mm")
        yield visible(str(name)), image, points, spacing


class _Arrays:
    """The arrays of an ``.npz`` file, none larger than the file says it is."""

    def __init__(self, content: bytes, most_bytes: int) -> None:
        import zipfile  # which no other bundle needs

        self._archive = zipfile.ZipFile(io.BytesIO(content))
        size = sum(member.file_size for member in self._archive.infolist())
        if size > most_bytes:
            raise ValueError(f"{size} bytes of arrays, of at most {most_bytes}")

    def read(self, name: str, kind: str, shape: Sequence[int | None] | None) -> NDArray[Any]:
        """One array.

        Args:
            kind: Its kind of number, as NumPy calls it.
            shape: Its sizes, None for one that is free; None for any shape.
        """
        member = self._archive.getinfo(f"{name}.npy")
        with self._archive.open(member) as packed:
            content = io.BytesIO(packed.read(member.file_size))
        version = np.lib.format.read_magic(content)
        if version != (1, 0):
            raise ValueError(f"{name} in version {version} of NumPy's format")
        found, in_columns, dtype = np.lib.format.read_array_header_1_0(content)
        data = content.read()
        fits = shape is None or (
            len(found) == len(shape)
            and all(wanted in (None, size) for wanted, size in zip(shape, found, strict=True))
        )
        whole = len(data) == math.prod(found) * dtype.itemsize and min(found, default=1) > 0
        if in_columns or dtype.kind != kind or not fits or not whole:
            raise ValueError(f"{name} of {dtype}, shape {found} and {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(found)
