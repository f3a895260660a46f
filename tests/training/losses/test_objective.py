"""The sum of losses that a network's spec asks for."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mahtrt.errors import DataError, UsageError
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.training.cases import Targets
from mahtrt.training.losses import elementwise
from mahtrt.training.losses.objective import Objective
from mahtrt.training.losses.options import WEIGHTS, LossOptions
from mahtrt.training.targets import gaussian_heatmaps

COORDINATE_WEIGHT, AUXILIARY_WEIGHT = WEIGHTS["coordinate"], WEIGHTS["auxiliary"]
L1_SSIM = LossOptions(map="l1", weights={"map-ssim": 1.0})
SPEC = ModelSpec(
    family="test",
    inputs=(InputSpec((64, 96)),),
    outputs=(
        OutputSpec("heatmaps", "heatmaps"),
        OutputSpec("landmarks", "landmarks", frame="network"),
    ),
    landmarks=("a", "b", "c"),
    decode=DecodeSpec(heatmap_size=(16, 24)),
)
NAN = math.nan
POINTS = torch.tensor([[[20.0, 30.0], [70.0, 10.0], [50.0, 60.0]]]).repeat(2, 1, 1)


def targets_of(points: Tensor, **known: Any) -> Targets:
    return Targets(points, known.pop("visible", torch.full(points.shape[:2], NAN)), **known)


def loss_of(outputs: dict[str, Tensor], points: Tensor) -> Tensor:
    return Objective(SPEC)(outputs, targets_of(points))[0]


def spec_of(*outputs: OutputSpec, **changes: Any) -> ModelSpec:
    return dataclasses.replace(
        SPEC, outputs=outputs, **{"decode": DecodeSpec("none"), "landmarks": (), **changes}
    )


def outputs_for(points: Tensor, requires_grad: bool = False) -> dict[str, Tensor]:
    """What a network would give that sees its landmarks at ``points``."""
    cells = (points + 0.5) / 4 - 0.5
    outputs = {
        "heatmaps": gaussian_heatmaps(cells, (16, 24)),
        "landmarks": points.clone(),
        "auxiliary": (points + 0.5) / torch.tensor([96.0, 64.0]),
    }
    return {k: v.requires_grad_(requires_grad) for k, v in outputs.items()}


def test_the_loss_falls_when_the_points_get_nearer() -> None:
    direction = torch.tensor([3.0, -2.0])
    losses = [
        loss_of(outputs_for(POINTS + off * direction), POINTS).item()
        for off in (4.0, 2.0, 1.0, 0.5, 0.0)
    ]
    assert losses == sorted(set(losses), reverse=True)


def test_coordinates_are_compared_in_heatmap_cells() -> None:
    outputs = outputs_for(POINTS)
    at_the_points = loss_of(outputs, POINTS)
    outputs["landmarks"] = POINTS + torch.tensor([8.0, 0.0])  # 2 cells: smooth L1 of 2 is 1.5
    added = loss_of(outputs, POINTS) - at_the_points
    assert added.item() == pytest.approx(1.5 * COORDINATE_WEIGHT, abs=1e-5)


@pytest.mark.parametrize("output", ["landmarks", "auxiliary", "heatmaps"])
def test_every_output_is_pulled_towards_its_target(output: str) -> None:
    outputs = outputs_for(POINTS, requires_grad=True)
    with torch.no_grad():
        outputs[output].mul_(0.5).add_(0.1)
    loss_of(outputs, POINTS).backward()
    gradient = outputs[output].grad
    assert gradient is not None
    target = outputs_for(POINTS)[output]
    step = outputs[output].detach() - 1e-3 * gradient / gradient.abs().max()
    assert (step - target).norm() < (outputs[output].detach() - target).norm()


def test_a_missing_point_has_no_gradient_and_no_weight() -> None:
    known = POINTS.clone()
    known[:, 1] = NAN
    far = outputs_for(POINTS + 9.0, requires_grad=True)
    loss = loss_of(far, known)
    loss.backward()
    for name, value in far.items():
        assert value.grad is not None
        assert bool(value.grad.isfinite().all()), name
        assert not value.grad[:, 1].any(), name
        assert value.grad[:, 0].any(), name
        assert value.grad[:, 2].any(), name

    others = {name: value.detach()[:, [0, 2]] for name, value in far.items()}
    alone = loss_of(others, POINTS[:, [0, 2]])
    torch.testing.assert_close(loss.detach(), alone)


def test_a_network_without_an_auxiliary_branch_is_judged_by_the_rest() -> None:
    outputs = outputs_for(POINTS + 4.0)
    with_branch = loss_of(outputs, POINTS)
    off = (outputs.pop("auxiliary") - outputs_for(POINTS)["auxiliary"]).abs().sum()
    without = loss_of(outputs, POINTS)
    count = POINTS.shape[0] * POINTS.shape[1]
    torch.testing.assert_close(with_branch - without, AUXILIARY_WEIGHT * off / count)


def test_no_annotation_at_all_is_a_loss_of_zero() -> None:
    outputs = outputs_for(POINTS, requires_grad=True)
    loss = loss_of(outputs, torch.full_like(POINTS, NAN))
    loss.backward()
    assert loss.item() == 0.0
    assert all(v.grad is not None and not v.grad.any() for v in outputs.values())


@pytest.mark.parametrize("weighting", ["fixed", "learned"])
def test_a_batch_without_any_map_teaches_nothing(weighting: Any) -> None:
    objective = Objective(spec_of(OutputSpec("change", "map")), LossOptions(weighting=weighting))
    found = torch.rand(2, 1, 64, 96, requires_grad=True)
    loss, terms = objective({"change": found}, targets_of(torch.empty(2, 0, 2)))
    loss.backward()
    assert (float(loss.detach()), terms) == (0.0, {})
    assert found.grad is not None
    assert not found.grad.any()


def test_a_training_without_any_term_is_refused() -> None:
    options = LossOptions(weights={"map": 0.0, "map-ssim": 0.0})
    with pytest.raises(UsageError, match="--loss-weight: got map=0, map-ssim=0; expected a term"):
        Objective(spec_of(OutputSpec("change", "map")), options)


def test_annotations_of_another_shape_are_refused() -> None:
    spec = spec_of(OutputSpec("change", "map"), OutputSpec("findings", "logits"))
    outputs = {"change": torch.rand(2, 2, 64, 96), "findings": torch.zeros(2, 3)}
    for known in ({"target_map": torch.zeros(2, 1, 64, 96)}, {"labels": torch.zeros(2, 1)}):
        with pytest.raises(DataError, match=r"got annotations of shape \(1,.*expected \([23],"):
            Objective(spec)(outputs, targets_of(torch.empty(2, 0, 2), **known))


def test_lowered_outputs_are_compared_in_float32() -> None:
    outputs = {name: value.bfloat16() for name, value in outputs_for(POINTS).items()}
    outputs["heatmaps"] = torch.zeros_like(outputs["heatmaps"])  # clamped: no infinite entropy
    total = loss_of(outputs, POINTS)
    assert total.dtype == torch.float32
    assert total.isfinite()


# Which terms, from the spec alone


def test_normalised_coordinates_are_compared_on_a_grid_over_the_input() -> None:
    spec = spec_of(
        OutputSpec("xy", "landmarks", frame="normalized"),
        landmarks=SPEC.landmarks,
        decode=DecodeSpec("regression"),
    )
    exact = (POINTS + 0.5) / torch.tensor([96.0, 64.0])
    _, terms = Objective(spec)({"xy": exact}, targets_of(POINTS))
    assert terms == {"coordinate": pytest.approx(0.0, abs=1e-6)}
    off = exact + torch.tensor([3 / 64, 0.0])  # three of the 64 cells: smooth L1 of 3 is 2.5
    _, terms = Objective(spec)({"xy": off}, targets_of(POINTS))
    assert terms["coordinate"] == pytest.approx(2.5, abs=1e-4)


def test_dark_heatmaps_are_compared_by_weighted_squares_with_their_own_sigma() -> None:
    spec = dataclasses.replace(SPEC, decode=DecodeSpec("dark", heatmap_size=(16, 24), sigma=3.0))
    cells = (POINTS + 0.5) / 4 - 0.5
    wanted = gaussian_heatmaps(cells, (16, 24), 3.0)
    outputs = {"heatmaps": wanted + 0.5, "landmarks": POINTS + 9}
    _, terms = Objective(spec)(outputs, targets_of(POINTS))
    weights = 16 * 24 + elementwise.FOREGROUND * float(wanted.sum()) / 6
    assert terms == {"heatmap": pytest.approx(0.25 * weights, rel=1e-5)}
    _, terms = Objective(spec, LossOptions(heatmap="mse"))(outputs, targets_of(POINTS))
    assert terms == {"heatmap": pytest.approx(16 * 24 * 0.25)}


def test_linear_heatmaps_are_compared_by_weighted_squares() -> None:
    outputs = {"heatmaps": torch.zeros(2, 3, 16, 24), "landmarks": POINTS}
    _, terms = Objective(SPEC, linear_heatmaps=True)(outputs, targets_of(POINTS))
    wanted = gaussian_heatmaps((POINTS + 0.5) / 4 - 0.5, (16, 24))
    expected = float(((1 + elementwise.FOREGROUND * wanted) * wanted**2).sum() / 6)
    assert terms["heatmap"] == pytest.approx(expected, rel=1e-5)


def test_visibility_counts_where_it_is_annotated() -> None:
    spec = spec_of(OutputSpec("seen", "visibility"), landmarks=SPEC.landmarks)
    visible = torch.tensor([[1.0, 0.0, NAN], [NAN, NAN, NAN]])
    outputs = {"seen": torch.full((2, 3), 0.25, requires_grad=True)}
    loss, terms = Objective(spec)(outputs, targets_of(POINTS, visible=visible))
    assert terms == {"visibility": pytest.approx(-(math.log(0.25) + math.log(0.75)) / 2)}
    loss.backward()
    gradient = outputs["seen"].grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert ((gradient != 0) == visible.isfinite()).all()


def test_a_map_is_compared_at_its_own_size() -> None:
    objective = Objective(spec_of(OutputSpec("change", "map")), L1_SSIM)
    target = torch.zeros(1, 1, 64, 96)
    target[..., :32, :] = 1.0
    half = torch.zeros(1, 1, 32, 48)
    half[..., :16, :] = 1.0
    _, terms = objective({"change": half}, targets_of(POINTS[:1], target_map=target))
    assert terms == {"map": 0.0, "map-ssim": pytest.approx(0.0, abs=1e-6)}
    _, terms = objective({"change": half + 0.25}, targets_of(POINTS[:1], target_map=target))
    assert terms["map"] == pytest.approx(0.25)
    assert terms["map-ssim"] > 0.01


def test_an_unknown_part_of_a_map_pulls_nowhere() -> None:
    objective = Objective(spec_of(OutputSpec("change", "map")), L1_SSIM)
    target = torch.ones(2, 1, 32, 32)
    target[1] = NAN
    found = torch.full((2, 1, 32, 32), 0.5, requires_grad=True)
    loss, terms = objective({"change": found}, targets_of(POINTS, target_map=target))
    assert terms["map"] == pytest.approx(0.5)
    loss.backward()
    assert found.grad is not None
    assert found.grad.isfinite().all()
    assert found.grad[0].any()
    assert found.grad[1].abs().max() < 1e-6


def test_logits_are_compared_with_labels() -> None:
    spec = spec_of(OutputSpec("findings", "logits"))
    logits, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, NAN]])
    _, terms = Objective(spec)({"findings": logits}, targets_of(POINTS[:1], labels=labels))
    assert terms == {"label": pytest.approx(math.log(2))}
    focal = Objective(spec, LossOptions(label="focal"))
    _, terms = focal({"findings": logits}, targets_of(POINTS[:1], labels=labels))
    assert terms == {"label": pytest.approx(0.25 * math.log(2))}


def test_a_weight_of_zero_leaves_a_term_out() -> None:
    options = LossOptions(weights={"heatmap": 0.0, "auxiliary": 3.0})
    outputs = outputs_for(POINTS + 4.0)
    loss, terms = Objective(SPEC, options)(outputs, targets_of(POINTS))
    assert set(terms) == {"coordinate", "auxiliary"}
    expected = COORDINATE_WEIGHT * terms["coordinate"] + 3.0 * terms["auxiliary"]
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_structure_of_heatmaps_can_be_a_term() -> None:
    options = LossOptions(weights={"heatmap-ssim": 1.0})
    terms = [
        Objective(SPEC, options)(outputs_for(POINTS + off), targets_of(POINTS))[1]
        for off in (0.0, 8.0)
    ]
    assert terms[0]["heatmap-ssim"] == pytest.approx(0.0, abs=1e-5)
    assert terms[1]["heatmap-ssim"] > 0.05


def test_learned_weights_start_as_the_fixed_ones_and_fall_for_what_is_uncertain() -> None:
    objective = Objective(SPEC, LossOptions(weighting="learned"))
    outputs, targets = outputs_for(POINTS + 6.0), targets_of(POINTS)
    fixed, _ = Objective(SPEC)(outputs, targets)
    learned, terms = objective(outputs, targets)
    torch.testing.assert_close(learned, fixed)
    learned.backward()
    for name, parameter in objective.named_parameters():
        term = name.rpartition(".")[2]
        # d/ds of exp(-s) * L + s / 2 at s = 0 is 1/2 - L.
        assert parameter.grad is not None
        assert float(parameter.grad) == pytest.approx(0.5 - WEIGHTS[term] * terms[term], abs=1e-4)
