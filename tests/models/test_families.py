"""The table of families."""

from __future__ import annotations

import dataclasses
import importlib
from types import ModuleType

import pytest
import torch
from small_maht_net import small_net

from mahtrt.data.datasets import PHANTOMS, open_dataset
from mahtrt.errors import MissingComponentError, ModelError
from mahtrt.models.families import (
    FAMILIES,
    build_model,
    example_data,
    is_known,
    model_from_spec,
    model_names,
)
from mahtrt.models.maht_net.config import VARIANTS
from mahtrt.models.outputs import check_outputs, named_outputs


def test_names_are_family_and_variant() -> None:
    names = model_names()
    assert {"maht-net/nano", "maht-net/base"} <= set(names)
    assert all(name.partition("/")[0] in FAMILIES for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", model_names())
def test_every_variant_does_what_its_spec_says(name: str) -> None:
    with torch.device("meta"):
        module = build_model(name).eval()
        returned = module(
            *(torch.empty(2, image.channels, *image.size) for image in module.spec.inputs)
        )
        again = model_from_spec(module.spec)
    spec = module.spec
    assert list(returned) == [output.name for output in spec.outputs]
    check_outputs(named_outputs(returned, spec), spec, batch=2)
    assert spec.family == name.partition("/")[0]
    assert again.spec == spec
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("maht-net", True),
        ("maht-net/nano", True),
        ("net.py:make", False),
        ("package.net:make", False),
    ],
)
def test_a_reference_names_a_family_or_foreign_code(name: str, known: bool) -> None:
    assert is_known(name) is known


def test_a_family_without_a_variant_is_its_default() -> None:
    with torch.device("meta"):
        module = build_model("maht-net")
    assert module.config == VARIANTS["base"]


def test_an_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"maht2/nano: got an unknown model family.*maht-net"):
        build_model("maht2/nano")
    spec = dataclasses.replace(small_net().spec, family="other")
    with pytest.raises(ModelError, match="other"):
        model_from_spec(spec)


def test_foreign_code_for_training_is_told_by_its_whole_name() -> None:
    with pytest.raises(ModelError) as caught:
        build_model("/absolute/net.py:make")
    told = str(caught.value)
    assert told.startswith("/absolute/net.py:make: got an unknown model family; expected one of ")
    assert told.endswith("A network of your own can be exported and fine-tuned, but not trained.")
    assert "factory" not in told


@pytest.mark.parametrize("name", [*FAMILIES, *model_names()])
def test_a_family_names_phantoms_that_fit_it(name: str) -> None:
    data = example_data(name)
    assert data in PHANTOMS
    with torch.device("meta"):
        spec = build_model(name).spec
    sample = open_dataset(data, limit=1)[0]
    assert len(sample.images) == len(spec.inputs)
    assert spec.num_landmarks == (0 if sample.points_px is None else len(sample.points_px))


@pytest.mark.parametrize("lost", ["torch", "timm", "timm.layers"])
def test_a_missing_package_is_named_with_its_extra(
    lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def import_module(name: str) -> ModuleType:
        if name in (lost, lost.partition(".")[0], FAMILIES["maht-net"]):
            raise ModuleNotFoundError(f"No module named {lost!r}", name=lost)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    package = lost.partition(".")[0]
    with pytest.raises(MissingComponentError, match=rf"building maht-net.*{package}.*\[export\]"):
        build_model("maht-net/nano")


def test_a_defect_of_ours_is_no_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "lost", "mahtrt.models.lost")
    with pytest.raises(ModuleNotFoundError, match=r"mahtrt\.models\.lost"):
        build_model("lost/nano")
