"""Quantities against a computation of another kind: complex numbers and the law of cosines."""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mahtrt.measure.quantities import Definition, Quantities
from mahtrt.measure.quantity_file import shipped_quantities

NAMES = tuple("ABCDEF")
KINDS: Mapping[str, dict[str, Any]] = {
    "angle": {"kind": "angle", "unit": "deg", "points": NAMES[:3]},
    "lines": {"kind": "angle_between_lines", "unit": "deg", "points": NAMES[:4]},
    "turn": {
        "kind": "angle_between_lines",
        "unit": "deg",
        "points": NAMES[:4],
        "positive_turn": ("D", "E", "F"),
    },
    "distance": {"kind": "distance", "unit": "mm", "points": NAMES[:2]},
    "to line": {"kind": "distance_to_line", "unit": "mm", "points": NAMES[:3]},
    "side": {"kind": "distance_to_line", "unit": "mm", "points": NAMES[:3], "away_from": "D"},
    "along": {"kind": "distance_along_line", "unit": "mm", "points": NAMES[:4]},
    "along bisector": {"kind": "distance_along_line", "unit": "mm", "points": NAMES},
    "across": {"kind": "distance_across_line", "unit": "mm", "points": NAMES[:4]},
    "across bisector": {"kind": "distance_across_line", "unit": "mm", "points": NAMES},
    "height": {"kind": "mean_height", "unit": "mm", "points": NAMES[:4]},
    "difference": {"kind": "difference", "unit": "deg", "of": ("angle", "lines")},
    "mean": {"kind": "mean", "unit": "mm", "of": ("distance", "along", "side")},
    "ratio": {"kind": "ratio", "unit": "ratio", "of": ("along", "distance")},
}
ALL = Quantities(
    "test.toml",
    "test",
    dict.fromkeys(NAMES, ()),
    tuple(Definition(name=name, source="a test", **each) for name, each in KINDS.items()),
)
# Coordinates that no arithmetic makes equal or far apart by rounding.
figures = hnp.arrays(np.float64, (6, 2), elements=st.floats(-400, 400, width=32))


def measure(points: Any, spacing_mm: tuple[float, float] = (1.0, 1.0)) -> dict[str, float]:
    return ALL.measure(np.asarray(points, np.float64), NAMES, spacing_mm)


def by_complex_numbers(points: np.ndarray) -> dict[str, float]:
    """Every quantity once more: lines as complex numbers, angles by the law of cosines."""
    a, b, c, d, e, f = (complex(*each) for each in points.tolist())
    sides = [abs(b - c), abs(a - b), abs(a - c)]
    angle = math.degrees(
        math.acos(
            max(
                -1,
                min(1, (sides[0] ** 2 + sides[1] ** 2 - sides[2] ** 2) / (2 * sides[0] * sides[1])),
            )
        )
    )
    turned = math.degrees(cmath.phase((d - c) / (b - a)))
    sense = math.copysign(1, ((f - e) / (e - d)).imag)
    # A rotation that puts B at the origin and C on the positive axis: what is left is y.
    height = ((a - b) * (c - b).conjugate() / abs(c - b)).imag
    other = ((d - b) * (c - b).conjugate() / abs(c - b)).imag
    one = (a - b) * ((d - c) / abs(d - c)).conjugate()
    bisector = (d - c) / abs(d - c) + (f - e) / abs(f - e)
    two = (a - b) * (bisector / abs(bisector)).conjugate()
    corners = [a, b, c, d]
    doubled = sum((p.conjugate() * q).imag for p, q in zip(corners, [*corners[1:], a], strict=True))
    found = {
        "angle": angle,
        "lines": abs(turned),
        "turn": turned * sense,
        "distance": abs(a - b),
        "to line": abs(height),
        "side": abs(height) * (-1 if height * other > 0 else 1),
        "along": one.real,
        "along bisector": two.real,
        "across": abs(one.imag),
        "across bisector": abs(two.imag),
        "height": abs(doubled) / (abs(a - b) + abs(c - d)),
    }
    found["difference"] = found["angle"] - found["lines"]
    found["mean"] = (found["distance"] + found["along"] + found["side"]) / 3
    found["ratio"] = found["along"] / found["distance"]
    return found


def is_plain(points: np.ndarray) -> bool:
    """Whether no length, turn or distance to a line is so small that rounding decides a sign."""
    numbers = [complex(*each) for each in points.tolist()]
    a, b, c, d, e, f = numbers
    lengths = [abs(p - q) for i, p in enumerate(numbers) for q in numbers[:i]]
    if min(lengths) < 1:
        return False
    bisector = (d - c) / abs(d - c) + (f - e) / abs(f - e)
    turns = [((p - b) / (c - b)).imag for p in (a, d)] + [((f - e) / (e - d)).imag]
    turns += [((d - c) / (b - a)).imag, ((c - b) / (a - b)).imag]
    return abs(bisector) > 0.1 and min(map(abs, turns)) > 1e-3


@given(figures)
def test_every_kind_agrees_with_another_computation(points: np.ndarray) -> None:
    assume(is_plain(points))
    found, expected = measure(points), by_complex_numbers(points)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


@given(figures, st.floats(-180, 180), st.booleans(), st.floats(0.2, 5), st.floats(-300, 300))
def test_turning_moving_and_mirroring_an_image_change_nothing(
    points: np.ndarray, degrees: float, mirrored: bool, scale: float, shift: float
) -> None:
    assume(is_plain(points))
    turn = cmath.rect(scale, math.radians(degrees))
    moved = [complex(*each) * turn + shift for each in points.tolist()]
    placed = [(-p.real if mirrored else p.real, p.imag) for p in moved]
    found, before = measure(placed), measure(points)
    for name, each in KINDS.items():
        expected = before[name] * (scale if each["unit"] == "mm" else 1)
        assert found[name] == pytest.approx(expected, abs=1e-6, rel=1e-9), name


@given(figures, st.floats(0.05, 2), st.floats(0.05, 2))
def test_pixels_that_are_not_square_change_nothing(
    points: np.ndarray, row_mm: float, column_mm: float
) -> None:
    assume(is_plain(points))
    found = measure(points / [column_mm, row_mm], (row_mm, column_mm))
    for name, value in measure(points).items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_without_a_spacing_there_are_angles_and_ratios_and_no_millimetres() -> None:
    points = np.array([[0, 0], [4, 0], [4, 3], [9, 9], [1, 7], [2, 2]], np.float64)
    found = ALL.measure(points, NAMES)
    assert found["angle"] == pytest.approx(90)
    assert found["ratio"] == measure(points)["ratio"]
    in_mm = {name for name, each in KINDS.items() if each["unit"] == "mm"}
    assert {name for name, value in found.items() if math.isnan(value)} == in_mm


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_point_that_is_not_finite_gives_no_value(broken: float) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (6, 2))
    points[5, 0] = broken  # F
    found = measure(points)
    gone = {"turn", "along bisector", "across bisector"}
    assert {name for name, value in found.items() if math.isnan(value)} == gone


def test_a_line_without_a_length_gives_no_value() -> None:
    points = np.array([[0, 0], [0, 0], [0, 0], [0, 0], [5, 0], [9, 0]], np.float64)
    found = measure(points)
    assert found.pop("distance") == 0
    assert all(math.isnan(value) for value in found.values())


def test_points_on_the_line_that_decides_the_sign_give_no_value() -> None:
    points = np.array([[0, 3], [0, 0], [5, 0], [8, 0], [9, 0], [10, 0]], np.float64)
    found = measure(points)  # D lies on the line BC, and D, E, F make no turn
    assert math.isnan(found["side"])
    assert math.isnan(found["turn"])
    assert found["to line"] == pytest.approx(3)


CEPHALOMETRY, SPINE = shipped_quantities()
# A face that looks to the right: x to the front, y down, in mm; made so that values are round.
FACE: Mapping[str, complex] = {
    "sella": 0 + 0j,
    "nasion": 70 + 0j,
    "point A": 70 + 0j + cmath.rect(60, math.radians(98)),  # SNA 82
    "point B": 70 + 0j + cmath.rect(100, math.radians(100)),  # SNB 80
    "menton": 50 + 120j,
    "gonion": 50 + 120j + cmath.rect(70, math.radians(180 + 25)),  # FMA 25
    "porion": -10 + 20j,
    "orbitale": 60 + 20j,
    "lower incisor apex": 60 + 105j,
    "lower incisor edge": 60 + 105j + cmath.rect(20, math.radians(-65)),  # FMIA 65
    "posterior occlusal point": 20 + 80j,
    "anterior occlusal point": 60 + 80j,
}


def of_face(points: Mapping[str, complex]) -> dict[str, float]:
    placed = np.array([[p.real, p.imag] for p in points.values()])
    found = CEPHALOMETRY.measure(placed, tuple(points), (1.0, 1.0))
    return {name: value for name, value in found.items() if not math.isnan(value)}


def test_a_face_of_known_angles_whichever_way_it_looks() -> None:
    found = of_face(FACE)
    expected = {"SNA": 82.0, "SNB": 80.0, "ANB": 2.0, "FMA": 25.0, "FMIA": 65.0, "IMPA": 90.0}
    expected["Wits"] = FACE["point A"].real - FACE["point B"].real
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    to_the_left = of_face({name: -p.conjugate() for name, p in FACE.items()})
    assert to_the_left == pytest.approx(found, abs=1e-9)
    tilted = of_face({name: p * cmath.rect(1, 0.3) for name, p in FACE.items()})
    assert tilted == pytest.approx(found, abs=1e-9)


def test_an_angle_of_planes_that_cross_the_other_way_is_negative() -> None:
    gonion = FACE["menton"] + cmath.rect(70, math.radians(180 - 2))
    face = {**FACE, "gonion": gonion}
    for mirrored in (face, {name: -p.conjugate() for name, p in face.items()}):
        assert of_face(mirrored)["FMA"] == pytest.approx(-2.0, abs=1e-6)


def test_signs_of_cephalometry_are_positive_to_the_front() -> None:
    upper = {"upper incisor apex": 62 + 60j, "upper incisor edge": 70 + 85j}
    face = {**FACE, **upper, "pogonion": 45 + 112j}
    found = of_face(face)
    assert found["U1-NA angle"] > 0  # leaning to the front, and in front of NA
    assert found["U1-NA"] > 0
    assert found["L1-NB angle"] > 0
    assert found["Convexity"] > 0  # A lies in front of N-Pog
    back = {**face, "upper incisor edge": 40 + 85j, "point A": 62 + 60j}
    assert of_face(back)["U1-NA angle"] < 0
    assert of_face(back)["U1-NA"] < 0
    assert of_face({**face, "pogonion": 75 + 112j, "point A": 62 + 60j})["Convexity"] < 0


def vertebrae(slip: float = 0.0, tilt_degrees: float = 0.0) -> dict[str, complex]:
    """L1 to L5 to the right, 30 by 25 mm with discs of 10 mm, and a slip of L4 on L5.

    Each is turned by a tilt more than the one above: positive lowers its front, as in lordosis.
    """
    found = {}
    for i in range(5):
        turn = cmath.rect(1, math.radians(tilt_degrees * (i - 2)))
        middle = complex(0 if i == 4 else slip, 35 * i)
        for side, y in (("superior", -12.5), ("inferior", 12.5)):
            for wall, x in (("anterior", 15.0), ("posterior", -15.0)):
                found[f"l{i + 1}_{side}_{wall}"] = middle + complex(x, y) * turn
    return found


def of_spine(points: Mapping[str, complex], *, facing: int) -> dict[str, float]:
    placed = np.array([[facing * p.real, p.imag] for p in points.values()])
    found = SPINE.measure(placed, tuple(points), (1.0, 1.0))
    return {name: value for name, value in found.items() if not math.isnan(value)}


@pytest.mark.parametrize("facing", [1, -1])
def test_a_spine_of_known_measures_whichever_way_it_looks(facing: int) -> None:
    straight = of_spine(vertebrae(slip=6.0), facing=facing)
    assert straight["L4/L5 slip"] == pytest.approx(6, abs=1e-6)
    assert straight["L4/L5 slip share"] == pytest.approx(0.2, abs=1e-6)
    assert straight["L3/L4 slip"] == pytest.approx(0, abs=1e-6)
    heights = [f"L{i}/L{i + 1} {each} height" for i in range(1, 5) for each in ("anterior", "mean")]
    assert [straight[name] for name in heights] == pytest.approx([10.0] * 8, abs=1e-6)
    curved = of_spine(vertebrae(tilt_degrees=9), facing=facing)
    assert curved["Lordosis L1-L5"] == pytest.approx(36, abs=1e-6)
    kyphotic = of_spine(vertebrae(tilt_degrees=-9), facing=facing)
    assert kyphotic["Lordosis L1-L5"] == pytest.approx(-36, abs=1e-6)
    assert curved["L2/L3 anterior height"] > curved["L2/L3 posterior height"]
