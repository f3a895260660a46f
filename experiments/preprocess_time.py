"""How long the preprocessing kernel takes on a GPU, without and with the copy of the image.

    python experiments/preprocess_time.py [--out FILE] [--seconds S]

An image of 2400x1935 grey levels of 8 bits becomes a tensor of 512x512, as a cephalogram does for a
network. Times are by two events of the GPU around many launches, medians over rounds; images rotate
through more memory than the second-level cache has. The tensor is held against the definition.

Exit codes: 0 it agrees with the definition; 3 it does not; 6 no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from mahtrt.atomic import write_text_atomic  # noqa: E402
from mahtrt.cuda import preprocess_launch as kernel  # noqa: E402
from mahtrt.cuda.apis import open_device  # noqa: E402
from mahtrt.cuda.compile import load_kernels  # noqa: E402
from mahtrt.cuda.device import CudaDevice, Launch, Stream  # noqa: E402
from mahtrt.data.preprocess import fit_of, normalization, preprocess  # noqa: E402
from mahtrt.data.resizing import resizing  # noqa: E402
from mahtrt.errors import MissingComponentError  # noqa: E402
from mahtrt.spec import InputSpec  # noqa: E402

IMAGE, INPUT = (2400, 1935), (512, 512)
ROTATED = 64  # images: 297 MB
LAUNCHES = 64  # in a round
MOST_MS = 0.1
SPEC = InputSpec(
    size=INPUT, channels=1, color_order="gray", mean=(0.5,), std=(0.25,), interpolation="area"
)
_DTYPE = np.dtype(np.uint8)


def measure(device: CudaDevice, seconds: float, rotated: int = ROTATED) -> dict[str, Any]:
    """Times and agreement, on a device that is entered."""
    with contextlib.ExitStack() as kept:
        stream = device.create_stream()
        kept.callback(stream.close)
        module, note = load_kernels(device, kernel.SOURCE)
        kept.callback(module.unload)
        host = device.allocate_pinned(IMAGE, np.uint8)
        back = device.allocate_pinned((1, 1, *INPUT), np.float32)
        images = [device.allocate(host.array.nbytes) for _ in range(rotated)]
        tensor = device.allocate(back.array.nbytes)
        for pinned in (host, back):
            kept.callback(pinned.free)
        for memory in (tensor, *images):
            kept.callback(memory.free)
        host.array[...] = np.random.default_rng(0).integers(0, 256, IMAGE, np.uint8)
        for each in images:
            device.copy_to_device(each.address, host.array, stream)
        launches = [_launch(each.address, tensor.address) for each in images]
        function = module.function(launches[0].entry)

        def prepare(index: int) -> None:
            device.launch(function, launches[index % rotated], stream)

        def copy_and_prepare(index: int) -> None:
            device.copy_to_device(images[index % rotated].address, host.array, stream)
            prepare(index)

        prepare(0)
        device.copy_to_host(back.array, tensor.address, stream)
        stream.synchronize()
        wanted, _ = preprocess(host.array, SPEC)
        off = float(np.abs(back.array[0] - wanted).max())
        kernel_ms = _median_ms(device, stream, prepare, seconds)
        return {
            "device": f"{device.name} ({device.capability})",
            "kernels": note,
            "image": list(IMAGE),
            "kernel_ms": round(kernel_ms, 5),
            "with_copy_ms": round(_median_ms(device, stream, copy_and_prepare, seconds), 5),
            "largest_difference": off,
            "agrees": off == 0.0,
            "bar": {"most_ms": MOST_MS, "got": round(kernel_ms, 5), "held": kernel_ms < MOST_MS},
        }


def _launch(image: int, tensor: int) -> Launch:
    gain, shift = normalization(_DTYPE, SPEC)
    return kernel.preprocess_launch(
        kernel.DeviceImage(image, IMAGE, "uint8", IMAGE[1]),
        resizing(fit_of(IMAGE, SPEC), _DTYPE, SPEC),
        kernel.Values(tuple(map(float, gain)), tuple(map(float, shift))),
        kernel.DeviceBatch(tensor, (1, 1, *INPUT), "float32"),
        0,
    )


def _median_ms(
    device: CudaDevice, stream: Stream, act: Callable[[int], None], seconds: float
) -> float:
    """Milliseconds of one act, the median of rounds of many."""
    begin, end = (device.create_event(timed=True) for _ in range(2))
    found: list[float] = []
    until = time.monotonic() + seconds
    while len(found) < 3 or time.monotonic() < until:
        begin.record(stream)
        for index in range(LAUNCHES):
            act(index)
        end.record(stream)
        end.synchronize()
        found.append(end.elapsed_ms(begin) / LAUNCHES)
    begin.close()
    end.close()
    return statistics.median(found[1:])  # the first warms up


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the record."""
    parser = argparse.ArgumentParser(description="The preprocessing kernel's time on a GPU.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    options = parser.parse_args(arguments)
    try:
        device = open_device(needed_for="preprocess_time")
    except MissingComponentError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    with device:
        record = measure(device, options.seconds)
    device.close()
    text = json.dumps(record)
    if options.out is not None:
        write_text_atomic(options.out, text + "\n")
    print(text)
    return 0 if record["agrees"] else 3


if __name__ == "__main__":
    sys.exit(main())
