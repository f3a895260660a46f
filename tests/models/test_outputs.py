from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from networks import HEATMAPS, LANDMARKS, MAP, spec_for

from mahtrt.errors import ModelError
from mahtrt.models.outputs import check_outputs, named_outputs
from mahtrt.spec import OutputSpec

A, B, C = torch.zeros(1, 3, 2), torch.zeros(1, 3, 8, 8), torch.zeros(1, 5, 4, 4)


@pytest.mark.parametrize(
    "returned",
    [(A, B), [A, B], (A, B, C), {"other": C, "heatmaps": B, "points": A}],
    ids=["tuple", "list", "longer", "dict"],
)
def test_outputs_come_in_the_order_of_the_spec(returned: Any) -> None:
    outputs = named_outputs(returned, spec_for(LANDMARKS, HEATMAPS))
    assert list(outputs) == ["points", "heatmaps"]
    assert outputs["points"] is A
    assert outputs["heatmaps"] is B


def test_one_tensor_is_the_one_output() -> None:
    assert named_outputs(C, spec_for(MAP)) == {"features": C}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (A, r"output 'heatmaps': got 1 value\(s\); expected tensors for points, heatmaps"),
        ({"points": A, "maps": B}, "output 'heatmaps': got keys points, maps"),
        ((A, [B]), r"output 'heatmaps': got 2 value\(s\)"),
        (SimpleNamespace(points=A), "what the network returns: got a SimpleNamespace"),
        (None, "got a NoneType"),
    ],
)
def test_missing_outputs(returned: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        named_outputs(returned, spec_for(LANDMARKS, HEATMAPS))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("heatmaps", (2, 3, 8, 6)),
        ("landmarks", (2, 3, 2)),
        ("confidence", (2, 3)),
        ("spread", (2, 3)),
        ("visibility", (2, 3)),
        ("map", (2, 9, 4, 4)),
        ("logits", (2, 9)),
    ],
)
def test_shapes_that_fit(kind: Any, shape: tuple[int, ...]) -> None:
    spec = spec_for(OutputSpec("out", kind, frame="network"))
    check_outputs({"out": torch.zeros(shape)}, spec, batch=2)


@pytest.mark.parametrize(
    ("kind", "tensor", "message"),
    [
        (
            "heatmaps",
            torch.zeros(1, 4, 8, 8),
            r"got shape \(1, 4, 8, 8\) of float32; expected \(1, 3, ",
        ),
        ("heatmaps", torch.zeros(1, 3, 8), r"\(B, K, h, w\) for kind heatmaps"),
        ("landmarks", torch.zeros(1, 6), r"expected \(1, 3, 2\)"),
        ("confidence", torch.zeros(1, 3, 1), r"expected \(1, 3\)"),
        ("map", torch.zeros(4, 8, 8), "any, any, any"),
        ("logits", torch.zeros(1), r"\(1, any\)"),
        ("logits", torch.zeros(1, 9, 4, 4), r"\(1, any\) of float32, which is \(B, L\)"),
        ("spread", torch.zeros(2, 3), r"got shape \(2, 3\)"),
        ("confidence", torch.zeros(1, 3).half(), "of float16; expected"),
        ("visibility", torch.zeros(1, 3, dtype=torch.int64), "of int64"),
    ],
)
def test_shapes_that_do_not(kind: Any, tensor: torch.Tensor, message: str) -> None:
    spec = spec_for(OutputSpec("out", kind, frame="network"))
    with pytest.raises(ModelError, match=f"output 'out'.*{message}"):
        check_outputs({"out": tensor}, spec, batch=1)


def test_there_are_as_many_logits_as_labels() -> None:
    spec = spec_for(OutputSpec("out", "logits", labels=("a", "b")))
    check_outputs({"out": torch.zeros(1, 2)}, spec, batch=1)
    with pytest.raises(ModelError, match=r"got shape \(1, 3\) .*expected \(1, 2\)"):
        check_outputs({"out": torch.zeros(1, 3)}, spec, batch=1)
