"""A bench's JSON document in which every part that a page shows is there, with made-up numbers."""

from __future__ import annotations

import itertools
from typing import Any

LANDMARKS = ("posterior nasal spine", "nasion", "a_point")
ENGINES = ("openvino-int8", "onnxruntime-mixed-int8")
# A name that would be markup if it were written as it is.
HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


def write_document(*, passed: bool = True, bundle: str = "net.mahtrt") -> dict[str, Any]:
    """A document ``mahtrt.report/1`` of one bundle."""
    return {
        "schema": "mahtrt.report/1",
        "bundles": [
            {
                "bench": write_bench(passed=passed, bundle=bundle),
                "plan": _plan(),
                "sensitivity": _sensitivity(),
            }
        ],
    }


def write_bench(*, passed: bool = True, bundle: str = "net.mahtrt") -> dict[str, Any]:
    """A document ``mahtrt.bench/1``."""
    numbers = itertools.count(1)

    def some(scale: float = 1.0) -> float:
        return scale * (1.0 + 0.37 * next(numbers) % 7.3)

    rows = [
        _row(name, scope, some)
        for name in ("pytorch", *ENGINES, "torch-bf16")
        for scope in ("engine", "end_to_end")
    ]
    return {
        "schema": "mahtrt.bench/1",
        "machine": {"cpu": "a CPU", "cores_usable": 2, "cpu_quota": None, "isa": ["avx2"]},
        "versions": {"python": "3.11.7", "mahtrt": "0.1.0"},
        "model": {
            "family": "maht-net",
            "landmarks": list(LANDMARKS),
            "bundle": bundle,
            "provenance": {"onnx_sha256": "81159ee6890d", "parity": {"rows": [{"error": 7.6e-6}]}},
        },
        "conditions": {
            "date": "2026-01-02T03:04:05+00:00",
            "reference": "PyTorch 2.15.0 eager fp32",
            "data": "cases/",
            "images": 24,
            "interleaved": True,
            "load_average": [0.5, 0.25],
            "peers": {"torch-bf16": "", "torch-tensorrt": "no GPU"},
        },
        "rows": rows,
        "verdict": {
            "latency_budget_ms": 100.0,
            "latency_engine": ENGINES[0],
            "latency_p99_ms": 30.0,
            "accuracy_pass": passed,
            "latency_pass": True,
            "pass": passed,
            "reasons": [] if passed else ["openvino-int8: mean 0.4 px is over its budget"],
        },
        "baseline": "old.json",
        "changes": [
            _change(ENGINES[0], "worse", 11.25, (8.5, 14.0)),
            _change(ENGINES[1], "not comparable", None, None),
        ],
        "warnings": ["only 20 runs: p99 is the maximum"],
        "details": {name: _details(some) for name in ENGINES},
        "quantities": {
            "file": "cephalometry.json",
            "definitions": [
                {
                    "name": "SNA",
                    "unit": "deg",
                    "kind": "angle",
                    "points": ["sella", "nasion", "a_point"],
                    "source": "Steiner 1953",
                }
            ],
            "skipped": [{"name": "IMPA", "reason": "no landmark incisor"}],
        },
        "startup": [
            {
                "name": ENGINES[0],
                "cold_start_ms": {"p50": some(100), "min": 1.0, "max": 2.0, "samples": [1.0]},
                "open_ms": some(50),
                "first_result_ms": some(20),
                "resident_mib": some(60),
                "peak_mib": some(70),
            }
        ],
        "sizes": {"bundle_bytes": 40_123_456, "engines": {ENGINES[0]: 7_654_321}},
        "throughput": [
            {
                "name": ENGINES[0],
                "batch": 1,
                "streams": 2,
                "images_per_s": some(40),
                "p50_ms": some(10),
                "p99_ms": some(20),
                "images": 100,
                "seconds": 2.0,
            }
        ],
        "roofline": {
            "limits": [
                {
                    "precision": "int8",
                    "operation": "convolution",
                    "gflops_per_s": some(300),
                    "threads": 2,
                }
            ],
            "network_gflop_per_image": 1.1,
            "rows": [
                {
                    "name": ENGINES[0],
                    "precision": "int8",
                    "engine_p50_ms": some(10),
                    "floor_ms": some(3),
                    "share_of_limit": 0.314,
                }
            ],
        },
    }


def _change(name: str, verdict: str, percent: Any, interval: Any) -> dict[str, Any]:
    return {
        "name": name,
        "scope": "engine",
        "verdict": verdict,
        "percent": percent,
        "interval": None if interval is None else list(interval),
        "reason": "" if percent is not None else "other threads",
    }


def _row(name: str, scope: str, some: Any) -> dict[str, Any]:
    is_reference, is_peer = name == "pytorch", name.startswith("torch-")
    samples = [some(10) for _ in range(20)]
    ratio = None if is_reference else some()
    return {
        "name": name,
        "backend": name.split("-")[0],
        "precision": "fp32",
        "batch": 1,
        "scope": scope,
        "reference": is_reference,
        "peer": is_peer,
        "default": False,
        "p50_ms": some(10),
        "p90_ms": some(11),
        "p99_ms": some(14),
        "max_ms": some(15),
        "runs": 20,
        "unstable": name == ENGINES[1],
        "p50_window_spread": 0.123,
        "samples_ms": samples,
        "images_per_s": some(40),
        "speedup_vs_reference": ratio,
        "verdict": None if is_reference or is_peer else {"passed": True, "reasons": []},
        "measured_on": "engine",
        "accuracy": _accuracy(some),
    }


def _accuracy(some: Any) -> dict[str, Any]:
    return {
        "images": 24,
        "mean_px": some(0.01),
        "mean_px_interval": [0.01, 0.05],
        "max_px": some(0.1),
        "mre_mm": some(0.5),
        "mre_px": some(),
        "reference_mre_mm": 0.6,
        "delta_mre_mm": -0.002,
        "delta_mre_mm_interval": [-0.004, 0.001],
        "sdr_percent": {"2": 98.765},
        "per_landmark": [
            {"name": name, "mean_px": some(0.01), "max_px": some(0.1)} for name in LANDMARKS
        ],
        "maps": [{"name": "change", "mean": 3.21e-5, "p99": 0.001, "max": 0.02, "ssim": 0.9987}],
        "logits": [{"name": "finding", "mean": 0.01, "max": 0.02, "agreement": 0.9912}],
        "visibility": [],
    }


def _details(some: Any) -> dict[str, Any]:
    return {
        "landmarks": [
            {
                "name": name,
                "points": 24,
                "bias_px": [some(0.01), -0.02],
                "spread_px": [0.03, 0.04],
                "mean_px": some(0.01),
                "mean_px_interval": [0.01, 0.04],
                "p95_px": some(0.05),
                "max_px": some(0.1),
                "mean_mm": some(0.01),
                "p95_mm": some(0.05),
                "max_mm": some(0.1),
            }
            for name in LANDMARKS
        ],
        "cases": [
            {
                "image": image,
                "mean_px": some(0.1),
                "max_px": some(0.2),
                "worst_landmark": LANDMARKS[1],
                "points_px": [[10.5, 20.5], [30.0, 40.0], [50.0, 60.0]],
                "reference_points_px": [[10.0, 20.0], [30.5, 40.25], [50.0, 60.5]],
                "annotated_points_px": [[10.0, 21.0], None, [50.0, 60.5]],
                "spacing_mm": [0.1, 0.1],
            }
            for image in ("0.png", HOSTILE)
        ],
        "quantities": [
            {
                "name": "SNA",
                "unit": "deg",
                "images": 24,
                "reference_mean": 81.25,
                "engine_mean": 81.5,
                "bias": 0.25,
                "bias_interval": [-0.125, 0.5],
                "spread": 0.4,
                "p95": 0.9,
                "max": 1.75,
            }
        ],
    }


def _plan() -> dict[str, Any]:
    return {
        "schema": "mahtrt.plan/2",
        "quantize_residuals": True,
        "blocks": [
            {
                "name": "encoder.0",
                "precision": "float",
                "reason": "excluded by 2 rules",
                "flops_share": 0.0985,
            },
            {
                "name": "decoder.0",
                "precision": "int8",
                "reason": "every rule holds",
                "flops_share": 0.4321,
                "gain_ms": 1.25,
                "cost_px": 0.012,
            },
        ],
    }


def _sensitivity() -> dict[str, Any]:
    cells = [{"mean_px": 0.002 * 4**k, "two_peaked": k // 2} for k in range(len(LANDMARKS))]
    return {
        "schema": "mahtrt.sensitivity/2",
        "landmarks": list(LANDMARKS),
        "half": "bf16",
        "blocks": [{"name": "decoder.0", "cells": cells}],
        "half_blocks": [],
    }
