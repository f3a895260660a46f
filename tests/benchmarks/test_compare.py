from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from bench_fakes import FakeDataset, FakeSession, make_spec

from mahtrt.benchmarks.accuracy import Gate
from mahtrt.benchmarks.compare import BenchOptions, Contender, compare
from mahtrt.benchmarks.report import BenchReport
from mahtrt.errors import DataError, ModelError

QUICK = BenchOptions(rounds=4, warmup=1, rest=lambda: True)


def contenders(
    int8_off_px: float = 0.0, *, batch: int = 1, backend: str = "pytorch"
) -> list[Contender]:
    return [
        Contender("openvino-fp32", "openvino", "fp32", batch, FakeSession()),
        Contender(
            "openvino-int8", "openvino", "int8", batch, FakeSession(int8_off_px), is_default=True
        ),
        Contender(backend, backend, "fp32", 1, FakeSession(), is_reference=True),
    ]


def run(found: list[Contender], dataset: FakeDataset, **options: object) -> BenchReport:
    return compare(found, dataset, replace(QUICK, **options), reference="fake")  # type: ignore[arg-type]


def test_rows_are_reference_first_and_in_both_scopes(dataset: FakeDataset) -> None:
    report = run(contenders(), dataset)
    assert [(row.name, row.scope) for row in report.rows] == [
        ("pytorch", "engine"),
        ("pytorch", "end_to_end"),
        ("openvino-fp32", "engine"),
        ("openvino-fp32", "end_to_end"),
        ("openvino-int8", "engine"),
        ("openvino-int8", "end_to_end"),
    ]
    assert report.judged_row.name == "openvino-int8"
    assert all(row.timings.runs == 4 for row in report.rows)
    assert report.rows[0].gate is None
    assert report.rows[0].speedup_vs_torch is None
    assert report.exit_code == 0


def test_displacement_is_in_network_pixels_and_error_in_image_pixels(dataset: FakeDataset) -> None:
    report = run(contenders(int8_off_px=0.4), dataset)
    found = report.rows[-1].accuracy
    assert found.mean_px == pytest.approx(0.2, abs=1e-5)  # the image has twice the pixels
    assert found.mre_px == found.delta_mre_px == pytest.approx(0.4, abs=1e-5)
    assert found.mre_mm == pytest.approx(0.2, abs=1e-5)
    assert found.annotated_points == 15
    assert report.accuracy_pass


def test_over_the_budget_is_exit_3_even_when_it_is_slow_too(dataset: FakeDataset) -> None:
    report = run(contenders(int8_off_px=1.0), dataset, latency_budget_ms=1e-9)
    assert not report.latency_pass
    assert report.exit_code == 3
    assert "openvino-int8: mean displacement 0.5 px" in report.reasons[0]
    assert run(contenders(int8_off_px=1.0), dataset, gate=Gate(budget_px=0.6)).exit_code == 0


def test_over_the_latency_budget_is_exit_4(dataset: FakeDataset) -> None:
    report = run(contenders(), dataset, latency_budget_ms=1e-9)
    assert report.exit_code == 4
    assert "openvino-int8: end_to_end p99" in report.reasons[0]


def test_every_engine_is_judged_not_only_the_default(dataset: FakeDataset) -> None:
    found = contenders()
    found[0] = replace(found[0], session=FakeSession(off_px=0.1))  # an fp32 engine that is off
    assert run(found, dataset).exit_code == 3


def test_every_session_sees_the_same_images(dataset: FakeDataset) -> None:
    found = contenders()
    run(found, dataset, images=3)
    seen = [contender.session.seen for contender in found]  # type: ignore[attr-defined]
    assert seen[0] == seen[1] == seen[2] == [0, 1, 2, 0, 1, 2, 0, 1]  # then timing


def test_a_batch_is_given_whole_and_compared_per_image(dataset: FakeDataset) -> None:
    found = contenders(batch=2)
    report = run(found, dataset)
    batches = found[0].session.batches  # type: ignore[attr-defined]
    assert batches[:3] == [(2,), (2,), (1,)]  # 5 images, in the accuracy pass
    assert set(batches[3:]) == {(2,), (2, 1, 32, 32)}
    engine, reference = report.rows[2], report.rows[0]
    assert engine.images_per_s == pytest.approx(2e3 / engine.timings.mean_ms)
    assert engine.speedup_vs_torch is not None
    # Per image: twice the median ratio per call.
    ratios = np.divide(reference.timings.samples_ms, engine.timings.samples_ms)
    assert engine.speedup_vs_torch == pytest.approx(2 * np.median(ratios))
    assert any("batch sizes differ" in warning for warning in report.warnings)
    assert report.conditions["batch"] == [1, 2]


def test_another_reference_than_pytorch_gives_no_speedup_vs_torch(dataset: FakeDataset) -> None:
    report = run(contenders(backend="onnxruntime"), dataset)
    assert report.rows[-1].speedup_vs_torch is None
    assert report.rows[-1].speedup_vs_reference is not None
    assert report.conditions["reference"] == "fake"


def test_without_annotations_or_spacing_there_are_no_errors() -> None:
    dataset = FakeDataset(annotated=False, spacing_mm=None)
    found = run(contenders(int8_off_px=0.2), dataset).rows[-1].accuracy
    assert (found.mre_px, found.mean_mm, found.sdr_percent) == (None, None, None)
    assert found.mean_px == pytest.approx(0.1, abs=1e-5)


def test_a_network_that_gives_nan_fails(dataset: FakeDataset) -> None:
    report = run(contenders(int8_off_px=float("nan")), dataset)
    assert report.exit_code == 3
    assert "landmarks are NaN" in report.reasons[0]
    json.dumps(report.to_dict(), allow_nan=False)
    assert "FAIL" in report.to_text()


def test_progress_counts_images_and_rounds(dataset: FakeDataset) -> None:
    told: list[tuple[int, int]] = []
    compare(
        contenders(),
        dataset,
        QUICK,
        reference="fake",
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(i, 9) for i in range(1, 10)]


def test_few_runs_are_warned_about_once(dataset: FakeDataset) -> None:
    warnings = run(contenders(), dataset).warnings
    assert "only 4 runs: p99 is the maximum" in warnings


def test_annotations_of_another_number_of_points_are_refused(dataset: FakeDataset) -> None:
    found = [replace(c, session=FakeSession(spec=make_spec(("a", "b")))) for c in contenders()]
    with pytest.raises(DataError, match=r"0\.png: got 3 annotated points; expected .* 2"):
        run(found, dataset)


def test_a_network_without_landmarks_is_refused(dataset: FakeDataset) -> None:
    found = [replace(c, session=FakeSession(spec=make_spec(()))) for c in contenders()]
    with pytest.raises(ModelError, match="without landmarks"):
        run(found, dataset)


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        run(contenders(), FakeDataset(count=0))
