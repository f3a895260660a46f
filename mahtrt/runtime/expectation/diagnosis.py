"""Which cause explains that two pipelines differ: each is tried on a handful of the images.

A cause explains the difference where mahtrt, doing the same, comes within the limit and at least
to half of what there was, or to a tenth; and where no other cause comes nearly as near. Each is
tried on a few images first, and those that leave less than half on all of the handful. Where no
single cause comes within the limit, two are tried together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.sample import Sample
from mahtrt.measure.displacement import compare_points
from mahtrt.progress import StageProgress
from mahtrt.runtime.expectation.causes.cause import Cause
from mahtrt.runtime.expectation.causes.table import CAUSES
from mahtrt.runtime.expectation.line import clue
from mahtrt.runtime.expectation.pipeline import Pipeline, View
from mahtrt.runtime.expectation.records import Diagnosis, Explanation
from mahtrt.runtime.session import Session

Floats = NDArray[np.float64]

MOST_TRIED = 8  # images, the worst and some typical ones
_SCREENED = 3  # of them, on which every cause is tried
_PROMISING = 0.5  # of the difference may be left there
_TENTH = 0.1
_NOTHING = 0.01  # of the difference may be left by a cause behind which none is looked for
_APART = 2.0  # times as much has the next cause to leave
_SAME_PX = 0.002  # causes that leave so little more cannot be told apart
_PAIR = 0.25  # of what the best single cause leaves
_NEAREST = 2  # causes before the network that are tried with others there


@dataclass(frozen=True, slots=True)
class Case:
    """One of the images that causes are tried on.

    Attributes:
        expected: (K, 2) as the file of predictions has them.
    """

    sample: Sample
    expected: Floats


@dataclass(frozen=True, slots=True)
class Tried:
    """What a cause leaves.

    Attributes:
        judged_px: Of the landmark of which most is left, the mean over the images.
        mean_px: Over all landmarks.
    """

    causes: tuple[Cause, ...]
    judged_px: float
    mean_px: float


class Trials:
    """Runs pipelines on the images, each way of preparing them once."""

    def __init__(self, session: Session, cases: Sequence[Case]) -> None:
        self.session, self.cases = session, cases
        self.base = Pipeline(session.spec.inputs)
        self._kept: dict[tuple[object, int], tuple[str, dict[str, NDArray[np.float32]], View]] = {}
        self._outputs: dict[str, dict[str, NDArray[np.float32]]] = {}

    def points(self, pipeline: Pipeline, images: int) -> tuple[Floats, Floats, list[str]]:
        """Points of the first images, both in image pixels, and digests of what the network got.

        Returns:
            (N, K, 2) as the pipeline finds them, the same as the file has them, and N digests.
        """
        found, expected, digests = [], [], []
        for index, case in enumerate(self.cases[:images]):
            digest, outputs, view = self._run(pipeline, index)
            points = pipeline.decode(outputs, self.session.spec)[0]
            found.append(pipeline.to_image(points, view))
            expected.append(pipeline.as_image(case.expected, view))
            digests.append(digest)
        return np.stack(found), np.stack(expected), digests

    def view(self, index: int) -> View:
        """That of mahtrt's own pipeline."""
        return self._run(self.base, index)[2]

    def _run(
        self, pipeline: Pipeline, index: int
    ) -> tuple[str, dict[str, NDArray[np.float32]], View]:
        key = (pipeline.preparing, index)
        if key not in self._kept:
            self._kept[key] = self._prepared_and_run(pipeline, index)
        return self._kept[key]

    def _prepared_and_run(
        self, pipeline: Pipeline, index: int
    ) -> tuple[str, dict[str, NDArray[np.float32]], View]:
        spec, sample = self.session.spec, self.cases[index].sample
        version = self.session.preprocess_version
        feed, view = pipeline.prepared(sample, spec.decode.heatmap_size, version)
        content = b"".join(feed[name].tobytes() for name in sorted(feed))
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._outputs:
            batch = {name: tensor[None] for name, tensor in feed.items()}
            wanted = self._wanted(pipeline)
            self._outputs[digest] = self.session.infer(batch, wanted)
        return digest, self._outputs[digest], view

    def _wanted(self, pipeline: Pipeline) -> list[str]:
        """Landmarks, and of mahtrt's own pipeline heatmaps, which fill the memory."""
        kinds = ["landmarks"] + (["heatmaps"] if pipeline.preparing == self.base.preparing else [])
        outputs = (self.session.spec.output(kind) for kind in kinds)  # type: ignore[arg-type]
        return [output.name for output in outputs if output is not None]


def diagnose(
    session: Session, cases: Sequence[Case], limit_px: float, progress: StageProgress
) -> Diagnosis:
    """Try every cause.

    Args:
        session: What runs the network; its FP32 graph where there is one.
        cases: At most :data:`MOST_TRIED`, of which the first ones try every cause.
        limit_px: The limit on the judged displacement.
    """
    trials = Trials(session, cases)
    count, few = len(cases), min(len(cases), _SCREENED)
    before = _left(trials, (), count)
    start = _left(trials, (), few)
    screened = _screened(trials, few, start, limit_px, progress)
    promising = [each for each in screened if each.mean_px < _PROMISING * start.mean_px]
    singles = sorted((_left(trials, each.causes, count) for each in promising), key=_nearness)
    explaining = [each for each in singles if _explains(each, before, limit_px)]
    if not explaining or explaining[0].judged_px > limit_px:
        pairs = _pairs(trials, screened, singles, (few, progress))
        found = sorted((_left(trials, each.causes, count) for each in pairs), key=_nearness)
        least = min((each.mean_px for each in singles), default=before.mean_px)
        better = [
            each
            for each in found
            if _explains(each, before, limit_px) and each.mean_px < _PAIR * least
        ]
        explaining = better or explaining
    told = [_explanation(each, session) for each in _near(explaining)]
    nearest = _explanation(singles[0], session) if singles and not told else None
    ours, theirs, _ = trials.points(trials.base, count)
    return Diagnosis(
        explanations=tuple(told),
        nearest=nearest,
        tried=len(screened),
        images=tuple(case.sample.name for case in cases),
        judged_px=before.judged_px,
        mean_px=before.mean_px,
        clue=clue(ours, theirs, [trials.view(index) for index in range(count)]),
    )


def _screened(
    trials: Trials, images: int, start: Tried, limit_px: float, progress: StageProgress
) -> list[Tried]:
    """What each cause leaves on some images, of those that change anything.

    Causes behind the network come first, for which it does not run again: where one of them leaves
    next to nothing, no other can come nearer.
    """
    own, screened = trials.base.preparing, list[Tried]()
    behind = [cause for cause in CAUSES if cause.change(trials.base).preparing == own]
    before = [cause for cause in CAUSES if cause not in behind]
    for causes in (behind, before):
        for done, cause in enumerate(causes):
            progress("looking for the cause", done, len(causes), cause.name)
            if (left := _tried(trials, cause, images)) is not None:
                screened.append(left)
        least = min(screened, key=_nearness, default=start)
        if least.judged_px <= limit_px and least.mean_px <= _NOTHING * start.mean_px:
            break
    return screened


def _pipeline(base: Pipeline, causes: Iterable[Cause]) -> Pipeline:
    for cause in causes:
        base = cause.change(base)
    return base


def _left(trials: Trials, causes: tuple[Cause, ...], images: int) -> Tried:
    """What is left of the difference if mahtrt does the same."""
    found, expected, _ = trials.points(_pipeline(trials.base, causes), images)
    moved = compare_points(found, expected)
    return Tried(causes, float(moved.mean(axis=0).max()), float(moved.mean()))


def _tried(trials: Trials, cause: Cause, images: int) -> Tried | None:
    """What a cause leaves; None where it changes nothing on these images."""
    pipeline = cause.change(trials.base)
    found, expected, digests = trials.points(pipeline, images)
    own, given, own_digests = trials.points(trials.base, images)
    if digests == own_digests and np.array_equal(found, own) and np.array_equal(expected, given):
        return None
    moved = compare_points(found, expected)
    return Tried((cause,), float(moved.mean(axis=0).max()), float(moved.mean()))


def _pairs(
    trials: Trials,
    screened: Sequence[Tried],
    singles: Sequence[Tried],
    tried_on: tuple[int, StageProgress],
) -> list[Tried]:
    """Two causes together, where they leave less than half of what the better one does.

    One before the network with each behind it, for which the network does not run again; and the
    nearest ones before the network with each other one there.

    Args:
        tried_on: On how many images, and who is told how far it is.
    """
    images, progress = tried_on
    own = trials.base.preparing
    changed = {each.causes[0]: each.causes[0].change(trials.base) for each in screened}
    before = [cause for cause, made in changed.items() if made.preparing != own]
    behind = [
        cause
        for cause, made in changed.items()
        if made.preparing == own and made.decode is trials.base.decode  # it needs the heatmaps
    ]
    nearest = [each.causes[0] for each in singles if each.causes[0] in before][:_NEAREST]
    pairs = [(a, b) for a in before for b in behind]
    pairs += [(a, b) for a in nearest for b in before if a is not b]
    alone = {each.causes[0]: each.mean_px for each in screened}
    both = []
    for done, pair in enumerate(pairs):
        progress("trying two causes together", done, len(pairs), pair[0].name)
        left = _left(trials, pair, images)
        if left.mean_px < _PROMISING * min(alone[cause] for cause in pair):
            both.append(left)
    return both


def _explains(left: Tried, before: Tried, limit_px: float) -> bool:
    within = left.judged_px <= limit_px and left.judged_px <= _PROMISING * before.judged_px
    return within or left.judged_px <= _TENTH * before.judged_px


def _near(explaining: Sequence[Tried]) -> list[Tried]:
    """The best, and those that leave nearly as little."""
    if not explaining:
        return []
    most = _APART * explaining[0].mean_px + _SAME_PX
    return [each for each in explaining if each.mean_px <= most]


def _nearness(left: Tried) -> float:
    return left.mean_px


def _explanation(left: Tried, session: Session) -> Explanation:
    told = [cause.told(session.spec) for cause in left.causes]
    return Explanation(
        name="+".join(cause.name for cause in left.causes),
        words=" ".join(words for words, _ in told),
        advice=" ".join(advice for _, advice in told),
        judged_px=left.judged_px,
        mean_px=left.mean_px,
    )
