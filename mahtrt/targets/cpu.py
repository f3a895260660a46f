"""What the CPU decides for every target that runs on it."""

from __future__ import annotations

from mahtrt.machine import Machine

SATURATES = (
    "Its INT8 weights use 8 bits, and this CPU has no VNNI: sums can saturate and move landmarks. "
    "Compare them with mahtrt verify, or build with --weight-bits 7."
)


def weight_bits_here(machine: Machine) -> int:
    """How many bits of INT8 weights this CPU multiplies without saturating.

    Without VNNI, x86 adds two products of 8-bit numbers in 16 bits, which overflow for full-range
    weights (Intel's oneDNN documentation, "Nuances of int8 computations").
    """
    if not is_x86(machine):
        return 8
    return 8 if {"vnni", "amx-int8"} & set(machine.isa) else 7


def is_x86(machine: Machine) -> bool:
    """Whether the CPU is one of Intel's and AMD's."""
    return machine.architecture.lower() in ("x86_64", "amd64", "i686", "x86")
