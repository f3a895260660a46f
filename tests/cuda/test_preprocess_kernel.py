from __future__ import annotations

import numpy as np
import pytest
from cuda_on_cpu import run_sanitized
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_hosts import CpuHost, gpu_host
from preprocess_cases import UNTOUCHED, input_spec, launch_of, noise, run_all, run_kernel

from mahtrt.cuda.preprocess_launch import SOURCE, DeviceBatch
from mahtrt.data.preprocess import preprocess
from mahtrt.spec import Interpolation, Resize

sides = st.one_of(st.integers(2, 12), st.integers(2, 90))
targets = st.one_of(st.integers(1, 12), st.integers(1, 70))


@settings(deadline=None, max_examples=150)
@given(
    height=sides, width=sides, size=st.tuples(targets, targets),
    samples=st.sampled_from(((), (1,), (3,))), channels=st.sampled_from((1, 3)),
    dtype=st.sampled_from((np.uint8, np.uint16)), extra_pitch=st.integers(0, 40),
    resize=st.sampled_from(("letterbox", "stretch", "center_crop")),
    interpolation=st.sampled_from(("area", "linear")), reverse=st.booleans(),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_the_kernel_gives_what_the_cpu_gives(
    height: int,
    width: int,
    size: tuple[int, int],
    samples: tuple[int, ...],
    channels: int,
    dtype: type[np.generic],
    extra_pitch: int,
    resize: Resize,
    interpolation: Interpolation,
    reverse: bool,
    seed: int,
) -> None:
    fields: dict[str, object] = {"resize": resize, "interpolation": interpolation, "pad_value": 0.3}
    if channels == 3 and reverse:
        fields["color_order"] = "bgr"
    spec = input_spec(size, channels, **fields)
    image = noise((height, width, *samples), dtype, seed)
    expected, _ = preprocess(image, spec)
    found = run_kernel(image, spec, extra_pitch=extra_pitch, host=CpuHost(bool(seed % 2)))
    assert np.array_equal(found[0], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("height", "width"), [(700, 513), (513, 700), (64, 690), (700, 2)])
def test_large_factors_share_rows_among_threads(
    height: int, width: int, dtype: type[np.generic]
) -> None:
    spec = input_spec((33, 40), 3, resize="stretch")
    image = noise((height, width, 3), dtype)
    assert np.array_equal(run_kernel(image, spec)[0], preprocess(image, spec)[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [0, 1, "most"])
@pytest.mark.parametrize("size", [(5, 7), (40, 3), (50, 60)])
def test_one_grey_level_stays_itself(
    dtype: type[np.generic], level: int | str, size: tuple[int, int]
) -> None:
    most = np.iinfo(np.dtype(dtype)).max
    value = most if level == "most" else int(level)
    spec = input_spec(size, 1, resize="stretch", mean=(0.0,), std=(1.0,))
    found = run_kernel(np.full((37, 41), value, dtype), spec)
    assert np.all(found == np.float32(value) * np.float32(1.0 / most))


def test_only_the_chosen_slot_is_written() -> None:
    spec = input_spec((20, 31), 3, pad_value=0.5)
    image = noise((33, 50, 3), np.uint8)
    batch = run_kernel(image, spec, slots=3, slot=1)
    assert np.array_equal(batch[1], preprocess(image, spec)[0])
    assert (batch[[0, 2]] == UNTOUCHED).all()


def test_half_precision_is_the_float_rounded_once() -> None:
    spec = input_spec((20, 31), 3)
    for dtype in (np.uint8, np.uint16):
        image = noise((33, 50, 3), dtype)
        expected = preprocess(image, spec)[0].astype(np.float16)
        assert np.array_equal(run_kernel(image, spec, dtype=np.float16)[0], expected)


@pytest.mark.slow
def test_no_access_leaves_the_arrays() -> None:
    run_sanitized("preprocess_cases", "run_all")


@pytest.mark.gpu
def test_on_a_gpu_the_kernel_gives_what_the_cpu_gives() -> None:
    shapes = [(61, 37), (230, 700, 3), (2, 2), (2400, 1935), (1200, 967, 3)]
    with gpu_host() as host:
        for size in ((24, 35), (512, 512)):
            run_all(host, shapes, size)
            host.free()


@pytest.mark.gpu
def test_a_radiograph_takes_less_than_a_tenth_of_a_millisecond() -> None:
    spec = input_spec((512, 512), 1)
    with gpu_host() as host:
        if host.device.multiprocessors < 64:
            pytest.skip(f"the bar is for data-centre cards, not for {host.device.name}")
        batch = DeviceBatch(
            host.put(np.zeros((1, 1, 512, 512), np.float16)), (1, 1, 512, 512), "float16"
        )
        launch = launch_of(noise((2400, 1935), np.uint8), spec, 0, batch, 0, host)
        assert host.fastest_ms(SOURCE, launch) < 0.1
