"""A dossier of a bundle whose displacement is known by arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
from dossiers import Written, quick
from tiny_bundle import write_tiny

from mahtrt.dossier.dossier import write_dossier
from mahtrt.dossier.options import DossierOptions
from mahtrt.targets.openvino import build
from mahtrt.targets.openvino.tune import Configuration, Tuned


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An old and a new bundle: INT8 of the new one is 0.1 px off, that of the old one 0.3 px."""
    folder = tmp_path_factory.mktemp("bundles")
    return write_tiny(folder / "old.mahtrt", off_px=0.3), write_tiny(folder / "new.mahtrt")


@pytest.fixture(scope="session")
def dossier(bundles: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Written:
    """With a change report and two builds; without a PDF."""
    old, new = bundles
    folder = tmp_path_factory.mktemp("dossiers") / "dossier"
    options = DossierOptions(quick(new), folder, pdf=False, changed_from=old, rebuild=2)
    with pytest.MonkeyPatch.context() as patch:
        # By chance, one build would find BF16 to be faster, and the next one FP32.
        chosen = Tuned(Configuration("f32", None), {})
        patch.setattr(build, "tune", lambda *_, **__: chosen)
        return Written(new, old, write_dossier(options))
