"""What a student begins with, and what of a graph it learns."""

from __future__ import annotations

import numpy as np
import pytest
from foreign_network import ForeignNetwork
from onnx import numpy_helper

from mahtrt.build.calibrated import Calibrated, calibrate
from mahtrt.build.options import CalibrationOptions
from mahtrt.bundle.plan import Plan
from mahtrt.calibration.qdq import int8_positions, intervals_of, quantized_inputs
from mahtrt.data.datasets import open_dataset
from mahtrt.data.subset import NetworkTensors
from mahtrt.finetuning.fake_quant import rounded_weight
from mahtrt.finetuning.student import Student, trainable_constants
from mahtrt.graph.graph_file import GraphFile, read_graph
from mahtrt.graph.index import GraphIndex
from mahtrt.planning.blocks import compose, decidable, find_candidates
from mahtrt.progress import silent


@pytest.fixture(scope="module")
def graph(foreign_network: ForeignNetwork) -> GraphFile:
    return read_graph(foreign_network.onnx)


@pytest.fixture(scope="module")
def plan(graph: GraphFile) -> Plan:
    candidates = find_candidates(graph.proto, graph.spec)
    return compose(candidates, [each.name for each in decidable(candidates)])


@pytest.fixture(scope="module")
def calibrated(graph: GraphFile, plan: Plan) -> Calibrated:
    cases = NetworkTensors(open_dataset("phantom:2@1"), graph.spec)
    found = calibrate(graph, cases, plan, CalibrationOptions("minmax", threads=1), silent)
    found.measure_bias(cases, 8, 1, silent)
    return found


def test_corrected_biases_are_those_that_a_build_writes(
    graph: GraphFile, plan: Plan, calibrated: Calibrated
) -> None:
    index = GraphIndex(graph.proto)
    intervals = intervals_of(index, quantized_inputs(index, plan), calibrated.ranges, "minmax")
    student = Student(index, plan, intervals, 8, ["maps"])
    before = {name: value.detach().clone() for name, value in student.weights.items()}
    correction = calibrated.correction(8)
    assert correction is not None
    student.correct_biases(correction.means)
    written = {
        tensor.name.partition("_corrected")[0]: numpy_helper.to_array(tensor)
        for tensor in calibrated.quantized(graph.proto, 8).graph.initializer
        if "_corrected" in tensor.name
    }
    products = [index.nodes[position] for position in int8_positions(index, plan)]
    centred = [node for node in products if intervals[node.input[0]].centre]
    assert len(written) > len(centred) > 0
    for node in centred:  # of convolutions: what their biases take up besides
        weight = rounded_weight(student.weights[node.input[1]].detach(), 0, 8)
        taken_up = weight.double().sum((1, 2, 3)) * intervals[node.input[0]].centre
        written[node.input[2]] = written[node.input[2]] - taken_up.numpy()
    for name, value in student.weights.items():
        wanted = written.get(name, before[name].numpy())
        np.testing.assert_allclose(value.detach().numpy(), wanted, rtol=1e-6, atol=1e-7)


def test_what_decodes_is_not_learned(graph: GraphFile, plan: Plan) -> None:
    index = GraphIndex(graph.proto)
    learned = trainable_constants(index, plan)
    read_by = {
        name: index.nodes[position].op_type
        for name in learned
        for position in index.consumers[name]
    }
    assert set(read_by.values()) == {"Conv", "ConvTranspose"}
    constants = {t.name for t in graph.proto.graph.initializer if t.data_type == 1}
    assert constants - set(learned)  # the coordinates of the soft-argmax, at least
