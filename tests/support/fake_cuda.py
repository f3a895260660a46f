"""libcuda as ctypes shows it, as far as :mod:`mahtrt.cuda.probe` asks it; see ``fake_driver``."""
# The functions keep the names that the driver gives them.
# ruff: noqa: N802

from __future__ import annotations

from typing import Any

NAMES = {100: b"CUDA_ERROR_NO_DEVICE"}


class FakeCuda:
    """Records calls; ``fail`` maps a function's name to the code that it is to answer with.

    Attributes:
        calls: The names of the functions called, in order.
    """

    def __init__(
        self, devices: tuple[tuple[str, int, int], ...] = (("NVIDIA RTX 4090", 8, 9),), **fail: int
    ) -> None:
        self.devices, self.fail = devices, dict(fail)
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)
        function = getattr(type(self), f"do_{name}", None)
        if function is None:
            raise AttributeError(f"libcuda has no {name}")

        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name in self.fail:
                return self.fail[name]
            function(self, *arguments)
            return 0

        return call

    def do_cuInit(self, flags: int) -> None:
        assert flags == 0

    def do_cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = 13000

    def do_cuGetErrorName(self, code: int, name: Any) -> None:
        name._obj.value = NAMES.get(code, b"CUDA_ERROR_UNKNOWN")

    def do_cuDeviceGetCount(self, count: Any) -> None:
        count._obj.value = len(self.devices)

    def do_cuDeviceGet(self, device: Any, ordinal: int) -> None:
        device._obj.value = ordinal

    def do_cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:
        name.value = self.devices[device.value][0].encode()

    def do_cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> None:
        value._obj.value = self.devices[device.value][attribute - 74]
