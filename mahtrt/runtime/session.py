"""An open network: images in, landmarks out, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.feed import Case, Feed, Image, empty_feed, images_of_case, prepare
from mahtrt.data.preprocess import Placement, check_image
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.data.spacing import Spacing, spacing_pair
from mahtrt.errors import InputError, MahtrtError, UsageError
from mahtrt.runtime.checked_feed import by_input, check_outputs, checked_feed
from mahtrt.runtime.decode import needed_outputs
from mahtrt.runtime.landmarks import (
    Landmarks,
    landmarks_from_outputs,
    made_by,
    usual_spread_px,
)
from mahtrt.runtime.stream import chunks, in_order
from mahtrt.runtime.verdict import EngineVerdict
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Backend, Tensor, pool_of

if TYPE_CHECKING:
    from mahtrt.cuda.holding import DeviceResult
    from mahtrt.runtime.device_preparation import DevicePreparation


def preparation_of(
    backend: Backend, spec: ModelSpec, version: int = PREPROCESS_VERSION
) -> DevicePreparation | None:
    """What prepares images on the backend's GPU; None where they are prepared on the CPU.

    The kernel knows one definition of preprocessing, the newest.
    """
    pool = pool_of(backend)
    if pool is None or version != PREPROCESS_VERSION:
        return None
    from mahtrt.runtime.device_preparation import DevicePreparation, can_prepare

    if not can_prepare(spec):
        return None
    return DevicePreparation(pool.device, spec, backend.batch, pool.kernels)


class Session:
    """Runs images through a backend. Safe to use from several threads.

    Also useful without a bundle: ``Session(TorchBackend(module, spec), spec)`` runs PyTorch
    through the same preprocessing and decoding.

    Attributes:
        spec: What the network wants and gives.
        engine: The bundle's record of the engine, None without a bundle.
        batch: Images per inference.
        preprocess_version: The definition of preprocessing that images are prepared by: that of
            the bundle, which the engine was judged with.
        opening_notes: What there is to tell of how the engine was chosen, one sentence each.
        verdict: What the bundle's accuracy gate said about the engine
            (:func:`mahtrt.runtime.verdict.verdict_of`); None without a bundle.
    """

    def __init__(
        self,
        backend: Backend,
        spec: ModelSpec,
        engine: EngineRecord | None = None,
        *,
        preprocess_version: int = PREPROCESS_VERSION,
    ) -> None:
        self.spec, self.engine, self.batch = spec, engine, backend.batch
        self.preprocess_version = preprocess_version
        self.opening_notes: tuple[str, ...] = ()
        self.verdict: EngineVerdict | None = None
        self._backend: Backend | None = backend
        self._needed = needed_outputs(spec)
        self._preparation = preparation_of(backend, spec, preprocess_version)
        self._usual_px = usual_spread_px(engine, spec) if engine else None

    @property
    def engine_notes(self) -> tuple[str, ...]:
        """What the user should know of the engine here, one sentence each.

        How it was chosen, what its build noted, what differs from where it was built, and, once it
        ran on a GPU, why its work is not recorded as a graph.
        """
        built = self.engine.notes if self.engine else ()
        here = self._backend.notes if self._backend is not None else ()
        return (*self.opening_notes, *built, *here)

    @property
    def name(self) -> str:
        """What reports call what runs here, e.g. ``openvino-int8``."""
        return self._open_backend().name

    @property
    def device(self) -> str:
        """What computes: ``cpu``, ``cuda:0 NVIDIA H200``."""
        return self._open_backend().device

    @property
    def threads(self) -> int | None:
        """Threads of one inference; None where the runtime does not say, or a GPU computes."""
        return self._open_backend().threads

    @property
    def device_ms(self) -> Callable[[Feed], float] | None:
        """Runs a prepared batch and tells the GPU's own milliseconds, without copies.

        See :class:`mahtrt.targets.backend.DeviceClock`; None where there is no such clock.
        """
        backend = self._open_backend()
        pool = pool_of(backend)
        if pool is None:
            return getattr(backend, "device_ms", None)
        from mahtrt.cuda.clock import engine_ms  # only where a GPU engine is open

        return partial(engine_ms, pool)

    @property
    def facts(self) -> Mapping[str, str]:
        """How the engine runs, for reports: ``cuda_graph``, ``layout``, ``images``; often empty."""
        backend = self._open_backend()
        pool = pool_of(backend)
        if pool is None:
            return dict(getattr(backend, "facts", {}))
        graph = f"none: {pool.problem}" if pool.problem else "recorded"
        where = "CPU" if self._preparation is None else "GPU"
        return {"cuda_graph": graph, "images": f"prepared on the {where}"}

    def run(
        self,
        *images: Image | Mapping[str, Image],
        spacing_mm: Spacing | None = None,
        outputs: bool = False,
    ) -> Landmarks:
        """Run the network on one case, which for most networks is one image.

        Args:
            images: One image per input of the network, in the spec's order, or one mapping of
                input name to image. Each is (H, W), (H, W, 1) or (H, W, 3) RGB, uint8 or uint16,
                of any size. An engine on a GPU also takes arrays of the GPU, with
                ``__dlpack__`` or ``__cuda_array_interface__``.
            spacing_mm: (row, column) mm per pixel of the first image, where known.
            outputs: Also hand out the network's own outputs, such as heatmaps.

        Returns:
            Landmarks in the first image's pixels.

        Raises:
            ImageError: An image cannot be used.
            InputError: An image is missing or too many, or a spacing that is not two lengths
                above 0.
        """
        spacing = None if spacing_mm is None else spacing_pair(spacing_mm)
        case: Any = images[0] if len(images) == 1 else images
        return next(self._run([self._checked_case(case, "run", "image")], [spacing], outputs))

    def run_batch(
        self,
        images: Sequence[Case],
        *,
        spacing_mm: Sequence[Spacing | None] | None = None,
        outputs: bool = False,
    ) -> list[Landmarks]:
        """Run the network on several cases, with images of whatever sizes.

        Args:
            images: One case each: an image, a tuple of images in the order of the spec's inputs,
                or a mapping of input name to image.
            spacing_mm: One per case, or None.
            outputs: As for :meth:`run`.

        Raises:
            ImageError: An image cannot be used; the message gives its case's number.
            InputError: A case of other images than the network takes, not one spacing per case, or
                one that is not two lengths above 0.
        """
        spacings = [None] * len(images) if spacing_mm is None else list(spacing_mm)
        if len(spacings) != len(images):
            expected = f"{len(images)}, one per image"
            raise InputError("spacing_mm", got=f"{len(spacings)} values", expected=expected)
        cases = [self._checked_case(case, f"image {i}") for i, case in enumerate(images)]
        checked = [
            None if spacing is None else spacing_pair(spacing, f"spacing_mm of image {i}")
            for i, spacing in enumerate(spacings)
        ]
        return list(self._run(cases, checked, outputs))

    def stream(
        self, cases: Iterable[Case], *, depth: int = 2, outputs: bool = False
    ) -> Iterator[Landmarks]:
        """Run the network on many cases, several at a time.

        While one case is in the engine, others are prepared and copied. Results come in the order
        of the cases, which are taken only as fast as results are: at most ``depth`` times
        :attr:`batch` of them, with their results, are in memory.

        Args:
            cases: As for :meth:`run_batch`, from any iterable; a generator may read files.
            depth: How many inferences are under way at a time. On a GPU each has memory and a
                stream of its own.
            outputs: As for :meth:`run`.

        Raises:
            ImageError: An image cannot be used; the message gives its case's number. Results of
                the cases before it came already.
            InputError: A case of other images than the network takes.
            UsageError: A depth below 1.
        """
        if not (isinstance(depth, int) and depth >= 1):
            raise UsageError("depth", got=repr(depth), expected="a whole number of at least 1")
        self._open_backend()

        def work(chunk: Sequence[tuple[Any, ...] | MahtrtError]) -> list[Landmarks]:
            checked = []
            for case in chunk:
                if isinstance(case, MahtrtError):
                    raise case
                checked.append(case)
            return list(self._run(checked, [None] * len(checked), outputs))

        return in_order(work, chunks(self._taken(cases), self.batch), depth)

    def _taken(self, cases: Iterable[Case]) -> Iterator[tuple[Any, ...] | MahtrtError]:
        """Each case checked, or what is wrong with it, to be raised at its turn.

        In the thread of the caller: libraries ask it for the stream that an array is made on.
        """
        for i, case in enumerate(cases):
            try:
                yield self._checked_case(case, f"image {i}")
            except MahtrtError as error:
                yield error

    def infer(
        self, tensor: Tensor | Feed, outputs: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Run preprocessed images.

        Args:
            tensor: (N, C, H, W) float32 for any N; run in chunks of :attr:`batch`. For a network
                of several inputs a mapping of input name to such a tensor, with the same N.
            outputs: Names of the outputs wanted; None means all.

        Returns:
            Output name to array, N first.

        Raises:
            InputError: Wrong rank, dtype or size, an input that is missing, or an output the
                network does not have.
        """
        backend = self._open_backend()
        feed = checked_feed(tensor, self.spec)
        check_outputs(outputs, self.spec)
        count = len(next(iter(feed.values())))
        if count == self.batch:
            return backend.infer(feed, outputs)
        chunks = [
            self._infer_padded(backend, feed, start, outputs)
            for start in range(0, count, self.batch)
        ]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def infer_device(
        self,
        tensor: Any,
        *,
        into: Mapping[str, Any] | None = None,
        stream: Any = None,
    ) -> DeviceResult:
        """Run preprocessed images that lie on the GPU; the outputs stay there.

        Nothing is copied, and nothing waits for the GPU: the result names the stream that its
        arrays are written on. Close it when they were read.

        Args:
            tensor: float32 (:attr:`batch`, C, H, W), C-contiguous, of the session's GPU: an array
                with ``__dlpack__`` or ``__cuda_array_interface__``, a PyCUDA ``GPUArray``, or
                (pointer, shape, dtype[, stream]). For a network of several inputs a mapping of
                input name to such an array. Not to be written until the inference is done.
            into: Memory of the caller for some outputs, by name, as ``tensor``.
            stream: A stream of the caller's, behind whose work the inference begins, and which
                waits for it; as an integer, or as a stream of PyTorch, CuPy, PyCUDA or cuda-core.

        Returns:
            Each output by name as the network gives it, in network coordinates; a context manager.

        Raises:
            UsageError: The engine is not on a GPU.
            InputError: Memory of another size, type, layout or device, or an output that the
                network does not have.
            CudaError: The stream is of another context, or the GPU's memory is used up.
        """
        backend = self._open_backend()
        pool = pool_of(backend)
        if pool is None:
            raise UsageError(
                "infer_device",
                got=f"engine {backend.name}, which runs on {backend.device}",
                expected="an engine on a GPU",
                fix="Open the bundle with require='gpu', or call infer().",
            )
        return pool.infer_device(by_input(tensor, self.spec.inputs), into, stream)

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
        self,
        cases: Sequence[tuple[Image, ...]],
        spacings: Sequence[Spacing | None],
        outputs: bool,
    ) -> Iterator[Landmarks]:
        backend = self._open_backend()
        wanted = None if outputs else self._needed
        for start in range(0, len(cases), self.batch):
            chunk = cases[start : start + self.batch]
            arrays, placements = self._infer_cases(backend, chunk, wanted)
            found = landmarks_from_outputs(
                arrays,
                self.spec,
                placements,
                spacings_mm=spacings[start : start + len(chunk)],
                keep_outputs=outputs,
                usual_px=self._usual_px,
            )
            yield from (made_by(each, backend.name, backend.device) for each in found)

    def _checked_case(self, case: Case, name: str, image_name: str = "") -> tuple[Any, ...]:
        """The images of a case; in messages the case has one name and each image another."""
        images, name = images_of_case(case, self.spec, name), image_name or name
        if self._preparation is not None:
            return tuple(self._preparation.checked(image, name) for image in images)
        for image in images:
            check_image(image, name)
        return images

    def _infer_cases(
        self, backend: Backend, cases: Sequence[tuple[Image, ...]], wanted: Sequence[str] | None
    ) -> tuple[dict[str, Tensor], list[Placement]]:
        """Outputs of at most a batch of cases, and where each first image lies on the input."""
        pool = pool_of(backend)
        if self._preparation is not None and pool is not None:
            fill, placements = self._preparation.plan(cases)
            names = wanted or [output.name for output in self.spec.outputs]
            return pool.infer_filled(fill, names), placements
        feed, placements = self._prepare(cases)
        return backend.infer(feed, wanted), placements

    def _prepare(self, cases: Sequence[tuple[Image, ...]]) -> tuple[Feed, list[Placement]]:
        """A full batch of each input; places without a case are zero."""
        if self.batch == 1:
            feed, placement = prepare(cases[0], self.spec, self.preprocess_version)
            return {name: tensor[None] for name, tensor in feed.items()}, [placement]
        batch, placements = empty_feed(self.spec, self.batch), []
        for i, case in enumerate(cases):
            feed, placement = prepare(case, self.spec, self.preprocess_version)
            placements.append(placement)
            for name, tensor in feed.items():
                batch[name][i] = tensor
        return batch, placements

    def _infer_padded(
        self, backend: Backend, feed: Feed, start: int, outputs: Sequence[str] | None
    ) -> dict[str, Tensor]:
        """The outputs of at most a batch of cases, from ``start`` on."""
        batch, count = empty_feed(self.spec, self.batch), 0
        for name, tensor in feed.items():
            chunk = tensor[start : start + self.batch]
            count = len(chunk)
            batch[name][:count] = chunk
        return {name: array[:count] for name, array in backend.infer(batch, outputs).items()}

    def _open_backend(self) -> Backend:
        if self._backend is None:
            raise MahtrtError(
                "session",
                got="a call after close()",
                expected="an open session",
                fix="Open the bundle again.",
            )
        return self._backend
