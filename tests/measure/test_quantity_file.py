"""The strict reader of quantities, what is chosen for a network, and the shipped files."""

from __future__ import annotations

import cmath
import math
import re
from pathlib import Path

import numpy as np
import pytest

from mahtrt.data.phantom_anatomy import PHANTOM_LANDMARKS
from mahtrt.data.spine_phantom import SPINE_LANDMARKS
from mahtrt.errors import IntegrityError, MahtrtError, SpecError
from mahtrt.measure.quantity_file import quantities_for, read_quantities, shipped_quantities
from mahtrt.measure.quantity_kinds import KINDS, from_quantities, mean_turn

FILE = """
schema = "mahtrt.quantities/1"
title = "a test"

[points]
S = ["sella"]
N = ["nasion"]
A = ["A point"]
B = []

[[constructed]]
name = "M"
kind = "midpoint"
points = ["S", "A"]

[[quantity]]
name = "SNA"
kind = "angle"
unit = "deg"
points = ["S", "N", "A"]
source = "Steiner 1953"

[[quantity]]
name = "SNB"
kind = "angle"
unit = "deg"
points = ["S", "N", "B"]
source = "Steiner 1953"

[[quantity]]
name = "ANB"
kind = "difference"
unit = "deg"
of = ["SNA", "SNB"]
source = "Steiner 1953"

[[quantity]]
name = "N-M"
kind = "distance"
unit = "mm"
points = ["N", "M"]
source = "nobody"
"""
ISBI_2015 = (
    *("Sella", "Nasion", "Orbitale", "Porion", "Subspinale", "Supramentale", "Pogonion", "Menton"),
    *("Gnathion", "Gonion", "Lower incisal incision", "Upper incisal incision", "Upper lip"),
    *("Lower lip", "Subnasale", "Soft tissue pogonion", "Posterior nasal spine"),
    *("Anterior nasal spine", "Articulate"),
)


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


BAD: dict[str, tuple[str, str, str]] = {
    "a newer format": ("quantities/1", "quantities/2", "schema 'mahtrt.quantities/2'"),
    "no title": ('title = "a test"', "", "no field 'title'"),
    "an unknown field": ('title = "a test"', 'title = ""\nunit = "deg"', "unknown field 'unit'"),
    "an unknown kind": ('kind = "angle"', 'kind = "angel"', "quantity[0]: kind: got 'angel'"),
    "an unknown unit": ('unit = "mm"', 'unit = "inch"', "quantity[3]: unit: got 'inch'"),
    "a unit of another kind": ('unit = "mm"', 'unit = "deg"', "'N-M': got unit 'deg'"),
    "a unit of no part": ('"deg"\nof', '"mm"\nof', "'ANB': got unit 'mm'; expected unit 'deg'"),
    "an unknown point": ('"N", "A"]', '"N", "P"]', "'SNA': got the unknown name 'P'"),
    "a point too few": ('"S", "N", "A"]', '"S", "N"]', "got 2 points; expected 3 points"),
    "no points": ('points = ["S", "N", "A"]\n', "", "got 0 points; expected 3 points"),
    "a part that comes later": ('"SNA", "SNB"]', '"N-M", "SNA"]', "the unknown name 'N-M'"),
    "a part too few": ('of = ["SNA", "SNB"]', 'of = ["SNA"]', "1 quantities and 0 points"),
    "points and parts": ('of = ["SNA", "SNB"]', 'of = ["SNA", "SNB"]\npoints = ["S"]', "1 points"),
    "two of one name": ('name = "SNB"', 'name = "SNA"', "two quantities 'SNA'"),
    "no source": ('source = "nobody"\n', "", "no field 'source'"),
    "an empty source": ('source = "nobody"', 'source = " "', "no name or no source"),
    "a spelling of two points": ("B = []", 'B = ["a-Point"]', "'apoint' of the points A and B"),
    "a sign of another kind": ('source = "nobody"', 'source = "x"\naway_from = "S"', "away_from"),
    "half a turn": ('source = "nobody"', 'source = "x"\npositive_turn = ["S"]', "positive_turn"),
    "a midpoint of one": ('["S", "A"]', '["S"]', "constructed 'M': got 1 points; expected two"),
    "a taken name": ('name = "M"', 'name = "S"', "constructed 'S': got a name that another"),
    "a midpoint of nothing": ('["S", "A"]', '["S", "X"]', "constructed 'M': got the unknown name"),
    "no text": ("B = []", "B = [1]", "points.B[0]: got 1"),
    "no TOML": ("[points]", "[points", "text that is not TOML"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_clear_is_one_line(name: str, tmp_path: Path) -> None:
    old, new, said = BAD[name]
    assert old in FILE
    path = written(tmp_path, FILE.replace(old, new, 1))
    with pytest.raises(IntegrityError if "newer" in name else SpecError) as caught:
        read_quantities(path)
    message = str(caught.value)
    assert said in message
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_turn_of_a_wrong_number_of_points_is_refused(tmp_path: Path) -> None:
    wrong = FILE.replace('kind = "distance"\nunit = "mm"\npoints = ["N", "M"]', "", 1) + (
        'kind = "angle_between_lines"\nunit = "deg"\npoints = ["S", "N", "A", "B"]\n'
        'positive_turn = ["S", "N"]\n'
    )
    with pytest.raises(SpecError, match=r"'N-M': got 2 points of positive_turn; expected three"):
        read_quantities(written(tmp_path, wrong))


def test_only_intermediate_quantities_are_refused(tmp_path: Path) -> None:
    hidden = re.sub("^source", "intermediate = true\nsource", FILE, flags=re.MULTILINE)
    with pytest.raises(SpecError, match="expected 1 to 1000 that are reported"):
        read_quantities(written(tmp_path, hidden))


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_quantities(tmp_path / "no.toml")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    found = read_quantities(written(tmp_path, FILE))
    names = ("b", "A_POINT", "Sella", "nasion")
    points = np.array([[3, 5], [4, 4], [0, 0], [4, 0]], np.float64)
    values = found.measure(points, names, (1.0, 1.0))
    assert values["SNA"] == pytest.approx(90)
    assert values["SNB"] == pytest.approx(np.degrees(np.arctan2(5, 1)))
    assert values["ANB"] == values["SNA"] - values["SNB"]
    assert values["N-M"] == pytest.approx(np.hypot(2, 2))
    assert [each.name for each in found.select(names).definitions] == list(values)


TURN = """
[[quantity]]
name = "{name}"
kind = "angle_between_lines"
unit = "deg"
points = ["N", "S", "N", "{end}"]
positive_turn = ["S", "N", "B"]
source = "nobody"
"""
OF_TURNS = """
[[quantity]]
name = "{kind}"
kind = "{kind}"
unit = "deg"
of = ["to A", "to M"]
source = "nobody"
"""


def test_what_is_made_of_turns_is_a_turn(tmp_path: Path) -> None:
    turns = TURN.format(name="to A", end="A") + TURN.format(name="to M", end="M")
    of_turns = "".join(OF_TURNS.format(kind=kind) for kind in ("difference", "mean"))
    found = read_quantities(written(tmp_path, FILE + turns + of_turns))
    assert found.turns() == {"to A", "to M", "difference", "mean"}
    points = np.array([[-10, 1], [0, 0], [10, 1], [0, 9]], np.float64)
    values = found.measure(points, ("S", "N", "A", "B"), (1.0, 1.0))
    apart = cmath.rect(1, math.radians(values["to A"] - values["to M"]))
    assert cmath.rect(1, math.radians(values["difference"])) == pytest.approx(apart)
    assert all(-180 < value <= 180 for value in values.values())


def test_a_difference_of_turns_is_taken_the_short_way_round() -> None:
    turns = [np.array([179.0, 10.0]), np.array([-179.0, 30.0])]
    assert from_quantities("difference", turns, turn=True) == pytest.approx([-2, -20])
    assert from_quantities("mean", turns, turn=True) == pytest.approx([180, 20])
    assert from_quantities("difference", turns) == pytest.approx([358, -20])


@pytest.mark.parametrize(
    ("turns", "mean"), [((179, -177), -179), ((10, 30), 20), ((-170, 170, 180), 180), ((5,), 5)]
)
def test_the_mean_of_turns(turns: tuple[float, ...], mean: float) -> None:
    found = mean_turn(np.array(turns, np.float64)[:, None])
    assert found == pytest.approx([mean])
    assert mean_turn(np.array(turns, np.float64)) == pytest.approx(mean)


def test_what_the_landmarks_do_not_allow_is_skipped_with_its_reason(tmp_path: Path) -> None:
    found = read_quantities(written(tmp_path, FILE))
    selection = found.select(("sella", "nasion", "B"))
    assert [each.name for each in selection.definitions] == ["SNB"]
    assert {each.name: each.reason for each in selection.skipped} == {
        "SNA": "no landmark is A",
        "ANB": "no landmark is A",
        "N-M": "no landmark is A",
    }
    twice = found.select(("sella", "S", "N", "A", "B"))
    assert {each.reason for each in twice.skipped} == {"the landmarks sella and S are both S"}
    without = found.select(("S", "N", "A", "B")).without_mm()
    assert [(each.name, "no image has a pixel spacing" in each.reason) for each in without.skipped]
    assert [each["name"] for each in without.to_dict()["definitions"]] == ["SNA", "SNB", "ANB"]
    assert without.to_dict()["definitions"][2]["points"] == ["S", "N", "A", "B"]


def test_what_is_chosen_for_a_network(tmp_path: Path) -> None:
    heads = quantities_for("auto", PHANTOM_LANDMARKS)
    assert heads is not None
    assert [e.name for e in heads.definitions] == ["SNA", "SNB", "ANB", "Convexity", "N-Me"]
    spine = quantities_for("auto", SPINE_LANDMARKS)
    assert spine is not None
    assert {each.name for each in spine.skipped} == {
        *("L5/S1 slip", "L5/S1 slip share", "Lordosis L1-S1")
    }
    points = spine.to_dict()["definitions"][0]["points"]
    assert len(points) == 8  # what the midplanes rest on
    assert quantities_for("auto", ("nose", "left_eye")) is None
    assert quantities_for("auto", ()) is None
    assert quantities_for("none", PHANTOM_LANDMARKS) is None
    own = written(tmp_path, FILE)
    assert quantities_for(own, ("S", "N", "A")) is not None
    with pytest.raises(MahtrtError, match=r"no quantity that can be measured \(SNA: no landmark"):
        quantities_for(own, ("nose",))


def test_the_points_of_isbi_2015_allow_what_they_hold() -> None:
    found = quantities_for("auto", ISBI_2015)
    assert found is not None
    names = {each.name for each in found.definitions}
    assert names >= {"SNA", "SNB", "ANB", "FMA", "SN-GoGn", "Y axis", "Facial angle", "S-Go : N-Me"}
    assert {each.name for each in found.skipped} >= {"Wits", "IMPA", "Interincisal"}


def test_every_shipped_definition_says_its_source_and_year() -> None:
    for file in shipped_quantities():
        assert file.definitions
        for each in file.definitions:
            assert re.search(r"\b(19|20)\d\d\b", each.source), each.name
            assert each.intermediate or each.about.endswith("."), each.name


def test_the_page_names_every_kind_and_every_shipped_quantity() -> None:
    page = (Path(__file__).parents[2] / "docs" / "quantities.md").read_text("utf-8")
    assert all(f"`{kind}`" in page for kind in KINDS)
