"""Checkpoints: safetensors with the spec inside, or PyTorch files that hold nothing but tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from mahtrt.atomic import write_bytes_atomic
from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import CheckpointError, some_of
from mahtrt.models.weights_file import (
    read_weights_file,
    tensors_from_safetensors,
    tensors_from_torch,
)
from mahtrt.parsing import read_json
from mahtrt.spec import ModelSpec, spec_from_json

SPEC_KEY = "mahtrt.spec"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights in memory (FP32) and where they came from."""

    state: Mapping[str, Tensor]
    spec: ModelSpec | None
    path: Path
    sha256: str
    notes: Mapping[str, str]


def save_checkpoint(
    path: Path,
    state: Mapping[str, Tensor],
    spec: ModelSpec,
    *,
    half: bool = False,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write weights and spec as safetensors, whole or not at all.

    Args:
        path: The file, ``.safetensors``.
        state: A state dict.
        spec: The spec of the network that the weights belong to.
        half: Store floating-point weights as FP16; a tensor with values beyond FP16's range
            stays as it is.
        notes: More metadata, e.g. how the weights were trained.
    """
    tensors = {
        name: (_halved(tensor) if half else tensor).contiguous() for name, tensor in state.items()
    }
    metadata = {**(notes or {}), SPEC_KEY: spec.to_json()}
    write_bytes_atomic(path, _in_order(save(tensors, metadata=metadata)))


def load_checkpoint(path: Path, sha256: str | None = None) -> Checkpoint:
    """Read weights from safetensors, or from a PyTorch file without running code from it.

    Args:
        sha256: Digest that the file must have; None for any.

    Raises:
        CheckpointError: The file is missing, damaged, too large or another one, a pickle that
            needs code to load, or holds tensors that cannot be weights: sparse, complex, not
            finite.
    """
    content = read_weights_file(path)
    digest = sha256_of_bytes(content)
    if sha256 not in (None, digest):
        raise CheckpointError(
            str(path),
            got=f"SHA-256 {digest[:16]}…",
            expected=f"{sha256[:16]}…, the checkpoint that was exported",
            fix="Give the checkpoint that this graph was exported from.",
        )
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors":
        state, metadata = tensors_from_safetensors(content, path)
    else:
        state = tensors_from_torch(content, path)
    spec = spec_from_json(metadata[SPEC_KEY], where=str(path)) if SPEC_KEY in metadata else None
    notes = {k: v for k, v in metadata.items() if k != SPEC_KEY}
    return Checkpoint(state, spec, path, digest, notes)


def load_into(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's weights into a network; every key has to match.

    Raises:
        CheckpointError: Keys are missing, unexpected, of another shape, integers in place of
            floating-point numbers, or fractions in place of integers (the first few named).
    """
    own = module.state_dict()
    state = _without_prefix(checkpoint.state, own)
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    retyped = [
        f"{key} {_dtype(state[key])} instead of {_dtype(own[key])}"
        for key in own
        if key in state and not _is_of_kind(state[key], own[key])
    ]
    problems = [
        f"{len(keys)} {what} ({some_of(keys)})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
            ("of another type", retyped),
        )
        if keys
    ]
    if problems:
        raise CheckpointError(
            str(checkpoint.path),
            got=f"keys that do not match: {'; '.join(problems)}",
            expected=f"the {len(own)} keys of {type(module).__name__}",
            fix="Name the variant and settings that the checkpoint was trained with.",
        )
    module.load_state_dict(dict(state))


def _is_of_kind(given: Tensor, own: Tensor) -> bool:
    """Whether a tensor can be the network's own; scripts that halve all make counts floating."""
    if own.is_floating_point():
        return given.is_floating_point()
    return not given.is_floating_point() or bool((given == given.round()).all())


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _in_order(file: bytes) -> bytes:
    """A safetensors file with its metadata sorted, so that equal content makes equal bytes.

    The file is the header's length (8 bytes, little endian), a JSON header padded with spaces to
    a multiple of 8 bytes, then the tensors. The library writes metadata in a random order.
    """
    start = 8 + int.from_bytes(file[:8], "little")
    header = read_json(file[8:start], "the checkpoint to write", "a header", error=CheckpointError)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[start:]


def _halved(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.half()
    return tensor if bool((halved.isinf() & tensor.isfinite()).any()) else halved


def _without_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """DataParallel and torch.compile put a prefix before every key."""
    for prefix in ("module.", "_orig_mod."):
        if state and all(key.startswith(prefix) for key in state) and not set(state) & set(own):
            return {key.removeprefix(prefix): value for key, value in state.items()}
    return state
