"""MAHT-Nets of all kinds compile for TensorRT as promised: the builds table's command, in small.

What is real here: the widths and depths of all four variants, both encoders and both bottlenecks;
the export with its passes, the half-precision and Q/DQ graphs, ranges measured on an image; and the
builder, TensorRT-RTX's own, which needs no GPU. What is smaller than in the table under
``benchmarks/results/``, to take minutes and not half an hour: the input is 288 pixels wide (a
token grid of 9x9, which windows of 8 do not divide), INT8 is calibrated on one phantom, one plan is
built for SM86, SM89 and SM120 together instead of one plan each, and of the 64 builds of sixteen
networks 18 are made: in these, any two of variant, encoder (the variant's own or another),
bottleneck and precision meet.
The weights are random in both. No plan is run.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
COMMAND = ROOT / "experiments" / "tensorrt_builds.py"
CAPABILITIES = ["SM86", "SM89", "SM120"]
OWN_ENCODERS = {
    "nano": "efficientnet_b0",
    "small": "efficientnet_b1",
    "base": "efficientnet_b3",
    "efficient": "efficientnet_b0",
}
ALL_NETWORKS = [
    (variant, encoder, bottleneck)
    for variant, own in OWN_ENCODERS.items()
    for encoder, bottleneck in product((own, "resnet34"), ("vit", "swin"))
]
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
BUILDS = [
    (*network, precision)
    for network, precisions in {
        ("nano", "efficientnet_b0", "vit"): ("fp32", "int8"),
        ("nano", "resnet34", "swin"): ("fp16", "bf16"),
        ("small", "efficientnet_b1", "swin"): ("fp32", "bf16"),
        ("small", "resnet34", "vit"): ("fp16", "int8"),
        ("base", "efficientnet_b3", "vit"): PRECISIONS,
        ("base", "resnet34", "swin"): ("fp32", "int8"),
        ("efficient", "efficientnet_b0", "vit"): ("fp16", "bf16"),
        ("efficient", "resnet34", "swin"): ("fp32", "int8"),
    }.items()
    for precision in precisions
]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON that the command wrote."""
    out = tmp_path_factory.mktemp("builds") / "builds.json"
    jobs = min(2, os.cpu_count() or 1)
    options = f"--covering --one-plan --size 288 --images 1 --jobs {jobs} --out"
    done = subprocess.run(
        [sys.executable, str(COMMAND), *options.split(), str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert out.exists(), done.stderr
    document: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert (done.returncode == 0) == document["passed"], done.stderr
    return document


@pytest.fixture(scope="module")
def rows(document: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    names = ("variant", "encoder", "bottleneck", "precision")
    return {tuple(row[name] for name in names): row for row in document["rows"]}


def test_every_two_parts_meet_in_a_build() -> None:
    def pairs(builds: Iterable[tuple[str, ...]]) -> set[tuple[tuple[int, object], ...]]:
        parts = [(build[0], build[1] == "resnet34", *build[2:]) for build in builds]
        return {pair for each in parts for pair in combinations(enumerate(each), 2)}

    everything = [(*network, precision) for network in ALL_NETWORKS for precision in PRECISIONS]
    assert pairs(BUILDS) == pairs(everything)


def test_the_command_meets_its_bars(
    document: dict[str, Any], rows: dict[tuple[str, ...], dict[str, Any]]
) -> None:
    assert document["missed"] == []
    assert sorted(rows) == sorted(BUILDS)


@pytest.mark.parametrize("build", BUILDS, ids="-".join)
def test_the_network_builds(
    build: tuple[str, ...], rows: dict[tuple[str, ...], dict[str, Any]]
) -> None:
    precision = build[-1]
    row = rows[build]
    assert row["error"] == ""
    assert row["capabilities"] == CAPABILITIES
    assert row["plan_bytes"] > 1e6
    floating = "fp16" if precision == "int8" else precision
    assert set(row["products"]) == {floating, precision}
    assert row["int8_layers"] == (row["products"]["int8"] if precision == "int8" else 0)
    assert bool(row["network_layers"].get("QUANTIZE")) == (precision == "int8")


@pytest.mark.parametrize(
    ("network", "precision", "share"),
    [
        (("base", "efficientnet_b3", "vit"), "int8", 0.45),
        (("base", "efficientnet_b3", "vit"), "fp16", 0.6),
        (("base", "efficientnet_b3", "vit"), "bf16", 0.6),
        (("base", "resnet34", "swin"), "int8", 0.45),
    ],
)
def test_fewer_bits_make_base_small(
    network: tuple[str, ...],
    precision: str,
    share: float,
    rows: dict[tuple[str, ...], dict[str, Any]],
) -> None:
    size = {p: rows[*network, p]["plan_bytes"] for p in ("fp32", precision)}
    assert size[precision] <= share * size["fp32"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"error": "ModelError: bad node"}, "bad node"),
        ({"seconds": 31.0}, "31.0 s"),
        ({"peak_memory_mib": 4000}, "4000 MiB"),
        ({"plan_bytes": 46}, "0.46x of FP32"),
    ],
)
def test_missed_bars_are_named(
    values: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(COMMAND.parent))
    judge = importlib.import_module("tensorrt_builds").judge
    network = {"variant": "base", "encoder": "resnet34", "bottleneck": "vit"}
    full = {**network, "precision": "fp32", "capabilities": ("SM86",), "error": "",
            "plan_bytes": 100, "seconds": 1.0, "peak_memory_mib": 500}  # fmt: skip
    small = {**full, "precision": "int8", "plan_bytes": 45}
    assert judge([full, small]) == []
    (missed,) = judge([full, {**small, **values}])
    assert missed.startswith("base resnet34 vit int8 SM86: ")
    assert reason in missed
