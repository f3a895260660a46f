"""A bundle's images are prepared as it was judged, whatever this mahtrt builds today."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sealing import change_manifest
from tensorrt_stage import Stage
from tiny_network import SPEC, make_image

from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.build.compile import CompileOptions
from mahtrt.build.compile import compile as compile_bundle
from mahtrt.data.feed import prepare
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.errors import IntegrityError
from mahtrt.runtime import Session, open_session
from mahtrt.runtime import session as session_module
from mahtrt.runtime.verify import VerifyOptions, verify


@pytest.fixture
def bundle(tmp_path: Path, tiny_bundle: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "net.mahtrt"))


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions by which sessions prepare images on the CPU."""
    found: list[int] = []

    def spy(images: Any, spec: Any, version: int = PREPROCESS_VERSION) -> Any:
        found.append(version)
        return prepare(images, spec, version)

    monkeypatch.setattr(session_module, "prepare", spy)
    return found


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_session_prepares_as_its_bundle_says(
    bundle: Path, followed: list[int], version: int
) -> None:
    change_manifest(bundle, lambda data: data.update(preprocess_version=version))
    image = np.repeat(make_image(1)[0], 3, axis=1)[::2]  # one axis shrinks, one grows
    with open_session(bundle) as session:
        assert session.preprocess_version == version
        session.run(image)
        session.run_batch([image, image])
    assert set(followed) == {version}


def test_every_use_of_an_older_bundle_follows_its_version(
    bundle: Path, followed: list[int]
) -> None:
    change_manifest(bundle, lambda data: data.update(preprocess_version=2))
    verify(VerifyOptions(bundle))
    compiled = compile_bundle(CompileOptions(bundle=bundle, target="onnxruntime"))
    assert set(followed) == {2}
    assert compiled.manifest.preprocess_version == 2
    bench(BenchOptions(bundle, rounds=1, images=2, max_seconds=1.0))
    assert set(followed) == {2}


def test_a_newer_version_is_refused_with_what_to_do(bundle: Path) -> None:
    newer = PREPROCESS_VERSION + 1
    change_manifest(bundle, lambda data: data.update(preprocess_version=newer))
    with pytest.raises(IntegrityError, match=rf"preprocess_version {newer};.*Update mahtrt"):
        open_session(bundle)


def test_a_gpu_prepares_images_of_the_newest_version_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, followed: list[int]
) -> None:
    stage = Stage("10.16.1", tmp_path, monkeypatch)
    image, points = make_image(1, zoom=3)
    for version, where in ((PREPROCESS_VERSION, "GPU"), (2, "CPU")):
        with Session(stage.open(), SPEC, stage.engine, preprocess_version=version) as session:
            np.testing.assert_allclose(session.run(image).points, points, atol=2e-3)
            assert session.facts["images"] == f"prepared on the {where}"
    assert set(followed) == {2}
    stage.cuda.check()
