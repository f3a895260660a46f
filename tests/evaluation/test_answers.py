"""Answers and scores: frames, units, and what is not annotated."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from sample_list import SampleList
from torch import Tensor, nn

from mahtrt.data.sample import Sample
from mahtrt.errors import DataError
from mahtrt.evaluation.answers import ask
from mahtrt.evaluation.comparison import costs_per_case
from mahtrt.evaluation.scores import score
from mahtrt.models.torch_reference import TorchBackend
from mahtrt.runtime.session import Session
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec

SPEC = ModelSpec(
    family="test",
    inputs=(InputSpec((64, 64), channels=1, color_order="gray", mean=(0.0,), std=(1.0,)),),
    outputs=(
        OutputSpec("landmarks", "landmarks", frame="network"),
        OutputSpec("seen", "visibility"),
    ),
    landmarks=("a", "b"),
    decode=DecodeSpec("regression"),
)
OTHER = dataclasses.replace(
    SPEC,
    outputs=(OutputSpec("change", "map"), OutputSpec("findings", "logits")),
    landmarks=(),
    decode=DecodeSpec("none"),
)


class Fixed(nn.Module):
    """Says the same of every image."""

    def __init__(self, **outputs: Any) -> None:
        super().__init__()
        self.outputs = {name: torch.tensor([value]) for name, value in outputs.items()}

    def forward(self, _images: Tensor) -> dict[str, Tensor]:
        assert not self.training
        return self.outputs


def session(spec: ModelSpec, **outputs: Any) -> Session:
    return Session(TorchBackend(Fixed(**outputs), spec), spec)


def sample(**known: Any) -> Sample:
    """A 128x128 image, which the 64x64 network sees at half its size."""
    return Sample("one", np.zeros((128, 128), np.uint8), **known)


def test_errors_are_in_image_pixels_and_millimetres() -> None:
    # (10, 20) in the network is (20.5, 40.5) in the image; 3 and 4 more are 6 and 8 there.
    asked = session(SPEC, landmarks=[[13.0, 24.0], [1.0, 1.0]], seen=[0.9, 0.2])
    points = np.array([[20.5, 40.5], [np.nan, np.nan]], np.float32)
    visible = np.array([1, 1], np.float32)
    cases = SampleList([sample(points_px=points, spacing_mm=(0.5, 0.1), visible=visible)])
    scores = score(ask(asked, cases))
    assert scores.px == pytest.approx(10.0, abs=1e-4)
    assert scores.mm == pytest.approx(np.hypot(6 * 0.1, 8 * 0.5), abs=1e-4)
    assert scores.visibility_accuracy == 0.5
    assert (scores.map_mae, scores.map_ssim, scores.auroc) == (None,) * 3
    assert score(ask(asked, SampleList([sample(points_px=points)]))).mm is None


def test_maps_are_compared_on_the_grid_of_the_network() -> None:
    target = np.zeros((1, 128, 128), np.float32)
    target[:, :64] = 1.0
    asked = session(OTHER, change=[[[0.75, 0.75], [0.0, 0.0]]], findings=[2.0])
    calls: list[tuple[int, int]] = []
    cases = SampleList([sample(target_map=target), sample()])
    answers = ask(asked, cases, lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]
    assert answers.map_errors[0] == pytest.approx(0.125)
    assert np.isnan(answers.map_errors[1])
    assert answers.probabilities[0] == pytest.approx(1 / (1 + np.exp(-2)))
    scores = score(answers)
    assert set(scores.in_words()) == {"map MAE", "map SSIM"}
    assert scores.in_words()["map MAE"] == "0.1250"
    exact = session(OTHER, change=[[[1.0, 1.0], [0.0, 0.0]]], findings=[2.0])
    alike = score(ask(exact, cases))
    assert (alike.map_mae, alike.map_ssim) == (0.0, 1.0)
    assert scores.map_ssim is not None
    assert scores.map_ssim < 1.0


def test_what_the_network_does_not_give_is_not_judged() -> None:
    asked = session(dataclasses.replace(OTHER, outputs=OTHER.outputs[:1]), change=[[[0.5]]])
    known = {"labels": np.array([1, 0], np.float32), "visible": np.array([1], np.float32)}
    target = np.zeros((1, 128, 128), np.float32)
    answers = ask(asked, SampleList([sample(target_map=target, **known)]))
    assert answers.labels.shape == answers.probabilities.shape == (1, 0)
    assert score(answers).in_words()["map MAE"] == "0.5000"


def test_labels_are_found_by_their_names() -> None:
    named = (OutputSpec("change", "map"), OutputSpec("findings", "logits", labels=("a", "b")))
    asked = session(
        dataclasses.replace(OTHER, outputs=named), change=[[[0.0]]], findings=[3.0, -3.0]
    )
    known = np.array([0, 1], np.float32)
    answers = ask(asked, SampleList([sample(labels=known, label_names=("b", "a"))]))
    assert answers.label_names == ("a", "b")
    np.testing.assert_array_equal(answers.labels, [[1, 0]])


def test_what_is_not_finite_is_wrong_and_not_left_out() -> None:
    known = {
        "target_map": np.zeros((1, 128, 128), np.float32),
        "labels": np.zeros(1, np.float32),
    }
    broken = session(OTHER, change=[[[np.nan, 0.0], [0.0, 0.0]]], findings=[np.nan])
    answers = ask(broken, SampleList([sample(**known)]))
    scores = score(answers)
    assert (scores.map_mae, scores.map_ssim) == (np.inf, -1.0)
    np.testing.assert_array_equal(costs_per_case(answers)["label_error"], [[1.0]])
    points, visible = np.ones((2, 2), np.float32), np.zeros(2, np.float32)
    blind = session(SPEC, landmarks=[[1.0, 1.0]] * 2, seen=[np.nan, 0.1])
    cases = SampleList([sample(points_px=points, visible=visible)])
    assert score(ask(blind, cases)).visibility_accuracy == 0.5


def test_visibility_is_judged_without_landmarks() -> None:
    spec = dataclasses.replace(SPEC, outputs=SPEC.outputs[1:], decode=DecodeSpec("none"))
    points, visible = np.ones((2, 2), np.float32), np.array([1, 0], np.float32)
    cases = SampleList([sample(points_px=points, visible=visible)])
    scores = score(ask(session(spec, seen=[0.9, 0.2]), cases))
    assert (scores.visibility_accuracy, scores.px) == (1.0, None)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"target_map": np.zeros((2, 128, 128), np.float32)}, "2 annotated channels of a map"),
        ({"labels": np.zeros(3, np.float32)}, "3 annotated labels; expected 1"),
    ],
)
def test_annotations_of_another_number_are_refused(known: dict[str, Any], message: str) -> None:
    asked = session(OTHER, change=[[[0.0]]], findings=[1.0])
    with pytest.raises(DataError, match=f"one: got {message}"):
        ask(asked, SampleList([sample(**known)]))
