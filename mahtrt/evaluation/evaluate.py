"""The verb ``evaluate``: networks against annotations, and against each other."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mahtrt.data.datasets import open_dataset
from mahtrt.data.folds import Fold
from mahtrt.data.sample import Dataset
from mahtrt.errors import DataError, require
from mahtrt.evaluation.annotations import check_annotations
from mahtrt.evaluation.answers import Answers, ask, joined
from mahtrt.evaluation.comparison import Comparison, compare
from mahtrt.evaluation.contestants import Contestant, groups_of
from mahtrt.evaluation.options import EvaluateOptions
from mahtrt.evaluation.scores import PointScores, Scores, score
from mahtrt.measure.accuracy import SDR_THRESHOLDS_MM
from mahtrt.progress import StageProgress, silent
from mahtrt.spec import ModelSpec

SCHEMA = "mahtrt.evaluation/1"
_ALL = "all"


@dataclass(frozen=True, slots=True, eq=False)
class NetworkScores:
    """One network of an evaluation.

    Attributes:
        name: Short, and unlike the others'.
        runs: Its checkpoints, or its engine, as they were run.
        answers: To every case.
        engines: What ran each of them, e.g. ``openvino-int8``, ``torch-fp32``.
        devices: What they ran on, ``cpu`` or ``cuda:0 NVIDIA H200``.
    """

    name: str
    runs: tuple[str, ...]
    scores: Scores
    answers: Answers
    engines: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class EvaluateResult:
    """What an evaluation found.

    Attributes:
        data: DATA as it was named.
        folds: Number of parts of the cross-validation; None without one.
        networks: In the order in which they were given.
        comparisons: Every pair of them, on every measure that both have.
    """

    data: str
    folds: int | None
    networks: tuple[NetworkScores, ...]
    comparisons: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the mean error of every case."""
        return {
            "schema": SCHEMA,
            "data": self.data,
            "folds": self.folds,
            "cases": list(self.networks[0].answers.names),
            "networks": [
                {
                    "name": each.name,
                    "runs": list(each.runs),
                    "engines": list(each.engines),
                    "devices": list(each.devices),
                    **each.scores.to_dict(),
                    "case_mre_px": _per_case(each.answers.errors_px),
                    "case_mre_mm": _per_case(each.answers.errors_mm),
                }
                for each in self.networks
            ],
            "comparisons": [each.to_dict() for each in self.comparisons],
        }

    def to_json(self) -> str:
        return json.dumps(_finite(self.to_dict()), indent=2, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """A row per network and landmark, and one for all landmarks of a network."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        sdr = [f"{threshold:g}" for threshold in SDR_THRESHOLDS_MM]
        rates = [f"sdr_{threshold}mm_percent" for threshold in sdr]
        others = ("visibility_accuracy", "map_mae", "map_ssim", "auroc")
        writer.writerow(["network", "landmark", "points", "mre_px", "mre_mm", *rates, *others])
        for network in self.networks:
            scores = network.scores
            rest = [getattr(scores, name) for name in others]
            writer.writerow([network.name, _ALL, *_cells(scores.overall, sdr), *map(_cell, rest)])
            for name, points in scores.per_landmark.items():
                writer.writerow([network.name, name, *_cells(points, sdr), *[""] * len(others)])
        return text.getvalue()


def evaluate(options: EvaluateOptions, progress: StageProgress = silent) -> EvaluateResult:
    """Judge networks on annotated data, and compare them in pairs.

    Raises:
        UsageError: No network, or folds that do not fit.
        DataError: Data that cannot judge a network, or unlike networks.
        CheckpointError: A checkpoint that cannot be read, or has no spec.
        MissingComponentError: What runs a network is not installed, or scipy for a comparison.
        MahtrtError: A bundle that cannot be opened.
    """
    groups = groups_of(options)
    if len(groups) > 1:  # before the work
        require("scipy.stats", extra="evaluate", needed_for="comparing networks")
    names = _names_of(groups)
    networks = []
    for name, group in zip(names, groups, strict=True):
        parts, engines, devices = zip(
            *(_asked(each, options, progress) for each in group), strict=True
        )
        answers, runs = joined(parts), tuple(each.name for each in group)
        scores = score(answers, seed=options.seed)
        networks.append(NetworkScores(name, runs, scores, answers, engines, devices))
    _check_alike(networks, options)
    compared = {each.name: each.answers for each in networks}
    return EvaluateResult(
        data=options.data,
        folds=options.folds,
        networks=tuple(networks),
        comparisons=compare(compared, seed=options.seed) if len(networks) > 1 else (),
    )


def _asked(
    contestant: Contestant, options: EvaluateOptions, progress: StageProgress
) -> tuple[Answers, str, str]:
    """The answers of a network, its engine and its device."""
    with contestant.open(options) as session:
        part = _data_for(contestant, session.spec, options)
        check_annotations(part, contestant.name, session.spec)
        stage = f"evaluating {contestant.name}"
        answers = ask(session, part, lambda done, total: progress(stage, done, total))
        engine, device = session.name, session.device
    if not _says_anything(answers):
        raise DataError(
            options.data,
            got=f"nothing annotated that {contestant.name} gives",
            expected="annotations",
        )
    return answers, engine, device


def _data_for(contestant: Contestant, spec: ModelSpec, options: EvaluateOptions) -> Dataset:
    """The cases that judge a network."""
    dataset = open_dataset(
        options.data, points=options.points, spacing_mm=options.spacing_mm, inputs=spec.input_names
    )
    if options.folds is None or contestant.fold is None:
        return dataset
    return Fold(options.folds, contestant.fold).judging(dataset)


def _check_alike(networks: Sequence[NetworkScores], options: EvaluateOptions) -> None:
    """Refuse networks that were judged on other cases: pairs of them would be of no two alike.

    Raises:
        DataError: They were, since a folder is read as the inputs of a network say.
    """
    first, *others = networks
    for other in others:
        if other.answers.names != first.answers.names:
            raise DataError(
                options.data,
                got=f"other cases for {other.name} than for {first.name}",
                expected="the same cases for every network",
            )


def _says_anything(answers: Answers) -> bool:
    truths = (answers.errors_px, answers.visible, answers.map_errors, answers.labels)
    return any(bool((~np.isnan(each)).any()) for each in truths)


def _names_of(groups: Sequence[Sequence[Contestant]]) -> list[str]:
    """A name per network: of its first checkpoint, with its folder where two are alike."""
    names = [group[0].name for group in groups]
    if len(set(names)) < len(names):
        names = ["/".join([*group[0].path.parts[-2:-1], group[0].name]) for group in groups]
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, start=1)]
    return names


def _per_case(errors: Any) -> list[float | None]:
    """Mean of each case's annotated points; None for a case without one."""
    rows = (row[~np.isnan(row)] for row in errors)
    return [float(row.mean()) if row.size else None for row in rows]


def _cells(points: PointScores, sdr: Sequence[str]) -> list[str]:
    rates = [_cell(points.sdr_percent.get(threshold)) for threshold in sdr]
    return [str(points.points), _cell(points.px), _cell(points.mm), *rates]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _finite(value: Any) -> Any:
    """JSON has no infinity: a broken landmark's error is null there."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
