"""What the code decides on each kind of CPU, whatever CPU the tests run on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cpus import CPUS, Cpu

from mahtrt.targets.graph_kinds import Fp32, Int8, RoundedBf16
from mahtrt.targets.openvino.run import cpu_device, has_native_bf16
from mahtrt.targets.table import find_target


@pytest.mark.parametrize("name", CPUS)
def test_what_a_cpu_decides(name: str, cpu: Callable[[str], Cpu]) -> None:
    kind = cpu(name)
    openvino, onnxruntime = find_target("openvino"), find_target("onnxruntime")
    assert has_native_bf16() is kind.bf16
    assert openvino.float_type("fp16") == ("bf16" if kind.bf16 else "fp32")
    assert onnxruntime.float_type("fp16") == "fp32"
    # Rounded in the graph, unless the runtime computes in BF16 itself.
    assert openvino.graph_kind("bf16") == (Fp32() if kind.bf16 else RoundedBf16())
    assert onnxruntime.graph_kind("bf16") == RoundedBf16()
    for target in (openvino, onnxruntime):
        assert target.graph_kind("fp32") == Fp32()
        assert target.graph_kind("int8") == Int8(None, kind.weight_bits)
        assert target.graph_kind("int8", weight_bits=8) == Int8(None, 8)  # the user knows better


def test_bf16_that_is_only_emulated_is_not_used(cpu: Callable[[str], Cpu]) -> None:
    cpu("vnni")
    assert "BF16" in cpu_device().capabilities
    assert not has_native_bf16()
