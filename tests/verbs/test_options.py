"""Text of the command line becomes values, options become groups."""

from __future__ import annotations

import pytest

from mahtrt.errors import UsageError
from mahtrt.verbs.options import keywords_from_texts


def test_kwargs_are_literals_or_strings() -> None:
    texts = ["n=3", "rate=0.5", "on=True", "sizes=(1, 2)", "name=resnet", "path=a=b", "none=None"]
    assert keywords_from_texts(texts) == {
        "n": 3,
        "rate": 0.5,
        "on": True,
        "sizes": (1, 2),
        "name": "resnet",
        "path": "a=b",
        "none": None,
    }
    assert keywords_from_texts([]) == {}


@pytest.mark.parametrize("texts", [["n"], ["=3"], ["a b=3"], ["n=1", "n=2"]])
def test_kwargs_that_are_none(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--kwarg"):
        keywords_from_texts(texts)
