"""Every family's export, computed by PyTorch node by node: what fine-tuning rests on."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch
from family_table import FamilyCase

from mahtrt.calibration.qdq import (
    intervals_of,
    quantize,
    quantized_inputs,
    tensors_to_calibrate,
)
from mahtrt.calibration.ranges import collect_ranges
from mahtrt.calibration.tuned import learned_ranges
from mahtrt.data.datasets import open_dataset
from mahtrt.data.subset import NetworkTensors
from mahtrt.export.onnx import ExportResult
from mahtrt.finetuning.distillation import Distillation
from mahtrt.finetuning.student import Student
from mahtrt.finetuning.torch_graph import TorchGraph, joined
from mahtrt.finetuning.validation import tensors_of
from mahtrt.graph.graph_file import GraphFile, read_graph
from mahtrt.graph.index import GraphIndex
from mahtrt.planning.blocks import compose, decidable, find_candidates


def _feeds(case: FamilyCase, graph: GraphFile, count: int) -> list[dict[str, np.ndarray]]:
    cases = NetworkTensors(open_dataset(case.data(count, 5)), graph.spec)
    return [{name: value[None] for name, value in feed.items()} for feed in cases]


def test_pytorch_computes_the_export_as_onnx_runtime_does(
    case: FamilyCase, exported: ExportResult
) -> None:
    graph = read_graph(exported.path)
    names = [output.name for output in graph.proto.graph.output]
    (feed,) = _feeds(case, graph, 1)
    with torch.no_grad():
        ours = TorchGraph(GraphIndex(graph.proto), names)(tensors_of(feed))
    theirs = onnxruntime.InferenceSession(exported.path).run(names, feed)
    for name, wanted in zip(names, theirs, strict=True):
        np.testing.assert_allclose(ours[name].numpy(), wanted, rtol=1e-3, atol=1e-3, err_msg=name)


def test_the_student_is_the_shipped_graph_bit_by_bit_and_learns(
    case: FamilyCase, exported: ExportResult
) -> None:
    graph = read_graph(exported.path)
    index, loss = GraphIndex(graph.proto), Distillation(graph.spec)
    candidates = find_candidates(graph.proto, graph.spec)
    plan = compose(candidates, [each.name for each in decidable(candidates)])
    cases = NetworkTensors(open_dataset(case.data(2, 5)), graph.spec)
    ranges = collect_ranges(exported.path, tensors_to_calibrate(graph.proto, plan), cases)
    intervals = intervals_of(index, quantized_inputs(index, plan), ranges, "minmax")
    student = Student(index, plan, intervals, 8, loss.outputs)
    learned = learned_ranges(ranges, student.intervals())
    model = quantize(graph.proto, learned, plan, method="learned")
    shipped = TorchGraph(GraphIndex(model, allow_quantized=True), loss.outputs)
    feeds = [tensors_of(feed) for feed in _feeds(case, graph, 2)]
    for feed in feeds:
        with torch.no_grad():
            ours = student(feed, student.rounded())
            theirs = shipped(feed)
        for name in loss.outputs:
            assert torch.equal(ours[name], theirs[name]), name
    teacher = TorchGraph(index, loss.outputs)
    rounded = student.rounded()
    loss(student(feeds[0], rounded), teacher(feeds[0])).backward()
    student.pull(rounded)
    pulled = [value.grad for value in student.parameters() if value.grad is not None]
    assert len(pulled) > len(student.log_scales)
    assert all(bool(gradient.isfinite().all()) for gradient in pulled)


def test_several_cases_at_once_give_what_each_gives_or_are_refused(
    case: FamilyCase, exported: ExportResult
) -> None:
    graph = read_graph(exported.path)
    names = Distillation(graph.spec).outputs
    computed = TorchGraph(GraphIndex(graph.proto), names)
    feeds = [tensors_of(feed) for feed in _feeds(case, graph, 3)]
    if computed.takes_several(feeds[:2]):
        with torch.no_grad():
            at_once, alone = computed(joined(feeds)), [computed(feed) for feed in feeds]
        for name in names:
            wanted = torch.cat([each[name] for each in alone])
            torch.testing.assert_close(at_once[name], wanted, rtol=1e-3, atol=1e-3)
    else:
        assert case.family == "spine"  # its queries are no batch
