"""Is a bundle whole, and do its engines still find the golden landmarks on this machine?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.bundle import Bundle, verify_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.data.preprocess import preprocess
from mahtrt.errors import GateError
from mahtrt.measure.accuracy import Accuracy, Annotations, LandmarkSet, measure
from mahtrt.measure.limits import Limits
from mahtrt.runtime.session import open_session
from mahtrt.targets.table import find_target


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
    limits = Limits(**bundle.manifest.gate.get("budgets", {}))
    for record in bundle.manifest.engines:
        presence = find_target(record.target).presence()
        if not presence.able:
            lines.append(f"{record.name}: not run, {presence.detail}")
            continue
        tell(f"replaying {record.name}", 0, 0)
        found = _accuracy(bundle, record.name)
        over = limits.for_replay(found).over(found, record.precision)
        if over:
            raise GateError(
                f"{record.name} on golden images",
                got="; ".join(over),
                expected="what the build's gate allows",
                fix="Build the bundle again on this machine.",
            )
        lines.append(
            f"{record.name}: golden landmarks within {found.worst_landmark_mean_px:.4f} px "
            f"(mean {found.mean_px:.4f})"
        )
    return lines


def _accuracy(bundle: Bundle, engine: str) -> Accuracy:
    """How far an engine moves the landmarks of the golden images."""
    golden = bundle.manifest.golden
    assert golden is not None
    vectors = read_golden(bundle.file(golden.file))
    placements = [preprocess(vector.image, bundle.spec.input)[1] for vector in vectors]

    def landmarks(points_px: Sequence[NDArray[np.float32]]) -> LandmarkSet:
        pairs = zip(placements, points_px, strict=True)
        network = [placement.network_from_image(points) for placement, points in pairs]
        return LandmarkSet(np.stack(network), np.stack(points_px))

    with open_session(bundle.path, engine=engine, verify=False) as session:
        found = landmarks([session.run(vector.image).points for vector in vectors])
    wanted = landmarks([vector.points_px for vector in vectors])
    # Their landmarks are the reference's own, not the truth.
    truth = np.full_like(wanted.image_px, np.nan)
    spacing = np.array([vector.spacing_mm or (np.nan, np.nan) for vector in vectors])
    names = bundle.spec.landmarks
    return measure(found, wanted, names, Annotations(truth, spacing))
