"""What was measured before, kept so that an interrupted run goes on where it stopped.

One small JSON file per block, named by the hash of everything that its numbers depend on. A file
that is damaged or of another size is measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.atomic import naming_place, write_text_atomic
from mahtrt.cache import ENVIRONMENT, cache_folder, make_private
from mahtrt.errors import MahtrtError
from mahtrt.measure.distances import Target
from mahtrt.parsing import read_json_file
from mahtrt.reading import Wanted
from mahtrt.schema import plain
from mahtrt.scratch import sweep_once

_FOLDER = "sensitivity"
_WANTED = Wanted("landmarks that were measured")
_VERSION = 2  # of the way of measuring: raised when old files must not be used


@dataclass(frozen=True, slots=True, eq=False)
class StoredLandmarks:
    """What a network found on N images.

    Attributes:
        points_px: (N, K, 2) float64 x, y in network pixels.
        spread_px: (N, K) float64, network pixels, NaN where the network gives none.
        others: (N, T, 2) float64, distances of other targets from the reference and their shifts
            (:func:`mahtrt.measure.distances.other_distances`).
        targets: The T other targets.
    """

    points_px: NDArray[np.float64]
    spread_px: NDArray[np.float64]
    others: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0, 2)))
    targets: tuple[Target, ...] = ()


class LandmarkStore:
    """Results by key.

    Args:
        folder: The cache (:func:`mahtrt.cache.cache_folder`); None keeps nothing.

    Raises:
        InputError: Others may change the folder.
        BuildError: It cannot be made.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / _FOLDER
        if self._folder is not None:
            sweep_once(self._folder)  # where all is found, nothing is written
        if folder is not None:
            with naming_place(folder):
                make_private(folder)
                make_private(folder / _FOLDER)

    def read(self, key: Mapping[str, Any]) -> StoredLandmarks | None:
        """What is kept under a key, None where nothing usable is."""
        if self._folder is None:
            return None
        try:
            place = self._place(key)
            data = read_json_file(place, _WANTED)
            points = np.array(data["points_px"], np.float64)
            spread = np.array(data["spread_px"], np.float64)  # null becomes NaN
            targets = tuple(Target(name, unit) for name, unit in data.get("targets", ()))
            images = len(spread)
            others = np.array(data.get("others", [[]] * images), np.float64)
            others = np.where(np.isnan(others), np.inf, others)
            shape = (images, len(targets), 2)
            points, others = points.reshape(*spread.shape, 2), others.reshape(shape)
        except (MahtrtError, ValueError, KeyError, TypeError):
            return None
        if spread.ndim != 2:
            return None
        return StoredLandmarks(points, spread, others, targets)

    def write(self, key: Mapping[str, Any], found: StoredLandmarks) -> None:
        """Keep what was found.

        Raises:
            BuildError: The folder cannot be written, or the disk is full.
        """
        if self._folder is None:
            return
        table = {
            "key": dict(key),
            "points_px": plain(found.points_px.tolist()),
            "spread_px": plain(found.spread_px.tolist()),
        }
        if found.targets:
            table["others"] = plain(found.others.tolist())
            table["targets"] = [[target.name, target.unit] for target in found.targets]
        write_text_atomic(self._place(key), json.dumps(table) + "\n")

    def _place(self, key: Mapping[str, Any]) -> Path:
        assert self._folder is not None
        text = json.dumps({**key, "version": _VERSION}, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def usable_cache(
    given: Path | None, environment: Mapping[str, str] = os.environ
) -> tuple[Path | None, str]:
    """The cache folder and "", or None and why landmarks are not kept in the usual one.

    Raises:
        InputError, BuildError: A folder was asked for, here or by $MAHTRT_CACHE_DIR, and cannot
            be used.
    """
    try:
        folder = cache_folder(given, environment)
        LandmarkStore(folder)
        return folder, ""
    except (MahtrtError, OSError, RuntimeError) as error:  # RuntimeError: there is no home
        if given is not None or environment.get(ENVIRONMENT):
            raise
        return None, f"Sensitivities are not kept: {error}"
