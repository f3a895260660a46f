"""The tensors of a checkpoint file, and whether they can be weights of a network.

A file is read once, and nothing in it is trusted: no code of a pickle is run, what a file unpacks
to is known before it is unpacked, and what comes out is plain tensors of finite numbers.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from mahtrt.errors import CheckpointError
from mahtrt.parsing import read_json
from mahtrt.reading import Wanted, read_regular

MOST_FILE_BYTES = 2**31  # as for ONNX: what protobuf can hold
# A file may name a tensor twice, or hold FP16: but not claim far more numbers than it has bytes.
_MOST_BYTES_PER_BYTE, _FREE_BYTES = 16, 2**20
_MOST_HEADER_BYTES = 16 * 2**20
# Where training scripts commonly put the weights inside a dict.
STATE_KEYS = ("model_state_dict", "state_dict", "model")
# What PyTorch's restricted unpickler says it would have had to import.
_NEEDED_CODE = re.compile(r"GLOBAL (\S+)")
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def read_weights_file(path: Path) -> bytes:
    """The content of a checkpoint, in whatever format.

    Raises:
        CheckpointError: No regular file, or too large.
    """
    return read_regular(path, Wanted("a checkpoint", CheckpointError), MOST_FILE_BYTES)


def tensors_from_safetensors(
    content: bytes, path: Path
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        CheckpointError: The file is damaged, or its tensors cannot be weights.
    """
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(len(content) - 8, _MOST_HEADER_BYTES):
        raise _damaged(path, f"a header of {size} bytes, of {len(content)} in the file")
    header = read_json(content[8 : 8 + size], str(path), "safetensors", error=CheckpointError)
    try:
        state = dict(sorted(safetensors.torch.load(content).items()))
        metadata = {str(k): str(v) for k, v in header.get("__metadata__", {}).items()}
    except Exception as error:  # its own error, and KeyError for types that PyTorch does not have
        raise _damaged(path, str(error)) from error
    return _checked(state, content, path), metadata


def tensors_from_torch(content: bytes, path: Path) -> dict[str, Tensor]:
    """The state dict of a PyTorch file.

    Raises:
        CheckpointError: The file is damaged, needs code, or its tensors cannot be weights.
    """
    loaded = load_torch(content, path)
    for key in STATE_KEYS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if (
        isinstance(loaded, Mapping)
        and loaded
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items())
    ):
        return _checked(dict(loaded), content, path)
    raise CheckpointError(
        str(path),
        got=f"a {type(loaded).__name__} that is not a mapping of names to tensors",
        expected=f"a state dict, or a dict with one under {', '.join(map(repr, STATE_KEYS))}",
    )


def load_torch(content: bytes, path: Path) -> Any:
    """What a PyTorch file holds, without running code from it.

    Raises:
        CheckpointError: The file is damaged, or needs code.
    """
    if not content.startswith((_ZIP, _PICKLE)):
        raise CheckpointError(
            str(path),
            got="a file that is not PyTorch's" if content else "an empty file",
            expected="safetensors (named so), or a state dict as torch.save writes it",
        )
    try:
        _refuse_packed_records(content, path)
        with warnings.catch_warnings():  # about pickles of other protocols, which it then refuses
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # The rest of PyTorch's message says how to run that code after all.
        code = _NEEDED_CODE.search(str(error))
        raise CheckpointError(
            str(path),
            got=f"a pickle that needs code to load ({code[1]})"
            if code
            else "a pickle of another kind",
            expected="safetensors, or a state dict of tensors",
            fix="Save it again with torch.save(model.state_dict(), path).",
        ) from error
    except CheckpointError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            str(path),
            got=f"a file that PyTorch cannot read ({type(error).__name__}: {reason})",
            expected="a state dict",
        ) from error


def _refuse_packed_records(content: bytes, path: Path) -> None:
    """PyTorch stores its records as they are; those that are packed, or overlap, are bombs."""
    if not content.startswith(_ZIP):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = archive.infolist()
    packed = [record.filename for record in records if record.compress_type != zipfile.ZIP_STORED]
    if packed or sum(record.file_size for record in records) > len(content):
        raise CheckpointError(
            str(path),
            got="records that unpack to more than the file holds",
            expected="a file as torch.save writes it",
            fix="Save it again with torch.save(model.state_dict(), path).",
        )


def _checked(state: dict[str, Tensor], content: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors as FP32 where they are floating point, all found fit to be weights."""
    claimed = 0
    for name, tensor in state.items():
        kind = _kind(tensor)
        if kind:
            raise CheckpointError(
                str(path), got=f"{kind} ({name})", expected="plain tensors of real numbers"
            )
        claimed += tensor.numel() * max(tensor.element_size(), 4)
    if claimed > _MOST_BYTES_PER_BYTE * len(content) + _FREE_BYTES:
        raise CheckpointError(
            str(path),
            got=f"tensors that claim {claimed} bytes, in a file of {len(content)}",
            expected="a file that holds its tensors",
        )
    return {name: _finite(tensor, name, path) for name, tensor in state.items()}


def _kind(tensor: Tensor) -> str:
    """What a tensor is that cannot be a weight, "" for one that can."""
    if tensor.is_meta:
        return "a tensor without values"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "a sparse tensor"
    if tensor.is_quantized:
        return "a quantised tensor"
    return "a tensor of complex numbers" if tensor.is_complex() else ""


def _finite(tensor: Tensor, name: str, path: Path) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    finite = tensor.isfinite()
    wrong = tensor[~finite]
    # A mask that is added before a softmax is zero and minus infinity, and nothing else.
    mask = bool((wrong == -math.inf).all()) and not bool(tensor[finite].any())
    if len(wrong) and not mask:
        raise CheckpointError(
            str(path),
            got=f"{len(wrong)} values in {name} that are infinite or no numbers",
            expected="finite weights",
            fix="Take a checkpoint from before the training diverged.",
        )
    return tensor


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(str(path), got=f"a damaged file ({reason})", expected="safetensors")
