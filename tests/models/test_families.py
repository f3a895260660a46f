"""The table of families."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_maht_net import small_net

from mahtrt.errors import MissingComponentError, ModelError
from mahtrt.models import families as families_module
from mahtrt.models.families import FAMILIES, build_model, is_known, model_from_spec, model_names
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
        returned = module(torch.empty(2, module.spec.input.channels, *module.spec.input.size))
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
    with pytest.raises(ModelError, match=r"maht2: got an unknown model family.*maht-net"):
        build_model("maht2/nano")
    spec = dataclasses.replace(small_net().spec, family="other")
    with pytest.raises(ModelError, match="other"):
        model_from_spec(spec)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def require(module: str, *, extra: str, needed_for: str) -> None:
        if module == "timm":
            raise MissingComponentError(module, expected=extra, fix=needed_for)

    monkeypatch.setattr(families_module, "require", require)
    with pytest.raises(MissingComponentError, match=r"timm.*export.*building maht-net"):
        build_model("maht-net/nano")
