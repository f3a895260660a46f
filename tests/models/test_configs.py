"""What the configs of all families share."""

from __future__ import annotations

import pytest

from mahtrt.errors import ModelError
from mahtrt.models.configs import check_input_size
from mahtrt.models.families import FAMILIES, build_model


@pytest.mark.parametrize("family", FAMILIES)
def test_an_input_of_a_wrong_size_names_one_that_is_right(family: str) -> None:
    with pytest.raises(ModelError, match=r"input size: got 33x95; .*; choose e\.g\. \d+x\d+\.$"):
        build_model(family, input_size=(33, 95))


def test_the_nearest_size_is_named() -> None:
    check_input_size((32, 96), 32, "why")
    with pytest.raises(ModelError, match=r"expected multiples of 32. why; choose e\.g\. 32x96\."):
        check_input_size((0, 100), 32, "why")
