"""ModelSource, load_model and find_reference: the same weights again, or none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_maht_net import SMALL, small_net

from mahtrt.bundle.origin import SourceRecord
from mahtrt.digest import sha256_of_file
from mahtrt.errors import CheckpointError, UsageError
from mahtrt.models import checkpoint as checkpoint_module
from mahtrt.models.checkpoint import load_checkpoint, save_checkpoint
from mahtrt.models.reference import ModelSource, find_reference, load_model
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec

pytestmark = pytest.mark.slow

MODEL = "maht-net/nano"
IMAGE = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)

FOREIGN_CODE = """
from torch import nn

def make():
    return nn.Conv2d(3, 2, 1)
"""
FOREIGN_SPEC = """
family = "colours"
landmarks = ["a", "b"]
[input]
size = [16, 24]
[[outputs]]
name = "heatmaps"
kind = "heatmaps"
[decode]
method = "none"
heatmap_size = [16, 24]
"""


def heatmaps(module: torch.nn.Module, image: np.ndarray = IMAGE) -> np.ndarray:
    with torch.inference_mode():
        return module(torch.from_numpy(image))["heatmaps"].numpy()


def saved(path: Path, seed: int) -> Path:
    module = small_net(seed)
    save_checkpoint(path, module.state_dict(), module.spec)
    return path


def found(spec: ModelSpec, source: SourceRecord, **arguments: Any) -> tuple[np.ndarray, str]:
    result = find_reference(spec, source, **arguments)
    assert result is not None
    return heatmaps(result[0]), result[1]


# Provenance


def test_provenance_holds_names_and_digests_but_no_folders(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "net.safetensors", 0)
    source = ModelSource("/home/me/net.py:make", checkpoint, {"width": 3}, seed=5)
    assert json.loads(json.dumps(source.to_dict())) == {
        "model": "net.py:make",
        "kwargs": {"width": "3"},
        "checkpoint": "net.safetensors",
        "checkpoint_sha256": sha256_of_file(checkpoint),
        "seed": None,
    }
    assert ModelSource("pkg.net:make", seed=5).to_dict()["seed"] == 5
    assert ModelSource("pkg.net:make").to_dict()["model"] == "pkg.net:make"


# load_model


def test_random_weights_follow_the_seed() -> None:
    first, spec = load_model(ModelSource(MODEL, kwargs=SMALL, seed=3))
    torch.rand(7)
    again, _ = load_model(ModelSource(MODEL, kwargs=SMALL, seed=3))
    other, _ = load_model(ModelSource(MODEL, kwargs=SMALL, seed=4))
    assert not first.training
    assert spec == first.spec
    np.testing.assert_array_equal(heatmaps(first), heatmaps(again))
    assert not np.array_equal(heatmaps(first), heatmaps(other))


def test_a_checkpoint_brings_its_own_settings(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors", 3)
    module, spec = load_model(ModelSource("maht-net", path))
    assert spec == small_net(3).spec
    np.testing.assert_array_equal(heatmaps(module), heatmaps(small_net(3).eval()))
    wide, wide_spec = load_model(ModelSource("maht-net", path, {"input_size": (96, 96)}))
    assert wide_spec.input.size == (96, 96)
    with torch.inference_mode():
        assert wide(torch.zeros(1, 3, 96, 96))["heatmaps"].shape[2:] == (24, 24)


def test_a_checkpoint_of_another_variant_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors", 3)
    with pytest.raises(CheckpointError, match=r"keys that do not match: \d+ missing"):
        load_model(ModelSource("maht-net/base", path))


def test_a_checkpoint_of_another_family_is_refused(tmp_path: Path) -> None:
    import dataclasses

    module = small_net()
    spec = dataclasses.replace(module.spec, family="other-net")
    save_checkpoint(tmp_path / "net.safetensors", module.state_dict(), spec)
    with pytest.raises(CheckpointError, match="weights of other-net; expected maht-net"):
        load_model(ModelSource(MODEL, tmp_path / "net.safetensors"))


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.safetensors", 0)
    with pytest.raises(CheckpointError, match=r"unexpected.*heatmaps"):
        load_model(ModelSource(MODEL, path, {"landmarks": ("a", "b")}))


def test_foreign_code_needs_a_spec() -> None:
    with pytest.raises(UsageError, match="--spec"):
        load_model(ModelSource("net.py:make"))


# find_reference, a network of mahtrt


def test_random_weights_are_made_again_from_the_recorded_seed() -> None:
    source = ModelSource(MODEL, kwargs=SMALL, seed=3)
    module, spec = load_model(source)
    torch.manual_seed(99)
    result, described = found(spec, source.record())
    np.testing.assert_array_equal(result, heatmaps(module))
    assert described == "random weights, seed 3"


def test_the_recorded_checkpoint_is_found_by_name_and_digest(tmp_path: Path) -> None:
    source = ModelSource("maht-net", saved(tmp_path / "net.safetensors", 3))
    module, spec = load_model(source)
    provenance = source.record()
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    saved(other / "net.safetensors", 4)  # the same name, other weights
    result, described = found(spec, provenance, folders=(empty, other, tmp_path))
    np.testing.assert_array_equal(result, heatmaps(module))
    assert described == "net.safetensors"
    assert find_reference(spec, provenance, folders=(empty, other)) is None


@pytest.mark.parametrize(
    "name", ["../net.safetensors", "{folder}/net.safetensors", "..\\net.safetensors"]
)
def test_a_recorded_name_does_not_lead_to_another_folder(tmp_path: Path, name: str) -> None:
    source = ModelSource("maht-net", saved(tmp_path / "net.safetensors", 3))
    _, spec = load_model(source)
    recorded = replace(source.record(), checkpoint=name.format(folder=tmp_path))
    within = tmp_path / "within"
    within.mkdir()
    assert find_reference(spec, recorded, folders=(within,)) is None
    assert find_reference(spec, recorded, folders=(tmp_path,)) is not None


def test_the_checkpoint_given_has_to_be_the_recorded_one(tmp_path: Path) -> None:
    right, wrong = saved(tmp_path / "a.safetensors", 3), saved(tmp_path / "b.safetensors", 4)
    source = ModelSource(MODEL, right)
    spec = small_net(3).spec
    result, described = found(spec, source.record(), checkpoint=right)
    np.testing.assert_array_equal(result, heatmaps(small_net(3).eval()))
    assert described == "a.safetensors"
    with pytest.raises(CheckpointError) as caught:
        find_reference(spec, source.record(), checkpoint=wrong)
    assert sha256_of_file(wrong)[:16] in str(caught.value)
    assert sha256_of_file(right)[:16] in str(caught.value)
    with pytest.raises(CheckpointError, match="no such file"):
        find_reference(spec, source.record(), checkpoint=tmp_path / "none.safetensors")


def test_a_checkpoint_that_is_exchanged_before_it_is_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, other = saved(tmp_path / "a.safetensors", 3), saved(tmp_path / "b.safetensors", 4)
    record = ModelSource(MODEL, place).record()
    spec = small_net(3).spec

    def exchanged(path: Path, *arguments: Any) -> Any:
        path.write_bytes(other.read_bytes())
        return load_checkpoint(path, *arguments)

    monkeypatch.setattr(checkpoint_module, "load_checkpoint", exchanged)
    with pytest.raises(CheckpointError, match="the checkpoint that was exported"):
        find_reference(spec, record, folders=(tmp_path,))


def test_a_graph_that_does_not_say_its_weights_has_no_reference(tmp_path: Path) -> None:
    spec = small_net().spec
    assert find_reference(spec, SourceRecord()) is None
    given = saved(tmp_path / "net.safetensors", 3)
    result, _ = found(spec, SourceRecord(), checkpoint=given)
    np.testing.assert_array_equal(result, heatmaps(small_net(3).eval()))


# find_reference, foreign code


@pytest.fixture
def foreign(tmp_path: Path) -> ModelSource:
    (tmp_path / "colours.py").write_text(FOREIGN_CODE)
    (tmp_path / "spec.toml").write_text(FOREIGN_SPEC)
    return ModelSource(f"{tmp_path}/colours.py:make", spec=tmp_path / "spec.toml", seed=7)


COLOURS = np.random.default_rng(1).standard_normal((2, 3, 16, 24)).astype(np.float32)


def test_foreign_code_is_not_run_unless_named() -> None:
    spec = ModelSpec("colours", (InputSpec((16, 24)),), (OutputSpec("heatmaps", "heatmaps"),))
    assert find_reference(spec, SourceRecord("colours.py:make", seed=0)) is None


def test_a_checkpoint_alone_does_not_make_a_foreign_network(tmp_path: Path) -> None:
    spec = ModelSpec("colours", (InputSpec((16, 24)),), (OutputSpec("heatmaps", "heatmaps"),))
    with pytest.raises(UsageError, match=r"--reference.*colours.*--model path/file\.py:factory"):
        find_reference(spec, SourceRecord(), checkpoint=tmp_path / "net.pt")


def test_foreign_random_weights_follow_the_recorded_seed(foreign: ModelSource) -> None:
    module, spec = load_model(foreign)
    named = ModelSource(foreign.model, spec=foreign.spec)  # the caller does not know the seed
    result = find_reference(spec, foreign.record(), model=named)
    assert result is not None
    np.testing.assert_array_equal(heatmaps(result[0], COLOURS), heatmaps(module, COLOURS))
    assert result[1] == "random weights, seed 7"


def test_a_foreign_networks_checkpoint_is_found_and_loaded(
    foreign: ModelSource, tmp_path: Path
) -> None:
    state = {"weight": torch.ones(2, 3, 1, 1), "bias": torch.tensor([0.0, 1.0])}
    torch.save(state, tmp_path / "colours.pt")
    exported = ModelSource(foreign.model, tmp_path / "colours.pt", spec=foreign.spec)
    _, spec = load_model(exported)
    result = find_reference(spec, exported.record(), model=foreign, folders=(tmp_path,))
    assert result is not None
    got = heatmaps(result[0], COLOURS[:1])
    total = COLOURS[:1].sum(1, keepdims=True)
    np.testing.assert_allclose(got, np.concatenate([total, total + 1], 1), atol=1e-5)
    assert result[1] == "colours.pt"
    elsewhere = tmp_path / "elsewhere"
    assert find_reference(spec, exported.record(), model=foreign, folders=(elsewhere,)) is None
