"""``verify --expect`` and ``export --expect``, from the command line to the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from expectations import make_spec, predict, write_network_bundle
from foreign_network import run
from user_pipeline import LANDMARKS, UserPipeline, make_network, read_bgr, write_csv, write_images

import mahtrt
from mahtrt.runtime.expectation.error import ExpectationError

SEED = 1

# A network that mahtrt does not know, in the two files that its user has.
CODE = """
import torch


def make():
    torch.manual_seed(3)
    conv = torch.nn.Conv2d
    return torch.nn.Sequential(
        conv(3, 8, 5, 2, 2), torch.nn.ReLU(), conv(8, 8, 3, 2, 1), torch.nn.ReLU(), conv(8, 4, 1)
    )
"""
SPEC = f"""
family = "small"
landmarks = {list(LANDMARKS)}

[input]
size = [48, 64]
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]

[[outputs]]
name = "maps"
kind = "heatmaps"

[decode]
method = "soft_argmax"
temperature = 0.02
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Images, a bundle, and what a right and a wrong pipeline give for its FP32 network."""
    folder = tmp_path_factory.mktemp("expect")
    images, network = write_images(folder / "images", 3, SEED), make_network(SEED)
    made = {"right": UserPipeline(), "wrong": UserPipeline(read=read_bgr)}
    files = {
        name: write_csv(folder / f"{name}.csv", images, predict(network, images, user))
        for name, user in made.items()
    }
    bundle = write_network_bundle(folder / "net.mahtrt", make_spec(), SEED)
    return {"images": images[0].parent, "bundle": bundle, **files}


def _verify(world: dict[str, Path], name: str, limit_px: float) -> Any:
    return run(
        *("verify", world["bundle"], f"--expect={world[name]}"),
        *(f"--data={world['images']}", f"--expect-px={limit_px}"),
    )


def test_int8_within_the_limit_agrees(world: dict[str, Path]) -> None:
    ended = _verify(world, "right", 5.0)
    assert ended.exit_code == 0, ended.output
    assert "onnxruntime-int8 agrees with" in ended.stdout
    found = mahtrt.verify(
        mahtrt.VerifyOptions(
            world["bundle"], expect=world["right"], data=str(world["images"]), expect_px=5.0
        )
    )
    assert found.expectation.passed
    assert found.expectation.agreement.judged_px > 0.05  # INT8 is a bit off
    assert found.expectation.to_dict()["agreement"]["images"] == 3


def test_what_int8_moves_is_told_from_preprocessing(world: dict[str, Path]) -> None:
    ended = _verify(world, "right", 0.02)
    assert ended.exit_code == 3
    assert "Preprocessing and decoding are the same: the FP32 graph is within" in ended.stderr
    assert "Your pipeline" not in ended.stderr


def test_a_fault_is_named_with_exit_code_3(world: dict[str, Path]) -> None:
    ended = _verify(world, "wrong", 5.0)
    assert ended.exit_code == 3
    told = " ".join(ended.stderr.split())
    assert "Your pipeline feeds the channels as bgr; the spec says rgb." in told
    assert "set input.color_order to bgr in the spec" in told
    assert "worst images" in told


def test_predictions_need_images(world: dict[str, Path], tmp_path: Path) -> None:
    for verb in (
        ("verify", world["bundle"]),
        ("export", "unet/nano", f"--out={tmp_path / 'a.onnx'}"),
    ):
        ended = run(*verb, f"--expect={world['right']}")
        assert ended.exit_code == 2, ended.output
        assert "got no --data; expected the images that the predictions are of" in ended.stderr
    ended = run("verify", world["bundle"], f"--expect={world['right']}", "--data=phantom:2@1")
    assert ended.exit_code == 1
    assert "3 image(s) where DATA has 2" in ended.stderr
    ended = run("verify", world["bundle"], "--data=phantom:2@1")
    assert ended.exit_code == 2
    assert "got no --expect; expected the predictions of these images" in ended.stderr
    ended = run(
        *("verify", world["bundle"], f"--expect={world['right']}", f"--data={world['images']}"),
        "--expect-px=0",
    )
    assert ended.exit_code == 2
    assert "--expect-px: got 0.0; expected pixels of the image above 0" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_export_that_differs_is_not_written(world: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "spec.toml").write_text(SPEC, encoding="utf-8")
    source = mahtrt.ModelSource(f"{tmp_path / 'net.py'}:make", spec=tmp_path / "spec.toml")
    out, images = tmp_path / "net.onnx", world["images"]

    def export(expect: Path) -> Any:
        return mahtrt.export(mahtrt.ExportOptions(source, out, str(images), expect=expect))

    with pytest.raises(ExpectationError, match=r"None of \d+ causes tried explains it"):
        export(world["right"])  # of another network
    assert not out.exists()
    mine = write_csv(tmp_path / "mine.csv", *_predicted(source, images))
    found = export(mine)
    assert found.expectation.passed
    assert found.expectation.agreement.what == "the exported graph in onnxruntime"
    assert out.exists()


def _predicted(source: mahtrt.ModelSource, folder: Path) -> tuple[list[Path], list[Any]]:
    """What PyTorch gives, prepared and read by the user's own code."""
    import numpy as np
    import torch
    from user_pipeline import back, letterbox, normalise, read

    from mahtrt.models.reference import load_model

    module, images, points = load_model(source)[0], sorted(folder.iterdir()), []
    for image in images:
        fitted, where = letterbox(read(image))
        tensor = torch.from_numpy(normalise(fitted).transpose(2, 0, 1)[None].copy())
        with torch.no_grad():
            maps = module(tensor)["maps"][0].numpy()
        shares = np.exp((maps - maps.max((1, 2), keepdims=True)) / 0.02)
        shares /= shares.sum((1, 2), keepdims=True)
        x = (shares.sum(1) * np.arange(maps.shape[2])).sum(1)
        y = (shares.sum(2) * np.arange(maps.shape[1])).sum(1)
        points.append(back((np.stack([x, y], 1) + 0.5) * 4 - 0.5, where))
    return images, points
