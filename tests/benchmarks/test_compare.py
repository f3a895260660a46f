from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from bench_fakes import LANDMARKS, FakeDataset, FakeSession, make_spec
from rendering import report_text

from mahtrt.benchmarks.accuracy_pass import landmark_set
from mahtrt.benchmarks.compare import Contender, compare
from mahtrt.benchmarks.options import CompareOptions
from mahtrt.benchmarks.report import BenchReport, ReportFacts
from mahtrt.data.preprocess import preprocess
from mahtrt.data.subset import spread_out
from mahtrt.errors import DataError, ModelError
from mahtrt.measure.limits import Limits
from mahtrt.runtime.session import Session
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec

QUICK = CompareOptions(rounds=4, warmup=1, rest=lambda: True)


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
    return compare(found, dataset, replace(QUICK, **options), ReportFacts("fake"))  # type: ignore[arg-type]


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


def test_a_report_keeps_every_landmark_of_every_contender(dataset: FakeDataset) -> None:
    report = run(contenders(int8_off_px=3.0), dataset)
    cohort = report.cohort
    assert cohort is not None
    assert cohort.reference == "pytorch"
    assert (cohort.names, cohort.annotations.names) == (LANDMARKS, dataset.names)
    ours, theirs = (cohort.points[name].image_px for name in ("openvino-int8", "openvino-fp32"))
    np.testing.assert_array_equal(ours - theirs, np.broadcast_to([3.0, 0.0], theirs.shape))
    assert "cohort" not in report.to_dict()


class Sleeping(FakeSession):
    """Landmarks after so many milliseconds."""

    def __init__(self, ms: float) -> None:
        super().__init__()
        self.ms = ms

    def infer(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        time.sleep(self.ms / 1e3)
        return {}


def test_times_are_compared_with_the_reference_on_the_same_device(dataset: FakeDataset) -> None:
    found = [
        Contender("pytorch-cpu", "pytorch", "fp32", 1, Sleeping(40), is_reference=True),
        Contender(
            "pytorch-cuda", "pytorch", "fp32", 1, Sleeping(10), is_reference=True, device="cuda"
        ),
        Contender("openvino-fp32", "openvino", "fp32", 1, Sleeping(5)),
        Contender("tensorrt-fp32", "tensorrt", "fp32", 1, Sleeping(5), device="cuda"),
    ]
    rows = {row.name: row for row in run(found, dataset).rows if row.scope == "engine"}
    assert list(rows)[:2] == ["pytorch-cpu", "pytorch-cuda"]
    assert rows["openvino-fp32"].speedup_vs_torch == pytest.approx(8, rel=0.3)
    assert rows["tensorrt-fp32"].speedup_vs_torch == pytest.approx(2, rel=0.3)
    assert rows["pytorch-cuda"].speedup_vs_reference is None


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
    assert run(contenders(int8_off_px=1.0), dataset, limits=Limits(budget_px=0.6)).exit_code == 0


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
    assert seen[0] == seen[1] == seen[2] == [0, 2, 4, 0, 2, 4, 0, 2]  # then timing


def test_the_report_says_each_engines_own_threads(dataset: FakeDataset) -> None:
    found = contenders()
    for contender, threads in zip(found, (2, 3, 1), strict=True):
        contender.session.threads = threads  # type: ignore[misc]
    report = run(found, dataset, threads=None)
    by_name = {row["name"]: row["threads"] for row in report.to_dict()["rows"]}
    assert by_name == {"openvino-fp32": 2, "openvino-int8": 3, "pytorch": 1}
    assert report.conditions["threads"] is None  # no number that is true of all
    found[1].session.threads = 2  # type: ignore[misc]
    assert run(found, dataset).conditions["threads"] == 2


def test_a_part_of_the_images_is_spread_over_them_as_in_a_build() -> None:
    dataset, found = FakeDataset(count=100), contenders()
    run(found, dataset, images=5, rounds=1, warmup=0)
    seen = found[0].session.seen  # type: ignore[attr-defined]
    spread = spread_out(dataset, 5)
    assert seen[:5] == [sample.image[0, 0] for sample in spread] == [0, 25, 50, 74, 99]


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


def test_details_tell_of_every_engine_and_peer(dataset: FakeDataset) -> None:
    peer = Contender("torch-bf16", "pytorch", "bf16", 1, FakeSession(0.5), is_peer=True)
    stand_in = Contender("rtx", "tensorrt", "int8", 1, FakeSession(2.0), stand_in="its graph")
    details = run([*contenders(1.0), peer, stand_in], dataset).to_dict()["details"]
    assert set(details) == {"openvino-fp32", "openvino-int8", "torch-bf16", "rtx"}
    sella = details["openvino-int8"]["landmarks"][0]
    assert (sella["name"], sella["bias_px"], sella["bias_mm"]) == ("sella", [0.5, 0.0], [0.5, 0.0])
    worst = details["rtx"]["cases"][0]
    assert (worst["image"], worst["max_px"]) == ("0.png", 1.0)
    assert worst["points_px"][0] == [12.0, 20.0]
    assert worst["annotated_points_px"][0] == worst["reference_points_px"][0] == [10.0, 20.0]


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
    assert "FAIL" in report_text(report)


def test_progress_counts_images_and_rounds(dataset: FakeDataset) -> None:
    told: list[tuple[int, int]] = []
    compare(
        contenders(),
        dataset,
        QUICK,
        ReportFacts("fake"),
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


def test_a_jump_on_a_wide_heatmap_is_flagged_by_name_and_set_aside(dataset: FakeDataset) -> None:
    found = contenders()
    found[1] = replace(found[1], session=FakeSession(0.1, spread_px=3.0, jumps=(2,)))
    # In FP32 it is undecided too, and jumps the other way.
    for i in (0, 2):
        session = FakeSession(spread_px=3.0, jumps=(2,), jump_px=-20.0)
        found[i] = replace(found[i], session=session)
    limits = Limits(budget_px=9.0, worst_landmark_px=9.0, p99_px=0.5, max_px=2.0)
    report = run(found, dataset, limits=limits)
    accuracy = report.rows[-1].accuracy
    assert report.accuracy_pass
    assert accuracy.two_peaked == 3
    assert accuracy.max_px == pytest.approx(20.05, abs=1e-4)
    assert accuracy.single_peak_max_px == pytest.approx(0.05, abs=1e-4)
    assert {point.image for point in accuracy.two_peaked_points} == {"2.png"}
    point = accuracy.two_peaked_points[0]
    # In network pixels: the image has two for each of them.
    assert (point.spread_px, point.reference_spread_px) == pytest.approx((15.0, 15.0))
    assert "openvino-int8: 3 points have a heatmap far wider than usual" in report_text(report)
    assert run(contenders(), dataset).rows[-1].accuracy.two_peaked is None


def test_a_jump_that_only_the_engine_is_undecided_about_fails(dataset: FakeDataset) -> None:
    found = contenders()
    found[1] = replace(found[1], session=FakeSession(0.1, spread_px=3.0, jumps=(2,)))
    found[2] = replace(found[2], session=FakeSession(spread_px=3.0))
    limits = Limits(budget_px=9.0, worst_landmark_px=9.0, max_px=2.0)
    report = run(found, dataset, limits=limits)
    accuracy = report.rows[-1].accuracy
    assert not report.accuracy_pass
    assert (accuracy.two_peaked, accuracy.new_two_peaks) == (0, 3)
    text = " ".join(report_text(report, width=200).split())
    assert "openvino-int8: 3 points have a heatmap that only this engine made far wider" in text


STRETCHED = ModelSpec(
    family="fake",
    inputs=(
        InputSpec(
            (32, 64), channels=1, color_order="gray", mean=(-1.0,), std=(1.0,), resize="stretch"
        ),
    ),
    outputs=(
        OutputSpec("points", "landmarks", "network"),
        OutputSpec("wide", "spread", "network"),
    ),
    landmarks=LANDMARKS,
)


class BatchBackend:
    """A static batch of a network that finds points where the image's brightness says.

    An image is brighter than 1 after normalising; padding is 0 and gives points that are broken.
    """

    name = "fake-int8"
    device = "cpu"
    threads = None
    notes: tuple[str, ...] = ()

    def __init__(self, batch: int, off_px: float = 0.0) -> None:
        self.batch, self.off_px, self.padded = batch, off_px, 0

    def infer(
        self, feed: Mapping[str, np.ndarray], outputs: object = None
    ) -> dict[str, np.ndarray]:
        (tensor,) = feed.values()
        assert len(tensor) == self.batch
        brightness = tensor[:, 0, 4, 4]  # (B,)
        self.padded += int((brightness == 0).sum())
        points = np.repeat(brightness[:, None, None], 3, 1) * np.array([30.0, 20.0], np.float32)
        points[brightness == 0] = np.nan
        return {
            "points": points + np.array([self.off_px, 0], np.float32),
            "wide": np.full((self.batch, 3), 2.0, np.float32),
        }

    def close(self) -> None: ...


def beside_pytorch(engine: BatchBackend) -> list[Contender]:
    reference = Session(BatchBackend(1), STRETCHED)
    return [
        Contender("fake-int8", "fake", "int8", engine.batch, Session(engine, STRETCHED)),
        Contender("pytorch", "pytorch", "fp32", 1, reference, is_reference=True),
    ]


@pytest.mark.parametrize(("batch", "padded"), [(2, 1), (3, 1), (4, 3)])
def test_a_partial_last_batch_is_judged_like_the_rest(batch: int, padded: int) -> None:
    engine = BatchBackend(batch, off_px=0.2)
    report = run(beside_pytorch(engine), FakeDataset(count=5), rounds=1, warmup=0)
    assert engine.padded == padded  # in the accuracy pass; timing has whole batches
    row = report.rows[-1].to_dict()
    assert (row["accuracy"]["images"], row["accuracy"]["non_finite_points"]) == (5, 0)
    assert row["accuracy"]["mean_px"] == pytest.approx(0.2, abs=1e-5)
    assert row["accuracy"]["max_px"] == pytest.approx(0.2, abs=1e-5)
    assert row["accuracy"]["two_peaked"] == 0
    assert row["verdict"] == {
        "passed": True,
        "reasons": [],
        "measured_on": "engine",
        "batch": batch,
    }
    assert report.rows[0].to_dict()["verdict"] is None


def test_an_engine_broken_in_its_last_batch_fails() -> None:
    class Late(BatchBackend):
        calls = 0

        def infer(
            self, feed: Mapping[str, np.ndarray], outputs: object = None
        ) -> dict[str, np.ndarray]:
            self.calls += 1
            found = super().infer(feed, outputs)
            if self.calls == 3:  # images 4 of 0 to 4
                found["points"][0] += 40.0
            return found

    report = run(beside_pytorch(Late(2)), FakeDataset(count=5), rounds=1, warmup=0)
    assert report.exit_code == 3
    assert (report.rows[-1].accuracy.max_px or 0) > 50


def test_spread_is_measured_in_network_pixels_however_the_image_was_stretched() -> None:
    image = FakeDataset()[0].image
    placement = preprocess(image, STRETCHED.input)[1]
    found = landmark_set([Session(BatchBackend(1), STRETCHED).run(image)], [placement], STRETCHED)
    assert found.spread_px is not None
    np.testing.assert_allclose(found.spread_px, np.full((1, 3), 2.0), rtol=1e-6)
