"""Checkpoints made to harm, or that hold what cannot be weights."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from mahtrt.errors import CheckpointError
from mahtrt.models.checkpoint import load_checkpoint

NAN, INF = float("nan"), float("inf")


def saved(path: Path, content: Any, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.filterwarnings("ignore")  # about sparse and quantised tensors, which are not stable
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {0: torch.ones(2)}, "not a mapping of names to tensors"),
        (lambda: {"w": torch.eye(3).to_sparse()}, r"a sparse tensor \(w\)"),
        (lambda: {"w": torch.eye(3).to_sparse_csr()}, r"a sparse tensor \(w\)"),
        (lambda: {"w": torch.empty(10**6, 10**6, device="meta")}, r"without values \(w\)"),
        (lambda: {"w": torch.ones(2, dtype=torch.complex64)}, r"complex numbers \(w\)"),
        (lambda: {"w": torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8)}, r"\(w\)|code"),
        (
            lambda: {"w": torch.ones(1, dtype=torch.half).expand(10**6, 10**6)},
            "claim 4000000000000",
        ),
        (lambda: {"w": torch.tensor([1.0, NAN])}, "1 values in w that are infinite or no numbers"),
        (lambda: {"v": torch.ones(1), "w": torch.tensor([1.0, INF])}, "1 values in w that are inf"),
        (lambda: {"w": torch.tensor([1.0, -INF])}, "1 values in w that are infinite"),
        (lambda: {"w": torch.tensor([0.0, INF])}, "1 values in w that are infinite"),
    ],
)
def test_tensors_that_cannot_be_weights(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(saved(tmp_path / "a.pt", make()))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_no_numbers_in_safetensors(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {"good": torch.ones(3, dtype=dtype), "bad": torch.tensor([NAN, INF], dtype=dtype)}
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="2 values in bad that are infinite or no numbers"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_complex_weights_in_safetensors_are_not_cast(tmp_path: Path) -> None:
    state = {"w": torch.ones(3, dtype=torch.complex64)}
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="complex"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_a_mask_of_zeros_and_minus_infinity_is_a_weight(tmp_path: Path) -> None:
    mask = torch.zeros(4, 4).masked_fill(torch.ones(4, 4).triu(1).bool(), -INF)
    read = load_checkpoint(saved(tmp_path / "a.pt", {"mask": mask, "none": torch.ones(0)})).state
    assert torch.equal(read["mask"], mask)


def test_shared_and_expanded_tensors_of_a_usual_kind_are_read(tmp_path: Path) -> None:
    weight = torch.ones(100, 100)
    state = {"a": weight, "b": weight, "rows": torch.arange(8.0).expand(1, -1)}
    assert set(load_checkpoint(saved(tmp_path / "a.pt", state)).state) == {"a", "b", "rows"}


def safetensors_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (2**62).to_bytes(8, "little") + b"{}",
        safetensors_file(b"[" * 200_000),
        safetensors_file(b'{"a":' * 100_000),
        safetensors_file({"w": entry(0, 4, [2**40, 2**40])}, bytes(4)),
        safetensors_file({"w": entry(0, 4, [1]), "v": entry(0, 4, [1])}, bytes(4)),
        safetensors_file({"w": entry(0, 2**60, [2**58])}, bytes(4)),
        safetensors_file({"w": entry(0, 4, [-1])}, bytes(4)),
        safetensors_file({"w": entry(0, 4, [1], "F31")}, bytes(4)),
        safetensors_file({"w": 3}, bytes(4)),
        safetensors_file([1, 2], bytes(4)),
        safetensors_file({"__metadata__": [1], "w": entry(0, 4, [1])}, bytes(4)),
    ],
    ids=range(13),
)
def test_headers_of_safetensors_that_lie(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_unpacks_to_much_is_refused(tmp_path: Path, method: int) -> None:
    plain = saved(tmp_path / "a.pt", {"w": torch.zeros(10**6)})
    packed = io.BytesIO()
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", method) as target:
        for record in source.infolist():
            target.writestr(record.filename, source.read(record))
    plain.write_bytes(packed.getvalue())
    with pytest.raises(CheckpointError, match="records that unpack to more than the file holds"):
        load_checkpoint(plain)


def test_a_legacy_file_that_asks_for_terabytes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"w": torch.zeros(1234)}, zipped=False)
    number, huge = (1234).to_bytes(2, "little"), (2**31 - 1).to_bytes(4, "little")
    content = path.read_bytes()
    assert b"M" + number in content
    path.write_bytes(content.replace(b"M" + number, b"J" + huge))  # opcodes of two and four bytes
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        load_checkpoint(path)


@pytest.mark.parametrize("kind", ["tar", "npz", "script"])
def test_other_containers_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.pt"
    if kind == "tar":
        import tarfile

        with tarfile.open(path, "w") as archive:
            archive.add(__file__, "storages")
    elif kind == "npz":
        with path.open("wb") as file:
            np.savez(file, w=np.ones(3))
    else:
        path.write_bytes(b"PK\x03\x04" + os.urandom(500))
    with pytest.raises(CheckpointError, match=r"a\.pt"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_files_that_are_not_files(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(CheckpointError, match="got a FIFO"):
        load_checkpoint(tmp_path / name)
    (tmp_path / name).unlink()
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match="1099511627776 bytes, of at most"):
        load_checkpoint(tmp_path / name)
