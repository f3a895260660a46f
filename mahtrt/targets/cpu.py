"""What the CPU decides for every target that runs on it."""

from __future__ import annotations

from mahtrt.machine import Machine


def weight_bits_here(machine: Machine) -> int:
    """How many bits of INT8 weights this CPU multiplies without saturating.

    Without VNNI, x86 adds two products of 8-bit numbers in 16 bits, which overflow for full-range
    weights (Intel's oneDNN documentation, "Nuances of int8 computations").
    """
    if machine.architecture.lower() not in ("x86_64", "amd64", "i686", "x86"):
        return 8
    return 8 if {"vnni", "amx-int8"} & set(machine.isa) else 7
