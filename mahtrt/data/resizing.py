"""What the preprocessing kernel is told of an image's way to the network's input.

The kernel computes what :func:`mahtrt.data.preprocess.preprocess` does, bit for bit, for the
interpolations that it knows. Images of other networks are prepared on the CPU.
"""

from __future__ import annotations

import numpy as np

from mahtrt.cuda.preprocess_launch import AxisMethod, Resizing
from mahtrt.data.preprocess import Fit, pad_level
from mahtrt.errors import ImageError
from mahtrt.spec import InputSpec

ON_GPU = ("area", "linear")  # interpolations


def resizing(fit: Fit, dtype: np.dtype[np.generic], spec: InputSpec) -> Resizing:
    """What the kernel is told.

    Args:
        fit: What :func:`mahtrt.data.preprocess.fit_of` gives for the image and the spec.
        dtype: The image's.

    Raises:
        ImageError: The image is resized in a way that the kernel does not know.
    """
    if spec.interpolation not in ON_GPU and fit.image != fit.size:
        raise ImageError(
            "interpolation",
            got=spec.interpolation,
            expected=f"{' or '.join(ON_GPU)}, which the GPU's kernel knows",
            fix="Prepare the images on the CPU.",
        )
    down, across = (
        _axis_method(length, new, spec) for length, new in zip(fit.image, fit.size, strict=True)
    )
    return Resizing(
        image=fit.image,
        size=fit.size,
        corner=fit.corner,
        target=fit.target,
        methods=(down, across),
        pad=pad_level(dtype, spec),
    )


def _axis_method(length: int, new: int, spec: InputSpec) -> AxisMethod:
    if length == new:
        return "same"
    return "mean" if spec.interpolation == "area" and new < length else "linear"
