"""Every sample is compiled, runs a bundle, and tells the landmarks that Python's session finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from native_samples import BUILDERS, Command, build_c, bundle_of_pairs, start
from numpy.typing import NDArray

import mahtrt

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(13)
FIELDS = ("x_px", "y_px", "confidence", "spread_px")


@pytest.fixture(scope="module", params=BUILDERS)
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Command:
    return BUILDERS[request.param](tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def c_sample(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return build_c(tmp_path_factory.mktemp("c"))


def told_by(command: Command, bundle: Path, *images: Path) -> dict[str, Any]:
    done = start(command, bundle, *images)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def assert_python_finds_the_same(told: dict[str, Any], bundle: Path, *images: NDArray[Any]) -> None:
    """Bit for bit: nine digits name one 32-bit float."""
    with mahtrt.open(bundle, engine=told["engine"]) as session:
        found = session.run(*images)
    assert [each["name"] for each in told["landmarks"]] == list(found.names)
    rows = [[each[field] for field in FIELDS] for each in told["landmarks"]]
    numbers = np.array(rows, np.float32).reshape(-1, len(FIELDS))  # None becomes NaN
    wanted = np.column_stack([found.points, found.confidence, found.spread])
    np.testing.assert_array_equal(numbers, wanted.astype(np.float32))


def gray(height: int, width: int, kind: type = np.uint8) -> NDArray[Any]:
    return RANDOM.integers(0, np.iinfo(kind).max + 1, (height, width)).astype(kind)


def test_a_sample_tells_what_python_finds(
    sample: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    image = RANDOM.integers(0, 256, (70, 90, 3)).astype(np.uint8)
    place = tmp_path / "with a space ä.png"
    assert cv2.imwrite(str(place), image[..., ::-1])
    assert_python_finds_the_same(told_by(sample, tiny_bundle, place), tiny_bundle, image)


def test_a_sample_ends_with_the_status_and_a_sentence(
    sample: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    nothing, image = tmp_path / "nothing", tmp_path / "image.png"
    image.write_bytes(b"no image")
    for arguments, status in [
        ((), 2),
        ((nothing, image), 1),
        ((tiny_bundle, image), 7),
        ((tiny_bundle, image, image), {2, 7}),  # which is seen first is the sample's affair
        ((tiny_bundle, nothing), 1),
    ]:
        done = start(sample, *arguments)
        assert done.returncode in (status if isinstance(status, set) else {status}), arguments
        assert done.stdout == ""
        assert len(done.stderr.strip()) > 20


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_sample_in_c_reads_pgm(
    c_sample: Command, tiny_bundle: Path, tmp_path: Path, kind: type
) -> None:
    image, place = gray(50, 41, kind), tmp_path / "image.pgm"
    most = np.iinfo(kind).max
    samples = image.astype(image.dtype.newbyteorder(">")).tobytes()
    place.write_bytes(b"P5\n41 50\n%d\n" % most + samples)
    assert_python_finds_the_same(told_by(c_sample, tiny_bundle, place), tiny_bundle, image)


@pytest.mark.parametrize(
    "content", [b"P5", b"P5\n2 2\n255\n123", b"P5\n2 2\n7\n1234", b"P5\n-2 2\n255\n1234"]
)
def test_the_sample_in_c_refuses_what_is_no_pgm(
    c_sample: Command, tiny_bundle: Path, tmp_path: Path, content: bytes
) -> None:
    place = tmp_path / "image.pgm"
    place.write_bytes(content)
    assert start(c_sample, tiny_bundle, place).returncode == 7


def test_a_network_of_two_inputs_takes_two_images(c_sample: Command, tmp_path: Path) -> None:
    bundle = bundle_of_pairs(tmp_path / "maps.mahtrt")
    places = []
    for number in range(2):
        places.append(tmp_path / f"{number}.png")
        assert cv2.imwrite(str(places[-1]), gray(40, 60))
    assert told_by(c_sample, bundle, *places)["landmarks"] == []
    assert start(c_sample, bundle, places[0]).returncode == 2
