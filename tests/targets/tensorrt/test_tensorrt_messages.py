"""What TensorRT says, as it said it, and what becomes of it."""

from __future__ import annotations

import pytest

from mahtrt.targets.tensorrt.messages import build_error, cleaned, parse_error

NO_DRIVER = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient "
    "for CUDA runtime version))"
)
MIXED = (
    "ITensor::getDimensions: Error Code 4: API Usage Error (enc/add: ElementWiseOperation SUM must "
    "have same input types. But they are of types Float and Half. In validateTypes at "
    "/_src/optimizer/common/nodes/elementWiseNode.cpp:40)"
)


def error(desc: str, **fields: object) -> dict[str, object]:
    defaults = {"code": "INVALID_NODE", "node": 0, "name": "enc/add", "operator": "Add"}
    return {**defaults, "desc": desc, **fields}


def test_source_places_and_missing_drivers_are_noise() -> None:
    assert cleaned([MIXED, NO_DRIVER, MIXED]) == [
        "enc/add: ElementWiseOperation SUM must have same input types. "
        "But they are of types Float and Half"
    ]
    assert cleaned([NO_DRIVER]) == []


def test_a_node_without_a_name_is_known_by_what_it_makes() -> None:
    log = ['While parsing node number 2 [Softmax -> "weights"]:', "--- Begin node ---"]
    unknown = error("something odd", node=2, name="", operator="Softmax")
    said = parse_error("m.onnx", "TensorRT", [unknown], log)
    assert said.subject == "m.onnx: node number 2 (Softmax), which makes weights"
    assert said.got == "something odd"
    assert said.expected == "a graph that TensorRT builds"
    assert "which makes" not in parse_error("m.onnx", "TensorRT", [unknown], []).subject


def test_the_first_line_that_says_something_is_quoted() -> None:
    desc = "\n".join(("Invalid Node - enc/add", MIXED, NO_DRIVER))
    said = parse_error("m.onnx", "TensorRT", [error(desc)], [])
    assert said.subject == "m.onnx: node enc/add (Add)"
    assert said.got.startswith("inputs of different types (TensorRT: enc/add: ElementWise")
    assert "cudaError" not in str(said)


@pytest.mark.parametrize(
    ("message", "got", "fix"),
    [
        (
            "[localCheckMacros.cpp::getErrorStr::132] Error Code 2: OutOfMemory (Requested size "
            "was 23621740 bytes.)",
            "not enough memory (TensorRT: OutOfMemory (Requested size was 23621740 bytes.))",
            "workspace limit",
        ),
        (
            "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any "
            "implementation for node decoder/0/conv.)",
            "no kernel for this node on this GPU",
            "workspace limit",
        ),
        ("something new happened", "something new happened", ""),
    ],
)
def test_the_builder_s_last_words(message: str, got: str, fix: str) -> None:
    said = build_error("m.onnx", "TensorRT", [NO_DRIVER, message])
    assert said.got.startswith(got)
    assert fix in said.fix


def test_a_builder_that_says_nothing() -> None:
    assert build_error("m.onnx", "TensorRT", [NO_DRIVER]).got == "no reason given"
    assert parse_error("m.onnx", "TensorRT", [], []).got == "no reason given"


def test_a_parser_without_errors_but_with_a_log() -> None:
    assert parse_error("m.onnx", "TensorRT", [], ["broken", NO_DRIVER]).got == "broken"
