"""Mixed precision: what a network computes in while it is trained."""

from __future__ import annotations

import contextlib

import torch

from mahtrt.errors import MissingComponentError
from mahtrt.machine import describe_machine
from mahtrt.training.recipe import Precision

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}


def autocast_dtype(precision: Precision = "auto", device: str = "cpu") -> torch.dtype | None:
    """The type of products; None is FP32.

    ``auto`` is FP16 on a GPU, and BF16 where this x86 CPU multiplies it natively; elsewhere it
    would only be slower.
    """
    if precision != "auto":
        return _DTYPES[precision]
    if device.startswith("cuda"):
        return torch.float16
    machine = describe_machine()
    native = machine.multiplies_bf16 and "avx512" in machine.isa
    return torch.bfloat16 if native else None


def autocast(dtype: torch.dtype | None, device: str) -> contextlib.AbstractContextManager[None]:
    """Run a network in a type; its weights stay FP32."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def loss_scaler(dtype: torch.dtype | None, device: str) -> torch.amp.GradScaler:
    """Keeps small gradients of FP16 from becoming 0; does nothing for other types."""
    return torch.amp.GradScaler(torch.device(device).type, enabled=dtype is torch.float16)


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        MissingComponentError: No such device.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA asserts
        raise MissingComponentError(
            f"--device {device}",
            got="no such device",
            expected="one that PyTorch finds",
            fix="Train on --device cpu, or look at mahtrt doctor.",
        ) from error
