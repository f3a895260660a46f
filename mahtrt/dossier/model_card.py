"""A model card to complete: what mahtrt knows is filled in, what only the team knows is marked.

The headings follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mahtrt.bundle.bundle import Bundle
from mahtrt.models.reference import DEMO_CHECKPOINT
from mahtrt.schema import plain


def model_card_values(bundle: Bundle, verification: Mapping[str, Any]) -> dict[str, Any]:
    """What the model card's template is filled with.

    Args:
        verification: See :func:`mahtrt.dossier.verification.verification_document`.
    """
    manifest = bundle.manifest
    spec, source = manifest.spec, manifest.source
    return {
        "name": bundle.path.resolve().name,
        "manifest_sha256": bundle.manifest_sha256,
        "created": manifest.created,
        "family": spec.family,
        "model": source.model,
        "config": plain(spec.config),
        "inputs": [plain(each) for each in spec.inputs],
        "outputs": [plain(each) for each in spec.outputs],
        "landmarks": list(spec.landmarks),
        "decode": spec.decode.method,
        "checkpoint": source.checkpoint,
        "checkpoint_sha256": source.checkpoint_sha256,
        "seed": source.seed,
        "is_demo": source.checkpoint == DEMO_CHECKPOINT,
        "parity": plain(manifest.provenance.parity) if manifest.provenance else None,
        "calibration": plain(manifest.calibration),
        "precision": manifest.precision,
        "default_engine": manifest.default_engine,
        "verification": verification,
    }
