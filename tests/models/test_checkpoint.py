"""Checkpoints: what is read, and that nothing else is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mahtrt.digest import sha256_of_file
from mahtrt.errors import CheckpointError, SpecError
from mahtrt.models import checkpoint as checkpoint_module
from mahtrt.models.checkpoint import (
    SPEC_KEY,
    Checkpoint,
    load_checkpoint,
    load_into,
    save_checkpoint,
)
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec

SPEC = ModelSpec(
    family="test",
    inputs=(InputSpec((32, 48)),),
    outputs=(OutputSpec("heatmaps", "heatmaps"),),
    landmarks=("a", "b"),
    decode=DecodeSpec(heatmap_size=(8, 12)),
    config={"width": 4},
)


def make_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def assert_same(got: nn.Module, expected: nn.Module) -> None:
    for (name, a), b in zip(got.state_dict().items(), expected.state_dict().values(), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b), name


def test_safetensors_round_trip_with_its_spec(tmp_path: Path) -> None:
    path, net = tmp_path / "net.safetensors", make_net().to(memory_format=torch.channels_last)
    save_checkpoint(path, net.state_dict(), SPEC, notes={"mahtrt.training": "by hand"})
    checkpoint = load_checkpoint(path)
    assert checkpoint.spec == SPEC
    assert checkpoint.path == path
    assert checkpoint.sha256 == sha256_of_file(path)
    assert checkpoint.notes == {"mahtrt.training": "by hand"}
    other = make_net(1)
    load_into(other, checkpoint)
    assert_same(other, net)


def test_equal_content_makes_equal_files(tmp_path: Path) -> None:
    notes = {f"note {index} · ü": str(index) for index in range(8)}
    files = set()
    for index in range(4):
        path = tmp_path / f"{index}.safetensors"
        save_checkpoint(path, make_net().state_dict(), SPEC, notes=notes)
        files.add(path.read_bytes())
    assert len(files) == 1
    assert load_checkpoint(path).notes == notes


def test_half_precision_keeps_integers_and_reads_as_float32(tmp_path: Path) -> None:
    net, half = make_net(), tmp_path / "half.safetensors"
    save_checkpoint(tmp_path / "full.safetensors", net.state_dict(), SPEC)
    save_checkpoint(half, net.state_dict(), SPEC, half=True)
    assert half.stat().st_size < (tmp_path / "full.safetensors").stat().st_size
    other = make_net(1)
    load_into(other, load_checkpoint(half))
    assert_same(other, net.half().float())


def test_half_precision_does_not_turn_a_large_value_into_infinity(tmp_path: Path) -> None:
    state = {"variance": torch.tensor([1.0, 1e6]), "weight": torch.tensor([0.1])}
    save_checkpoint(tmp_path / "c.safetensors", state, SPEC, half=True)
    read = load_checkpoint(tmp_path / "c.safetensors").state
    assert torch.equal(read["variance"], state["variance"])
    assert torch.equal(read["weight"], state["weight"].half().float())


def test_safetensors_without_a_spec(tmp_path: Path) -> None:
    save_file(make_net().state_dict(), tmp_path / "foreign.safetensors")
    checkpoint = load_checkpoint(tmp_path / "foreign.safetensors")
    assert checkpoint.spec is None
    assert checkpoint.notes == {}
    load_into(make_net(1), checkpoint)


def test_a_wrong_spec_names_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(make_net().state_dict(), path, metadata={SPEC_KEY: "{not json"})
    with pytest.raises(SpecError, match=r"odd\.safetensors"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model_state_dict": state, "epoch": 3, "loss": 0.5},
        lambda state: {"state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": state},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"_orig_mod.{k}": v for k, v in state.items()}},
    ],
    ids=["plain", "model_state_dict", "state_dict", "model", "DataParallel", "compile"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_files_with_tensors_only(
    tmp_path: Path, wrap: Callable[[dict[str, Any]], dict[str, Any]], zipped: bool
) -> None:
    net, path = make_net(), tmp_path / "net.pt"
    torch.save(wrap(net.state_dict()), path, _use_new_zipfile_serialization=zipped)
    checkpoint = load_checkpoint(path)
    assert checkpoint.spec is None
    other = make_net(1)
    load_into(other, checkpoint)
    assert_same(other, net)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_pickle_that_needs_code_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    path, folder = tmp_path / "trap.pt", tmp_path / "made"
    content = {**make_net().state_dict(), "extra": Trap(folder)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "pickle" in message
    assert "\n" not in message
    assert "weights_only" not in message  # nobody is told how to run it
    assert "torch.save(model.state_dict(), path)" in message
    if how != "pickle":  # whose protocol PyTorch refuses before it comes to that
        assert "needs code to load (posix.mkdir)" in message
    assert caught.value.exit_code == 1
    assert not folder.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save(make_net(), tmp_path / "module.pt")
    with pytest.raises(CheckpointError, match=r"needs code.*Sequential"):
        load_checkpoint(tmp_path / "module.pt")


@pytest.mark.parametrize(
    "content", [[torch.ones(2)], {}, {"weights": 3}, torch.ones(2), {"model": {"a": "b"}}]
)
def test_content_that_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"not a mapping of names.*'model_state_dict'"):
        load_checkpoint(tmp_path / "odd.pt")


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save(make_net().state_dict(), path)
    else:
        save_checkpoint(path, make_net().state_dict(), SPEC)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "got"), [(b"", "an empty file"), (b"\x89PNG\r\n\x1a\n" * 9, "not PyTorch's")]
)
def test_a_file_that_is_no_checkpoint_is_named_so(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{got}; expected safetensors"):
        load_checkpoint(tmp_path / "net.pt")


@pytest.mark.parametrize("name", ["none.safetensors", "none.pt", ""])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no such file|a folder") as caught:
        load_checkpoint(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_keys_that_do_not_match_are_named(tmp_path: Path) -> None:
    net, path = make_net(), tmp_path / "net.safetensors"
    state = net.state_dict()
    for index in range(5):
        state[f"extra.{index}"] = torch.ones(1)
    del state["0.bias"]
    state["2.weight"] = torch.ones(2, 9)
    save_checkpoint(path, state, SPEC)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(net, load_checkpoint(path))
    message = str(caught.value)
    assert str(path) in message
    assert "1 missing (0.bias)" in message
    assert "5 unexpected (extra.0, extra.1, extra.2 and 2 more)" in message
    assert "1 of another shape (2.weight (2, 9) instead of (2, 4))" in message
    assert f"the {len(before)} keys of Sequential" in message
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_integers_are_no_weights(tmp_path: Path) -> None:
    """Nor is a fraction a count; a whole number of another type is."""
    net, path = nn.BatchNorm1d(3), tmp_path / "net.pt"
    whole = torch.ones(3, dtype=torch.int32)
    for count in (torch.tensor(7, dtype=torch.int32), torch.tensor(8.0)):
        torch.save(net.state_dict() | {"num_batches_tracked": count}, path)
        load_into(net, load_checkpoint(path))
        assert net.state_dict()["num_batches_tracked"] == count
    for wrong in ({"weight": whole}, {"num_batches_tracked": torch.tensor(7.5)}):
        torch.save(net.state_dict() | wrong, path)
        with pytest.raises(CheckpointError, match=r"1 of another type \(.* (int|float)"):
            load_into(net, load_checkpoint(path))


def test_a_networks_own_module_prefix_stays() -> None:
    """A network whose keys really start with ``module.`` is not robbed of them."""

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    source, target = Wrapped(), Wrapped()
    load_into(target, Checkpoint(source.state_dict(), None, Path("x"), "", {}))
    assert_same(target, source)


def test_an_interrupted_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, make_net().state_dict(), SPEC)
    before = path.read_bytes()

    def fail(*_args: object, **_kwargs: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_module, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, make_net(1).state_dict(), SPEC)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
