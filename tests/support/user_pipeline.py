"""A user's own ``predict.py``: from an image file to points in its pixels, written plainly.

Nothing here calls mahtrt: faults are planted as a user's code would have them, with OpenCV, Pillow,
PyTorch and NumPy. The network is a small random one, which reacts to everything that it is fed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image

Array = np.ndarray[Any, Any]

SIZE = (48, 64)  # network input, (height, width)
CELLS = (12, 16)  # heatmaps
LANDMARKS = ("left", "right", "chin", "brow")
TEMPERATURE = 0.2
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def make_network(seed: int = 0, *, channels: int = 3, int8_weights: bool = False) -> ModelProto:
    """Three random convolutions and a soft-argmax.

    Args:
        int8_weights: The weights as INT8 with a scale per tensor, through DequantizeLinear.
    """
    random = np.random.default_rng(seed)
    shapes = {"w1": (8, channels, 5, 5), "w2": (8, 8, 3, 3), "w3": (len(LANDMARKS), 8, 1, 1)}
    k, (h, w) = len(LANDMARKS), CELLS
    nodes: list[Any] = []
    constants: dict[str, Any] = {}
    for name, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3]
        weight = random.normal(0, 1 / np.sqrt(fan_in), shape).astype(np.float32)
        constants[name] = weight
        if int8_weights:
            scale = np.float32(np.abs(weight).max() / 127)
            constants |= {name: np.rint(weight / scale).astype(np.int8), f"{name}_scale": scale}
            nodes.append(
                helper.make_node("DequantizeLinear", [name, f"{name}_scale"], [f"{name}_float"])
            )
    used = {name: f"{name}_float" if int8_weights else name for name in shapes}
    constants |= {
        "temperature": np.float32(TEMPERATURE),
        "flat": np.array([1, k, h * w]),
        "maps": np.array([1, k, h, w]),
        "last": np.array([-1]),
        "rows_axis": np.array([2, 3]),
        "xs": np.arange(w, dtype=np.float32).reshape(1, 1, 1, w),
        "ys": np.arange(h, dtype=np.float32).reshape(1, 1, h, 1),
    }
    node = helper.make_node
    nodes += [
        node("Conv", ["image", used["w1"]], ["c1"], strides=[2, 2], pads=[2] * 4),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", used["w2"]], ["c2"], strides=[2, 2], pads=[1] * 4),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", used["w3"]], ["heatmaps"]),
        node("Reshape", ["heatmaps", "flat"], ["flat_maps"]),
        node("Div", ["flat_maps", "temperature"], ["sharp"]),
        node("Softmax", ["sharp"], ["shares"], axis=-1),
        node("Reshape", ["shares", "maps"], ["weights"]),
        node("Mul", ["weights", "xs"], ["along_x"]),
        node("Mul", ["weights", "ys"], ["along_y"]),
        node("ReduceSum", ["along_x", "rows_axis"], ["x"], keepdims=0),
        node("ReduceSum", ["along_y", "rows_axis"], ["y"], keepdims=0),
        node("Unsqueeze", ["x", "last"], ["x1"]),
        node("Unsqueeze", ["y", "last"], ["y1"]),
        node("Concat", ["x1", "y1"], ["landmarks"], axis=-1),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "random",
        [info("image", TensorProto.FLOAT, [1, channels, *SIZE])],
        [
            info("landmarks", TensorProto.FLOAT, [1, k, 2]),
            info("heatmaps", TensorProto.FLOAT, [1, k, h, w]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@dataclass(frozen=True)
class Where:
    """How an image was fitted, as a script keeps it."""

    scale: tuple[float, float]  # x, y
    left: int
    top: int
    height: int
    width: int


Fitted = tuple[Array, Where]


def read(path: Path) -> Array:
    """RGB, uint8."""
    return np.asarray(Image.open(path).convert("RGB"))


def read_bgr(path: Path) -> Array:
    """As OpenCV reads it."""
    return np.asarray(cv2.imread(str(path)))


def read_gray(path: Path) -> Array:
    """Gray, as OpenCV reads it."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def area(image: Array, width: int, height: int) -> Array:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


def letterbox(
    image: Array, resize: Callable[[Array, int, int], Array] = area, pad: int = 0
) -> Fitted:
    height, width = image.shape[:2]
    factor = min(SIZE[0] / height, SIZE[1] / width)
    new_h, new_w = round(height * factor), round(width * factor)
    top, left = (SIZE[0] - new_h) // 2, (SIZE[1] - new_w) // 2
    canvas = np.full((*SIZE, *image.shape[2:]), pad, image.dtype)
    canvas[top : top + new_h, left : left + new_w] = resize(image, new_w, new_h)
    return canvas, Where((new_w / width, new_h / height), left, top, height, width)


def stretch(image: Array, resize: Callable[[Array, int, int], Array] = area) -> Fitted:
    height, width = image.shape[:2]
    scale = (SIZE[1] / width, SIZE[0] / height)
    return resize(image, SIZE[1], SIZE[0]), Where(scale, 0, 0, height, width)


def center_crop(image: Array, odd: int = 1) -> Fitted:
    """The middle; ``odd`` says whether an odd pixel is cut off before (1) or behind (0)."""
    height, width = image.shape[:2]
    factor = max(SIZE[0] / height, SIZE[1] / width)
    new_h, new_w = round(height * factor), round(width * factor)
    resized = area(image, new_w, new_h)
    top, left = (new_h - SIZE[0] + odd) // 2, (new_w - SIZE[1] + odd) // 2
    cropped = resized[top : top + SIZE[0], left : left + SIZE[1]]
    return cropped, Where((new_w / width, new_h / height), -left, -top, height, width)


def normalise(image: Array) -> Array:
    return (image.astype(np.float32) / 255 - MEAN) / STD


def cells_of(outputs: dict[str, Array]) -> Array:
    """Points in heatmap cells, (K, 2)."""
    return np.asarray(outputs["landmarks"][0], np.float64)


def network_pixels(cells: Array) -> Array:
    return (cells + 0.5) * 4 - 0.5


def back(points: Array, where: Where) -> Array:
    """Network pixels in the image."""
    return (points - (where.left, where.top) + 0.5) / where.scale - 0.5


@dataclass(frozen=True)
class UserPipeline:
    """The script, with the place of each step open for another one."""

    read: Callable[[Path], Array] = read
    fit: Callable[[Array], Fitted] = letterbox
    normalise: Callable[[Array], Array] = normalise
    cells: Callable[[dict[str, Array]], Array] = cells_of
    pixels: Callable[[Array], Array] = network_pixels
    back: Callable[[Array, Where], Array] = back

    def predict(self, session: onnxruntime.InferenceSession, path: Path) -> Array:
        """Points (K, 2) in the pixels of an image."""
        fitted, where = self.fit(self.read(path))
        tensor = self.normalise(fitted)
        if tensor.ndim == 2:
            tensor = tensor[..., None]
        feed = {"image": np.ascontiguousarray(tensor.transpose(2, 0, 1)[None], np.float32)}
        landmarks, heatmaps = session.run(["landmarks", "heatmaps"], feed)
        cells = self.cells({"landmarks": landmarks, "heatmaps": heatmaps})
        return np.asarray(self.back(self.pixels(cells), where), np.float64)


def open_network(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def write_images(folder: Path, count: int, seed: int = 0, *, gray: bool = False) -> list[Path]:
    """Smooth random pictures in colour (or gray), larger than the network's input, as PNG."""
    random, places = np.random.default_rng(seed), []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        height, width = (int(each) for each in random.integers((150, 130), (210, 190)))
        coarse = random.uniform(40, 210, (height // 6, width // 6, 1 if gray else 3))
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        grain = random.normal(0, 12, smooth.shape)
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        places.append(folder / f"{number}.png")
        Image.fromarray(image).save(places[-1])
    return places


def write_csv(place: Path, images: Sequence[Path], points: Sequence[Array]) -> Path:
    """The form of a data set's CSV."""
    header = ["file", *(f"{axis}{k}" for k in range(len(LANDMARKS)) for axis in "xy")]
    rows = [
        [image.name, *(f"{value:.5f}" for value in found.ravel())]
        for image, found in zip(images, points, strict=True)
    ]
    text = "".join(",".join(row) + "\n" for row in [header, *rows])
    place.write_text(text, encoding="utf-8")
    return place
