"""The way from an image to points in it, as steps of which a cause exchanges one.

mahtrt's own way is ``Pipeline(spec.inputs)``. A cause gives the same with another step: what a
pipeline would do that has this fault. All steps are pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.gray import gray_from_rgb
from mahtrt.data.preprocess import Placement, fit_image, tensor_from_fitted
from mahtrt.data.sample import Sample
from mahtrt.data.spacing import Spacing
from mahtrt.runtime.decode import decode
from mahtrt.spec import InputSpec, ModelSpec

Image = NDArray[Any]
Tensor = NDArray[np.float32]
Points = NDArray[np.float64]
Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one case beside its pixels.

    Attributes:
        image: (height, width) of the first image.
        network: (height, width) of the network's first input.
        cells: (height, width) of the heatmaps, None where there are none.
        placement: Where the image lies on the input.
        spacing_mm: (row, column) mm per pixel of the image, None where unknown.
        top: The highest grey level of the image's type, 255 or 65535.
    """

    image: tuple[int, int]
    network: tuple[int, int]
    cells: tuple[int, int] | None
    placement: Placement
    spacing_mm: Spacing | None = None
    top: int = 255

    @property
    def image_xy(self) -> Points:
        """(2,) width and height of the image."""
        return np.array(self.image[::-1], np.float64)

    @property
    def network_xy(self) -> Points:
        """(2,) width and height of the network's input."""
        return np.array(self.network[::-1], np.float64)

    @property
    def cell_xy(self) -> Points | None:
        """(2,) sides of a heatmap's cell in network pixels; None without heatmaps."""
        if self.cells is None:
            return None
        return self.network_xy / np.array(self.cells[::-1], np.float64)


Fit = Callable[[Image, InputSpec, int], tuple[Image, Placement]]
Finish = Callable[[Tensor, InputSpec, View], Tensor]
Decode = Callable[[Outputs, ModelSpec], Points]
Move = Callable[[Points, View], Points]


def same_image(image: Image) -> Image:
    """The image as the file has it."""
    return image


def same_tensor(tensor: Tensor, spec: InputSpec, view: View) -> Tensor:
    """The tensor as the spec says it."""
    return tensor


def decoded_points(outputs: Outputs, spec: ModelSpec) -> Points:
    """(N, K, 2) landmarks in network pixels, as the network gives them."""
    return decode(outputs, spec).points_px.astype(np.float64)


def image_points(points_px: Points, view: View) -> Points:
    """(K, 2) network pixels in the image's pixels."""
    return view.placement.image_from_network(points_px).astype(np.float64)


def same_points(points: Points, view: View) -> Points:
    """(K, 2) as the file of predictions has them."""
    return points


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps from image to points, in their order.

    Attributes:
        inputs: What the images are prepared by.
        before: From the image of the file to what is resized.
        fit: From there to the network's size, with the definition's version; and where it lies.
        finish: From the normalised tensor to what the network gets.
        decode: From the network's outputs of N cases to (N, K, 2) in network pixels.
        to_image: From (K, 2) network pixels to image pixels.
        as_image: From (K, 2) points of the user's file to image pixels.
    """

    inputs: tuple[InputSpec, ...]
    before: Callable[[Image], Image] = same_image
    fit: Fit = fit_image
    finish: Finish = same_tensor
    decode: Decode = decoded_points
    to_image: Move = image_points
    as_image: Move = same_points

    @property
    def preparing(self) -> tuple[Any, ...]:
        """The steps before the network: where they are equal, so are its outputs."""
        return self.inputs, self.before, self.fit, self.finish

    def prepared(
        self, sample: Sample, cells: tuple[int, int] | None, version: int
    ) -> tuple[dict[str, Tensor], View]:
        """What the network gets of one case, (C, H, W) by input, and the view of its first image.

        Args:
            cells: (height, width) of the network's heatmaps, where there are any.
            version: Definition of preprocessing (:mod:`mahtrt.data.preprocess_version`).
        """
        feed: dict[str, Tensor] = {}
        views: list[View] = []
        for image, spec in zip(sample.images, self.inputs, strict=True):
            source = _planes(self.before(image), spec)
            fitted, placement = self.fit(source, spec, version)
            size = int(source.shape[0]), int(source.shape[1])
            top = int(np.iinfo(source.dtype).max)
            views.append(View(size, spec.size, cells, placement, sample.spacing_mm, top))
            feed[spec.name] = self.finish(tensor_from_fitted(fitted, spec), spec, views[-1])
        return feed, views[0]


def _planes(image: Image, spec: InputSpec) -> Image:
    """(H, W), or (H, W, 3) where the network takes colours, as resizing has it."""
    if image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    return gray_from_rgb(image) if image.ndim == 3 and spec.channels == 1 else image
