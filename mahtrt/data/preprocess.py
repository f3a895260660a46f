"""Image to network tensor, and landmarks back: the only place where geometry lives.

Training, calibration, runtime and bench all go through :func:`preprocess`, so a network sees in
production what it saw in training; on a GPU a kernel gives the same numbers. What it gives is
defined in ``docs/preprocessing.md``, to the last bit. Pixel centres are at integers in every frame:
``x_network = (x_image + 0.5) * scale - 0.5 + offset``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.compiled import compiled_preprocess
from mahtrt.data.gray import gray_from_rgb
from mahtrt.data.limits import MOST_PIXELS, check_image_size
from mahtrt.data.preprocess_opencv import resize_with_opencv
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.data.resample import resample
from mahtrt.errors import ImageError
from mahtrt.spec import InputSpec

MIN_SIDE_PX = 2
_EXPECTED = "(H, W), (H, W, 1) or (H, W, 3) of uint8 or uint16"
_DTYPES = {"uint8": 255.0, "uint16": 65535.0}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the source image lies on the network's input.

    Attributes:
        scale: (x, y) network pixels per image pixel.
        offset: (x, y) in network pixels, negative where the image was cropped.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]

    def network_from_image(self, points_px: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (…, 2) in the image's pixels, in the network's input pixels."""
        points = (np.asarray(points_px, np.float64) + 0.5) * self.scale - 0.5 + self.offset
        return points.astype(np.float32)

    def image_from_network(self, points_px: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points (…, 2) in the network's input pixels, in the image's pixels."""
        points = (np.asarray(points_px, np.float64) - self.offset + 0.5) / self.scale - 0.5
        return points.astype(np.float32)

    def image_length_from_network(self, length_px: NDArray[np.floating]) -> NDArray[np.float32]:
        """A length (such as spread) in network pixels, in image pixels (mean of the two axes)."""
        mean_scale = float(np.sqrt(self.scale[0] * self.scale[1]))
        return (np.asarray(length_px, np.float64) / mean_scale).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Fit:
    """Where an image goes on the network's input, in whole pixels.

    Attributes:
        image: (height, width) of the image.
        size: (height, width) that it is resized to.
        target: (height, width) of the network's input.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    target: tuple[int, int]

    @property
    def corner(self) -> tuple[int, int]:
        """(top, left) of the resized image on the input, negative where it is cropped."""
        return (self.target[0] - self.size[0]) // 2, (self.target[1] - self.size[1]) // 2

    @property
    def placement(self) -> Placement:
        """The same for points."""
        (height, width), (new_h, new_w), (top, left) = self.image, self.size, self.corner
        return Placement(scale=(new_w / width, new_h / height), offset=(float(left), float(top)))


def preprocess(
    image: NDArray[np.generic], spec: InputSpec, version: int = PREPROCESS_VERSION
) -> tuple[NDArray[np.float32], Placement]:
    """Fit an image to the network's input and normalise it.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), uint8 or uint16, RGB where it has colours.
        spec: What the network wants.
        version: The definition to follow (:mod:`mahtrt.data.preprocess_version`): that of the
            bundle where there is one.

    Returns:
        The tensor (C, h, w), float32, C-contiguous, and where the image lies on it.

    Raises:
        ImageError: Wrong rank, dtype, channel count or size.
    """
    check_image(image)
    fit = fit_of(image.shape, spec)
    return _tensor(image, spec, version), fit.placement


def _tensor(image: NDArray[np.generic], spec: InputSpec, version: int) -> NDArray[np.float32]:
    """The tensor of an image that was checked, and whose fit was."""
    compiled = compiled_preprocess() if version == PREPROCESS_VERSION else None
    tensor = compiled(image, spec) if compiled is not None else None
    if tensor is None:  # or the library refused the spec
        tensor = tensor_from_fitted(fit_image(image, spec, version)[0], spec)
    return tensor


def fit_image(
    image: NDArray[np.generic], spec: InputSpec, version: int = PREPROCESS_VERSION
) -> tuple[NDArray[np.generic], Placement]:
    """The first half of :func:`preprocess`: an image at the network's size, still in integers.

    Returns:
        (h, w) or (h, w, 3) in the image's dtype, and where the image lies on it.
    """
    check_image(image)
    fit = fit_of(image.shape, spec)
    # OpenCV reads the bytes of a foreign byte order as they are, without a word.
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3 and spec.channels == 1:
        image = gray_from_rgb(image)
    if version == PREPROCESS_VERSION:
        resized = resample(image, *fit.size, spec.interpolation)
    else:
        resized = resize_with_opencv(image, *fit.size, spec.interpolation, version)
    return place(resized, fit, spec), fit.placement


def check_image(image: NDArray[np.generic], subject: str = "image") -> None:
    """Refuse what :func:`preprocess` cannot use.

    Raises:
        ImageError: Wrong rank, dtype, channel count or size.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(
            subject, got=f"a {type(image).__name__}", expected=f"a numpy array {_EXPECTED}"
        )
    check_image_form(image.shape, image.dtype, subject)


def check_image_form(shape: tuple[int, ...], dtype: np.dtype[Any], subject: str = "image") -> None:
    """Refuse an image by its shape and dtype, wherever it lies.

    Raises:
        ImageError: Wrong rank, dtype, channel count or size.
    """
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ImageError(
            subject,
            got=f"shape {shape}",
            expected=_EXPECTED,
            fix="Give one image at a time, channels last; drop an alpha channel first.",
            reason="shape",
        )
    if dtype.name not in _DTYPES:
        raise ImageError(
            subject,
            got=f"dtype {dtype}",
            expected=_EXPECTED,
            fix="Scale to the full range of uint8 or uint16.",
        )
    if min(shape[:2]) < MIN_SIDE_PX:
        raise ImageError(
            subject,
            got=f"{shape[1]}x{shape[0]} pixels",
            expected=f"at least {MIN_SIDE_PX} pixels on each side",
            reason="too-small",
        )
    check_image_size(shape[1], shape[0], subject)


def fit_of(shape: tuple[int, ...], spec: InputSpec) -> Fit:
    """Where an image of some size goes on the input, as ``spec.resize`` says.

    Args:
        shape: The image's, (H, W) or (H, W, C).

    Raises:
        ImageError: It would be resized to more pixels than are ever made.
    """
    (height, width), (target_h, target_w) = shape[:2], spec.size
    if spec.resize == "stretch":
        new_h, new_w = target_h, target_w
    else:
        choose = min if spec.resize == "letterbox" else max
        scale = choose(target_h / height, target_w / width)
        new_h, new_w = max(1, round(height * scale)), max(1, round(width * scale))
    if new_h * new_w > MOST_PIXELS:  # an image that is all length, before it is cropped
        raise ImageError(
            "image",
            got=f"{width}x{height} pixels, which would be resized to {new_w}x{new_h}",
            expected=f"at most {MOST_PIXELS} pixels",
            fix="Crop the image nearer to the shape of the network's input first.",
            reason="too-large",
        )
    return Fit((height, width), (new_h, new_w), (target_h, target_w))


def place(resized: NDArray[np.generic], fit: Fit, spec: InputSpec) -> NDArray[np.generic]:
    """A resized image on the network's input: cropped, or with padding around it.

    Args:
        resized: (h, w) or (h, w, 3), of the fit's size.

    Returns:
        Of the fit's target size, in the same dtype.
    """
    (target_h, target_w), (new_h, new_w), (top, left) = fit.target, fit.size, fit.corner
    if fit.size == fit.target:
        return resized
    if spec.resize == "center_crop":
        return resized[-top : -top + target_h, -left : -left + target_w]
    pad = pad_level(resized.dtype, spec)
    canvas = np.full((target_h, target_w, *resized.shape[2:]), pad, resized.dtype)
    canvas[top : top + new_h, left : left + new_w] = resized
    return canvas


def pad_level(dtype: np.dtype[np.generic], spec: InputSpec) -> int:
    """The grey level of what letterboxing adds, in an image's dtype."""
    return round(spec.pad_value * _DTYPES[dtype.name])


def normalization(
    dtype: np.dtype[np.generic], spec: InputSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gain and shift per channel (C,) that make the tensor's values of grey levels.

    ``x / range``, minus ``mean``, over ``std``, folded into one product and one sum, each rounded
    to float32.
    """
    std = np.array(spec.std, np.float64)
    gain = (1.0 / (_DTYPES[dtype.name] * std)).astype(np.float32)
    shift = (-np.array(spec.mean, np.float64) / std).astype(np.float32)
    return gain, shift


def tensor_from_fitted(image: NDArray[np.generic], spec: InputSpec) -> NDArray[np.float32]:
    """The second half of :func:`preprocess`: a fitted image, normalised, as (C, h, w)."""
    gain, shift = normalization(image.dtype, spec)
    tensor = np.empty((spec.channels, *image.shape[:2]), np.float32)
    for channel in range(spec.channels):
        if channel and image.ndim == 2 and (gain[channel], shift[channel]) == (gain[0], shift[0]):
            tensor[channel] = tensor[0]  # a gray image, which a copy spares the arithmetic
            continue
        source = channel if spec.color_order != "bgr" else spec.channels - 1 - channel
        plane = image if image.ndim == 2 else image[:, :, source]
        np.multiply(plane, gain[channel], out=tensor[channel], casting="unsafe")
        tensor[channel] += shift[channel]
    return tensor
