"""Golden vectors of maps and logits: kept exactly, thinned where large, replayed by verify."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_maps
from foreign_network import run
from sealing import change_manifest, seal

from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.bundle.golden_outputs import MOST_OUTPUT_BYTES, golden_values, thinned
from mahtrt.errors import GateError, IntegrityError
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.verbs.verify import line_of

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: Any) -> Path:
    folder = tmp_path_factory.mktemp("golden")
    return tiny_maps.build_bundle(folder / "a.mahtrt", golden=2)


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "a.mahtrt")
    return tmp_path / "a.mahtrt"


def test_small_outputs_are_kept_whole_and_large_maps_in_steps() -> None:
    few = {"change": RNG.random((1, 20, 30)), "findings": RNG.random(14)}
    kept = golden_values(few)
    assert {name: each.step for name, each in kept.items()} == {"change": 1, "findings": 1}
    np.testing.assert_array_equal(kept["change"].values, few["change"].astype(np.float32))
    exact = golden_values({"change": np.zeros((1, 512, 512), np.float32)})["change"]
    assert exact.step == 1
    large = RNG.random((3, 700, 512)).astype(np.float32)
    kept = golden_values({"change": large, "findings": RNG.random(14)})
    assert large[:, ::2, ::2].nbytes > MOST_OUTPUT_BYTES
    assert kept["change"].step == 3
    np.testing.assert_array_equal(kept["change"].values, large[:, ::3, ::3])
    assert kept["change"].values.nbytes <= MOST_OUTPUT_BYTES
    assert kept["findings"].values.shape == (14,)
    assert thinned(np.zeros((2, 3, 5, 7)), 2).shape == (2, 3, 3, 4)
    assert golden_values({"findings": np.zeros(MOST_OUTPUT_BYTES // 4 + 1, np.float32)}) == {}


def test_what_is_written_is_read(bundle: Path) -> None:
    vectors = read_golden(read_bundle(bundle))
    assert [set(vector.outputs) for vector in vectors] == [{"change", "findings"}] * 2
    assert vectors[0].points_px.shape == (0, 2)
    expected = tiny_maps.run_model(tiny_maps.spec_of("image"), vectors[0].image)
    for name, values in expected.items():
        np.testing.assert_allclose(vectors[0].outputs[name].values, values, atol=1e-5)


def test_verify_replays_maps_and_labels(bundle: Path) -> None:
    result = verify(VerifyOptions(bundle))
    found = result.replays[0].accuracy
    assert found is not None
    assert found.maps[0].max < 1e-3
    assert found.logits[0].decisions == 4
    line = line_of(result.replays[0])
    assert "change differs by" in line
    assert line.endswith("findings agrees in 4 of 4; ran on cpu")
    assert "landmarks" not in line
    assert run("verify", bundle).exit_code == 0


def test_an_engine_that_gives_another_map_fails(bundle: Path) -> None:
    place = bundle / "golden/0-out0.f32"
    values = np.frombuffer(place.read_bytes(), "<f4") + np.float32(0.05)
    place.write_bytes(values.astype("<f4").tobytes())
    seal(bundle)
    with pytest.raises(GateError, match="largest difference of change"):
        verify(VerifyOptions(bundle))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [1, 32, 47]}, "of float32"),
        ({"shape": [32, 48]}, r"a map \(C, h, w\)"),
        ({"name": "heat"}, r"a map \(C, h, w\)"),
        ({"shape": [1, 60000, 60000]}, "at most 2097152 bytes"),
        ({"step": 0}, "step"),
    ],
)
def test_a_record_that_is_not_of_its_file_is_refused(
    bundle: Path, change: dict[str, Any], said: str
) -> None:
    def spoil(manifest: dict[str, Any]) -> None:
        manifest["golden"]["images"][0]["outputs"][0].update(change)

    change_manifest(bundle, spoil)
    with pytest.raises(IntegrityError, match=said):
        read_golden(read_bundle(bundle))


def reshape(bundle: Path, *images: int) -> None:
    """Turn the recorded maps of some golden vectors: as many values of another shape."""

    def turn(manifest: dict[str, Any]) -> None:
        for image in images:
            (record, *_) = manifest["golden"]["images"][image]["outputs"]
            record["shape"] = [record["shape"][0], *record["shape"][:0:-1]]

    change_manifest(bundle, turn)


def test_values_of_another_shape_than_the_engines_are_refused(bundle: Path) -> None:
    reshape(bundle, 0)
    with pytest.raises(IntegrityError, match=r"golden image .*output 'change' of shape"):
        read_golden(read_bundle(bundle))
    reshape(bundle, 1)
    for verb in (("verify",), ("compile", "--target=onnxruntime", f"--out={bundle.parent / 'b'}")):
        told = run(verb[0], bundle, *verb[1:])
        assert told.exit_code == 5, told.output
        assert "golden values of change: got shape" in told.output


def test_a_bundle_without_outputs_in_its_golden_vectors_is_read(bundle: Path) -> None:
    def forget(manifest: dict[str, Any]) -> None:
        for image in manifest["golden"]["images"]:
            gone = {each["file"] for each in image.pop("outputs")}
            manifest["files"] = [each for each in manifest["files"] if each["path"] not in gone]

    for place in (bundle / "golden").glob("*-out*.f32"):
        place.unlink()
    change_manifest(bundle, forget)
    (replay, *_) = verify(VerifyOptions(bundle)).replays
    assert line_of(replay).endswith("nothing was recorded to compare with; ran on cpu")
