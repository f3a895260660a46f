"""``--require``: a command that cannot have its kind of device ends with one line and code 6."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_ort_cuda import OrtGpu
from foreign_network import run
from PIL import Image

from mahtrt.build.compile import CompileOptions, compile

pytestmark = pytest.mark.slow


@pytest.fixture
def image(tmp_path: Path) -> Path:
    place = tmp_path / "a.png"
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(place)
    return place


def more_of(verb: str, image: Path) -> list[str | Path]:
    """What a verb wants besides a bundle."""
    wanted: dict[str, list[str | Path]] = {
        "predict": [image],
        "evaluate": ["--data", "phantom:1"],
    }
    return wanted.get(verb, [])


@pytest.mark.parametrize("verb", ["predict", "bench", "verify", "evaluate"])
def test_without_a_gpu_engine_there_is_one_line(verb: str, tiny_bundle: Path, image: Path) -> None:
    given = more_of(verb, image)
    result = run(verb, tiny_bundle, *given, "--require", "gpu")
    assert result.exit_code == 6, result.output
    assert result.stdout == ""
    (error,) = (line for line in result.stderr.splitlines() if not line.startswith("["))
    assert error.startswith("error: a GPU is required: got ")


@pytest.mark.parametrize("verb", ["predict", "bench", "verify", "evaluate"])
def test_another_word_is_a_wrong_option(verb: str, tiny_bundle: Path, image: Path) -> None:
    given = more_of(verb, image)
    result = run(verb, tiny_bundle, *given, "--require", "cuda")
    assert result.exit_code == 2
    assert "--require: got 'cuda'; expected one of any, gpu, cpu" in result.stderr


def test_a_checkpoint_does_not_run_on_a_cpu_either() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("PyTorch sees a GPU")
    result = run("evaluate", "demo", "--data", "phantom:1", "--require", "gpu")
    assert result.exit_code == 6
    assert "a GPU is required: got no GPU that PyTorch sees" in result.stderr


def test_what_ran_says_so(
    tiny_bundle: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, name = OrtGpu(monkeypatch), "cuda:0 NVIDIA H200"
    done = compile(CompileOptions(tiny_bundle, "onnxruntime-cuda", tmp_path / "gpu.mahtrt"))
    found = json.loads(run("predict", done.path, image, "--require", "gpu", "--json=-").stdout)
    assert (found["engine"], found["device"]) == ("onnxruntime-cuda-fp32", name)
    assert run("predict", done.path, image).stdout.splitlines()[0].rstrip().endswith(name)
    assert f"ran on {name}" in run("verify", done.path, "--require", "gpu").stdout
    bench = run("bench", done.path, "--require", "gpu", "--rounds", "1")
    assert f"on {name}: onnxruntime-cuda-fp32" in bench.stdout
    assert "on cpu: onnxruntime" in bench.stdout
    gpu.driver.check()
