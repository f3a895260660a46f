"""A report that the tests of this package share."""

from __future__ import annotations

import pytest
from written_report import Written, write_report


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The report of a phantom cephalogram with all its quantities. Not to be changed."""
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    return write_report(tmp_path_factory.mktemp("report"))
