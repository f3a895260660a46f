"""The fused soft-argmax run on the CPU or on a GPU, and the cases that both are held to.

A *runner* takes maps and an operation, and gives landmarks (B, K, 2), confidence and spread (B, K).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from kernel_hosts import CpuHost, KernelHost
from numpy.typing import NDArray

from mahtrt.cuda.soft_argmax_launch import (
    SOURCE,
    MapDtype,
    SoftArgmax,
    SoftArgmaxPlaces,
    soft_argmax_launch,
)
from mahtrt.runtime.soft_argmax import heatmaps_from_logits, soft_argmax

Array = NDArray[np.float32]
Outputs = tuple[Array, Array, Array]

DTYPES: tuple[MapDtype, ...] = ("float32", "float16", "bfloat16")
ENTRIES = [
    f"mahtrt_soft_argmax_{kind}_{suffix}"
    for kind in ("maps", "logits")
    for suffix in ("f32", "f16", "bf16")
]
MULTIPROCESSORS = 132


class Runner(Protocol):
    def __call__(
        self,
        operation: SoftArgmax,
        stored: NDArray[Any],
        *,
        affine: Array | None = None,
        parts: int | None = None,
    ) -> Outputs:
        """A launch over maps as :func:`stored_as` gives them."""


def on_cpu(
    operation: SoftArgmax,
    stored: NDArray[Any],
    *,
    affine: Array | None = None,
    parts: int | None = None,
    backwards: bool = False,
    launches: int = 1,
) -> Outputs:
    """Launches with the shim, one after the other over the same workspace."""
    host = CpuHost(backwards)
    return run(host, operation, stored, affine=affine, parts=parts, launches=launches)


def on(host: KernelHost) -> Runner:
    """A runner for a host."""

    def run_there(
        operation: SoftArgmax,
        stored: NDArray[Any],
        *,
        affine: Array | None = None,
        parts: int | None = None,
    ) -> Outputs:
        return run(host, operation, stored, affine=affine, parts=parts)

    return run_there


def run(
    host: KernelHost,
    operation: SoftArgmax,
    stored: NDArray[Any],
    *,
    affine: Array | None = None,
    parts: int | None = None,
    launches: int = 1,
    skipped: int = 0,
) -> Outputs:
    """Launches over one workspace; outputs and partial sums hold rubbish before the first.

    Args:
        stored: The maps, behind so many ``skipped`` values.
    """
    maps = operation.shape[:2]
    landmarks, confidence, spread = (np.full(s, 7, np.float32) for s in ((*maps, 2), maps, maps))
    outputs = [host.put(array) for array in (landmarks, confidence, spread)]
    launch = soft_argmax_launch(
        operation,
        SoftArgmaxPlaces(
            host.put(stored) + skipped * stored.itemsize,
            outputs[0],
            outputs[1],
            outputs[2],
            workspace=_workspace(host, operation, parts),
            affine=0 if affine is None else host.put(affine),
        ),
        MULTIPROCESSORS,
        parts=parts,
    )
    for _ in range(launches):
        host.launch(SOURCE, ENTRIES, launch)
    for address, array in zip(outputs, (landmarks, confidence, spread), strict=True):
        host.take(address, array)
    return landmarks, confidence, spread


def _workspace(host: KernelHost, operation: SoftArgmax, parts: int | None) -> int:
    nbytes = operation.workspace_bytes(MULTIPROCESSORS, parts)
    array = np.zeros(nbytes // 16, np.complex128)  # begins at a multiple of 16 bytes
    array[-(-operation.maps // 64) * 16 :] = np.nan  # behind the counters
    return host.put(array) if nbytes else 0


def stored_as(dtype: MapDtype, values: NDArray[np.floating]) -> tuple[NDArray[Any], Array]:
    """Maps as they are in memory (BF16 as its bits), and the values that those are."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "float32":
            stored: NDArray[Any] = np.ascontiguousarray(values, np.float32)
            return stored, stored
        if dtype == "float16":
            stored = np.ascontiguousarray(values, np.float16)
            return stored, stored.astype(np.float32)
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16
        return bits.astype(np.uint16), (bits << 16).astype(np.uint32).view(np.float32)


def expected(
    operation: SoftArgmax, values: Array, affine: Array | None = None
) -> tuple[NDArray[np.float64], ...]:
    """What the definition gives."""
    maps: NDArray[Any] = values
    if operation.logits_size is not None:
        maps = heatmaps_from_logits(values, operation.shape[2:])
    return soft_argmax(maps, operation.temperature, operation.input_size, affine)


def random_maps(kind: str, shape: tuple[int, int, int, int], seed: int = 3) -> Array:
    """Maps (B, K, h, w) of a kind."""
    random = np.random.default_rng(seed)
    if kind == "flat":
        return np.full(shape, 0.3, np.float32)
    if kind == "noise":
        return random.random(shape, np.float32)
    if kind == "logits":
        return random.normal(-4, 3, shape).astype(np.float32)
    if kind == "huge":
        return random.normal(0, 2e4, shape).astype(np.float32)
    maps = random.random(shape, np.float32) * np.float32(0.01)
    ys, xs = np.mgrid[: shape[2], : shape[3]]
    for each in maps.reshape(-1, *shape[2:]):
        if kind == "one-hot":
            each[:] = 0
            each[random.integers(shape[2]), random.integers(shape[3])] = 1
            continue
        for height in (1.0, 0.9):  # "peaks": two Gaussian bumps on a low floor
            y, x = random.random(2) * shape[2:]
            each += height * np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 8).astype(np.float32)
    return maps


def check(
    run: Runner,
    operation: SoftArgmax,
    values: NDArray[np.floating],
    *,
    affine: Array | None = None,
    parts: int | None = None,
    atol: float = 2e-4,
) -> Outputs:
    """Hold a run against the definition."""
    stored, exact = stored_as(operation.dtype, values)
    got = run(operation, stored, affine=affine, parts=parts)
    wanted = expected(operation, exact, affine)
    np.testing.assert_allclose(got[0], wanted[0], atol=atol, rtol=1e-6)
    if operation.logits_size is None:
        np.testing.assert_array_equal(got[1], wanted[1].astype(np.float32))
    else:
        np.testing.assert_allclose(got[1], wanted[1], rtol=2e-6, atol=1e-30)
    np.testing.assert_allclose(got[2], wanted[2], atol=atol, rtol=1e-5)
    return got


def run_sanitized_cases() -> None:
    """What a sanitizer looks at: every entry, whole and cut runs, edges of maps and of parts."""
    for dtype in DTYPES:
        for size in ((1, 1), (5, 3), (33, 31), (40, 64)):
            shape = (2, 1, *size)
            affine = np.array([[1, 0, 1, 0], [2, 3, 2, -4]], np.float32)
            for parts in (1, 3):
                operation = SoftArgmax(shape, dtype, 0.05, (512, 384))
                check(on_cpu, operation, random_maps("noise", shape), parts=parts)
            double = (2 * size[0], 2 * size[1])
            for full in (double, (7, 11)):
                operation = SoftArgmax(shape, dtype, 0.05, (64, 64), full)
                values = random_maps("logits", (2, 1, *full))
                check(on_cpu, operation, values, affine=affine, atol=5e-4)
