"""Every verb with the kernels of older CPUs, as far as this machine has them.

OpenVINO takes the kernels that ONEDNN_MAX_CPU_ISA allows. ONNX Runtime has no such switch, so its
engines run here as anywhere; only the number of weight bits differs. docs/cpu-paths.md says which
CPUs that leaves out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cpu_child
import numpy as np
import pytest
from build_options import make_options
from cpus import CPUS, ISA_HERE, LEVELS, Cpu, believing, isa_of
from foreign_network import ForeignNetwork
from PIL import Image
from programs import run_python

import mahtrt
from mahtrt.build.build import build
from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.manifest import Manifest
from mahtrt.data.phantom import make_phantom
from mahtrt.targets.cpu import SATURATES

pytestmark = pytest.mark.slow

NO_BF16 = "Built for native BF16, which this CPU lacks: it runs in FP32 here."


@dataclass(frozen=True, slots=True)
class Ran:
    """What the process left behind.

    Attributes:
        document: What it printed, see cpu_child.py.
        manifest: Of the bundle that it built.
    """

    cpu: Cpu
    document: dict[str, Any]
    manifest: Manifest

    def json_of(self, command: str) -> dict[str, Any]:
        return dict(json.loads(self.document["commands"][command]["stdout"]))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(np.asarray(make_phantom(6, size=(160, 120)).image)).save(place)
    return place


@pytest.fixture(scope="module")
def guest(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle from a CPU with BF16 and VNNI."""
    out = tmp_path_factory.mktemp("guest") / "guest.mahtrt"
    with believing("bf16"):
        precisions, targets = ("fp32", "bf16", "int8"), ("openvino", "onnxruntime")
        asked = make_options(foreign_network, out, precisions=precisions, targets=targets)
        return build(asked).path


@pytest.fixture(scope="module")
def started(
    foreign_network: ForeignNetwork,
    guest: Path,
    picture: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, Future[Ran]]]:
    """The processes of all CPUs that this machine can be limited to, two at a time."""

    def use_every_verb(cpu: Cpu, folder: Path) -> Ran:
        command = (cpu_child.__file__, foreign_network.onnx, guest, picture, folder)
        done = run_python(*command, **cpu.environment)
        assert done.returncode == 0, done.stderr
        return Ran(cpu, json.loads(done.stdout), read_bundle(folder / "net.mahtrt").manifest)

    pool = ThreadPoolExecutor(2)
    able = [name for name in LEVELS if set(isa_of(CPUS[name])) <= ISA_HERE]
    yield {
        name: pool.submit(use_every_verb, CPUS[name], tmp_path_factory.mktemp(name))
        for name in able
    }
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module", params=LEVELS)
def ran(request: pytest.FixtureRequest, started: Mapping[str, Future[Ran]]) -> Ran:
    if missing := set(isa_of(CPUS[request.param])) - ISA_HERE:
        pytest.skip(f"kernels can be limited, not added: this CPU has no {', '.join(missing)}")
    return started[request.param].result()


def test_every_verb_succeeds(ran: Ran) -> None:
    failed = {name: ended for name, ended in ran.document["commands"].items() if ended["exit"]}
    assert not failed


def test_the_kernels_are_those_of_the_cpu(ran: Ran) -> None:
    assert ran.document["isa"] == list(isa_of(ran.cpu))
    names = ran.document["kernels"] + ran.document["int8_kernels"]
    assert {"avx512" in name for name in names} == {"avx512" in ran.document["isa"]}
    assert any(name.endswith("I8") for name in ran.document["int8_kernels"])


def test_the_bundle_is_made_for_the_cpu(ran: Ran) -> None:
    engines = {engine.name: engine for engine in ran.manifest.engines}
    floats = {name: e.device.inference_precision for name, e in engines.items()}
    native = "bf16" if ran.cpu.bf16 else "f32"
    assert floats["openvino-bf16"] == native
    assert floats["openvino-int8"] in (native, "f32")  # whichever was faster
    assert {floats[name] for name in floats if name.startswith("onnxruntime")} == {"f32"}
    assert bool(engines["openvino-bf16"].notes) is not ran.cpu.bf16
    bits = {graph.name: graph.weight_bits for graph in ran.manifest.graphs}
    assert bits["int8"] == ran.cpu.weight_bits


def test_landmarks_stay_within_bounds(ran: Ran, foreign_network: ForeignNetwork) -> None:
    moved = {
        f"{row['backend']}-{row['precision']}": row["accuracy"]["max_px"]
        for row in ran.json_of("bench")["rows"][1:]
    }
    assert len(moved) == 6
    assert max(moved["openvino-fp32"], moved["onnxruntime-fp32"]) < 1e-3
    # One step of BF16 at the right border of 64 pixels.
    assert max(moved["openvino-bf16"], moved["onnxruntime-bf16"]) < 64 / 2**8
    # INT8 beside FP32 moves less, unless its sums saturate.
    assert max(moved["openvino-int8"], moved["onnxruntime-int8"]) < (0.25 if ran.cpu.bf16 else 0.1)


def test_landmarks_are_the_same_as_here(ran: Ran, guest: Path, picture: Path) -> None:
    (image,) = ran.json_of("predict")["images"]
    there = np.array([(point["x"], point["y"]) for point in image["landmarks"]])
    with mahtrt.open(guest, engine="onnxruntime-fp32") as session:
        here = session.run(np.asarray(Image.open(picture))).points
    assert np.abs(there - here).max() < 0.01


def test_a_bundle_from_a_better_cpu_runs_and_says_what_it_lacks(ran: Ran) -> None:
    said = {
        name: " ".join(ran.document["commands"][f"predict guest's {name}"]["stderr"].split())
        for name in ("bf16", "int8")
    }
    assert (NO_BF16 in said["bf16"]) is not ran.cpu.bf16
    assert SATURATES not in said["bf16"]
    assert (SATURATES in said["int8"]) is (ran.cpu.weight_bits < 8)
