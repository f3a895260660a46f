from __future__ import annotations

import numpy as np
import pytest

from mahtrt.data.preprocess import fit_of
from mahtrt.data.resizing import ON_GPU, resizing
from mahtrt.errors import ImageError
from mahtrt.spec import InputSpec, Interpolation

BYTE = np.dtype(np.uint8)


@pytest.mark.parametrize(
    ("interpolation", "shape", "methods"),
    [
        ("area", (40, 61), ("mean", "mean")),
        ("area", (10, 61), ("linear", "mean")),
        ("area", (20, 61), ("same", "mean")),
        ("linear", (40, 61), ("linear", "linear")),
        ("linear", (20, 30), ("same", "same")),
    ],
)
def test_each_axis_has_a_method(
    interpolation: Interpolation, shape: tuple[int, int], methods: tuple[str, str]
) -> None:
    spec = InputSpec((20, 30), interpolation=interpolation, resize="stretch", pad_value=0.5)
    way = resizing(fit_of(shape, spec), BYTE, spec)
    assert (way.image, way.size, way.corner, way.target) == (shape, (20, 30), (0, 0), (20, 30))
    assert (way.methods, way.pad) == (methods, 128)


@pytest.mark.parametrize("interpolation", ["cubic", "nearest", "antialiased_linear"])
def test_what_the_kernel_does_not_know_is_refused_unless_nothing_is_resized(
    interpolation: Interpolation,
) -> None:
    assert interpolation not in ON_GPU
    spec = InputSpec((20, 30), interpolation=interpolation)
    with pytest.raises(ImageError, match=f"got {interpolation}.*area or linear.*on the CPU"):
        resizing(fit_of((20, 31), spec), BYTE, spec)
    assert resizing(fit_of((20, 30), spec), BYTE, spec).methods == ("same", "same")
