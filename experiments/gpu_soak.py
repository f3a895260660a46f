"""Does a long-lived process that uses a GPU stay as it is? Many runs, with its memory watched.

    python experiments/gpu_soak.py [--runs 100000] [--seconds N] [--bundle FOLDER] [--out FILE]

Runs the engine of the bundle where the bundle has one for a GPU that runs here, and else what is
there without any engine: an image copied to the card, prepared by the kernel and copied back,
every second time as a graph. Every result is held against the first, bit for bit. Now and then all
is given back and opened again. At 21 moments it looks at the memory of the process and of the card,
open files and threads; after a fifth of the way none may grow.

Exit codes: 0 steady; 1 something grew or differed; 6 no GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from mahtrt.atomic import write_text_atomic  # noqa: E402
from mahtrt.cuda.bindings import open_device  # noqa: E402
from mahtrt.cuda.device import CudaDevice  # noqa: E402
from mahtrt.errors import MahtrtError, MissingComponentError  # noqa: E402

LOOKS = 20
SETTLED = LOOKS // 5
# The host's allocator gives back late and in pieces; a driver keeps blocks of 2 MiB.
ALLOWED_BYTES = 4 << 20
SHARE_OF_RUNS = 0.002  # of the runs, between two openings
IMAGE, INPUT = (512, 400), (256, 256)


class Work(Protocol):
    """What is run."""

    what: str

    def run(self) -> bytes:
        """Do it once; what comes out is the same every time."""

    def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True, slots=True)
class Look:
    """The process and the card at one moment; the card's memory is that of all programs."""

    runs: int
    resident_bytes: int
    device_bytes: int
    files: int
    threads: int


class KernelWork:
    """Buffers, stream, graph and kernel, without an engine."""

    def __init__(self, device: CudaDevice) -> None:
        from mahtrt.cuda.compile import load_kernels
        from mahtrt.cuda.preprocess_launch import SOURCE

        self._device = device
        with device:
            self._module, note = load_kernels(device, SOURCE)
            self._stream = device.create_stream()
            self._image = device.allocate_pinned(IMAGE, np.uint8)
            self._tensor = device.allocate_pinned((1, 1, *INPUT), np.float32)
            self._memory = [device.allocate(each.array.nbytes) for each in self._pinned]
            self._image.array[...] = np.random.default_rng(0).integers(0, 256, IMAGE, np.uint8)
            self._launch = self._prepared()
            self._function = self._module.function(self._launch.entry)
            self._work()  # a kernel is loaded by its first launch, which cannot be recorded
            self._stream.synchronize()
            self._graph = None if device.no_graphs else device.record(self._stream, self._work)
        self._turn = 0
        self.what = f"preprocess kernel ({note}), {device.no_graphs or 'every second time a graph'}"

    def run(self) -> bytes:
        """See :class:`Work`."""
        self._turn += 1
        self._tensor.array[...] = 0
        with self._device:
            if self._graph is not None and self._turn % 2:
                self._graph.launch(self._stream)
            else:
                self._work()
            self._stream.synchronize()
        return bytes(self._tensor.array.tobytes())

    def close(self) -> None:
        """See :class:`Work`."""
        with self._device:
            if self._graph is not None:
                self._graph.close()
            for each in (*self._memory, *self._pinned):
                each.free()
            self._stream.close()
            self._module.unload()

    @property
    def _pinned(self) -> tuple[Any, Any]:
        return self._image, self._tensor

    def _work(self) -> None:
        there, back = self._memory
        self._device.copy_to_device(there.address, self._image.array, self._stream)
        self._device.launch(self._function, self._launch, self._stream)
        self._device.copy_to_host(self._tensor.array, back.address, self._stream)

    def _prepared(self) -> Any:
        from mahtrt.cuda import preprocess_launch as kernel
        from mahtrt.data.preprocess import fit_of, normalization
        from mahtrt.data.resizing import resizing
        from mahtrt.spec import InputSpec

        spec = InputSpec(
            size=INPUT, channels=1, color_order="gray", mean=(0.5,), std=(0.25,),
            interpolation="area",
        )  # fmt: skip
        dtype = np.dtype(np.uint8)
        gain, shift = normalization(dtype, spec)
        there, back = self._memory
        return kernel.preprocess_launch(
            kernel.DeviceImage(there.address, IMAGE, "uint8", IMAGE[1]),
            resizing(fit_of(IMAGE, spec), dtype, spec),
            kernel.Values(tuple(map(float, gain)), tuple(map(float, shift))),
            kernel.DeviceBatch(back.address, (1, 1, *INPUT), "float32"),
            0,
        )


class EngineWork:
    """An engine of a bundle."""

    def __init__(self, bundle: Path, engine: str) -> None:
        import mahtrt

        self._session = mahtrt.open(bundle, engine=engine)
        height, width = self._session.spec.input.size
        self._image = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
        self.what = f"engine {engine} on {self._session.device}"

    def run(self) -> bytes:
        """See :class:`Work`."""
        return bytes(self._session.run(self._image).points.tobytes())

    def close(self) -> None:
        """See :class:`Work`."""
        self._session.close()


def gpu_engine(bundle: Path | None) -> str:
    """Name of an engine of a bundle that runs on a GPU here; "" where there is none."""
    if bundle is None or not bundle.exists():
        return ""
    from mahtrt.bundle.bundle import read_bundle
    from mahtrt.targets.table import find_target

    for record in read_bundle(bundle).manifest.engines:
        target = find_target(record.target)
        if target.device == "cuda" and target.runs_here:
            return record.name
    return ""


def soak(make: Callable[[], Work], device: CudaDevice, runs: int, seconds: float) -> dict[str, Any]:
    """Run many times, looking at the process in between.

    Args:
        make: Opens what is run.
        seconds: No new run begins after it.
    """
    work, looks, opened = make(), [_look(device, 0)], 1
    between = max(50, round(runs * SHARE_OF_RUNS))
    first, differing, done, started = work.run(), 0, 0, time.monotonic()
    for share in range(1, LOOKS + 1):
        ends = started + seconds * share / LOOKS
        while done < runs * share // LOOKS and time.monotonic() < ends:
            differing += work.run() != first
            done += 1
            if done % between == 0:
                work.close()
                work, opened = make(), opened + 1
        looks.append(_look(device, done))
    what = work.what
    work.close()
    return conclude(looks, differing) | {
        "what": what,
        "runs": done,
        "openings": opened,
        "asked_runs": runs,
        "seconds": round(time.monotonic() - started, 1),
        "looks": [asdict(look) for look in looks],
    }


def conclude(looks: Sequence[Look], differing: int) -> dict[str, Any]:
    """What grew after a fifth of the way, and whether that is too much."""
    settled, end = looks[: SETTLED + 1], looks[-1]
    resident = end.resident_bytes - max(look.resident_bytes for look in settled)
    card = end.device_bytes - max(look.device_bytes for look in settled)
    problems = [
        f"{name} grew by {grown / 2**20:.1f} MiB"
        for name, grown in (("memory of the process", resident), ("memory of the card", card))
        if grown > ALLOWED_BYTES
    ]
    for name in ("files", "threads"):
        before, after = getattr(settled[-1], name), getattr(end, name)
        problems += [f"{name} went from {before} to {after}"] if after > before else []
    problems += [f"{differing} results differ from the first"] if differing else []
    return {
        "grown_resident_bytes": resident,
        "grown_device_bytes": card,
        "differing": differing,
        "problem": "; ".join(problems),
    }


def _look(device: CudaDevice, runs: int) -> Look:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    with device:
        free, total = device.memory()
    files, tasks = (len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task"))
    return Look(runs, pages * resource.getpagesize(), total - free, files, tasks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, and tell."""
    options = _parse(arguments)
    try:
        device = open_device(needed_for="a soak")
    except MissingComponentError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    engine = gpu_engine(options.bundle)

    def make() -> Work:
        return EngineWork(options.bundle, engine) if engine else KernelWork(device)

    try:
        found = soak(make, device, options.runs, options.seconds)
    except MahtrtError as error:
        found = {"problem": str(error)}
    text = json.dumps(found, indent=1) + "\n"
    if options.out is None:
        sys.stdout.write(text)
    else:
        write_text_atomic(options.out, text)
    print(found["problem"] or "steady", file=sys.stderr)
    return 1 if found["problem"] else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Does a process with a GPU stay as it is?")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--out", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
