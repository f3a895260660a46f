"""Exported models. The folder is not called ``triton``: others have a package of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from mahtrt.triton.export import export_triton
from mahtrt.triton.options import TritonOptions


@pytest.fixture(scope="session")
def models(
    tiny_bundle: Path, tiny_batch_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A repository of every kind of model. Not to be changed.

    ``tiny`` and ``four`` are of the Python backend, of batch 1 and 4; ``onnx`` and ``openvino`` are
    ensembles of batch 1, ``onnx-four`` of batch 4.
    """
    out = tmp_path_factory.mktemp("triton") / "models"
    export_triton(TritonOptions(tiny_bundle, out, name="tiny", engine="openvino"))
    export_triton(
        TritonOptions(tiny_batch_bundle, out, name="four", engine="openvino", queue_delay_us=2000)
    )
    export_triton(TritonOptions(tiny_bundle, out, backend="onnx", name="onnx"))
    export_triton(TritonOptions(tiny_bundle, out, backend="openvino", name="openvino", threads=1))
    export_triton(TritonOptions(tiny_batch_bundle, out, backend="onnx", name="onnx-four"))
    return out
