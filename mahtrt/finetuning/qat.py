"""``qat``: weights and ranges that make a plan's INT8 nearer to the FP32 network.

    check -> split_images -> calibrate -> Run.go -> check_shipped -> judge -> write

The teacher is the export itself, so that images need no annotations and a foreign network no code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnx
import torch

from mahtrt import files
from mahtrt.build.calibrated import Calibrated, calibrate
from mahtrt.bundle.plan import Plan, load_plan
from mahtrt.calibration.plan import default_plan
from mahtrt.calibration.qdq import intervals_of, quantize, quantized_inputs
from mahtrt.calibration.tuned import Tuned, TunedRecord, learned_ranges, write_tuned
from mahtrt.data.feed import Feed
from mahtrt.data.subset import NetworkTensors, spread_out
from mahtrt.destination import check_output
from mahtrt.errors import GateError, ModelError
from mahtrt.finetuning.distillation import Distillation
from mahtrt.finetuning.gate import QatVerdict, check_shipped, judge
from mahtrt.finetuning.images import QatImages, learning_cases, split_images
from mahtrt.finetuning.options import ALL, RULES, QatOptions
from mahtrt.finetuning.run import DivergedError, Lesson, QatStep, Run
from mahtrt.finetuning.student import Student, learned_model
from mahtrt.finetuning.torch_graph import TorchGraph
from mahtrt.finetuning.validation import Validation, tensors_of
from mahtrt.graph.graph_file import GraphFile, read_graph
from mahtrt.graph.index import GraphIndex
from mahtrt.machine import describe_machine
from mahtrt.models.families import is_known
from mahtrt.planning.blocks import compose, decidable, find_candidates
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.decode import check_judged, needed_outputs
from mahtrt.targets.cpu import weight_bits_here

CALIBRATION_IMAGES = 256
_TRIED_CASES = 2  # to see whether cases can be computed at once


@dataclass(frozen=True, slots=True)
class QatResult:
    """The fine-tuned network, and how good it is.

    Attributes:
        path: The file that was written.
        steps, minutes: How much was learned.
        errors: Mean distance on the validation images, with the step before each measurement.
        shipped_px: How far the INT8 graph is from the network as it was trained.
    """

    path: Path
    steps: int
    minutes: float
    errors: tuple[tuple[int, float], ...]
    shipped_px: float
    judged: QatVerdict


def qat(options: QatOptions, progress: StageProgress = silent) -> QatResult:
    """Fine-tune a network for a plan, and judge the result on images that it did not learn on.

    Raises:
        UsageError: Numbers that cannot be, a plan without INT8, or other options than those of the
            run to resume.
        ModelError: Not an export of mahtrt, random weights, or an operator that cannot be trained
            through.
        DataError: Images that are missing, too few, no images, or of other landmarks.
        CheckpointError: There is no run to resume, or its state is damaged.
        TrainingInterrupted: Ctrl-C; the run can be resumed.
        GateError: The result is over its limits, or learning diverged (exit 3).
    """
    options.check()
    check_output(options.out)
    graph = read_graph(options.onnx)
    check_judged(graph.spec, str(options.onnx))
    options.limits.check_outputs(graph.spec)
    _check_teacher(graph)
    plan = _plan(options.plan, graph)
    if options.threads:
        torch.set_num_threads(options.threads)
    images = split_images(options, graph.spec, progress)
    bits = options.weight_bits or weight_bits_here(describe_machine())
    calib = NetworkTensors(spread_out(images.learning, CALIBRATION_IMAGES), graph.spec)
    settings = replace(options.calibration, trial_bits=bits)
    found = calibrate(graph, calib, plan, settings, progress)
    found.measure_bias(calib, bits, options.threads, progress)
    run = _new_run(options, graph, found, images, bits, progress)
    if options.resume:
        run.restore()
    diverged = _learn(run, images, graph, progress)
    tuned = _tuned(run, found, calib, bits)
    shipped = quantize(tuned.model, tuned.ranges, plan, method="learned", weight_bits=bits)
    apart = check_shipped(run.validation, run.student, shipped, graph.spec)
    before = found.quantized(graph.proto, bits)
    judged = judge(graph, before, shipped, images.judging, options, progress)
    if not judged.verdict.passed and not options.keep_failed:
        raise _over(judged, run)
    write_tuned(options.out, tuned)
    files.remove(run.state_path)
    if diverged is not None:
        raise _kept(diverged, options.out)
    minutes = run.seconds / 60
    return QatResult(options.out, run.step, minutes, tuple(run.errors), apart, judged)


def _check_teacher(graph: GraphFile) -> None:
    source = graph.source
    if is_known(source.model) and source.checkpoint is None and source.seed is not None:
        raise ModelError(
            str(graph.path),
            got=f"random weights (seed {source.seed}), of which nothing can be learned",
            expected="a trained network as the teacher",
            fix="Export it with mahtrt export --checkpoint FILE.",
        )


def _plan(asked: str, graph: GraphFile) -> Plan:
    if asked == RULES:
        return default_plan(graph.proto, graph.spec)
    if asked == ALL:
        candidates = find_candidates(graph.proto, graph.spec)
        return compose(candidates, [c.name for c in decidable(candidates)])
    return load_plan(Path(asked))


def _new_run(
    options: QatOptions,
    graph: GraphFile,
    found: Calibrated,
    images: QatImages,
    bits: int,
    progress: StageProgress,
) -> Run:
    progress("preparing the student", 0, 0)
    index, loss = GraphIndex(graph.proto), Distillation(graph.spec)
    read = needed_outputs(graph.spec)
    outputs = tuple(dict.fromkeys((*loss.outputs, *read)))
    teacher = TorchGraph(index, outputs)
    reads = quantized_inputs(index, found.plan)
    intervals = intervals_of(index, reads, found.ranges, found.method)
    student = Student(index, found.plan, intervals, bits, outputs)
    if (correction := found.correction(bits)) is not None:
        student.correct_biases(correction.means)
    tried = [tensors_of(f) for f in _first_feeds(images, graph)]
    validation = Validation(
        list(NetworkTensors(images.validation, graph.spec)), teacher, graph.spec, graph.batch
    )
    several = graph.batch == 1 and teacher.takes_several(tried)
    return Run(options, Lesson(student, teacher, loss, several), validation)


def _first_feeds(images: QatImages, graph: GraphFile) -> list[Feed]:
    few = NetworkTensors(spread_out(images.learning, _TRIED_CASES), graph.spec)
    return [{name: value[None] for name, value in feed.items()} for feed in few]


def _learn(
    run: Run, images: QatImages, graph: GraphFile, progress: StageProgress
) -> DivergedError | None:
    """All steps; the divergence that ended them, where better weights were found before it."""

    def tell(step: QatStep) -> None:
        words = f"step {step.step}, loss {step.loss:.4f}, validation {step.error:.4f}"
        progress("fine-tuning", round(1000 * step.share), 1000, words)

    try:
        run.go(partial(learning_cases, images.learning, graph.spec, run.options), tell)
    except DivergedError as error:
        if run.least_error < run.errors[0][1]:
            return error
        raise
    return None


def _tuned(run: Run, found: Calibrated, calib: NetworkTensors, bits: int) -> Tuned:
    student, options = run.student, run.options
    training = {
        "steps": run.step,
        "minutes": round(run.seconds / 60, 3),
        **{k: v for k, v in options.described().items() if k not in ("plan", "data")},
        "validation": [[step, round(error, 6)] for step, error in run.errors],
    }
    record = TunedRecord(
        export_sha256=found.graph.sha256,
        data=calib.source.rstrip("/").rpartition("/")[2],
        images_digest=calib.images_digest,
        weight_bits=bits,
        skipped=calib.skipped,
        training=training,
    )
    model: onnx.ModelProto = learned_model(found.graph.proto, student.weights)
    ranges = learned_ranges(found.ranges, student.intervals())
    return Tuned(model, found.plan, ranges, found.card, record)


def _over(judged: QatVerdict, run: Run) -> GateError:
    return GateError(
        "fine-tuning",
        got="; ".join(judged.verdict.reasons),
        expected="a network within its limits",
        fix=f"Go on with --resume and more --minutes or --steps ({run.state_path} is kept), or see "
        "--keep-failed and the budgets.",
    )


def _kept(diverged: DivergedError, out: Path) -> DivergedError:
    return DivergedError(f"{diverged}".rstrip("."), fix=f"{out} holds the best weights before it.")
