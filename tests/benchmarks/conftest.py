from __future__ import annotations

import pytest
from bench_fakes import FakeDataset


@pytest.fixture
def dataset() -> FakeDataset:
    return FakeDataset()
