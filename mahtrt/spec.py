"""ModelSpec: what goes into a network, what comes out, and how landmarks are read from it.

The spec travels inside every artefact (checkpoint, ONNX, bundle), so that export, calibration,
runtime and bench need to know nothing about a family. It is plain data: frozen dataclasses that
go to JSON and back, and can be written by hand as TOML for networks that mahtrt does not know.

Frames. Pixel centres are at integers. ``network`` is the pixel grid of the network's input,
``heatmap`` the grid of its heatmaps, ``normalized`` is [0, 1] over the input
(``x_network = x * width - 0.5``). ``x_network = (x_heatmap + 0.5) * width / heatmap_width - 0.5``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from mahtrt.errors import SpecError
from mahtrt.parsing import MOST_TOML_BYTES, read_json, read_toml
from mahtrt.reading import Wanted, read_regular
from mahtrt.schema import Between, Pixels, check_schema, dataclass_from

SCHEMA = "mahtrt.spec/2"

ColorOrder = Literal["rgb", "bgr", "gray"]
Resize = Literal["letterbox", "stretch", "center_crop"]
Interpolation = Literal[
    "area",
    "linear",
    "cubic",
    "nearest",
    "nearest_floor",
    "antialiased_linear",
    "antialiased_cubic",
]
OutputKind = Literal["heatmaps", "landmarks", "confidence", "spread", "map", "logits", "visibility"]
Frame = Literal["network", "heatmap", "normalized", "none"]
MOST_INPUTS = 8

DecodeMethod = Literal["soft_argmax", "dark", "regression", "none"]


# Name of a network's module that decodes, where its nodes would pass for products: part of the
# scopes and names of these nodes. They stay FP32 whatever the precision around them.
DECODING = "mahtrt_decoding"

Refuse = Callable[[str, Any, str], typing.NoReturn]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An image that the network takes.

    Attributes:
        name: Name of the ONNX input.
        size: (height, width) in pixels.
        channels: Channels of the tensor; a gray image is repeated over them.
        color_order: Order of the channels the network was trained with.
        mean, std: Per channel, of intensities scaled to [0, 1] by the image's dtype range.
        resize: How an image of another size is fitted.
        interpolation: How new pixels are made; each is defined in ``docs/preprocessing.md``, and
            is within one grey level of what the network's training called:
            ``area``: OpenCV's ``INTER_AREA`` where it shrinks, ``INTER_LINEAR`` where it enlarges.
            ``linear``, ``cubic``: OpenCV's ``INTER_LINEAR`` and ``INTER_CUBIC``, PyTorch's
            ``interpolate`` and torchvision's ``resize`` with ``antialias=False``.
            ``nearest``: OpenCV's ``INTER_NEAREST_EXACT``, Pillow's ``NEAREST``, torchvision's
            ``NEAREST_EXACT``.
            ``nearest_floor``: OpenCV's ``INTER_NEAREST``, PyTorch's ``nearest``.
            ``antialiased_linear``, ``antialiased_cubic``: Pillow's ``BILINEAR`` and ``BICUBIC``,
            torchvision's ``resize`` with ``antialias=True`` (its default), also of PIL images.
        pad_value: Intensity in [0, 1] of what letterboxing adds.
    """

    size: tuple[Pixels, Pixels]
    name: str = "image"
    channels: int = 3
    color_order: ColorOrder = "rgb"
    mean: tuple[Annotated[float, Between(-1e6, 1e6)], ...] = (0.5, 0.5, 0.5)
    std: tuple[Annotated[float, Between(1e-6, 1e6)], ...] = (0.25, 0.25, 0.25)
    resize: Resize = "letterbox"
    interpolation: Interpolation = "area"
    pad_value: float = 0.0


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One output of the network, in the order of the graph's outputs.

    Attributes:
        name: Name of the ONNX output (for a dict output, also its key).
        kind: What it holds: heatmaps (B, K, h, w), landmarks (B, K, 2) as x, y,
            confidence (B, K), spread (B, K), map (B, C, h, w) over the whole of the first input,
            logits (B, L), visibility (B, K) as probabilities in [0, 1].
        frame: The coordinate frame of landmarks and spread, ``none`` for the rest.
        labels: Names of the L logits; none leaves them to their numbers.
        threshold: Probability from which a landmark counts as visible, and a label as present:
            the sigmoid of a logit is its probability.
    """

    name: str
    kind: OutputKind
    frame: Frame = "none"
    labels: tuple[str, ...] = ()
    threshold: Annotated[float, Between(0.0, 1.0)] = 0.5


@dataclass(frozen=True, slots=True)
class DecodeSpec:
    """How landmarks are read from the network's outputs.

    Attributes:
        method: ``soft_argmax`` of the heatmaps, ``dark`` (their smoothed peak, refined by a Taylor
            step), ``regression`` (the network gives coordinates), or ``none`` (the outputs are
            the result).
        temperature: Soft-argmax divides the heatmaps by it before the softmax.
        heatmap_size: (height, width) of the heatmaps, None where there are none.
        sigma: Standard deviation in heatmap cells of the Gaussian that ``dark`` smooths with: that
            of the training targets.
    """

    method: DecodeMethod = "soft_argmax"
    temperature: Annotated[float, Between(1e-6, 1e6)] = 0.05
    heatmap_size: tuple[Pixels, Pixels] | None = None
    sigma: Annotated[float, Between(0.1, 64.0)] = 2.0


@dataclass(frozen=True, slots=True)
class QuantizeSpec:
    """What a family knows about its own INT8 behaviour.

    Attributes:
        exclude: Prefixes of node scopes (dotted module paths) that stay floating point.
    """

    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything the toolchain has to know about a network.

    Attributes:
        inputs: The images of a case, in the order that the network's forward takes them. Landmarks
            and maps lie on the first.
    """

    family: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    landmarks: tuple[str, ...] = ()
    decode: DecodeSpec = field(default_factory=DecodeSpec)
    quantize: QuantizeSpec = field(default_factory=QuantizeSpec)
    config: Mapping[str, Any] = field(default_factory=dict)
    schema: str = SCHEMA

    @property
    def input(self) -> InputSpec:
        """The first input, whose pixels are the ``network`` frame."""
        return self.inputs[0]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order that the network takes them."""
        return tuple(each.name for each in self.inputs)

    @property
    def num_landmarks(self) -> int:
        return len(self.landmarks)

    @property
    def heatmap_cell_px(self) -> float:
        """Side of a heatmap's cell in network pixels, the geometric mean of x and y.

        1 where no heatmap is known, so that a cell is a pixel.
        """
        if self.decode.heatmap_size is None:
            return 1.0
        return math.sqrt(math.prod(self.input.size) / math.prod(self.decode.heatmap_size))

    def output(self, kind: OutputKind) -> OutputSpec | None:
        """The first output of a kind, or None."""
        return next((output for output in self.outputs if output.kind == kind), None)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The spec as one line of JSON with sorted keys: equal specs give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


def is_decoding(path: str) -> bool:
    """Whether a scope or node name (a dotted path) lies in the module that decodes."""
    return DECODING in path.split(".")


def spec_from_dict(data: Mapping[str, Any], *, where: str = "spec") -> ModelSpec:
    """Build a spec from plain data, refusing what it does not know.

    Args:
        data: The mapping that JSON or TOML gave.
        where: Where the data came from, for messages.

    Raises:
        SpecError: An unknown field, a missing one, or a wrong value.
        IntegrityError: The schema is newer than this version reads.
    """
    if not isinstance(data, Mapping):
        raise SpecError(where, got=f"a {type(data).__name__}", expected="a table with the fields")
    check_schema(str(data.get("schema", SCHEMA)), SCHEMA, where)
    spec = dataclass_from(ModelSpec, upgraded_spec(data), where)
    _check_values(spec, where)
    return spec


def spec_from_json(text: str, *, where: str = "spec") -> ModelSpec:
    """Build a spec from the JSON text of :meth:`ModelSpec.to_json`."""
    return spec_from_dict(read_json(text, where, "a spec"), where=where)


def load_spec(path: Path) -> ModelSpec:
    """Read a spec from a TOML (or JSON) file.

    Raises:
        SpecError: The file cannot be read, or does not hold a spec.
    """
    wanted, where = Wanted("a spec as TOML or JSON", SpecError), str(path)
    raw = read_regular(path, wanted, MOST_TOML_BYTES)
    read = read_json if path.suffix == ".json" else read_toml
    return spec_from_dict(read(raw, where, wanted.expected), where=where)


def upgraded_spec(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as schema 2 has it: ``input``, one table, is the only one of ``inputs``."""
    found = {**data, "schema": SCHEMA}
    if "input" in found and "inputs" not in found:
        found["inputs"] = [found.pop("input")]
    return found


def _check_values(spec: ModelSpec, where: str) -> None:
    """Refuse values that contradict each other."""

    def refuse(name: str, got: Any, expected: str) -> typing.NoReturn:
        raise SpecError(f"{where}: {name}", got=repr(got), expected=expected)

    _check_inputs(spec, refuse)
    _check_outputs(spec, refuse)
    _check_decoding(spec, refuse)


def _check_inputs(spec: ModelSpec, refuse: Refuse) -> None:
    if not 1 <= len(spec.inputs) <= MOST_INPUTS:
        refuse("inputs", f"{len(spec.inputs)} inputs", f"1 to {MOST_INPUTS}")
    names = [image.name for image in spec.inputs]
    if len(set(names)) != len(names) or not all(names):
        refuse("inputs", names, "names that differ")
    for image in spec.inputs:
        where = "input" if len(spec.inputs) == 1 else f"input {image.name}"
        if image.channels not in (1, 3):
            refuse(f"{where}.channels", image.channels, "1 or 3")
        if (image.color_order == "gray") != (image.channels == 1):
            expected = f"an order for {image.channels} channel(s)"
            refuse(f"{where}.color_order", image.color_order, expected)
        for name, values in ((f"{where}.mean", image.mean), (f"{where}.std", image.std)):
            if len(values) != image.channels:
                refuse(name, values, f"{image.channels} value(s), one per channel")
        if not 0 <= image.pad_value <= 1:
            refuse(f"{where}.pad_value", image.pad_value, "an intensity from 0 to 1")


def _check_outputs(spec: ModelSpec, refuse: Refuse) -> None:
    if not spec.outputs:
        refuse("outputs", spec.outputs, "at least one output")
    names = [output.name for output in spec.outputs]
    if len(set(names)) != len(names):
        refuse("outputs", names, "names that differ")
    for output in spec.outputs:
        if output.labels and output.kind != "logits":
            refuse("outputs", output.name, f"labels of logits alone, not of {output.kind}")
        if len(set(output.labels)) != len(output.labels):
            refuse("outputs", output.labels, "labels that differ")
    if spec.output("visibility") and not spec.landmarks:
        refuse("landmarks", spec.landmarks, "a name per landmark that may be visible")
    landmarks = spec.output("landmarks")
    if landmarks and landmarks.frame == "none":
        refuse("outputs", landmarks.name, "a frame (network, heatmap or normalized) for landmarks")
    if landmarks and landmarks.frame == "heatmap" and spec.decode.heatmap_size is None:
        refuse("decode.heatmap_size", None, "a size, since landmarks are in the heatmap frame")


def _check_decoding(spec: ModelSpec, refuse: Refuse) -> None:
    method, names = spec.decode.method, [output.name for output in spec.outputs]
    if method == "soft_argmax" and not (spec.output("heatmaps") or spec.output("landmarks")):
        refuse("outputs", names, "one of kind heatmaps or landmarks for decode.method soft_argmax")
    if method == "dark" and not spec.output("heatmaps"):
        refuse("outputs", names, "one of kind heatmaps for decode.method dark")
    if method == "regression" and not spec.output("landmarks"):
        refuse("outputs", names, "one of kind landmarks for decode.method regression")
    if method != "none" and not spec.landmarks:
        refuse("landmarks", spec.landmarks, "a name per landmark")
