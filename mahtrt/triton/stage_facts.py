"""What the preparing and the decoding model of an ensemble know: a small JSON beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.preprocess_version import check_preprocess_version
from mahtrt.errors import IntegrityError
from mahtrt.parsing import read_json_file
from mahtrt.reading import Wanted
from mahtrt.schema import Batch, Count, check_schema, dataclass_from, plain
from mahtrt.spec import ModelSpec, spec_from_dict

SCHEMA = "mahtrt.triton-stage/1"
FACTS_FILE = "mahtrt.json"


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What has to be known to prepare images and to decode outputs.

    Attributes:
        spec: The network's spec, plain.
        batch: Images per inference of the network.
        preprocess_version: The definition of preprocessing that the engine was judged with.
        usual_spread_px: The usual spread of each landmark in network pixels, None where one is
            not known; none where that is known of no landmark.
        engine: The engine whose network runs, by its name in the bundle.
        runtime: What runs it, e.g. ``triton onnxruntime``.
    """

    spec: Mapping[str, Any]
    batch: Batch
    preprocess_version: Count
    usual_spread_px: tuple[float | None, ...]
    engine: str
    runtime: str
    schema: str = SCHEMA

    @property
    def usual_px(self) -> NDArray[np.float64] | None:
        """(K,), NaN where it is not known; None where it is known of none."""
        return np.array(self.usual_spread_px, np.float64) if self.usual_spread_px else None

    def to_plain(self) -> dict[str, Any]:
        """The content of the file."""
        found: dict[str, Any] = plain(self)
        return found


def read_facts(folder: Path) -> tuple[StageFacts, ModelSpec]:
    """The facts beside a model, and the spec in them.

    Raises:
        IntegrityError: The file is missing, changed, or of a newer version.
    """
    place = folder / FACTS_FILE
    data = read_json_file(place, Wanted("what mahtrt export-triton wrote", IntegrityError))
    if not isinstance(data, dict):
        raise IntegrityError(str(place), got=f"a {type(data).__name__}", expected="an object")
    check_schema(str(data.get("schema")), SCHEMA, str(place))
    facts = dataclass_from(StageFacts, data, str(place), error=IntegrityError)
    check_preprocess_version(facts.preprocess_version, str(place))
    return facts, spec_from_dict(facts.spec, where=str(place))
