"""Tables are whole at every width: no line is longer than the terminal, and nothing is cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering import text_of
from rich.cells import cell_len
from rich.console import RenderableType
from tiny_bundle import write_tiny

from mahtrt.benchmarks.report import BenchReport, Change, Row
from mahtrt.bundle.origin import ParityRowRecord
from mahtrt.evaluation.comparison import Comparison
from mahtrt.evaluation.evaluate import EvaluateResult, NetworkScores
from mahtrt.evaluation.scores import PointScores, Scores
from mahtrt.export.parity import ParityTable
from mahtrt.inspection.inspect import InspectOptions, inspect
from mahtrt.measure.accuracy import Annotations, LandmarkSet, measure
from mahtrt.measure.limits import Limits
from mahtrt.measure.timing import Timings
from mahtrt.models.summary import models
from mahtrt.verbs import calibrate, doctor, evaluate, export, native_info, qat
from mahtrt.verbs import models as models_verb
from mahtrt.verbs.diagnosis import doctor as diagnose
from mahtrt.verbs.inspection_tables import tables_of as inspection_tables
from mahtrt.verbs.prediction_tables import table_of as prediction_table
from mahtrt.verbs.report_text import report_table
from mahtrt.verbs.tables import Column, FittedTable, numbers

WIDTHS = (60, 80, 120)
LANDMARKS = ("posterior nasal spine", "lower incisor root apex", "articulare")
ENGINES = ("onnxruntime-cuda-mixed-int8", "tensorrt-rtx-mixed-fp16", "openvino-int8")
SDR = {"2": 81.25, "2.5": 87.5, "3": 93.75, "4": 100.0}


def a_report() -> BenchReport:
    """Engines of the longest names, one of which fails, on images with annotations."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(100, 900, (9, len(LANDMARKS), 2))
    reference = LandmarkSet(truth / 2 + 1, truth + 2)
    annotations = Annotations(truth, np.full((9, 2), 0.1))
    rows = []
    for index, name in enumerate(("pytorch", *ENGINES)):
        off = 0.5 * index
        moved = LandmarkSet(truth / 2 + 1 + off, truth + 2 + 2 * off)
        found = measure(moved, reference, LANDMARKS, annotations)
        for scope, ms in (("engine", 1234.5), ("end_to_end", 12345.6)):
            row = Row(
                *(name, name.split("-")[0], "int8", 16, scope),  # type: ignore[arg-type]
                Timings((ms / (index + 1),) * 12),
                found,
                speedup_vs_reference=index + 1.0 if index else None,
                gate=Limits().judge(found, "int8") if index else None,
                is_reference=not index,
                device="cuda:0 NVIDIA H200",
            )
            rows.append(row)
    changes = (
        Change(ENGINES[0], "end_to_end", "worse", 10.25, (8.0, 12.5)),
        Change(ENGINES[1], "engine", "not comparable", reason="other threads than before"),
    )
    reference_name = "PyTorch 2.9.0 eager fp32 (a-checkpoint-with-a-rather-long-name.safetensors)"
    conditions = {"reference": f"{reference_name}, channels_last on cpu, threads 16", "images": 9}
    warnings = ("the machine was busy before the bench: load 1.9 on 2 cores, 95% of one by others",)
    machine, versions, model = {"cpu": "a CPU"}, {"python": "3.11.9"}, {"family": "maht-net"}
    facts = (machine, versions, model, conditions, tuple(rows), 100.0)
    return BenchReport(*facts, warnings=warnings, changes=changes, baseline="an-earlier-run.json")


def an_evaluation() -> EvaluateResult:
    points = PointScores(16, 12.345, 1.234, SDR)
    scores = Scores(
        *(16, points, (11.2, 13.4), (1.123, 1.345)),
        per_landmark=dict.fromkeys(LANDMARKS, points),
        visibility_accuracy=0.987,
    )
    networks = [
        NetworkScores(name, (name,), scores, cast(Any, None))
        for name in ("maht-net-large-trained-longer", "cephalometry.mahtrt@openvino-int8")
    ]
    first, second = (network.name for network in networks)
    told = (16, -0.0123, (-0.0345, 0.0099), 0.0123, 0.0246)
    pair = Comparison(first, second, "mre_mm", *told)
    return EvaluateResult("images/cephalograms/held-out", 5, tuple(networks), (pair,))


def a_prediction(**more: Any) -> Any:
    points = [
        {"name": name, "x": 1234.56, "y": 987.65, "confidence": 0.98, "spread_px": 1.2}
        | {"two_peaks": index == 0}
        for index, name in enumerate(LANDMARKS)
    ]
    labels = {"findings": [{"name": "pleural effusion", "probability": 0.9, "present": True}]}
    found = {"landmarks": points, "labels": labels}
    size = {"size": [1, 1024, 1024], "min": 0.0, "mean": 0.5, "max": 1.0}
    prediction = SimpleNamespace(
        landmarks=SimpleNamespace(visibility=None, to_dict=lambda: found),
        maps={"change": size},
        quantities=(SimpleNamespace(name="Wits appraisal", value=1.5, unit="mm"),),
        case="",
        image="studies/2026/patient-0123456789/lateral-cephalogram-0001.dcm",
    )
    return SimpleNamespace(
        bundle="cephalometry.mahtrt",
        engine=ENGINES[0],
        device="cuda:0 NVIDIA H200",
        predictions=[prediction, prediction],
    )


def a_sensitivity(monkeypatch: pytest.MonkeyPatch) -> RenderableType:
    names = ("mean_px", "bias_px", "spread_px", "worst_px", "half_px")
    row = {"block": "encoder.transformer.layers.11.attention", **dict.fromkeys(names, 0.12345)}
    row |= {"worst_landmark": LANDMARKS[1], "ruled_out": True}
    monkeypatch.setattr("mahtrt.planning.matrix.summary_rows", lambda _: [row, row])
    return calibrate.table_of(cast(Any, SimpleNamespace(unit="px", half="bf16")))


def drawn(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, RenderableType]:
    """The tables of every verb that draws some; build, compile and demo draw bench's."""
    report = a_report()
    evaluation, accuracy = an_evaluation(), report.rows[2].accuracy
    judged = SimpleNamespace(calibrated=accuracy, tuned=accuracy)
    parity = ParityRowRecord(
        *("reconstructed-baseline", "visibility", "relative", 1.23e-5, 1.2e-6, 1.2e-5, 1e-3, True)
    )
    library = native_info.NativeInfoResult(
        "0.1.0", 1, *(Path("/usr/lib/python3/site-packages/mahtrt_native/share"),) * 5
    )
    return {
        "bench": report_table(report),
        "bench --explain": report_table(report, explain=True, limits=Limits()),
        "calibrate": a_sensitivity(monkeypatch),
        "doctor": doctor.tables_of(diagnose().checks),
        "evaluate": evaluate.tables_of(evaluation, explain=True),
        "export": export.parity_table(ParityTable((parity,) * 2, 4, "onnxruntime 1.31.1")),
        "inspect": inspection_tables(inspect(InspectOptions(write_tiny(folder / "tiny.mahtrt")))),
        "models": models_verb.table_of(models()),
        "native-info": native_info.table_of(library),
        "predict": prediction_table(a_prediction()),
        "qat": qat._table(cast(Any, SimpleNamespace(judged=judged))),
    }


NAMES = {
    "bench": (*ENGINES, *LANDMARKS[1:2], "an-earlier-run.json", "end_to_end"),
    "calibrate": ("encoder.transformer.layers.11.attention", LANDMARKS[1]),
    "evaluate": ("maht-net-large-trained-longer", "cephalometry.mahtrt@openvino-int8", *LANDMARKS),
    "export": ("reconstructed-baseline",),
    "models": tuple(model.name for model in models()),
    "predict": (*LANDMARKS, "pleural effusion", "Wits appraisal"),
}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_tables_of_every_verb_are_whole(
    width: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for verb, table in drawn(monkeypatch, tmp_path / str(width)).items():
        text = text_of(table, width=width)
        assert "…" not in text, verb
        longest = max(text.splitlines(), key=len)
        assert len(longest) <= width, f"{verb}: {longest}"
        joined = "".join(text.split())
        for name in NAMES.get(verb, ()):
            assert "".join(name.split()) in joined, f"{verb}: {name}"


def test_names_are_not_broken_at_80(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tables = drawn(monkeypatch, tmp_path)
    for verb in ("bench", "calibrate", "models", "export"):
        text = text_of(tables[verb], width=80)
        assert [name for name in NAMES[verb] if name not in text] == [], verb


ROWS = [
    ("openvino-int8", "engine", "1.5", "2.5", "a remark of several words"),
    ("openvino-int8", "end_to_end", "11.5", "12.5", ""),
]
COLUMNS = (
    *(Column("name"), Column("scope"), *numbers("p50"), *numbers("p99", is_lesser=True)),
    Column("remark", is_prose=True),
)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            60,
            [
                "name           scope        p50   p99  remark",
                "openvino-int8  engine       1.5   2.5  a remark of several",
                "                                       words",
                "openvino-int8  end_to_end  11.5  12.5",
            ],
        ),
        (
            46,
            [
                "name",
                "  scope        p50   p99  remark",
                "openvino-int8",
                "  engine       1.5   2.5  a remark of several",
                "                          words",
                "  end_to_end  11.5  12.5",
            ],
        ),
        (
            38,
            [
                "name",
                "  scope        p50  remark",
                "openvino-int8",
                "  engine       1.5  a remark of",
                "                    several words",
                "  end_to_end  11.5",
                "",
                "name           scope        p99",
                "openvino-int8  engine       2.5",
                "openvino-int8  end_to_end  12.5",
            ],
        ),
    ],
)
def test_a_table_that_is_too_wide_changes_its_shape(width: int, lines: list[str]) -> None:
    assert text_of(FittedTable(COLUMNS, ROWS), width=width).splitlines() == lines


def test_the_narrowest_shape_is_a_block_per_row() -> None:
    table = FittedTable([replace(column, is_lesser=False) for column in COLUMNS], ROWS)
    assert text_of(table, width=26).splitlines() == [
        "name",
        "openvino-int8",
        "  scope: engine  p50: 1.5",
        "  p99: 2.5",
        "  remark: a remark of",
        "  several words",
        "  scope: end_to_end",
        "  p50: 11.5  p99: 12.5",
    ]


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(20, 130),
    rows=st.lists(st.lists(st.text("aé頭 .-", max_size=40), min_size=5, max_size=5), max_size=4),
    prose=st.booleans(),
)
def test_no_line_is_longer_than_the_terminal(
    width: int, rows: list[list[str]], prose: bool
) -> None:
    columns = [replace(column, is_prose=prose) for column in COLUMNS]
    lines = text_of(FittedTable(columns, rows, "a title"), width=width).splitlines()
    assert max(map(cell_len, lines)) <= width
    cells = "".join(cell for row in rows for cell in row[1:])
    assert "".join(lines).count("頭") >= cells.count("頭")  # a name may stand once for several rows
