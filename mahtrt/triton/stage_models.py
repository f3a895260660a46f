"""The two models of mahtrt in an ensemble: images to the network's input, its outputs to landmarks.

Between them one of Triton's own backends runs the network. A request holds at most as many images
as the network's batch; places without an image are zero, as in a session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mahtrt.data.feed import empty_feed, prepare
from mahtrt.data.preprocess import Placement
from mahtrt.data.spacing import Spacing
from mahtrt.errors import InputError
from mahtrt.parsing import read_json
from mahtrt.runtime.landmarks import landmarks_from_outputs, made_by
from mahtrt.triton.replies import Replies, outputs_of
from mahtrt.triton.requests import Arrays, answer_arrays, cases_of_request
from mahtrt.triton.stage_facts import read_facts
from mahtrt.triton.tensors import PLACEMENT, SPACING_OF_IMAGE


class _StageModel:
    """What both have: their facts, and requests answered one by one."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the facts; what is raised keeps the model unready.

        Raises:
            IntegrityError: The facts were changed.
        """
        config = read_json(args["model_config"], "model_config", "Triton's configuration")
        self._names = outputs_of(config)
        self._replies = Replies(self._names)
        folder = Path(args["model_repository"]) / args["model_version"]
        self._facts, self._spec = read_facts(folder)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests."""
        return self._replies.each(requests, self.work)

    def finalize(self) -> None:
        """There is nothing to release."""

    def work(self, arrays: Arrays) -> Arrays:
        """The outputs of one request."""
        raise NotImplementedError


class PrepareModel(_StageModel):
    """Images to the network's input.

    Its outputs: the network's inputs (B, C, H, W) float32; ``placement`` (N, 4) float64, scale x
    and y, offset x and y; ``spacing_of_image`` (N, 2) float64 mm, NaN where it is not known.
    """

    def work(self, arrays: Arrays) -> Arrays:
        cases, batch = cases_of_request(arrays, self._spec), self._facts.batch
        if len(cases) > batch:
            expected = f"at most {batch}, the network's batch"
            raise InputError("request", got=f"{len(cases)} images", expected=expected)
        feed, placements = empty_feed(self._spec, batch), np.empty((len(cases), 4))
        spacings = np.full((len(cases), 2), np.nan)
        for i, case in enumerate(cases):
            tensors, placement = prepare(case.images, self._spec, self._facts.preprocess_version)
            for name, tensor in tensors.items():
                feed[name][i] = tensor
            placements[i] = (*placement.scale, *placement.offset)
            if case.spacing_mm is not None:
                spacings[i] = case.spacing_mm
        return {**feed, PLACEMENT: placements, SPACING_OF_IMAGE: spacings}


class DecodeModel(_StageModel):
    """The network's outputs to landmarks in each image's pixels."""

    def work(self, arrays: Arrays) -> Arrays:
        placements = [
            Placement(scale=(sx, sy), offset=(ox, oy))
            for sx, sy, ox, oy in arrays[PLACEMENT].tolist()
        ]
        wanted = [output.name for output in self._spec.outputs if output.name in arrays]
        found = landmarks_from_outputs(
            {name: arrays[name][: len(placements)] for name in wanted},
            self._spec,
            placements,
            spacings_mm=[_spacing(pair) for pair in arrays[SPACING_OF_IMAGE].tolist()],
            usual_px=self._facts.usual_px,
        )
        facts = self._facts
        made = [made_by(each, facts.engine, facts.runtime) for each in found]
        return answer_arrays(made, self._spec, self._names)


def _spacing(pair: Sequence[float]) -> Spacing | None:
    row, column = pair
    return None if np.isnan(row) else (row, column)
