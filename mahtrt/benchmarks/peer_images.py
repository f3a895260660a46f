"""Images that peers calibrate with: never those that the bench measures on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from mahtrt.benchmarks.options import BenchOptions
from mahtrt.data.datasets import open_dataset
from mahtrt.data.overlap import refuse_overlap
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import NetworkTensors, left_over, spread_out
from mahtrt.errors import DataError
from mahtrt.spec import ModelSpec

# With fewer, a peer looks worse than it is; more than NNCF's default number bring nothing.
LEAST_IMAGES, MOST_IMAGES = 16, 300


def peer_images(
    options: BenchOptions, measured: Dataset, spec: ModelSpec, preprocess_version: int
) -> Callable[[], NetworkTensors]:
    """What gives the images, prepared as for the engines, once a peer asks for them.

    They are those of ``peer_calib``; without it, the images of the bench's data that it does not
    measure on. At most ``MOST_IMAGES`` of them are used, evenly spread.

    Args:
        measured: The bench's data.

    Returns:
        A function that raises a DataError where there are too few images, or one of them is also
        measured on; its message is the reason in the rows of the peers that need it.
    """

    @functools.cache
    def images() -> NetworkTensors:
        found = spread_out(_candidates(options, measured, spec), MOST_IMAGES)
        refuse_overlap(
            found,
            spread_out(measured, options.images),
            used_for="the peers' calibration",
            fix="Give other images with --peer-calib.",
        )
        return NetworkTensors(found, spec, version=preprocess_version)

    return images


def _candidates(options: BenchOptions, measured: Dataset, spec: ModelSpec) -> Dataset:
    given = options.peer_calib
    if given is None:
        rest: Dataset = left_over(measured, options.images)
        got, fix = f"{len(rest)} that are not measured", "Give --peer-calib, or fewer --images."
    else:
        rest = _opened(given, options, spec)
        got, fix = f"{len(rest)}", "Give more images with --peer-calib."
    if len(rest) < LEAST_IMAGES:
        raise DataError(
            f"calibration images in {rest.source}",
            got=got,
            expected=f"at least {LEAST_IMAGES}",
            fix=fix,
        )
    return rest


def _opened(given: Dataset | Path | str, options: BenchOptions, spec: ModelSpec) -> Dataset:
    if not isinstance(given, (str, Path)):
        return given
    return open_dataset(given, skip_bad=options.skip_bad, inputs=spec.input_names)
