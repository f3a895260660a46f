"""Second stage of a build: images that calibrate, and others that judge."""

from __future__ import annotations

from dataclasses import dataclass

from mahtrt.build.options import BuildOptions
from mahtrt.data.datasets import open_dataset
from mahtrt.data.overlap import JUDGE_ON_OTHERS, refuse_overlap
from mahtrt.data.sample import Dataset
from mahtrt.data.screening import refuse_unreal_images
from mahtrt.data.subset import Unannotated, hold_back, spread_out
from mahtrt.progress import StageProgress
from mahtrt.spec import ModelSpec

GOLDEN_IMAGES = 3
DEFAULT_EVAL = "phantom:32@5"
_COPIES = "Cases of --calib have an image in common: remove copies, or judge on others with --eval."


@dataclass(frozen=True, slots=True, eq=False)
class ImageSets:
    """The images of a build; none of them is in both sets.

    Attributes:
        calib: Images that INT8 is calibrated on; None without DATA.
        evaluation: Images that every engine is judged on.
        given: Whether any of them are the caller's; others only stand in for them.
    """

    calib: Dataset | None
    evaluation: Dataset
    given: bool = True

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of what lies beside the images."""
        sets = (self.calib, self.evaluation)
        return tuple(dict.fromkeys(n for data in sets for n in getattr(data, "notes", ())))

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the images that were left out because they cannot be read."""
        sets = (self.calib, self.evaluation)
        return tuple(dict.fromkeys(n for data in sets for n in getattr(data, "skipped", ())))


def split_images(options: BuildOptions, spec: ModelSpec, progress: StageProgress) -> ImageSets:
    """Open the caller's DATA and keep apart what calibrates and what judges.

    Raises:
        DataError: Images that are missing, empty, random, constant, or in both sets.
    """
    calib: Dataset | None = None
    if options.calib is not None:
        calib = open_dataset(
            options.calib,
            points=options.points,
            skip_bad=options.skip_bad,
            inputs=spec.input_names,
        )
        refuse_unreal_images(calib)
    if options.eval is not None:
        given: Dataset = open_dataset(
            options.eval,
            points=options.points,
            skip_bad=options.skip_bad,
            inputs=spec.input_names,
        )
        # Evenly spread: the first of a sorted folder may all be one patient's.
        judged = max(options.check_images, GOLDEN_IMAGES)
        evaluation: Dataset = spread_out(given, judged) if len(given) else given
    elif calib is None:
        stand_in = Unannotated(open_dataset(DEFAULT_EVAL), len(spec.inputs))
        return ImageSets(None, stand_in, given=False)
    else:
        calib, evaluation = hold_back(calib, min(options.check_images, max(1, len(calib) // 4)))
    if calib is not None:
        refuse_overlap(
            calib,
            evaluation,
            fix=_COPIES if options.eval is None else JUDGE_ON_OTHERS,
            progress=lambda n, of: progress("comparing calibration and check", n, of),
        )
    return ImageSets(calib, evaluation)
