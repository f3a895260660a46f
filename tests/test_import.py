"""What importing mahtrt and asking for help cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run_python

# Nothing of these is loaded until a command needs it.
HEAVY = {
    "cv2",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "PIL",
    "pydicom",
    "rich.progress",
    "rich.table",
    "safetensors",
    "tensorrt",
    "tensorrt_rtx_bindings",
    "timm",
    "torch",
    "transformers",
}
RUNTIME_MODULES = (
    "mahtrt.runtime",
    "mahtrt.runtime.session",
    "mahtrt.targets.tensorrt.run",
    "mahtrt.cuda.apis",
    "mahtrt.data.preprocess",
    "mahtrt.spec",
    "mahtrt.bundle.bundle",
    "mahtrt.runtime.predict",
    "mahtrt.runtime.verify",
)
HELP = """
import sys
sys.argv = ["mahtrt", "--help"]
from mahtrt.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
"""
REPORT = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print("\\n@@", used.ru_utime + used.ru_stime, *sorted(sys.modules))
"""


def run_child(code: str) -> tuple[float, set[str]]:
    """CPU seconds that a child used, and the modules that it loaded."""
    ended = run_python("-c", f"import sys\n{code}\n{REPORT}", OMP_NUM_THREADS="1")
    assert ended.returncode == 0, ended.stderr
    seconds, *modules = ended.stdout.rpartition("@@")[2].split()
    return float(seconds), set(modules)


@pytest.mark.parametrize("code", ["import mahtrt", HELP], ids=["import", "help"])
def test_import_and_help_are_light(code: str) -> None:
    # CPU time of the child and not the clock: a busy machine must not fail this. The best of
    # several, since caches have to be warm; the limit is the wall-clock bar of 0.3 s.
    runs = [run_child(code) for _ in range(3)]
    assert runs[0][1] & HEAVY == set()
    assert min(seconds for seconds, _ in runs) < 0.3


def test_the_runtime_needs_no_torch_and_no_onnx() -> None:
    _, modules = run_child("\n".join(f"import {name}" for name in RUNTIME_MODULES))
    assert modules & {"torch", "onnx", "tensorrt", "pycuda", "transformers", "timm"} == set()


# Every module of ours that opening and running an OpenVINO engine loads: what a deployment host has
# to trust. Three of them are packages that share their name with a verb (see mahtrt/__init__.py).
DEPLOYMENT_CORE = {
    "mahtrt",
    *(f"mahtrt.{name}" for name in ("build", "export", "models")),
    *(f"mahtrt.{name}" for name in ("atomic", "destination", "digest", "errors", "files")),
    *("mahtrt.cuda", "mahtrt.cuda.probe"),
    *(f"mahtrt.{name}" for name in ("interrupt", "machine", "scratch")),
    *(f"mahtrt.{name}" for name in ("names", "native", "parsing", "reading", "schema", "spec")),
    *("mahtrt.data", "mahtrt.data.area_mean", "mahtrt.data.compiled", "mahtrt.data.feed"),
    "mahtrt.data.limits",
    *("mahtrt.data.gray", "mahtrt.data.preprocess", "mahtrt.data.preprocess_opencv"),
    *("mahtrt.data.preprocess_version", "mahtrt.data.resample", "mahtrt.data.resample_area"),
    *("mahtrt.data.resample_weights", "mahtrt.data.resample_whole", "mahtrt.data.spacing"),
    *("mahtrt.bundle", "mahtrt.bundle.bundle", "mahtrt.bundle.contents", "mahtrt.bundle.manifest"),
    *("mahtrt.bundle.origin", "mahtrt.bundle.output_records", "mahtrt.bundle.records"),
    "mahtrt.bundle.version1",
    *("mahtrt.measure", "mahtrt.measure.wide_heatmaps"),
    *(f"mahtrt.measure.{name}" for name in ("decisions", "judged", "logits")),
    *("mahtrt.targets", "mahtrt.targets.artifact", "mahtrt.targets.backend", "mahtrt.targets.cpu"),
    *("mahtrt.targets.graph_kinds", "mahtrt.targets.layers", "mahtrt.targets.table"),
    *("mahtrt.targets.target", "mahtrt.targets.openvino", "mahtrt.targets.openvino.guard"),
    *("mahtrt.openvino_core", "mahtrt.targets.openvino.decoding", "mahtrt.targets.openvino.ir"),
    *("mahtrt.targets.openvino.float32", "mahtrt.targets.openvino.info"),
    *("mahtrt.targets.openvino.concats", "mahtrt.targets.openvino.matrices"),
    "mahtrt.targets.openvino.interpolation",
    *("mahtrt.targets.openvino.run", "mahtrt.targets.openvino.target"),
    *("mahtrt.runtime", "mahtrt.runtime.decode", "mahtrt.runtime.landmarks"),
    *("mahtrt.runtime.checked_feed", "mahtrt.runtime.engine_choice", "mahtrt.runtime.labels"),
    "mahtrt.runtime.opening",
    "mahtrt.runtime.stream",
    *("mahtrt.runtime.session", "mahtrt.runtime.verdict"),
}
RUN = """
import numpy, mahtrt
with mahtrt.open({bundle!r}, engine="openvino", threads=1) as session:
    session.run(numpy.zeros((40, 40, 3), numpy.uint8))
"""


def test_the_deployment_core_is_what_opening_a_bundle_loads(tiny_bundle: Path) -> None:
    _, modules = run_child(RUN.format(bundle=str(tiny_bundle)))
    assert {name for name in modules if name.split(".")[0] == "mahtrt"} == DEPLOYMENT_CORE


def test_public_names_resolve() -> None:
    import mahtrt

    for name in mahtrt.__all__:
        assert getattr(mahtrt, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = mahtrt.nothing
