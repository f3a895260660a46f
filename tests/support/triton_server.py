"""The real ``tritonserver`` of the wheel ``nvidia-pytriton``, started on a model repository.

The wheel lies in an environment of its own, whose Python ``MAHTRT_TRITON_PYTHON`` names:

    python3.11 -m venv triton-env
    triton-env/bin/pip install nvidia-pytriton 'numpy<2' . pydicom

The server's Python backend takes the environment of the ``python3`` on its PATH. So that the models
run the mahtrt under test, that is a new environment which has a ``.pth`` file alone: it points to
the packages of the one named, and to the source tree.

The wheel holds the Python backend and no other. :data:`STAND_IN` takes the place of the ONNX
Runtime and OpenVINO backends: Triton reads the same configuration, and OpenVINO's Python package
runs the same files, which have to have the names, types and shapes of the configuration.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dicom_nodes import free_port, is_open

VARIABLE = "MAHTRT_TRITON_PYTHON"
ROOT = Path(__file__).parents[2]

_FACTS = """
import json, sys, sysconfig, importlib.util
found = importlib.util.find_spec("pytriton")
print(json.dumps([found and found.submodule_search_locations[0], sysconfig.get_path("purelib"),
                  "%d.%d" % sys.version_info[:2]]))
"""

STAND_IN = """
import json
from pathlib import Path
import numpy
import openvino
import triton_python_backend_utils as triton


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        return config

    def initialize(self, args):
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        model = openvino.Core().read_model(folder / config["default_model_filename"])
        self.run = openvino.Core().compile_model(
            model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        )
        self.inputs, self.outputs = (
            {each["name"]: [int(size) for size in each["dims"]] for each in config[kind]}
            for kind in ("input", "output")
        )

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        feed = {each.name(): each.as_numpy() for each in request.inputs()}
        assert {name: list(array.shape) for name, array in feed.items()} == self.inputs
        assert all(array.dtype == numpy.float32 for array in feed.values())
        found = self.run(feed)
        arrays = {name: found[name] for name in self.outputs}
        assert {name: list(array.shape) for name, array in arrays.items()} == self.outputs
        return triton.InferenceResponse([triton.Tensor(*each) for each in arrays.items()])
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        http, grpc: Where it listens, HOST:PORT.
    """

    http: str
    grpc: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        """What the server and its models said."""
        return self.log_file.read_text("utf-8", "replace")


def why_not() -> str:
    """Why the server cannot be started here; "" where it can."""
    python = os.environ.get(VARIABLE, "")
    if not python:
        return f"{VARIABLE} does not name the Python of an environment with nvidia-pytriton"
    return "" if _facts(python)[0] else f"{python} has no package nvidia-pytriton"


def _facts(python: str) -> tuple[str, str, str]:
    """Folder of the package pytriton ("" without it), of all packages, and Python's version."""
    done = subprocess.run([python, "-c", _FACTS], capture_output=True, check=True, text=True)
    package, packages, version = json.loads(done.stdout)
    return package or "", packages, version


@contextlib.contextmanager
def tritonserver(repository: Path, folder: Path, *arguments: str) -> Iterator[Server]:
    """A server on loopback, until the block ends; what it loads need not all be ready.

    Args:
        folder: For the backends, the environment and the log; new.
    """
    python = os.environ[VARIABLE]
    package, packages, version = _facts(python)
    wheel = Path(package) / "tritonserver"
    backends = _lay_backends(wheel, folder / "backends", version)
    environment = folder / "environment"
    subprocess.run([python, "-m", "venv", "--without-pip", str(environment)], check=True)
    overlay = environment / f"lib/python{version}/site-packages/overlay.pth"
    overlay.write_text(f"{packages}\n{ROOT}\n", "utf-8")
    http, grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))
    command = [
        *(str(wheel / "bin/tritonserver"), f"--model-repository={repository}"),
        *(f"--backend-directory={backends}", "--exit-on-error=false", "--allow-metrics=false"),
        *("--http-address=127.0.0.1", f"--http-port={http.partition(':')[2]}"),
        *("--grpc-address=127.0.0.1", f"--grpc-port={grpc.partition(':')[2]}", *arguments),
    ]
    variables = {
        **os.environ,
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(Path(packages) / "nvidia_pytriton.libs"),
        "OMP_NUM_THREADS": "1",
    }
    log = folder / "log.txt"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=variables, stdout=sink, stderr=sink)
    server = Server(http, grpc, process, log)
    try:
        _wait(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _lay_backends(wheel: Path, folder: Path, version: str) -> Path:
    """The wheel's Python backend with the stub of our Python, and what stands in for others."""
    shutil.copytree(wheel / "backends", folder)
    stub = wheel / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, folder / "python")
    for name in ("onnxruntime", "openvino"):
        (folder / name).mkdir()
        (folder / name / "model.py").write_text(STAND_IN, "utf-8")
    return folder


def _wait(server: Server, patience_s: float = 120.0) -> None:
    """Until every model was loaded, or could not be."""
    end = time.monotonic() + patience_s
    ports = [int(address.rpartition(":")[2]) for address in (server.http, server.grpc)]
    while not ("Started HTTPService" in server.log and all(map(is_open, ports))):
        assert server.process.poll() is None, server.log
        assert time.monotonic() < end, server.log
        time.sleep(0.1)
