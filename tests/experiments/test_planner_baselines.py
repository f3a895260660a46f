from __future__ import annotations

import json
from pathlib import Path

import pytest
from foreign_network import POINTS, ForeignNetwork
from programs import run_python

from mahtrt.build.planned import SHARE_OF_LIMITS

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "experiments/planner_baselines.py"
ASKED = (
    *(f"--points={POINTS}", "--target=onnxruntime", "--threads=1", "--plan-minutes=0.02"),
    *("--fp32", "--no-cache", "--calib=phantom:12@1"),
)


def test_the_baselines_are_held_to_the_limits_of_the_planner(
    foreign_network: ForeignNetwork,
) -> None:
    ended = run_python(
        SCRIPT, foreign_network.onnx, *ASKED, "--eval=phantom:2@9", "--budget-px=0.5"
    )
    planning = json.loads(ended.stdout.splitlines()[-1])
    assert planning["limits"]["budget_px"] == pytest.approx(0.5 * SHARE_OF_LIMITS)
    for row in planning["last_race"]:
        if row["int8_blocks"]:
            over = row["accuracy"]["mean_px"] > 0.5 * SHARE_OF_LIMITS
            assert any("mean displacement" in why for why in row["over_limits"]) >= over


def test_images_that_calibrate_do_not_judge_the_baselines(foreign_network: ForeignNetwork) -> None:
    ended = run_python(SCRIPT, foreign_network.onnx, *ASKED, "--eval=phantom:2@1")
    assert ended.returncode != 0
    assert "calibration and evaluation images: got 2 in both" in " ".join(ended.stderr.split())
    assert not ended.stdout
