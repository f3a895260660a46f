"""Preprocessing with libmahtrt and without it: the same bits, and no copies of common arrays."""

from __future__ import annotations

import typing
from collections.abc import Iterator

import numpy as np
import pytest
from native_library import native_library
from numpy.typing import NDArray

from mahtrt import native
from mahtrt.data import compiled
from mahtrt.data.preprocess import preprocess
from mahtrt.spec import InputSpec, Interpolation, Resize

NOISE = np.random.default_rng(0).integers(0, 256, (61, 47, 4), np.uint8)
WIDE = NOISE.astype(np.uint16) * 257 - NOISE[..., ::-1]
# Name, image, whether it is used where it lies.
VIEWS: dict[str, tuple[NDArray[np.generic], bool]] = {
    "gray": (NOISE[..., 0].copy(), True),
    "one channel": (NOISE[..., :1].copy(), True),
    "rgb": (NOISE[..., :3].copy(), True),
    "wide": (WIDE[..., 1].copy(), True),
    "wide rgb": (WIDE[..., :3].copy(), True),
    "bgr": (NOISE[..., :3].copy()[..., ::-1], True),
    "wide bgr": (WIDE[..., :3].copy()[..., ::-1], True),
    "rgba": (NOISE[..., :3], True),
    "bgra": (NOISE[..., 2::-1], True),
    "part": (NOISE[5:40, 7:30, :3].copy()[2:, 3:-2], True),
    "wide rgba": (WIDE[..., :3], False),
    "one of four": (NOISE[..., 2], False),
    "upside down": (NOISE[::-1, :, 0].copy()[::-1], False),
    "turned": (NOISE[..., 0].copy().T, False),
    "mirrored": (NOISE[..., :3].copy()[:, ::-1], False),
    "one row": (np.broadcast_to(NOISE[3, :, 0].copy(), (9, 47)), False),
    "every second": (NOISE[::2, ::2, :3], False),
    "foreign bytes": (WIDE[..., 0].astype(WIDE.dtype.newbyteorder()), False),
    "unaligned": (np.frombuffer(bytes(1) + WIDE.tobytes(), "u2", 940, 1).reshape(20, 47), True),
}  # fmt: skip


@pytest.fixture
def with_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(native.VARIABLE, str(native_library()))
    native.forget()
    yield
    native.forget()


def spec_of(channels: int, resize: Resize, interpolation: Interpolation) -> InputSpec:
    return InputSpec(
        size=(33, 29),
        channels=channels,
        color_order="gray" if channels == 1 else "bgr",
        mean=(0.4, 0.5, 0.6)[:channels],
        std=(0.2, 0.3, 0.2)[:channels],
        resize=resize,
        interpolation=interpolation,
        pad_value=0.25,
    )


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_gives_the_bits_of_numpy(
    name: str, with_library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = VIEWS[name]
    specs = [
        spec_of(channels, resize, interpolation)
        for channels in (1, 3)
        for resize, interpolation in zip(
            typing.get_args(Resize) * 3, typing.get_args(Interpolation), strict=False
        )
    ]
    assert compiled.compiled_preprocess() is not None
    found = [preprocess(image, spec) for spec in specs]
    monkeypatch.setenv(native.VARIABLE, "off")
    native.forget()
    assert compiled.compiled_preprocess() is None
    for spec, (tensor, placement) in zip(specs, found, strict=True):
        expected, where = preprocess(image, spec)
        assert tensor.tobytes() == expected.tobytes(), spec
        assert placement == where


@pytest.mark.parametrize("name", VIEWS)
def test_what_lies_side_by_side_is_not_copied(name: str) -> None:
    image, in_place = VIEWS[name]
    kept, described = compiled.native_image(image)
    assert np.shares_memory(kept, image) == in_place
    assert (described.width, described.height) == (image.shape[1], image.shape[0])


def test_compiled_code_is_used_for_this_version_alone(
    with_library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    made = compiled.compiled_preprocess()
    assert made is not None

    def counted(image: NDArray[np.generic], spec: InputSpec) -> NDArray[np.float32] | None:
        used.append(image.shape)
        return made(image, spec)

    monkeypatch.setattr("mahtrt.data.preprocess.compiled_preprocess", lambda: counted)
    spec = spec_of(1, "letterbox", "linear")
    preprocess(NOISE[..., 0], spec)
    assert len(used) == 1
    preprocess(NOISE[..., 0], spec, version=2)
    assert len(used) == 1


def test_a_spec_that_the_library_refuses_is_left_to_numpy(with_library: None) -> None:
    spec = spec_of(1, "letterbox", "area")
    odd = InputSpec(**{name: getattr(spec, name) for name in spec.__slots__} | {"std": (1e-9,)})
    made = compiled.compiled_preprocess()
    assert made is not None
    assert made(NOISE[..., 0], odd) is None
    assert preprocess(NOISE[..., 0], odd)[0].shape == (1, 33, 29)
