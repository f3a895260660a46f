"""Text of the command line becomes values, with the defaults that Python has too."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import mahtrt
from mahtrt.errors import UsageError
from mahtrt.verbs.bench import BenchArguments
from mahtrt.verbs.build import BuildArguments
from mahtrt.verbs.calibrate import CalibrateArguments
from mahtrt.verbs.demo import DemoArguments
from mahtrt.verbs.export import ExportArguments
from mahtrt.verbs.inspect import InspectArguments
from mahtrt.verbs.options import keywords_from_texts, points_from_text, size_from_text
from mahtrt.verbs.predict import PredictArguments
from mahtrt.verbs.train import TrainArguments

HERE = Path("x")


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (BenchArguments(bundle=HERE), mahtrt.BenchOptions(HERE)),
        (BuildArguments(onnx=HERE), mahtrt.BuildOptions(HERE)),
        (ExportArguments(model="net"), mahtrt.ExportOptions(mahtrt.ModelSource("net", kwargs={}))),
        (TrainArguments(data="phantom"), mahtrt.TrainOptions("phantom")),
    ],
    ids=["bench", "build", "export", "train"],
)
def test_a_command_without_options_asks_for_what_python_does(asked: Any, options: Any) -> None:
    assert asked.options() == options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (CalibrateArguments, mahtrt.CalibrateOptions),
        (DemoArguments, mahtrt.DemoOptions),
        (InspectArguments, mahtrt.InspectOptions),
        (PredictArguments, mahtrt.PredictOptions),
    ],
)
def test_options_of_the_same_name_have_the_same_default(arguments: Any, options: Any) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(arguments)}
    fields = {field.name: field.default for field in dataclasses.fields(options)}
    assert fields.pop("trust", None) is None  # --trusted-key or --trusted-certificate
    assert fields.pop("writers", ()) == ()  # --dicom-sr and --slicer
    assert set(fields) <= set(defaults)
    assert fields == {name: defaults[name] for name in fields}


def test_points_and_sizes() -> None:
    assert points_from_text("36,39,42") == (36, 39, 42)
    assert points_from_text(None) is None
    assert size_from_text("512") == (512, 512)
    assert size_from_text("512X640") == (512, 640)
    with pytest.raises(UsageError, match=r"--points: got 'a'; expected indices like 36,39,42"):
        points_from_text("a")
    with pytest.raises(UsageError, match=r"--input-size: got '5xx'; expected N or HxW"):
        size_from_text("5xx")


def test_keywords_are_literals_or_strings() -> None:
    texts = ["n=3", "rate=0.5", "on=True", "sizes=(1, 2)", "name=resnet", "path=a=b", "none=None"]
    assert keywords_from_texts(texts) == {
        "n": 3,
        "rate": 0.5,
        "on": True,
        "sizes": (1, 2),
        "name": "resnet",
        "path": "a=b",
        "none": None,
    }
    assert keywords_from_texts(None) == {}


@pytest.mark.parametrize("texts", [["n"], ["=3"], ["a b=3"], ["n=1", "n=2"]])
def test_keywords_that_are_none(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--kwarg"):
        keywords_from_texts(texts)
