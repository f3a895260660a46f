"""INT8 that was planned and is not there ends with exit code 3."""

from __future__ import annotations

from typing import Any

import pytest
from inspected_graphs import float_net, int8_net

from mahtrt.bundle.plan import Block, Plan
from mahtrt.calibration.int8_check import check_int8
from mahtrt.errors import GateError
from mahtrt.graph.describe import describe_graph


def plan_of(**blocks: str) -> Plan:
    """A plan with a block per node."""
    return Plan(
        tuple(
            Block(f"decoder.{node}", precision, "", 0.5, (node,))  # type: ignore[arg-type]
            for node, precision in blocks.items()
        )
    )


def test_a_plan_that_was_met_passes() -> None:
    graph = describe_graph(int8_net())
    check_int8(graph, plan_of(conv1="int8", conv2="float"))
    check_int8(graph, plan_of(conv1="int8"), int8_products=1)


def test_a_plan_without_int8_is_always_met() -> None:
    check_int8(describe_graph(float_net()), plan_of(conv1="float", conv2="float"))


@pytest.mark.parametrize("model", [float_net(), int8_net(activations=False)])
def test_a_graph_without_int8_is_refused(model: Any) -> None:
    with pytest.raises(GateError, match=r"0 INT8 layers, none of them in decoder\.conv1") as caught:
        check_int8(describe_graph(model), plan_of(conv1="int8"))
    assert caught.value.exit_code == 3


def test_a_block_that_was_left_out_is_named() -> None:
    with pytest.raises(GateError, match=r"1 INT8 layers, none of them in decoder\.conv2;"):
        check_int8(describe_graph(int8_net()), plan_of(conv1="int8", conv2="int8"))


def test_an_engine_without_int8_is_refused() -> None:
    graph = describe_graph(int8_net())
    with pytest.raises(GateError, match=r"INT8 engine: got no INT8 layer.*decoder\.conv1"):
        check_int8(graph, plan_of(conv1="int8"), int8_products=0)
