"""A service that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from http_services import Running, running


@pytest.fixture(scope="module")
def service(tiny_bundle: Path) -> Iterator[Running]:
    """One bundle, called ``tiny``, over REST and gRPC."""
    with running(tiny_bundle, most_waiting=4, body_mib=1, bodies_mib=8) as found:
        yield found
