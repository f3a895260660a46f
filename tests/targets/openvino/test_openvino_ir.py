"""OpenVINO's IR: the same bytes for one graph, and what reading it again gives."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_network as tiny
from tiny_graphs import Builder

from mahtrt.errors import BuildError
from mahtrt.openvino_core import shared_core
from mahtrt.spec import DECODING
from mahtrt.targets.openvino.ir import read_ir, write_ir
from mahtrt.targets.openvino.run import compile_model, config_for, read_model


def written(model: onnx.ModelProto, folder: Path) -> tuple[bytes, bytes]:
    """The two files of a graph's IR."""
    folder.mkdir()
    places = write_ir(read_model(tiny.save(model, folder)), folder / "engine")
    assert sorted(place.name for place in (folder / "engine").iterdir()) == [
        "model.bin",
        "model.xml",
    ]
    return places["ir"].read_bytes(), places["weights"].read_bytes()


@pytest.mark.parametrize("make", [tiny.make_model, tiny.make_int8_model])
def test_one_graph_gives_the_same_bytes_anywhere(make: Any, tmp_path: Path) -> None:
    first, again = (written(make(), tmp_path / name) for name in ("first", "again"))
    assert first == again
    assert str(tmp_path).encode() not in b"".join(first)


def decoding_graph() -> onnx.ModelProto:
    """Two convolutions, of which the second is in the module that decodes."""
    b = Builder()
    maps = b.conv("image", "head", 3, 16)
    return b.model({"y": b.conv(maps, f"{DECODING}.Conv", 16, 16, groups=16)})


def test_what_decodes_keeps_its_precision_in_older_and_newer_openvino(tmp_path: Path) -> None:
    text, weights = written(decoding_graph(), tmp_path / "net")
    assert text.count(b'<attribute name="precise" version="0"') == 1
    from_ir = shared_core().compile_model(
        shared_core().read_model(text, weights), "CPU", config_for("bf16", 1)
    )
    (place,) = (tmp_path / "net").glob("*.onnx")
    from_onnx = compile_model(place, inference_precision="bf16", threads=1)
    shape = list(from_ir.inputs[0].shape)
    image = np.random.default_rng(0).random(shape, np.float32)
    for ours, theirs in zip(from_ir([image]).values(), from_onnx([image]).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_names_stay_and_differ(tmp_path: Path) -> None:
    written(decoding_graph(), tmp_path / "net")
    folder = tmp_path / "net/engine"
    graph = read_ir(folder / "model.xml", folder / "model.bin")
    names = [op.get_friendly_name() for op in graph.get_ops()]
    assert f"{DECODING}.Conv" in "\n".join(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kept", [0, 10, -10], ids=["nothing", "a part", "nearly all"])
@pytest.mark.parametrize("cut", ["model.xml", "model.bin"])
def test_a_file_that_openvino_cut_short_is_a_full_disk(
    tmp_path: Path, kept: int, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    save = openvino.save_model

    def save_a_part(model: object, path: bytes, *options: object) -> None:
        save(model, path, *options)
        place = Path(path.decode()).with_name(cut)
        place.write_bytes(place.read_bytes()[:kept])

    model = read_model(tiny.save(tiny.make_model(), tmp_path))
    monkeypatch.setattr(openvino, "save_model", save_a_part)
    with pytest.raises(BuildError, match=r"writing .*model\.xml: got a full disk"):
        write_ir(model, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_what_openvino_says_of_a_full_disk_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    model = read_model(tiny.save(tiny.make_model(), tmp_path))
    monkeypatch.setattr(openvino, "save_model", fail)
    with pytest.raises(BuildError, match="got a full disk") as caught:
        write_ir(model, tmp_path / "out")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
