"""The kernel of the fused soft-argmax: its arithmetic on the CPU, and the committed PTX."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from soft_argmax_cpu import Array, CpuKernel

from mahtrt.runtime.soft_argmax import soft_argmax
from mahtrt.targets.tensorrt.soft_argmax import KERNEL as PTX
from mahtrt.targets.tensorrt.soft_argmax.plugin import temperature_bits

Kernel = Callable[..., tuple[Array, Array, Array]]

IMAGE_HW = (512, 384)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    """``run(heatmaps (maps, h, w), temperature)`` on the CPU."""
    cpu = CpuKernel()

    def run(
        heatmaps: NDArray[np.generic],
        temperature: float,
        *,
        image_hw: tuple[int, int] = IMAGE_HW,
        backwards: bool = False,
    ) -> tuple[Array, Array, Array]:
        maps, rows, columns = heatmaps.shape
        numbers = (rows, columns, *image_hw, temperature_bits(temperature))
        return cpu.launch(heatmaps, numbers, blocks=maps, backwards=backwards)

    return run


def random_maps(kind: str, shape: tuple[int, int, int]) -> Array:
    random = np.random.default_rng(3)
    if kind == "flat":
        return np.full(shape, 0.25, np.float32)
    if kind == "noise":
        return random.random(shape, np.float32)
    if kind == "logits":
        return random.normal(-4, 3, shape).astype(np.float32)
    if kind == "huge":
        return random.normal(0, 2e4, shape).astype(np.float32)
    maps = random.random(shape, np.float32) * 0.01  # "peaks": two Gaussian bumps on a low floor
    ys, xs = np.mgrid[: shape[1], : shape[2]]
    for image in maps:
        for height in (1.0, 0.9):
            y, x = random.random(2) * shape[1:]
            image += height * np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 8).astype(np.float32)
    return maps


@pytest.mark.parametrize("kind", ["peaks", "flat", "noise", "logits", "huge"])
@pytest.mark.parametrize("temperature", [1e-3, 0.05, 1.0, 1e4])
def test_kernel_is_the_definition_within_a_ten_thousandth_of_a_pixel(
    kernel: Kernel, kind: str, temperature: float
) -> None:
    maps = random_maps(kind, (2, 128, 128))
    points, confidence, spread = kernel(maps, temperature)
    wanted_points, wanted_confidence, wanted_spread = soft_argmax(maps, temperature, IMAGE_HW)
    assert np.abs(points - wanted_points).max() < 1e-4
    assert (confidence == wanted_confidence).all()
    np.testing.assert_allclose(spread, wanted_spread, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 40), (3, 40, 1), (3, 37, 61), (3, 7, 5)])
def test_maps_of_any_size(kernel: Kernel, shape: tuple[int, int, int]) -> None:
    maps, image_hw = random_maps("noise", shape), (shape[1] * 3, shape[2] * 7 + 1)
    points, _, spread = kernel(maps, 0.1, image_hw=image_hw)
    wanted_points, _, wanted_spread = soft_argmax(maps, 0.1, image_hw)
    np.testing.assert_allclose(points, wanted_points, atol=1e-4)
    np.testing.assert_allclose(spread, wanted_spread, atol=1e-4)


def test_half_precision_maps_are_read_exactly(kernel: Kernel) -> None:
    maps = random_maps("peaks", (2, 64, 64)).astype(np.float16)
    maps[0, 0, :3] = [6e-8, -6e-8, -0.0]  # subnormal in FP16
    for got, wanted in zip(kernel(maps, 0.05), kernel(maps.astype(np.float32), 0.05), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("temperature", [1e-38, 1e-30, 3e38])
def test_extreme_temperatures_stay_finite(kernel: Kernel, temperature: float) -> None:
    maps = random_maps("noise", (2, 16, 16))
    maps[:, 3, 5] = 2.0
    points, confidence, spread = kernel(maps, temperature, image_hw=(64, 64))
    wanted = [21.5, 13.5] if temperature < 1 else [31.5, 31.5]  # the peak, or the middle
    np.testing.assert_allclose(points, [wanted, wanted], atol=1e-4)
    assert (confidence == 2).all()
    assert np.isfinite(spread).all()
    if temperature < 1:
        assert (spread == np.float32(1e-6)).all()


def test_a_nan_in_a_map_shows_in_all_its_outputs_and_in_no_others(kernel: Kernel) -> None:
    maps = random_maps("noise", (2, 16, 16))
    maps[0, 15, 15] = np.nan
    for output in kernel(maps, 0.1):
        assert np.isnan(output[0]).all()
        assert np.isfinite(output[1]).all()


def test_result_does_not_depend_on_the_order_of_the_threads(kernel: Kernel) -> None:
    """A missing barrier would show: threads run to a barrier one by one, in either order."""
    maps = random_maps("noise", (2, 33, 47))
    for first, second in zip(kernel(maps, 0.1), kernel(maps, 0.1, backwards=True), strict=True):
        np.testing.assert_array_equal(first, second)


def test_kernel_is_the_module_of_the_network(kernel: Kernel) -> None:
    torch = pytest.importorskip("torch", reason="the module is PyTorch's")
    from mahtrt.models.soft_argmax import SoftArgmax2d

    maps = random_maps("peaks", (6, 64, 48))
    module = SoftArgmax2d(0.05, (64, 48), (256, 192))
    with torch.no_grad():
        wanted = [output[0].numpy() for output in module(torch.from_numpy(maps)[None])]
    got = kernel(maps, 0.05, image_hw=(256, 192))
    for a, b, tolerance in zip(got, wanted, (2e-3, 0, 2e-3), strict=True):  # mostly the module's
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", ["mahtrt_soft_argmax_f32", "mahtrt_soft_argmax_f16"])
def test_ptx_has_the_entry_that_the_plugin_names(name: str) -> None:
    entry = re.search(rf"\.visible \.entry {name}\((.*?)\)", PTX.read_text(), re.DOTALL)
    assert entry is not None
    kinds = re.findall(r"\.param \.(\w+)", entry.group(1))
    assert kinds == ["u64", *["u32"] * 5, *["u64"] * 3]  # input, numbers, outputs
