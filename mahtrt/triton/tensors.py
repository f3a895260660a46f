"""The tensors of a request and of its answer: names, types and shapes of one image each.

An image comes as the bytes of its file, or as pixels of 8 or of 16 bits; exactly one of the three.
A network of several inputs has the three for each, with the input's name behind.
"""

from __future__ import annotations

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import UsageError
from mahtrt.measure.judged import judged_outputs
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.landmarks import usual_spread_px
from mahtrt.spec import ModelSpec, OutputSpec
from mahtrt.triton.config import Tensor

IMAGE, PIXELS_8, PIXELS_16 = "image", "pixels_uint8", "pixels_uint16"
SPACING = "spacing_mm"
LANDMARKS, CONFIDENCE, SPREAD, TWO_PEAKS = "landmarks", "confidence", "spread_px", "two_peaks"
DOCUMENT = "document"
LABELS_FILE = "landmarks.txt"

# Between the models of an ensemble.
PLACEMENT, SPACING_OF_IMAGE = "placement", "spacing_of_image"


def image_tensor_names(spec: ModelSpec, index: int) -> tuple[str, str, str]:
    """Names of the file's bytes, the 8-bit and the 16-bit pixels of an input of the network."""
    tail = "" if len(spec.inputs) == 1 else f"_{spec.inputs[index].name}"
    return f"{IMAGE}{tail}", f"{PIXELS_8}{tail}", f"{PIXELS_16}{tail}"


def request_tensors(spec: ModelSpec) -> tuple[Tensor, ...]:
    """What a request may hold.

    Raises:
        UsageError: Inputs of the network have names that clash.
    """
    found = []
    for index in range(len(spec.inputs)):
        image, pixels_8, pixels_16 = image_tensor_names(spec, index)
        found += [
            Tensor(image, "TYPE_STRING", (1,), optional=True),
            Tensor(pixels_8, "TYPE_UINT8", (-1, -1, -1), optional=True, ragged=True),
            Tensor(pixels_16, "TYPE_UINT16", (-1, -1, -1), optional=True, ragged=True),
        ]
    found.append(Tensor(SPACING, "TYPE_FP64", (2,), optional=True))
    return _apart(tuple(found))


def answer_tensors(spec: ModelSpec, engine: EngineRecord) -> tuple[Tensor, ...]:
    """What an answer holds.

    Raises:
        UsageError: An output of the network has a name that something else has.
    """
    names, found = landmark_names(spec), list[Tensor]()
    if names:
        count = len(names)
        found += [
            Tensor(LANDMARKS, "TYPE_FP32", (count, 2)),
            Tensor(CONFIDENCE, "TYPE_FP32", (count,), labels=LABELS_FILE),
            Tensor(SPREAD, "TYPE_FP32", (count,), labels=LABELS_FILE),
        ]
        if usual_spread_px(engine, spec) is not None:
            found.append(Tensor(TWO_PEAKS, "TYPE_BOOL", (count,)))
    found += (Tensor(output.name, "TYPE_FP32", _dims(output, spec)) for output in given(spec))
    found.append(Tensor(DOCUMENT, "TYPE_STRING", (1,)))
    return _apart(tuple(found))


def given(spec: ModelSpec) -> tuple[OutputSpec, ...]:
    """The network's outputs that an answer holds beside landmarks: maps, logits, visibility."""
    return judged_outputs(spec)


def _dims(output: OutputSpec, spec: ModelSpec) -> tuple[int, ...]:
    if output.kind == "map":
        return (-1, -1, -1)
    if output.kind == "visibility":
        return (spec.num_landmarks,)
    return (len(output.labels) or -1,)


def _apart(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    names = [tensor.name for tensor in tensors]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                "mahtrt export-triton",
                got=f"two tensors of the name {name!r}",
                expected="inputs and outputs of the network with names of their own",
                fix="Export the network again with other names.",
            )
    return tensors
