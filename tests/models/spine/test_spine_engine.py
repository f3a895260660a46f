"""Engines of the spine network against the definition of DARK, on PyTorch's heatmaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from small_spine import small_spine as small

import mahtrt
from mahtrt.data.preprocess import preprocess
from mahtrt.data.spine_phantom import SpineDataset
from mahtrt.export.onnx import OnnxOptions, export_onnx
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import find_sites
from mahtrt.runtime.dark import decode_dark
from mahtrt.spec import is_decoding

TOLERANCE_PX = 0.02


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    spec = small().spec
    return [preprocess(sample.image, spec.input)[0] for sample in SpineDataset(4, 31)]


@pytest.fixture(scope="module")
def onnx_path(images: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = small().eval()
    out = tmp_path_factory.mktemp("spine") / "net.onnx"
    export_onnx(module, module.spec, OnnxOptions(out, [{"image": each} for each in images]))
    return out


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_fp32_engines_give_dark_of_pytorchs_heatmaps(
    target: str, onnx_path: Path, images: list[np.ndarray], tmp_path: Path
) -> None:
    bundle = tmp_path / "net.mahtrt"
    mahtrt.build(mahtrt.BuildOptions(onnx_path, bundle, ("fp32",), targets=(target,), threads=1))
    with torch.inference_mode():
        heatmaps = small().eval()(torch.from_numpy(np.stack(images)))["heatmaps"].numpy()
    expected, _, _ = decode_dark(heatmaps, 2.0, (64, 96))
    with mahtrt.open(bundle, threads=1) as session:
        for image, points in zip(images, expected, strict=True):
            outputs = session.infer(image[None])
            np.testing.assert_allclose(outputs["landmarks"][0], points, atol=TOLERANCE_PX, rtol=0)


def test_no_product_of_the_decoding_can_be_int8(onnx_path: Path) -> None:
    sites = find_sites(GraphIndex(onnx.load(onnx_path)))
    assert not any(is_decoding(site.scope) for site in sites)
    assert {site.scope for site in sites if site.is_head} >= {"decoder.head", "decoder.refine.0"}
