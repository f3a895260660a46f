"""Sets of digests hold what was added, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mahtrt.distributed.digest_set import DigestSet


@given(st.lists(st.text()), st.text())
def test_a_set_of_digests_is_a_set(texts: list[str], other: str) -> None:
    found = DigestSet(texts)
    again = DigestSet.of_array(found.array())
    assert len(found) == len(again) == len(set(texts))
    assert all(text in found and text in again for text in texts)
    assert (other in again) == (other in texts)


def test_many_texts_are_sorted_into_few_arrays() -> None:
    found = DigestSet(str(i) for i in range(20_000))
    assert len(found._arrays) < 4
    assert not found.add("19999")
    assert found.add("20000")
    assert "20000" in found
    assert "20001" not in found
