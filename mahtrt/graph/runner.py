"""ONNX Runtime over a graph of one image input, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from mahtrt.errors import DataError, ModelError
from mahtrt.targets.onnxruntime.run import OrtMode, open_onnx


class Images(Protocol):
    """Preprocessed images (C, H, W), of which the number is known."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[NDArray[np.float32]]: ...


class ImageRunner:
    """A session that takes preprocessed images and gives the graph's outputs.

    Args:
        model: Static shapes, one input (B, C, H, W).
        where: Subject of errors: a path, or which graph it is.
        threads: For ONNX Runtime; None lets it choose.
        mode: How ONNX Runtime takes the graph.

    Raises:
        ModelError: ONNX Runtime cannot run the model, or its inputs are others.
        MissingComponentError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        where: str,
        threads: int | None = None,
        mode: OrtMode = OrtMode.ENGINE,
    ) -> None:
        text = model.SerializeToString()
        self._session = open_onnx(text, where, threads=threads, mode=mode)
        self._where = where
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ModelError(
                where,
                got=f"inputs {', '.join(f'{i.name} {i.shape}' for i in inputs)}",
                expected="one image input (B, C, H, W)",
            )
        self._name, self._shape = inputs[0].name, tuple(inputs[0].shape)
        self._dtype = np.float16 if "float16" in inputs[0].type else np.float32

    @property
    def batch(self) -> int:
        """Images per run."""
        return int(self._shape[0])

    def groups(self, images: Iterable[NDArray[np.float32]]) -> Iterator[list[NDArray[np.float32]]]:
        """The images in lists of at most ``batch``, each checked; the next ones are asked for late.

        Raises:
            DataError: An image that is not the graph's (C, H, W).
        """
        remaining, done = iter(images), 0
        while group := list(islice(remaining, self.batch)):
            for offset, image in enumerate(group):
                if np.shape(image) != self._shape[1:]:
                    raise DataError(
                        f"calibration image {done + offset}",
                        got=f"shape {np.shape(image)}",
                        expected=f"{self._shape[1:]}, a preprocessed image",
                    )
            yield group
            done += len(group)

    def run(self, group: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The outputs for up to ``batch`` images; a short group is filled up with its own.

        Raises:
            ModelError: The graph cannot be computed.
        """
        filled = [group[i % len(group)] for i in range(self.batch)]
        feed = {self._name: np.stack(filled).astype(self._dtype, copy=False)}
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(None, feed)
        except Exception as error:  # ONNX Runtime's, which have no public names
            reason = str(error).partition("\n")[0]
            raise ModelError(self._where, got=reason, expected="a graph that runs") from error
        return outputs
