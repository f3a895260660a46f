"""Checkpoints: safetensors with the spec inside, or PyTorch files that hold nothing but tensors."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mahtrt.atomic import write_bytes_atomic
from mahtrt.digest import sha256_of_file
from mahtrt.errors import CheckpointError, some_of
from mahtrt.parsing import read_json
from mahtrt.spec import ModelSpec, spec_from_json

SPEC_KEY = "mahtrt.spec"
# Where training scripts commonly put the weights inside a dict.
STATE_KEYS = ("model_state_dict", "state_dict", "model")
# What PyTorch's restricted unpickler says it would have had to import.
NEEDED_CODE = re.compile(r"GLOBAL (\S+)")


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


def load_checkpoint(path: Path) -> Checkpoint:
    """Read weights from safetensors, or from a PyTorch file without running code from it.

    Raises:
        CheckpointError: The file is missing, damaged, or a pickle that needs code to load.
    """
    if not path.is_file():
        raise CheckpointError(str(path), got="no such file", expected="a checkpoint")
    read = _read_safetensors if path.suffix == ".safetensors" else _read_torch
    state, metadata = read(path)
    spec = spec_from_json(metadata[SPEC_KEY], where=str(path)) if SPEC_KEY in metadata else None
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    notes = {k: v for k, v in metadata.items() if k != SPEC_KEY}
    return Checkpoint(state, spec, path, sha256_of_file(path), notes)


def load_into(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint's weights into a network; every key has to match.

    Raises:
        CheckpointError: Keys are missing, unexpected or of another shape (the first few named).
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
    problems = [
        f"{len(keys)} {what} ({some_of(keys)})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
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


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return state, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            str(path), got=f"a damaged file ({error})", expected="safetensors"
        ) from error


def _read_torch(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with warnings.catch_warnings():  # about pickles of other protocols, which it then refuses
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The rest of PyTorch's message says how to run that code after all.
        code = NEEDED_CODE.search(str(error))
        raise CheckpointError(
            str(path),
            got=f"a pickle that needs code to load ({code[1]})"
            if code
            else "a pickle of another kind",
            expected="safetensors, or a state dict of tensors",
            fix="Save it again with torch.save(model.state_dict(), path).",
        ) from error
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            str(path),
            got=f"a file that PyTorch cannot read ({type(error).__name__}: {reason})",
            expected="a state dict",
        ) from error
    return _state_dict(loaded, path), {}


def _state_dict(loaded: Any, path: Path) -> dict[str, Tensor]:
    for key in STATE_KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if (
        isinstance(loaded, Mapping)
        and loaded
        and all(isinstance(v, Tensor) for v in loaded.values())
    ):
        return dict(loaded)
    raise CheckpointError(
        str(path),
        got=f"a {type(loaded).__name__} that is not a mapping of names to tensors",
        expected=f"a state dict, or a dict with one under {', '.join(map(repr, STATE_KEYS))}",
    )
