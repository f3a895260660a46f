"""Is a bundle whole, and do its engines still find the golden landmarks on this machine?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mahtrt.bundle.bundle import Bundle, verify_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.data.preprocess import preprocess
from mahtrt.errors import GateError
from mahtrt.runtime.session import open_session
from mahtrt.targets.targets import find_target


def verify_and_replay(
    path: Path, progress: Callable[[str, int, int], None] | None = None
) -> list[str]:
    """Hash every file, then run the golden images through every engine that can run here.

    Returns:
        A line per thing checked.

    Raises:
        IntegrityError: A file is missing, changed or extra.
        GateError: An engine moves a golden landmark further than the build's gate allows.
    """
    tell = progress or (lambda *_: None)
    tell("hashing", 0, 0)
    bundle = verify_bundle(path)
    lines = [f"{len(bundle.manifest.files)} files whole"]
    if bundle.manifest.golden is None:
        return [*lines, "no golden images to replay"]
    budgets = bundle.manifest.gate.get("budgets", {})
    for record in bundle.manifest.engines:
        target = find_target(record.target)
        if not target.runs_here:
            absent = (
                "no NVIDIA GPU is here" if target.installed else f"{target.name} is not installed"
            )
            lines.append(f"{record.name}: not run, {absent}")
            continue
        tell(f"replaying {record.name}", 0, 0)
        mean, worst = _displacement_px(bundle, record.name)
        limits = [("worst landmark's mean", worst, "worst_landmark_px", 1.0)]
        if record.precision == "fp32":
            limits = [("worst landmark's mean", worst, "fp32_px", 0.01)]
        elif budgets.get("budget_mm") is None:
            limits.append(("mean", mean, "budget_px", 0.25))
        for what, moved, key, usual in limits:
            budget = float(budgets.get(key) or usual)
            if not moved <= budget:
                raise GateError(
                    f"{record.name} on golden images",
                    got=f"a {what} displacement of {moved:.3f} network px",
                    expected=f"at most {budget} px",
                    fix="Build the bundle again on this machine.",
                )
        lines.append(f"{record.name}: golden landmarks within {worst:.4f} px (mean {mean:.4f})")
    return lines


def _displacement_px(bundle: Bundle, engine: str) -> tuple[float, float]:
    """Mean over golden images: of all landmarks, and of the worst one, in network pixels."""
    golden = bundle.manifest.golden
    assert golden is not None
    moved = []
    with open_session(bundle.path, engine=engine, verify=False) as session:
        for vector in read_golden(bundle.file(golden.file)):
            _, placement = preprocess(vector.image, bundle.spec.input)
            found = placement.network_from_image(session.run(vector.image).points)
            wanted = placement.network_from_image(vector.points_px)
            moved.append(np.linalg.norm(found - wanted, axis=1))
    return float(np.mean(moved)), float(np.mean(moved, axis=0).max())
