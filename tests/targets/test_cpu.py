from __future__ import annotations

import dataclasses

import pytest

from mahtrt.machine import ISA_FLAGS, describe_machine
from mahtrt.targets.cpu import weight_bits_here


@pytest.mark.parametrize(
    ("architecture", "isa", "bits"),
    [
        ("x86_64", ("avx2",), 7),
        ("x86_64", ("avx2", "avx512"), 7),
        ("x86_64", ("avx2", "vnni"), 8),
        ("x86_64", ("avx2", "amx-int8"), 8),
        ("AMD64", (), 7),  # Windows does not tell its flags
        ("aarch64", ("neon", "i8mm"), 8),
        ("arm64", (), 8),
    ],
)
def test_weight_bits_follow_the_cpu(architecture: str, isa: tuple[str, ...], bits: int) -> None:
    assert set(isa) <= set(ISA_FLAGS.values())
    machine = dataclasses.replace(describe_machine(), architecture=architecture, isa=isa)
    assert weight_bits_here(machine) == bits
