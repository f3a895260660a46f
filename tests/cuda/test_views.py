"""Device memory of other libraries: what is taken, and what is refused in one line."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fake_driver import FakeDriver, FakeGpuModel
from gpu_arrays import CudaArray, Dlpack

from mahtrt.cuda import dlpack
from mahtrt.cuda.bindings import BindingsDevice, open_device
from mahtrt.cuda.device import Pointer
from mahtrt.cuda.probe import probe_cuda
from mahtrt.cuda.views import DeviceView, check_place, check_view, device_view
from mahtrt.errors import InputError

SHAPE = (2, 3)


def numbers(dtype: Any = np.float32) -> np.ndarray:
    return np.arange(6).astype(dtype).reshape(SHAPE)


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "u2", "i4", "i8", "?", "c8"])
def test_dlpack(versioned: bool, dtype: str) -> None:
    array = Dlpack(numbers(dtype), versioned=versioned, device=3)
    view = device_view(array, stream=0x7000)
    assert (view.address, view.shape, view.device) == (array.array.ctypes.data, SHAPE, 3)
    assert view.dtype == array.array.dtype
    assert (view.strides_bytes, view.is_readonly) == (None, False)
    assert array.streams == [0x7000]
    assert view.stream is None, "its library lets our stream wait"
    assert view.nbytes == array.array.nbytes


def test_dlpack_calls_the_deleter_once() -> None:
    for versioned in (True, False):
        array = Dlpack(numbers(), versioned=versioned)
        view: DeviceView | None = device_view(array)
        assert array.deleted == 0
        assert view is not None
        del view
        gc.collect()
        assert array.deleted == 1


def test_dlpack_without_a_stream_waits_for_the_legacy_one() -> None:
    for stream in (None, 0, 1):
        array = Dlpack(numbers(), versioned=True)
        assert device_view(array, stream=stream).stream == (None if stream == 1 else 1)
        assert array.streams == [1], "0 is not allowed: it has two meanings"


def test_dlpack_with_strides_an_offset_and_a_flag() -> None:
    array = Dlpack(numbers()[:, ::2], versioned=True)
    array.flags = 1
    array.fields["byte_offset"] = 4
    view = device_view(array)
    assert view.strides_bytes == (12, 8)
    assert view.address == array.array.ctypes.data + 4
    assert view.is_readonly


def test_dlpack_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = Dlpack(numbers(np.uint16), versioned=False)
    array.fields["code"] = 4
    assert device_view(array).dtype == ml_dtypes.bfloat16


def test_dlpack_of_managed_memory() -> None:
    assert device_view(Dlpack(numbers(), versioned=True, place=13)).shape == SHAPE


def broken(**changes: Any) -> Dlpack:
    array = Dlpack(numbers(), versioned=True)
    for name, value in changes.items():
        setattr(array, name, value)
    return array


def raising(error: Exception) -> Dlpack:
    class Raising(Dlpack):
        def __dlpack__(self, **_: Any) -> Any:
            raise error

    return Raising(numbers(), versioned=True)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (broken(place=1), "memory of the host; expected memory of a GPU"),
        (broken(place=3), "page-locked memory of the host"),
        (broken(place=10), "a device of kind 10"),
        (broken(major=2), "DLPack 2.0; expected DLPack 1 or older"),
        (broken(name=b"used_dltensor"), "a capsule named"),
        (broken(fields={"code": 7, "bits": 8, "lanes": 1}), "kind 7, 8 bits, 1 lanes"),
        (broken(fields={"code": 2, "bits": 32, "lanes": 4}), "kind 2, 32 bits, 4 lanes"),
        (broken(fields={"code": 0, "bits": 4, "lanes": 1}), "kind 0, 4 bits"),
        (raising(BufferError("it requires grad")), "does not give: it requires grad"),
        (raising(RuntimeError("no\nGPU")), "no GPU"),
    ],
)
def test_dlpack_that_cannot_be_used(array: Dlpack, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        device_view(array)
    assert "\n" not in str(caught.value)


def look_at_the_host(array: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused where it is; readable when a host is taken for a GPU."""
    with pytest.raises(InputError, match=r"memory of the host.*Give arrays of the host to"):
        device_view(array)
    monkeypatch.setattr(dlpack, "_CUDA_DEVICES", (1,))
    for _ in range(3):
        made = dlpack.read_dlpack(Unstreamed(array), 1)
        assert (made.shape, made.dtype) == (SHAPE, np.dtype(np.float32))
        del made
        gc.collect()
    assert float(array[1, 2]) == 5


def test_arrays_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    look_at_the_host(numbers(), monkeypatch)


@pytest.mark.slow
def test_arrays_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    look_at_the_host(torch.arange(6.0).reshape(SHAPE), monkeypatch)


class Unstreamed:
    """Libraries take no stream for arrays of the host."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options | {"stream": None})


@pytest.mark.parametrize("version", [2, 3, 4])
def test_the_cuda_array_interface(version: int) -> None:
    array = numbers(np.uint16)
    view = device_view(CudaArray(array, version=version))
    assert view == DeviceView(array.ctypes.data, SHAPE, np.dtype(np.uint16))
    again = device_view(view)
    assert again is view
    assert device_view(CudaArray(array, **view.__cuda_array_interface__)) == view


def test_the_interface_may_leave_parts_out() -> None:
    array = CudaArray(numbers(), version=2)
    for name in ("strides", "stream"):
        del array.told[name]
    assert device_view(array).stream is None


@pytest.mark.parametrize(("told", "stream"), [(None, None), (1, 1), (2, 2), (0x7000, 0x7000)])
def test_the_interface_tells_a_stream(told: int | None, stream: int | None) -> None:
    assert device_view(CudaArray(numbers(), stream=told)).stream == stream


@pytest.mark.parametrize(
    ("strides", "found"),
    [((12, 4), None), ((24, 4), (24, 4)), ((4, 8), (4, 8)), ((-12, 4), (-12, 4))],
)
def test_strides_are_told_where_they_are_not_those_of_c(strides: Any, found: Any) -> None:
    assert device_view(CudaArray(numbers(), strides=strides)).strides_bytes == found


def test_strides_of_axes_with_one_element_do_not_matter() -> None:
    array = CudaArray(numbers()[:1], strides=(999, 4))
    assert device_view(array).strides_bytes is None
    empty = CudaArray(np.zeros((0, 3), np.float32), strides=(1, 1), data=(0, False))
    assert device_view(empty).nbytes == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mask": numbers()}, "with a mask"),
        ({"version": 1}, "of version 1"),
        ({"version": None}, "version 2 or 3"),
        ({"stream": 0}, "stream 0"),
        ({"stream": -1}, "stream -1"),
        ({"stream": True}, "stream True"),
        ({"stream": "1"}, "stream '1'"),
        ({"typestr": ">f4"}, "elements of >f4"),
        ({"typestr": "|O"}, "elements of |O"),
        ({"typestr": "what"}, "what"),
        ({"data": None}, "version 2 or 3"),
        ({"shape": (-2, 3)}, "of shape (-2, 3)"),
        ({"strides": (4,)}, "strides (4,)"),
    ],
)
def test_an_interface_that_cannot_be_used(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        device_view(CudaArray(numbers(), **changes))
    assert "\n" not in str(caught.value)


class Allocation:
    """As PyCUDA's ``DeviceAllocation``: it becomes its address."""

    def __init__(self, address: int) -> None:
        self.address = address

    def __int__(self) -> int:
        return self.address


class GpuArray:
    """As PyCUDA's ``GPUArray`` before it had an interface."""

    def __init__(self, array: np.ndarray) -> None:
        self.gpudata = Allocation(array.ctypes.data)
        self.shape, self.dtype, self.strides = array.shape, array.dtype, array.strides


class MemoryPointer:
    """As CuPy's."""

    def __init__(self, address: int) -> None:
        self.ptr = address


def test_pycuda_arrays() -> None:
    array = numbers()
    found = device_view(GpuArray(array))
    assert (found.address, found.shape, found.strides_bytes) == (array.ctypes.data, SHAPE, None)
    assert device_view(GpuArray(array.T)).strides_bytes == (4, 12)


@pytest.mark.parametrize("pointer", [4096, Allocation(4096), MemoryPointer(4096)])
def test_an_address_with_a_shape_and_a_dtype(pointer: Any) -> None:
    view = device_view((pointer, [2, 3], "f4"))
    assert (view.address, view.shape, view.dtype) == (4096, SHAPE, np.dtype(np.float32))
    assert view.owner is pointer
    assert device_view((pointer, SHAPE, np.uint8, 0x7000)).stream == 0x7000


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        "array",
        object(),
        (4096, SHAPE),
        (4096, SHAPE, np.float32, None, 1),
        (-1, SHAPE, np.float32),
        (2**64, SHAPE, np.float32),
        (4096, 7, np.float32),
        (4096, (-1, 2), np.float32),
        (4096, SHAPE, "nothing"),
        (4096, SHAPE, np.float32, 0),
        (object(), SHAPE, np.float32),
    ],
)
def test_what_is_no_device_memory(wrong: Any) -> None:
    with pytest.raises(InputError, match="device memory: got") as caught:
        device_view(wrong)
    assert "\n" not in str(caught.value)


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver(gpus=(FakeGpuModel(), FakeGpuModel("NVIDIA L4", (8, 9), 58)))


@pytest.fixture
def device(driver: FakeDriver) -> Iterator[BindingsDevice]:
    with open_device(needed_for="a test", driver=driver) as opened:
        yield opened


def check(here: BindingsDevice, address: int, /, **changes: Any) -> None:
    facts: dict[str, Any] = {"shape": SHAPE, "dtype": np.dtype(np.float32)} | changes
    view = DeviceView(address, **facts)
    check_view(view, here, SHAPE, np.float32, subject="input image", writable=True)


def test_memory_that_is_right_passes(device: BindingsDevice, driver: FakeDriver) -> None:
    check(device, driver.foreign(24))
    check(device, driver.foreign(100) + 76)
    check(device, driver.foreign(24, managed=True))
    check(device, driver.foreign(24, device=1, managed=True), device=None)
    empty = DeviceView(0, (0, 3), np.dtype(np.float32))
    check_view(empty, device, (0, 3), np.float32)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dtype": np.dtype(np.float16)}, "elements of float16; expected float32"),
        ({"shape": (3, 2)}, "shape (3, 2); expected (2, 3)"),
        ({"strides_bytes": (4, 8)}, "strides of (4, 8) bytes; expected a C-contiguous array"),
        ({"is_readonly": True}, "memory that must not be written"),
        ({"device": 1}, "memory of device 1; expected memory of device 0"),
    ],
)
def test_memory_that_is_wrong(
    device: BindingsDevice, driver: FakeDriver, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=re.escape(f"input image: got {told}")):
        check(device, driver.foreign(24), **changes)


def test_addresses_that_the_driver_refuses(device: BindingsDevice, driver: FakeDriver) -> None:
    gone, pinned = driver.foreign(24), device.allocate_pinned(SHAPE, np.float32)
    driver.drop(gone)
    host = numbers()
    wrong = {
        gone: "which the driver does not know",
        0: "which the driver does not know",
        host.ctypes.data: "which the driver does not know",
        driver.foreign(24, device=1): "memory of device 1; expected memory of device 0",
        pinned.array.ctypes.data: "page-locked memory of the host",
        driver.foreign(24) + 4: "20 bytes at",
        driver.foreign(32) + 2: "a multiple of 4",
    }
    for address, told in wrong.items():
        with pytest.raises(InputError, match=told) as caught:
            check(device, address)
        assert "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(bool(probe_cuda().problem), reason=probe_cuda().problem or "a GPU is here")
def test_tensors_of_torch_on_a_real_gpu() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    device = open_device(needed_for="a test")
    tensor = torch.arange(6, dtype=torch.float32, device="cuda").reshape(SHAPE)
    with device:
        stream = device.create_stream()
        view = device_view(tensor, stream=stream.handle)
        assert (view.address, view.device) == (tensor.data_ptr(), 0)
        check_view(view, device, SHAPE, np.float32)
        back = device.allocate_pinned(SHAPE, np.float32)
        device.copy_to_host(back.array, view.address, stream)
        stream.synchronize()
        np.testing.assert_array_equal(back.array, numbers())
        assert device.look_up(back.array.ctypes.data).kind == "host"
        assert device.look_up(numbers().ctypes.data).kind == "unknown"
        back.free()
        with pytest.raises(InputError, match="C-contiguous"):
            check_view(device_view(tensor.T), device, (3, 2), np.float32)
        again = torch.as_tensor(device_view(tensor), device="cuda")
        assert again.data_ptr() == tensor.data_ptr()
        stream.close()
    device.close()


MIB = 1 << 20


class Mapped:
    """A device that tells of each mapping alone: (first MiB, MiB, device)."""

    ordinal = 0

    def __init__(self, *mappings: tuple[int, int, int]) -> None:
        self.mappings, self.looks = mappings, 0

    def look_up(self, address: int) -> Pointer:
        self.looks += 1
        for first, size, device in self.mappings:
            if first * MIB <= address < (first + size) * MIB:
                return Pointer("device", device, first * MIB, size * MIB)
        return Pointer("unknown")


def place(device: Any, mib: int, nbytes: int) -> None:
    view = DeviceView(mib * MIB, (nbytes,), np.dtype(np.uint8))
    check_place(view, device, nbytes)


def test_memory_of_several_mappings_side_by_side_is_one() -> None:
    device = Mapped((2, 2, 0), (4, 20, 0), (24, 2, 0))
    place(device, 3, 23 * MIB)
    assert device.looks == 3
    place(device, 2, 2 * MIB)
    assert device.looks == 4, "no further than has to be"
    with pytest.raises(InputError, match=rf"got {23 * MIB} bytes.*{23 * MIB + 1} bytes"):
        place(device, 3, 23 * MIB + 1)


@pytest.mark.parametrize(
    "mappings",
    [
        [(2, 2, 0), (6, 2, 0)],  # a hole
        [(2, 2, 0), (4, 2, 1)],  # of another device
        [(2, 1, 0), (3, 2, 0)],  # two allocations: mappings do not end there
    ],
)
def test_what_lies_beside_memory_is_not_always_of_it(mappings: list[tuple[int, int, int]]) -> None:
    with pytest.raises(InputError, match=f"{mappings[0][1] * MIB} bytes at"):
        place(Mapped(*mappings), 2, 3 * MIB)
