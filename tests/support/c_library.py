"""libmahtrt of this checkout as tests call it, through ctypes: structs as in mahtrt.h."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from native_library import native_library
from native_samples import openvino_folder
from numpy.typing import NDArray

from mahtrt.runtime.landmarks import Landmarks

OK, FAILED, USAGE, OVER_BUDGET, INTEGRITY, MISSING, BAD_IMAGE, OUT_OF_MEMORY = (
    0,
    1,
    2,
    3,
    5,
    6,
    7,
    8,
)
_FORMATS = {(1, "uint8"): 0, (1, "uint16"): 1, (3, "uint8"): 2, (3, "uint16"): 3}


class Options(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("engine", ctypes.c_char_p),
        ("runtime_dir", ctypes.c_char_p),
        ("require", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("skip_digests", ctypes.c_int32),
        ("stream", ctypes.c_void_p),
    )


class Image(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("row_bytes", ctypes.c_size_t),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("format", ctypes.c_int32),
        ("spacing_row_mm", ctypes.c_double),
        ("spacing_column_mm", ctypes.c_double),
    )


class Landmark(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_float)
            for name in (
                "x_px",
                "y_px",
                "confidence",
                "spread_px",
                "spread_x_px",
                "spread_y_px",
                "x_mm",
                "y_mm",
                "visibility",
            )
        ),
        ("visible", ctypes.c_int32),
        ("two_peaks", ctypes.c_int32),
    )


class Output(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int64 * 4),
        ("threshold", ctypes.c_double),
        ("labels", ctypes.c_size_t),
    )


class Placement(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        *((name, ctypes.c_double) for name in ("scale_x", "scale_y", "offset_x", "offset_y")),
    )


class Tensor(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("floats", ctypes.c_size_t),
        ("memory", ctypes.c_int32),
    )


class CError(Exception):
    """A status that is not MAHTRT_OK, with the text of mahtrt_last_error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.text = status, text


@functools.cache
def library() -> Any:
    """The library, loaded; the test is skipped where it cannot be built."""
    loaded = ctypes.CDLL(str(native_library()))
    for name in (
        "version",
        "last_error",
        "engine_name",
        "device_name",
        "runtime_path",
        "note",
        "landmark_name",
        "label",
    ):
        getattr(loaded, f"mahtrt_{name}").restype = ctypes.c_char_p
    for name in ("batch", "note_count", "landmark_count", "input_count", "output_count"):
        getattr(loaded, f"mahtrt_{name}").restype = ctypes.c_size_t
    return loaded


def check(status: int) -> None:
    """Raise what the library says."""
    if status != OK:
        raise CError(status, library().mahtrt_last_error().decode())


def c_image(image: NDArray[Any], spacing_mm: tuple[float, float] | None = None) -> Image:
    """An image (H, W) or (H, W, 3) as mahtrt_run takes it; ``image`` has to live as long."""
    assert image.strides[-1] == image.itemsize
    samples = 1 if image.ndim == 2 else image.shape[2]
    row, column = spacing_mm or (0.0, 0.0)
    return Image(
        ctypes.sizeof(Image),
        image.ctypes.data,
        image.strides[0],
        image.shape[1],
        image.shape[0],
        _FORMATS[samples, image.dtype.name],
        row,
        column,
    )


def tensor(name: str, values: NDArray[np.float32]) -> Tensor:
    """An array of the host as mahtrt_tensor."""
    return Tensor(ctypes.sizeof(Tensor), name.encode(), values.ctypes.data, values.size, 0)


@dataclass(frozen=True, slots=True, eq=False)
class CResult:
    """What mahtrt_run_batch gave: a table per field of mahtrt_landmark, and raw outputs.

    Attributes:
        landmarks: (N, K) structured array with the fields of mahtrt_landmark.
        outputs: Output name to array, N first.
    """

    landmarks: NDArray[Any]
    outputs: dict[str, NDArray[np.float32]]


def assert_same_landmarks(found: NDArray[Any], expected: Landmarks) -> None:
    """Landmarks of one image, (K,) of mahtrt_landmark, are Python's bit for bit."""
    for name, column in (("x_px", 0), ("y_px", 1)):
        np.testing.assert_array_equal(found[name], expected.points[:, column])
    np.testing.assert_array_equal(found["confidence"], expected.confidence)
    np.testing.assert_array_equal(found["spread_px"], expected.spread)
    if expected.spread_xy is not None:
        np.testing.assert_array_equal(found["spread_x_px"], expected.spread_xy[:, 0])
        np.testing.assert_array_equal(found["spread_y_px"], expected.spread_xy[:, 1])
    millimetres = expected.points_mm
    unknown = np.full_like(expected.points, np.nan)
    in_mm = unknown if millimetres is None else millimetres
    np.testing.assert_array_equal(found["x_mm"], in_mm[:, 0])
    np.testing.assert_array_equal(found["y_mm"], in_mm[:, 1])
    for name, flags in (("visible", expected.visible), ("two_peaks", expected.two_peaks)):
        as_number = np.full(len(found), -1) if flags is None else flags.astype(np.int32)
        np.testing.assert_array_equal(found[name], as_number)
    if expected.visibility is not None:
        np.testing.assert_array_equal(found["visibility"], expected.visibility)


class CSession:
    """A session of the C library."""

    def __init__(self, bundle: Path | bytes, engine: str = "", **options: Any) -> None:
        # The library's own search knows the Python on PATH, which need not be this one.
        options.setdefault("runtime_dir", openvino_folder().encode())
        chosen = Options(ctypes.sizeof(Options), engine.encode() or None, **options)
        self.handle = ctypes.c_void_p()
        path = bundle if isinstance(bundle, bytes) else str(bundle).encode()
        check(library().mahtrt_open(path, ctypes.byref(chosen), ctypes.byref(self.handle)))

    def __enter__(self) -> CSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        check(library().mahtrt_close(self.handle))

    @property
    def name(self) -> str:
        return str(library().mahtrt_engine_name(self.handle).decode())

    @property
    def batch(self) -> int:
        return int(library().mahtrt_batch(self.handle))

    @property
    def notes(self) -> list[str]:
        count = library().mahtrt_note_count(self.handle)
        return [
            library().mahtrt_note(self.handle, ctypes.c_size_t(i)).decode() for i in range(count)
        ]

    @property
    def landmark_names(self) -> list[str]:
        count = library().mahtrt_landmark_count(self.handle)
        return [
            library().mahtrt_landmark_name(self.handle, ctypes.c_size_t(i)).decode()
            for i in range(count)
        ]

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Output name to shape, the batch first."""
        found = {}
        for i in range(library().mahtrt_output_count(self.handle)):
            info = Output(ctypes.sizeof(Output))
            check(library().mahtrt_output_info(self.handle, ctypes.c_size_t(i), ctypes.byref(info)))
            found[info.name.decode()] = tuple(info.shape[: info.rank])
        return found

    def replay(self) -> float:
        worst = ctypes.c_double(math.nan)
        check(library().mahtrt_replay(self.handle, ctypes.byref(worst)))
        return worst.value

    def run(
        self,
        cases: Sequence[Sequence[NDArray[Any]]],
        spacing_mm: tuple[float, float] | None = None,
        wanted: Sequence[str] = (),
    ) -> CResult:
        """Run cases of an image per input each."""
        images = [image for case in cases for image in case]
        array = (Image * len(images))(*(c_image(image, spacing_mm) for image in images))
        found = np.zeros((len(cases), len(self.landmark_names)), np.dtype(Landmark))
        shapes = {name: shape for name, shape in self.outputs.items() if name in wanted}
        raw = {n: np.full((len(cases), *s[1:]), np.nan, np.float32) for n, s in shapes.items()}
        tensors = (Tensor * len(raw))(*(tensor(name, values) for name, values in raw.items()))
        status = library().mahtrt_run_batch(
            self.handle,
            array,
            ctypes.c_size_t(len(images)),
            found.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(ctypes.sizeof(Landmark)),
            ctypes.c_size_t(found.size),
            tensors,
            ctypes.c_size_t(len(raw)),
        )
        check(status)
        return CResult(found, raw)

    def prepare(self, number: int, image: NDArray[Any], shape: tuple[int, ...]) -> Any:
        """The tensor (C, H, W) of an image, and its :class:`Placement`."""
        values = np.full(shape, np.nan, np.float32)
        placement = Placement(ctypes.sizeof(Placement))
        status = library().mahtrt_prepare(
            self.handle,
            ctypes.c_size_t(number),
            ctypes.byref(c_image(image)),
            values.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(values.size),
            ctypes.byref(placement),
        )
        check(status)
        return values, placement
