from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import onnx
from tiny_graphs import feeds, smooth_images

from mahtrt.calibration.card import make_card
from mahtrt.calibration.methods import METHODS
from mahtrt.calibration.ranges import Ranges, TensorRange, collect_ranges
from mahtrt.verbs.calibrate import text_of


def seen(amax: float, *past: float, saturation: float = 0.0) -> TensorRange:
    history: dict[str, tuple[float, ...]] = {m: tuple(past) for m in METHODS} if past else {}
    amaxes: dict[str, float] = dict.fromkeys(METHODS, amax)
    shares: dict[str, float] = dict.fromkeys(METHODS, saturation)
    return TensorRange(-amax, amax, amaxes, shares, 10, 10, history)


SETTLED = Ranges(
    tensors={"a": seen(4.0, 2.0, 3.0, 4.0, 4.0), "b": seen(1.0, 0.9, 0.95, 0.95, 1.0)},
    images=16,
    digest="ab" * 32,
    preprocess_version=1,
    snapshots=(2, 4, 8, 12),
)


def test_a_settled_calibration_has_no_warning() -> None:
    card = make_card(SETTLED)
    assert (card.images, card.digest, card.methods) == (16, "ab" * 32, {"minmax": 2})
    assert list(map(astuple, card.snapshots)) == [
        (2, 30.0, 50.0),
        (4, 15.0, 25.0),
        (8, 2.5, 5.0),
        (12, 0.0, 0.0),
    ]
    assert card.warnings == ()
    assert [(row.tensor, row.moved_percent) for row in card.most_moved] == [("b", 5.0)]
    assert card.most_saturated == ()


def test_scales_that_still_move_are_named() -> None:
    tensors = {f"t{n}": seen(4.0, 1.0, 1.0, 3.5 - n / 4, 4.0) for n in range(5)}
    card = make_card(replace(SETTLED, tensors=tensors | {"settled": seen(1.0, 1.0, 1.0, 1.0, 1.0)}))
    (warning,) = card.warnings
    assert warning == (
        "more images would still move the scales: over the second half, 5 of 6 moved by more than "
        "10% (t4 by 38%, t3 by 31%, t2 by 25% and 2 more)"
    )
    assert f"warning: {warning}" in text_of(card)


def test_the_worst_ten_that_saturate_come_first() -> None:
    tensors = {f"t{n}": seen(1.0, saturation=n / 100) for n in range(14)}
    card = make_card(replace(SETTLED, tensors=tensors, snapshots=()))
    assert [row.tensor for row in card.most_saturated] == [f"t{n}" for n in range(13, 3, -1)]
    assert "saturates 13.0000%: t13" in text_of(card)
    assert "t9" not in text_of(card)


def test_the_card_is_of_the_methods_that_were_used() -> None:
    amax = {"minmax": 4.0, "percentile": 3.0, "entropy": 2.0, "mse": 1.0}
    one = replace(seen(4.0), amax=amax, saturation=amax, history=dict.fromkeys(METHODS, (0.5,)))
    ranges = replace(SETTLED, tensors={"a": one, "b": one}, snapshots=(8,))
    card = make_card(ranges, {"b": "mse"})
    assert card.methods == {"minmax": 1, "mse": 1}
    rows = {row.tensor: row for row in card.most_moved}
    assert (rows["a"].amax, rows["a"].moved_percent) == (4.0, 87.5)
    assert (rows["b"].method, rows["b"].amax, rows["b"].moved_percent) == ("mse", 1.0, 50.0)


def test_too_few_images_are_said() -> None:
    card = make_card(replace(SETTLED, tensors={"a": seen(1.0)}, images=3, snapshots=()))
    assert card.warnings == ("3 image(s) are too few to see whether more would move the scales",)
    assert card.most_moved == ()


def test_the_text_is_short() -> None:
    card = make_card(SETTLED)
    assert text_of(card).splitlines()[:2] == [
        "calibrated on 16 images (abababababab), minmax (2 tensors)",
        "after 2 images: scales within 30.0% of the final ones in the median, 50.0% at most",
    ]


def test_real_ranges_make_a_card(model: onnx.ModelProto, model_path: Path) -> None:
    tensor = "encoder.stem_relu_out"
    ranges = collect_ranges(model_path, [tensor], feeds(smooth_images(8)), threads=1)
    card = make_card(ranges, "entropy")
    assert [seen.images for seen in card.snapshots] == [1, 2, 4, 6]
    assert card.most_saturated[0].saturation == ranges.tensors[tensor].saturation["entropy"] > 0
    assert make_card(ranges).most_saturated == ()  # minmax saturates nothing
