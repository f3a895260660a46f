"""ONNX Runtime over a graph of image inputs, case by case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from mahtrt.data.feed import Feed, batches
from mahtrt.errors import DataError, ModelError
from mahtrt.targets.onnxruntime.run import OrtMode, open_onnx


class Images(Protocol):
    """Feeds of single cases, (C, H, W) by input name, of which the number is known."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Feed]: ...


class ImageRunner:
    """A session that takes preprocessed images and gives the graph's outputs.

    Args:
        model: Static shapes, inputs (B, C, H, W) of one B.
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
        shapes = {each.name: tuple(each.shape) for each in inputs}
        if {len(shape) for shape in shapes.values()} != {4} or len(_firsts(shapes)) != 1:
            raise ModelError(
                where,
                got=f"inputs {', '.join(f'{i.name} {i.shape}' for i in inputs)}",
                expected="image inputs (B, C, H, W) of one B",
            )
        self._shapes = shapes
        self._dtypes = {i.name: _float_type(i.type) for i in inputs}

    @property
    def batch(self) -> int:
        """Images per run."""
        (batch,) = _firsts(self._shapes)
        return int(batch)

    def groups(self, images: Iterable[Feed]) -> Iterator[list[Feed]]:
        """The cases in lists of at most ``batch``, each checked; the next ones are asked for late.

        Raises:
            DataError: A case whose inputs are not the graph's, each (C, H, W).
        """
        remaining, done = iter(images), 0
        while group := list(islice(remaining, self.batch)):
            for offset, image in enumerate(group):
                self._check(image, done + offset)
            yield group
            done += len(group)

    def _check(self, feed: Feed, number: int) -> None:
        shapes = {name: np.shape(image) for name, image in feed.items()}
        wanted = {name: shape[1:] for name, shape in self._shapes.items()}
        if shapes != wanted:
            got = ", ".join(f"{name} of shape {shape}" for name, shape in shapes.items())
            expected = ", ".join(f"{name} {shape}" for name, shape in wanted.items())
            raise DataError(
                f"calibration image {number}", got=got, expected=f"{expected}, preprocessed"
            )

    def run(self, group: Sequence[Feed]) -> list[NDArray[np.float32]]:
        """The outputs for up to ``batch`` cases; a short group is filled up with its own.

        Raises:
            ModelError: The graph cannot be computed.
        """
        batch, _ = next(batches(group, self.batch))
        feed = {name: t.astype(self._dtypes[name], copy=False) for name, t in batch.items()}
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(None, feed)
        except Exception as error:  # ONNX Runtime's, which have no public names
            reason = str(error).partition("\n")[0]
            raise ModelError(self._where, got=reason, expected="a graph that runs") from error
        return outputs


def _firsts(shapes: Mapping[str, tuple[Any, ...]]) -> set[Any]:
    """The batch sizes that a graph's inputs say."""
    return {shape[0] for shape in shapes.values() if shape}


def _float_type(name: str) -> type[np.floating]:
    """The type of an input by ONNX Runtime's name for it."""
    return np.float16 if "float16" in name else np.float32
