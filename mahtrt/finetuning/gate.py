"""What fine-tuning is judged by: its INT8 graph beside PyTorch, and beside itself as trained."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import onnx

from mahtrt.benchmarks.accuracy_pass import AccuracyPass
from mahtrt.benchmarks.compare import Contender
from mahtrt.build.reference import reference_of
from mahtrt.bundle.records import AccuracyRecord, VerdictRecord
from mahtrt.data.sample import Dataset
from mahtrt.errors import GateError
from mahtrt.finetuning.options import QatOptions
from mahtrt.finetuning.student import Student
from mahtrt.finetuning.torch_graph import TorchGraph
from mahtrt.finetuning.validation import Validation, distance
from mahtrt.graph.graph_file import GraphFile
from mahtrt.graph.index import GraphIndex
from mahtrt.measure.displacement import compare_points
from mahtrt.progress import StageProgress
from mahtrt.runtime.decode import needed_outputs
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, OrtMode, open_onnx

SAME_PX = 0.01
CALIBRATED, TUNED = "calibrated", "fine-tuned"


@dataclass(frozen=True, slots=True)
class QatVerdict:
    """How near the INT8 graphs are to the reference.

    Attributes:
        reference: What they were held against, in words.
        calibrated: The plan with calibrated ranges, before learning.
        tuned: The same with what was learned.
        verdict: The gate's, on ``tuned``.
    """

    reference: str
    calibrated: AccuracyRecord
    tuned: AccuracyRecord
    verdict: VerdictRecord


def judge(
    graph: GraphFile,
    calibrated: onnx.ModelProto,
    tuned: onnx.ModelProto,
    images: Dataset,
    options: QatOptions,
    progress: StageProgress,
) -> QatVerdict:
    """Hold two INT8 graphs against PyTorch, computed literally.

    Args:
        calibrated, tuned: INT8 graphs before and after learning.
        images: Images that nothing was learned on.

    Raises:
        DataError: Annotations that do not fit the network.
    """
    threads = options.threads
    with ExitStack() as stack:
        reference = reference_of(
            graph, graph.path.resolve().parent, options.reference, options.model, threads
        )
        stack.callback(reference.contender.session.close)
        contenders = [reference.contender]
        for name, model in ((CALIBRATED, calibrated), (TUNED, tuned)):
            session = _literal(model, graph, threads)
            stack.callback(session.close)
            contenders.append(Contender(name, "onnxruntime", "int8", graph.batch, session))
        found = AccuracyPass(contenders, images.source)
        for first in range(0, len(images), graph.batch):
            last = min(first + graph.batch, len(images))
            found.add([images[i] for i in range(first, last)])
            progress("judging", last, len(images))
        records = found.records(options.seed)
    verdict = options.limits.judge(records[TUNED], "int8")
    return QatVerdict(reference.described, records[CALIBRATED], records[TUNED], verdict)


def check_shipped(
    validation: Validation, student: Student, shipped: onnx.ModelProto, spec: ModelSpec
) -> float:
    """How far the shipped INT8 graph is from the network as it was trained.

    Both are computed by PyTorch, so that only a difference of the functions is seen. Between two
    runtimes, sums in another order turn single codes, which the rest of the network enlarges.

    Args:
        validation: Images to compare on.
        shipped: INT8 graph with the learned weights and ranges.

    Returns:
        The largest displacement of a landmark in network pixels; the mean distance for a network
        without landmarks.

    Raises:
        GateError: They are not the same function.
    """
    computed = TorchGraph(GraphIndex(shipped, allow_quantized=True), needed_outputs(spec))
    trained, found = validation.outputs(student), validation.outputs_of(computed)
    if trained.points_px.shape[1]:
        apart = float(compare_points(found.points_px, trained.points_px).max())
    else:
        apart = distance(found, trained, spec)
    if not apart <= SAME_PX:
        raise GateError(
            "fine-tuned network",
            got=f"an INT8 graph {apart:.4f} px from what was trained",
            expected=f"at most {SAME_PX} px",
            fix="Please report this with the network's ONNX.",
        )
    return apart


def _literal(model: onnx.ModelProto, graph: GraphFile, threads: int | None) -> Session:
    opened = open_onnx(
        model.SerializeToString(), "INT8 graph", threads=threads, mode=OrtMode.LITERAL_INT8
    )
    return Session(OnnxRuntimeBackend(opened, graph.spec, "int8"), graph.spec)
