"""Measures the fused soft-argmax on a GPU: against the card's copy bandwidth and eager PyTorch.

    python experiments/kernel_bandwidth.py [--out FILE] [--seconds S]

Times are by the GPU's own events around many launches on one stream, after a warm-up; the median
of the rounds counts. A launch from Python takes some ten microseconds: shorter kernels are launched
by a recorded graph of many. Inputs rotate through more memory than the second-level cache has, so
that every launch reads from the card's memory. The copy bandwidth counts bytes read and bytes
written; the kernel's counts bytes read. The first landmarks of each case are held against the
definition.

The last line of standard output is one JSON; progress goes to standard error. Exit codes: 0 all
landmarks agree; 3 some do not; 6 there is no GPU to measure on.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("mahtrt") is None:
    sys.path.insert(0, str(ROOT))

from mahtrt.atomic import write_text_atomic  # noqa: E402
from mahtrt.cuda.apis import open_device  # noqa: E402
from mahtrt.cuda.compile import load_kernels, shipped_ptx  # noqa: E402
from mahtrt.cuda.device import CudaDevice, DeviceMemory, Function, Graph, Stream  # noqa: E402
from mahtrt.cuda.soft_argmax_launch import (  # noqa: E402
    MOST_PARTS,
    SOURCE,
    SoftArgmax,
    SoftArgmaxPlaces,
    soft_argmax_launch,
)
from mahtrt.errors import MissingComponentError  # noqa: E402
from mahtrt.machine import describe_machine, package_versions  # noqa: E402
from mahtrt.runtime.soft_argmax import heatmaps_from_logits, soft_argmax  # noqa: E402

SCHEMA = "mahtrt.kernel-bandwidth/1"
EXIT_DIFFERS, EXIT_MISSING = 3, 6
TEMPERATURE = 0.05
# The bars: of the case that is named first below.
LEAST_SHARE_OF_COPY, LEAST_SPEEDUP = 0.85, 5.0
MOST_DISPLACEMENT_PX = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 2e-2}
ROTATED_BYTES = 2**30  # far more than the cache of any card
MOST_ROTATED = 256
COPIED_BYTES = 2**30
PARTS = (1, 2, 4, 8, 16, 32)
# What takes less than this is launched by a graph of so many launches: no input is left out.
RECORDED_US, RECORDED = 60.0, MOST_ROTATED

Act = Callable[[int], None]  # the launch over one of the rotated inputs


def cases() -> tuple[SoftArgmax, ...]:
    """What is measured: the bar's case first."""
    full = (512, 512)
    return (
        SoftArgmax((64, 7, 512, 512), "float16", TEMPERATURE, full),
        SoftArgmax((64, 7, 512, 512), "float32", TEMPERATURE, full),
        SoftArgmax((64, 7, 512, 512), "bfloat16", TEMPERATURE, full),
        SoftArgmax((1, 7, 512, 512), "float16", TEMPERATURE, full),
        SoftArgmax((1, 7, 128, 128), "float32", TEMPERATURE, full),
        SoftArgmax((8, 19, 513, 511), "float16", TEMPERATURE, full),
        SoftArgmax((1, 1, 1024, 1024), "float32", TEMPERATURE, (1024, 1024)),
        SoftArgmax((64, 7, 256, 256), "float16", TEMPERATURE, full, logits_size=full),
        SoftArgmax((1, 7, 256, 256), "float16", TEMPERATURE, full, logits_size=full),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One case.

    Attributes:
        us: Median time of a launch in microseconds.
        launched_by: ``graph`` of many launches, or ``host`` one by one.
        gb_per_s: Bytes of the maps, read once, in that time.
        share_of_copy: Bandwidth over that of a copy.
        ptx_us: The same by the shipped PTX, which the driver compiled.
        us_by_parts: Times with other numbers of blocks for a map than the launch chooses.
        eager_us: By eager PyTorch; None where ``no_eager`` says why.
        displacement_px: Largest distance of a landmark of the first image to the definition.
    """

    case: dict[str, Any]
    parts: int
    us: float
    launched_by: str
    gb_per_s: float
    share_of_copy: float
    ptx_us: float
    us_by_parts: dict[int, float]
    eager_us: float | None
    no_eager: str
    speedup: float | None
    displacement_px: float
    agrees: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--seconds", type=float, default=0.5, help="of measuring for each time")
    options = parser.parse_args(arguments)
    try:
        device = open_device(needed_for="kernel_bandwidth")
    except MissingComponentError as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return EXIT_MISSING
    try:
        with device:
            record = measure(device, cases(), options.seconds)
    finally:
        device.close()
    text = json.dumps(record)
    if options.out is not None:
        write_text_atomic(options.out, text + "\n")
    print(text)
    return 0 if all(row["agrees"] for row in record["rows"]) else EXIT_DIFFERS


def measure(device: CudaDevice, wanted: Sequence[SoftArgmax], seconds: float) -> dict[str, Any]:
    """All cases on a device that is entered."""
    stream = device.create_stream()
    copy_gb_per_s = _copy_bandwidth(device, stream, seconds)
    _tell(f"copy: {copy_gb_per_s:.0f} GB/s")
    compiled, note = load_kernels(device, SOURCE)
    shipped = device.load(shipped_ptx(SOURCE))
    rows = []
    for case in wanted:
        functions = compiled.function(case.entry), shipped.function(case.entry)
        rows.append(_row(device, stream, case, functions, copy_gb_per_s, seconds))
        _tell(f"{case.shape} {case.dtype}: {rows[-1].us:.1f} us, {rows[-1].share_of_copy:.0%}")
    for module in (compiled, shipped):
        module.unload()
    stream.close()
    return {
        "schema": SCHEMA,
        "device": f"{device.name} ({device.capability})",
        "multiprocessors": device.multiprocessors,
        "api": device.api,
        "kernels": note,
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "copy_gb_per_s": round(copy_gb_per_s, 1),
        "rows": [asdict(row) for row in rows],
        "bars": _bars(rows),
    }


def _bars(rows: Sequence[Row]) -> dict[str, Any]:
    first = rows[0]
    return {
        "share_of_copy": {"least": LEAST_SHARE_OF_COPY, "got": first.share_of_copy},
        "speedup_over_eager": {"least": LEAST_SPEEDUP, "got": first.speedup},
        "held": first.share_of_copy >= LEAST_SHARE_OF_COPY
        and first.speedup is not None
        and first.speedup >= LEAST_SPEEDUP,
    }


def _row(
    device: CudaDevice,
    stream: Stream,
    case: SoftArgmax,
    functions: tuple[Function, Function],
    copy_gb_per_s: float,
    seconds: float,
) -> Row:
    with contextlib.ExitStack() as kept:
        rotated = min(max(2, math.ceil(ROTATED_BYTES / case.map_bytes)), MOST_ROTATED)
        first = _maps(case)
        inputs = [_allocated(device, case.map_bytes, kept) for _ in range(rotated)]
        _fill(device, stream, first, inputs)
        places = [_places(device, stream, case, each, kept) for each in inputs]

        def timed(function: Function, parts: int | None = None) -> Timed:
            count = device.multiprocessors
            launches = [soft_argmax_launch(case, each, count, parts=parts) for each in places]

            def act(index: int) -> None:
                device.launch(function, launches[index % rotated], stream)

            return _median_us(device, stream, act, seconds)

        us_by_parts = {parts: round(timed(functions[0], parts).us, 2) for parts in PARTS}
        ours, ptx_us = timed(functions[0]), timed(functions[1]).us
        displacement = _displacement(device, stream, case, places[0].landmarks, first)
        eager_us, no_eager = _eager_us(case, [each.address for each in inputs], seconds)
    ours_us = ours.us
    gb_per_s = case.map_bytes / ours_us / 1e3
    return Row(
        case=asdict(case),
        parts=case.parts(device.multiprocessors),
        us=round(ours_us, 2),
        launched_by=ours.launched_by,
        gb_per_s=round(gb_per_s, 1),
        share_of_copy=round(gb_per_s / copy_gb_per_s, 4),
        ptx_us=round(ptx_us, 2),
        us_by_parts=us_by_parts,
        eager_us=None if eager_us is None else round(eager_us, 2),
        no_eager=no_eager,
        speedup=None if eager_us is None else round(eager_us / ours_us, 2),
        displacement_px=displacement,
        agrees=displacement <= MOST_DISPLACEMENT_PX[case.dtype],
    )


def _maps(case: SoftArgmax) -> NDArray[Any]:
    """The maps of one image: two Gaussians each on a low floor of noise, or logits like that."""
    rows, columns = case.logits_size or case.shape[2:]
    random = np.random.default_rng(1)
    maps = random.random((case.shape[1], rows, columns), np.float32) * np.float32(0.01)
    ys, xs = np.ogrid[:rows, :columns]
    for each in maps:
        for height in (0.9, 0.5):
            y, x = random.random(2) * (rows, columns)
            each += np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 50).astype(np.float32) * height
    if case.logits_size is not None:
        maps = maps * 8 - 4
    return _stored(case, maps)


def _stored(case: SoftArgmax, maps: NDArray[np.float32]) -> NDArray[Any]:
    if case.dtype == "bfloat16":
        return (maps.view(np.uint32) >> 16).astype(np.uint16)
    return maps.astype(case.dtype)


def _values(case: SoftArgmax, stored: NDArray[Any]) -> NDArray[Any]:
    if case.dtype == "bfloat16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored


def _allocated(device: CudaDevice, nbytes: int, kept: contextlib.ExitStack) -> DeviceMemory:
    memory = device.allocate(nbytes)
    kept.callback(memory.free)
    return memory


def _fill(
    device: CudaDevice, stream: Stream, first: NDArray[Any], inputs: Sequence[DeviceMemory]
) -> None:
    """Every image of every input is the first."""
    source = inputs[0].address
    device.copy_to_device(source, first, stream)
    for memory in inputs:
        for place in range(memory.address, memory.address + memory.nbytes, first.nbytes):
            if place != source:
                device.copy_on_device(place, source, first.nbytes, stream)
    stream.synchronize()


def _places(
    device: CudaDevice,
    stream: Stream,
    case: SoftArgmax,
    maps: DeviceMemory,
    kept: contextlib.ExitStack,
) -> SoftArgmaxPlaces:
    outputs = [_allocated(device, case.maps * nbytes, kept).address for nbytes in (8, 4, 4)]
    nbytes = case.workspace_bytes(device.multiprocessors, MOST_PARTS)  # enough for fewer
    workspace = _allocated(device, nbytes, kept).address if nbytes else 0
    if nbytes:
        device.fill_zero(workspace, nbytes, stream)
    return SoftArgmaxPlaces(maps.address, outputs[0], outputs[1], outputs[2], workspace)


def _displacement(
    device: CudaDevice, stream: Stream, case: SoftArgmax, place: int, first: NDArray[Any]
) -> float:
    got = np.empty((*case.shape[:2], 2), np.float32)
    device.copy_to_host(got, place, stream)
    stream.synchronize()
    values = _values(case, first)[None]
    if case.logits_size is not None:
        values = heatmaps_from_logits(values, case.shape[2:])
    wanted = soft_argmax(values, case.temperature, case.input_size)[0]
    return float(np.abs(got - wanted).max())  # every image is the first


def _copy_bandwidth(device: CudaDevice, stream: Stream, seconds: float) -> float:
    """GB/s, bytes read and bytes written."""
    with contextlib.ExitStack() as kept:
        source, to = (_allocated(device, COPIED_BYTES, kept).address for _ in range(2))
        device.fill_zero(source, COPIED_BYTES, stream)

        def act(index: int) -> None:
            device.copy_on_device(to, source, COPIED_BYTES, stream)

        return 2 * COPIED_BYTES / _median_us(device, stream, act, seconds).us / 1e3


@dataclass(frozen=True, slots=True)
class Timed:
    """The median time of one act, and what launched it."""

    us: float
    launched_by: str


def _median_us(device: CudaDevice, stream: Stream, act: Act, seconds: float) -> Timed:
    """Microseconds of one act, by events around rounds of them."""
    with contextlib.ExitStack() as kept:
        events = [device.create_event(timed=True) for _ in range(2)]
        for event in events:
            kept.callback(event.close)

        def round_us(times: int, work: Act = act) -> float:
            events[0].record(stream)
            for index in range(times):
                work(index)
            events[1].record(stream)
            events[1].synchronize()
            return events[1].elapsed_ms(events[0]) * 1e3 / times

        round_us(3)  # the first launches load the code
        if device.no_graphs or round_us(20) >= RECORDED_US:
            return Timed(_median_of_rounds(round_us, seconds), "host")
        graph = _recorded(device, stream, act)
        kept.callback(graph.close)
        us = _median_of_rounds(
            lambda times: round_us(times, lambda _: graph.launch(stream)), seconds
        )
        return Timed(us / RECORDED, "graph")


def _recorded(device: CudaDevice, stream: Stream, act: Act) -> Graph:
    """Many acts, one behind the other."""

    def acts() -> None:
        for index in range(RECORDED):
            act(index)

    return device.record(stream, acts)


def _median_of_rounds(round_us: Callable[[int], float], seconds: float) -> float:
    once = max(round_us(3), 1.0)
    times = max(1, min(200, int(2e4 / once)))  # a round takes some 20 ms
    started, rounds = time.perf_counter(), list[float]()
    while len(rounds) < 5 or time.perf_counter() - started < seconds:
        rounds.append(round_us(times))
    return statistics.median(rounds[1:])


def _eager_us(
    case: SoftArgmax, addresses: Sequence[int], seconds: float
) -> tuple[float | None, str]:
    """By the network's own module in PyTorch, over the same inputs; or why not."""
    try:
        import torch
    except ImportError as error:
        return None, f"no torch ({error})"
    if not torch.cuda.is_available():
        return None, "this torch has no CUDA device"
    try:
        with torch.inference_mode():
            return _torch_us(torch, case, addresses, seconds), ""
    except torch.cuda.OutOfMemoryError as error:
        return None, str(error).partition("\n")[0]
    finally:
        torch.cuda.empty_cache()


def _torch_us(torch: Any, case: SoftArgmax, addresses: Sequence[int], seconds: float) -> float:
    from mahtrt.models.soft_argmax import SoftArgmax2d

    size = case.shape[2:]
    module = SoftArgmax2d(case.temperature, size, case.input_size).cuda()
    shape = (*case.shape[:2], *(case.logits_size or size))
    kind = {"float32": "<f4", "float16": "<f2", "bfloat16": "<i2"}[case.dtype]
    tensors = [torch.as_tensor(_Borrowed(each, shape, kind), device="cuda") for each in addresses]
    if case.dtype == "bfloat16":
        tensors = [each.view(torch.bfloat16) for each in tensors]

    def round_us(times: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for index in range(times):
            maps = tensors[index % len(tensors)]
            if case.logits_size is not None:
                maps = torch.nn.functional.interpolate(
                    maps.sigmoid(), size=size, mode="bilinear", align_corners=False
                )
            module(maps)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e3 / times

    return _median_of_rounds(round_us, seconds)


class _Borrowed:
    """Our memory, as PyTorch takes it without a copy."""

    def __init__(self, address: int, shape: tuple[int, ...], kind: str) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": kind,
            "data": (address, False),
            "version": 3,
        }


def _tell(text: str) -> None:
    print(f"kernel_bandwidth: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
