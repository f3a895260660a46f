"""An open network: images in, landmarks out, whatever runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.preprocess import Placement, check_image, preprocess
from mahtrt.data.spacing import Spacing, spacing_pair
from mahtrt.errors import InputError, MahtrtError, UsageError
from mahtrt.runtime.decode import needed_outputs
from mahtrt.runtime.landmarks import Landmarks, landmarks_from_outputs, usual_spread_px
from mahtrt.runtime.verdict import EngineVerdict, verdict_of
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Backend, EngineToOpen, Tensor
from mahtrt.targets.cpu import SATURATES
from mahtrt.targets.table import find_target
from mahtrt.targets.target import Target

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust


def open_session(
    bundle: str | Path,
    *,
    engine: str | None = None,
    threads: int | None = None,
    verify: bool = True,
    trust: Trust | None = None,
    require_signature: bool = False,
) -> Session:
    """Open an engine of a bundle.

    Args:
        bundle: The ``.mahtrt`` folder.
        engine: ``openvino-int8``, or a target such as ``openvino``; None is the bundle's default,
            or, where its package or GPU is missing, the fastest engine that can run (see
            ``Session.engine_notes``).
        threads: Threads of one inference; None leaves their number to the runtime.
        verify: Hash the files that are about to be opened; always done with ``trust``.
        trust: Whose signature the bundle has to have: it is checked, and every file hashed, before
            anything is opened.
        require_signature: Refuse to open without ``trust``, where that may be left out by mistake.

    Raises:
        DataError: There is no bundle.
        IntegrityError: It was changed, is newer than this version reads, or has no signature by
            whom the caller trusts.
        UsageError: It has no such engine, or a signature is required and nobody trusted.
        MissingComponentError: The package that runs the engine is not installed.
        BuildError: The runtime refuses the engine.
    """
    if require_signature and trust is None:
        raise UsageError("require_signature", got="no trusted key", expected="trust=Trust(key)")
    opened = read_bundle(bundle, verify=False, trust=trust)
    checked = verify or trust is not None
    return open_engine(opened, engine=engine, threads=threads, verify=checked)


def open_engine(
    bundle: Bundle, *, engine: str | None = None, threads: int | None = None, verify: bool = True
) -> Session:
    """Open an engine of a bundle that was read; the rest is as for :func:`open_session`."""
    if threads is not None and not (isinstance(threads, int) and threads >= 1):
        expected = "a whole number of at least 1, or None"
        raise UsageError("threads", got=repr(threads), expected=expected)
    record, note = bundle.engine(engine), None
    if engine is None and not find_target(record.target).runs_here:
        record, note = _stand_in(bundle, record)
    target = find_target(record.target)
    target.require()
    files = bundle.engine_files(record, verify=verify)
    backend = target.open(EngineToOpen(record, files, bundle.spec, threads))
    session = Session(backend, bundle.spec, record)
    session.verdict = verdict_of(bundle.manifest, record)
    notes = (note, _doubt_int8(bundle, record, target))
    session.engine_notes = (*filter(None, notes), *session.engine_notes)
    return session


def _doubt_int8(bundle: Bundle, record: EngineRecord, target: Target) -> str:
    """What to tell of weights with more bits than this device multiplies exactly."""
    graphs = (graph for graph in bundle.manifest.graphs if graph.file in record.files.values())
    bits = max((graph.weight_bits or 0 for graph in graphs), default=0)
    return SATURATES if bits > target.weight_bits(None) else ""


def _stand_in(bundle: Bundle, default: EngineRecord) -> tuple[EngineRecord, str | None]:
    """The fastest engine that passed its gate among those that this machine can run."""
    able = [
        record
        for record in bundle.manifest.engines
        if find_target(record.target).runs_here and record.verdict and record.verdict.passed
    ]
    if not able:
        return default, None  # opening it says what to install
    found = min(able, key=lambda r: (r.latency.p50_ms if r.latency else inf) / r.batch)
    why = find_target(default.target).finding().detail
    return found, f"The default, {default.name}, cannot run here: {why}. {found.name} runs instead."


class Session:
    """Runs images through a backend. Safe to use from several threads.

    Also useful without a bundle: ``Session(TorchBackend(module, spec), spec)`` runs PyTorch
    through the same preprocessing and decoding.

    Attributes:
        spec: What the network wants and gives.
        engine: The bundle's record of the engine, None without a bundle.
        batch: Images per inference.
        engine_notes: What differs from where the engine was built, one sentence each.
        verdict: What the bundle's accuracy gate said about the engine
            (:func:`mahtrt.runtime.verdict.verdict_of`); None without a bundle.
    """

    def __init__(
        self, backend: Backend, spec: ModelSpec, engine: EngineRecord | None = None
    ) -> None:
        self.spec, self.engine, self.batch = spec, engine, backend.batch
        self.engine_notes = (*(engine.notes if engine else ()), *backend.notes)
        self.verdict: EngineVerdict | None = None
        self._backend: Backend | None = backend
        self._needed = needed_outputs(spec)
        self._usual_px = usual_spread_px(engine, spec) if engine else None

    @property
    def name(self) -> str:
        """What reports call what runs here, e.g. ``openvino-int8``."""
        return self._open_backend().name

    @property
    def threads(self) -> int | None:
        """Threads of one inference; None where the runtime does not say, or a GPU computes."""
        return self._open_backend().threads

    def run(
        self,
        image: NDArray[Any],
        *,
        spacing_mm: Spacing | None = None,
        outputs: bool = False,
    ) -> Landmarks:
        """Find the landmarks of one image.

        Args:
            image: (H, W), (H, W, 1) or (H, W, 3) RGB, uint8 or uint16, of any size.
            spacing_mm: (row, column) mm per pixel of the image, where known.
            outputs: Also hand out the network's own outputs, such as heatmaps.

        Returns:
            Landmarks in the image's pixels.

        Raises:
            ImageError: The image cannot be used.
            InputError: A spacing that is not two lengths above 0.
        """
        spacing = None if spacing_mm is None else spacing_pair(spacing_mm)
        return next(self._run([image], [spacing], outputs))

    def run_batch(
        self,
        images: Sequence[NDArray[Any]],
        *,
        spacing_mm: Sequence[Spacing | None] | None = None,
        outputs: bool = False,
    ) -> list[Landmarks]:
        """Find the landmarks of several images, of whatever sizes.

        Args:
            images: As for :meth:`run`.
            spacing_mm: One per image, or None.
            outputs: As for :meth:`run`.

        Raises:
            ImageError: An image cannot be used; the message gives its number.
            InputError: Not one spacing per image, or one that is not two lengths above 0.
        """
        spacings = [None] * len(images) if spacing_mm is None else list(spacing_mm)
        if len(spacings) != len(images):
            expected = f"{len(images)}, one per image"
            raise InputError("spacing_mm", got=f"{len(spacings)} values", expected=expected)
        for i, image in enumerate(images):
            check_image(image, f"image {i}")
        checked = [
            None if spacing is None else spacing_pair(spacing, f"spacing_mm of image {i}")
            for i, spacing in enumerate(spacings)
        ]
        return list(self._run(images, checked, outputs))

    def infer(self, tensor: Tensor, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Run preprocessed images.

        Args:
            tensor: (N, C, H, W) float32 for any N; run in chunks of :attr:`batch`.
            outputs: Names of the outputs wanted; None means all.

        Returns:
            Output name to array, N first.

        Raises:
            InputError: Wrong rank, dtype or size, or an output the network does not have.
        """
        backend = self._open_backend()
        self._check_tensor(tensor)
        known = [output.name for output in self.spec.outputs]
        unknown = [name for name in outputs or () if name not in known]
        if unknown:
            raise InputError(f"output {unknown[0]!r}", expected=f"one of {', '.join(known)}")
        tensor = np.ascontiguousarray(tensor)
        if len(tensor) == self.batch:
            return backend.infer(tensor, outputs)
        chunks = [
            self._infer_padded(backend, tensor[start : start + self.batch], outputs)
            for start in range(0, len(tensor), self.batch)
        ]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def close(self) -> None:
        """Release the engine. Calls under way end well; later ones are refused."""
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(
        self, images: Sequence[NDArray[Any]], spacings: Sequence[Spacing | None], outputs: bool
    ) -> Iterator[Landmarks]:
        backend = self._open_backend()
        wanted = None if outputs else self._needed
        for start in range(0, len(images), self.batch):
            chunk = images[start : start + self.batch]
            tensor, placements = self._prepare(chunk)
            arrays = backend.infer(tensor, wanted)
            yield from landmarks_from_outputs(
                arrays,
                self.spec,
                placements,
                spacings_mm=spacings[start : start + len(chunk)],
                keep_outputs=outputs,
                usual_px=self._usual_px,
            )

    def _prepare(self, images: Sequence[NDArray[Any]]) -> tuple[Tensor, list[Placement]]:
        """A full batch (B, C, H, W); places without an image are zero."""
        if self.batch == 1:
            tensor, placement = preprocess(images[0], self.spec.input)
            return tensor[None], [placement]
        batch = np.zeros((self.batch, self.spec.input.channels, *self.spec.input.size), np.float32)
        placements = []
        for i, image in enumerate(images):
            batch[i], placement = preprocess(image, self.spec.input)
            placements.append(placement)
        return batch, placements

    def _infer_padded(
        self, backend: Backend, tensor: Tensor, outputs: Sequence[str] | None
    ) -> dict[str, Tensor]:
        count = len(tensor)
        if count < self.batch:
            padding = np.zeros((self.batch - count, *tensor.shape[1:]), np.float32)
            tensor = np.concatenate([tensor, padding])
        return {name: array[:count] for name, array in backend.infer(tensor, outputs).items()}

    def _check_tensor(self, tensor: Tensor) -> None:
        wanted = (self.spec.input.channels, *self.spec.input.size)
        expected = f"float32 (N, {', '.join(map(str, wanted))}) with N of at least 1"
        if not isinstance(tensor, np.ndarray):
            raise InputError("tensor", got=f"a {type(tensor).__name__}", expected=expected)
        wrong_shape = tensor.ndim != 4 or tensor.shape[1:] != wanted or not len(tensor)
        if wrong_shape or tensor.dtype != np.float32:
            raise InputError("tensor", got=f"{tensor.dtype} {tensor.shape}", expected=expected)

    def _open_backend(self) -> Backend:
        if self._backend is None:
            raise MahtrtError(
                "session",
                got="a call after close()",
                expected="an open session",
                fix="Open the bundle again.",
            )
        return self._backend
