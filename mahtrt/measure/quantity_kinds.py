"""The kinds of clinical quantities: what each takes, and its arithmetic. Pure numpy.

Every function takes points (N, 2) of N images, x to the right and y down as in an image, in
millimetres (or in square pixels, where only angles and ratios are read from them), and gives (N,)
values: degrees for angles. A value is NaN where a point is not finite or a line has no length.

No quantity depends on which way the patient faces or on how the image is turned. Angles without a
sign lie in [0, 180]. What has a sign takes it from the figure itself: from the direction of a line
that the definition names (``distance_along_line``), from a point that lies on the negative side
(``away_from``), or from three points that are passed in the positive sense (``positive_turn``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["deg", "mm", "ratio"]
KindName = Literal[
    "angle",
    "angle_between_lines",
    "distance",
    "distance_to_line",
    "distance_along_line",
    "distance_across_line",
    "mean_height",
    "difference",
    "mean",
    "ratio",
]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of quantity takes.

    Attributes:
        points: Numbers of points that it takes; none for one that is made of other quantities.
        of: Least and largest number of other quantities that it is made of.
        units: Units that it may have; a quantity made of others has theirs, but for a ratio.
        sign: The field that gives it a sign, "" for none.
        means: What it is, for people.
    """

    points: tuple[int, ...] = ()
    of: tuple[int, int] = (0, 0)
    units: tuple[Unit, ...] = ("mm",)
    sign: Literal["", "positive_turn", "away_from"] = ""
    means: str = ""


KINDS: Mapping[KindName, Kind] = {
    "angle": Kind((3,), units=("deg",), means="angle at the second point, from 0 to 180"),
    "angle_between_lines": Kind(
        (4,),
        units=("deg",),
        sign="positive_turn",
        means="angle between the directions from the first to the second point and from the third "
        "to the fourth, from 0 to 180; with positive_turn signed, from -180 to 180",
    ),
    "distance": Kind((2,), means="distance of two points"),
    "distance_to_line": Kind(
        (3,),
        sign="away_from",
        means="distance of the first point from the line through the others; with away_from "
        "negative on that point's side",
    ),
    "distance_along_line": Kind(
        (4, 6),
        means="how far the first point lies beyond the second in the direction of the line from "
        "the third point to the fourth, or of the bisector of two lines",
    ),
    "distance_across_line": Kind(
        (4, 6),
        means="distance of the first two points across the line through the third and the fourth, "
        "or across the bisector of two lines",
    ),
    "mean_height": Kind(
        (4,),
        means="area of a quadrilateral divided by the mean length of its first side and the one "
        "opposite; the points go round it",
    ),
    "difference": Kind(of=(2, 2), units=("deg", "mm", "ratio"), means="the first minus the second"),
    "mean": Kind(of=(2, 100), units=("deg", "mm", "ratio"), means="mean of several"),
    "ratio": Kind(of=(2, 2), units=("ratio",), means="the first divided by the second"),
}


def from_points(kind: KindName, points: list[Floats], sign: list[Floats]) -> Floats:
    """A quantity (N,) of points.

    Args:
        points: As many points (N, 2) as the kind takes.
        sign: The points of the field that gives a sign; none without one.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        found = _OF_POINTS[kind](points, sign)
        finite = np.isfinite(np.stack([*points, *sign])).all(axis=(0, 2))  # (N,)
        return np.where(finite & np.isfinite(found), found, np.nan)


def from_quantities(kind: KindName, values: list[Floats], *, turn: bool = False) -> Floats:
    """A quantity (N,) of other quantities (N,).

    Args:
        turn: Whether one of them is a turn: the angle found is then one too, from -180 to 180.
    """
    if kind == "difference":
        apart = values[0] - values[1]
        return within_half_turn(apart) if turn else apart
    if kind == "mean":
        return mean_turn(np.stack(values)) if turn else np.asarray(np.mean(values, axis=0))
    divisor = np.where(values[1] == 0, np.nan, values[1])
    return values[0] / divisor


def within_half_turn(degrees: Floats) -> Floats:
    """The same turns within (-180, 180]: a turn by 190 degrees is one by -170."""
    return np.asarray(180.0 - (180.0 - degrees) % 360.0, np.float64)


def mean_turn(degrees: Floats) -> Floats:
    """The mean over the first axis of turns that lie together: of 179 and -177 it is -179.

    They are counted from the first of them, so that it holds where none is half a turn from it.
    """
    first = degrees[0]
    return within_half_turn(first + np.mean(within_half_turn(degrees - first), axis=0))


def midpoint(points: list[Floats]) -> Floats:
    """The mean (N, 2) of several points."""
    return np.asarray(np.mean(points, axis=0), np.float64)


def intersection(points: list[Floats]) -> Floats:
    """Where the line through two points meets the line through two others; NaN if parallel."""
    a, b, c, d = points
    along, other = b - a, d - c
    across = _cross(along, other)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        step = _cross(c - a, other) / np.where(across == 0, np.nan, across)
        return a + step[:, None] * along


def _cross(u: Floats, v: Floats) -> Floats:
    return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], np.float64)


def _dot(u: Floats, v: Floats) -> Floats:
    return np.asarray((u * v).sum(axis=1), np.float64)


def _direction(vector: Floats) -> Floats:
    """Vectors (N, 2) of length 1; NaN for one without a length."""
    length = np.hypot(vector[:, 0], vector[:, 1])
    return vector / np.where(length == 0, np.nan, length)[:, None]


def _side(value: Floats) -> Floats:
    """1 or -1, NaN for 0."""
    return np.where(value == 0, np.nan, np.sign(value))


def _between(u: Floats, v: Floats) -> Floats:
    """Degrees from direction u to direction v, signed, positive from x towards y."""
    u, v = _direction(u), _direction(v)
    return np.degrees(np.arctan2(_cross(u, v), _dot(u, v)))


def _angle(points: list[Floats], sign: list[Floats]) -> Floats:
    first, vertex, last = points
    return np.abs(_between(first - vertex, last - vertex))


def _angle_between_lines(points: list[Floats], sign: list[Floats]) -> Floats:
    found = _between(points[1] - points[0], points[3] - points[2])
    if not sign:
        return np.abs(found)
    return found * _side(_cross(sign[1] - sign[0], sign[2] - sign[1]))


def _distance(points: list[Floats], sign: list[Floats]) -> Floats:
    apart = points[1] - points[0]
    return np.hypot(apart[:, 0], apart[:, 1])


def _distance_to_line(points: list[Floats], sign: list[Floats]) -> Floats:
    point, start, end = points
    along = _direction(end - start)
    found = _cross(along, point - start)
    if not sign:
        return np.abs(found)
    return -found * _side(_cross(along, sign[0] - start))


def _line(points: list[Floats]) -> Floats:
    """Direction of one line, or of the bisector of two."""
    first = _direction(points[1] - points[0])
    return first if len(points) == 2 else _direction(first + _direction(points[3] - points[2]))


def _distance_along_line(points: list[Floats], sign: list[Floats]) -> Floats:
    return _dot(points[0] - points[1], _line(points[2:]))


def _distance_across_line(points: list[Floats], sign: list[Floats]) -> Floats:
    return np.abs(_cross(_line(points[2:]), points[0] - points[1]))


def _mean_height(points: list[Floats], sign: list[Floats]) -> Floats:
    a, b, c, d = points
    area = np.abs(_cross(c - a, d - b)) / 2  # half the cross product of the diagonals
    sides = (_distance([a, b], []) + _distance([c, d], [])) / 2
    return area / np.where(sides == 0, np.nan, sides)


_OF_POINTS: Mapping[KindName, Callable[[list[Floats], list[Floats]], Floats]] = {
    "angle": _angle,
    "angle_between_lines": _angle_between_lines,
    "distance": _distance,
    "distance_to_line": _distance_to_line,
    "distance_along_line": _distance_along_line,
    "distance_across_line": _distance_across_line,
    "mean_height": _mean_height,
}
