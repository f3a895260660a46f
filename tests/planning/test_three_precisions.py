"""The planner where half precision costs something too, on a bench that is arithmetic."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from planning_fixtures import moved_by

from mahtrt.bundle.plan import Plan
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.measure.limits import Limits
from mahtrt.measure.timing import Timings
from mahtrt.planning.blocks import Candidate, compose, in_fp32
from mahtrt.planning.matrix import BlockRow, Cell, Sensitivity
from mahtrt.planning.planner import PlanOptions, PlanResult, plan_on
from mahtrt.planning.proposals import ALL_FLOAT, ALL_FP32, Knowledge, priced
from mahtrt.planning.workbench import BenchSettings

HALF_MS = 100.0
CANDIDATES = (
    Candidate("stem", ("stem.node",), ruled_out="excluded", excluded=True),
    Candidate("depthwise", (), {"depthwise.node": "grouped"}),
    Candidate("fusion", ("fusion.node",), {"fusion.gate": "thin"}, convolution_share=0.5),
    Candidate("block", ("block.node",), convolution_share=0.1),
    Candidate("head", ("head.node",), ruled_out="head"),
)
NAMES = tuple(c.name for c in CANDIDATES)
# In ms: what INT8 gains, and what FP32 takes more than half precision. In px: what each costs.
GAINS = {"fusion": 20.0, "block": 8.0, "head": 1.0}
LOST = {"stem": 6.0, "depthwise": 3.0, "fusion": 25.0, "block": 12.0, "head": 2.0}
COSTS = {"fusion": 0.02, "block": 0.04, "head": 0.3}
HALF = {"stem": 0.2, "depthwise": 0.01, "fusion": 0.01, "block": 0.01, "head": 0.15}


class Bench:
    """Times add up, and costs as squares; time passes only here."""

    def __init__(
        self,
        gains: Mapping[str, float] = GAINS,
        costs: Mapping[str, float] = COSTS,
        half: Mapping[str, float] = HALF,
        fixed: tuple[str, ...] = (),
    ) -> None:
        self.gains, self.costs, self.half, self.fixed = gains, costs, half, fixed
        self.now, self.target, self.float_precision = 0.0, "abacus", "bf16"
        self.measured = 0

    def accuracy(self, plan: Plan) -> AccuracyRecord:
        self.now += 1.0
        self.measured += 1
        table = {"int8": self.costs, "float": self.half, "fp32": dict.fromkeys(NAMES, 0.0)}
        squares = [table[b.precision][b.name] ** 2 for b in plan.blocks]
        mean = float(np.sqrt(sum(squares)))
        return moved_by(mean, mean)

    def ms(self, plan: Plan) -> float:
        return HALF_MS + sum(
            {"int8": -self.gains.get(b.name, 0.0), "float": 0.0, "fp32": LOST[b.name]}[b.precision]
            for b in plan.blocks
        )

    def race(self, plans: Mapping[str, Plan], seconds: float, seed: int) -> dict[str, Timings]:
        self.now += 10.0
        rng = random.Random(seed)
        return {
            name: Timings(tuple(self.ms(plan) * (1 + rng.gauss(0, 0.002)) for _ in range(30)))
            for name, plan in plans.items()
        }

    def block_times_ms(self, plan: Plan, *, whole: bool = False) -> dict[str, float]:
        return {
            b.name: 40.0
            - (self.gains.get(b.name, 0.0) if b.precision == "int8" else 0.0)
            + (LOST[b.name] if b.precision == "fp32" else 0.0)
            for b in plan.blocks
        }

    def keeps_fp32(self, candidate: Candidate) -> bool:
        return candidate.name not in self.fixed

    def forget(self, plan: Plan) -> None:
        pass


def rows_of(costs: Mapping[str, float]) -> tuple[BlockRow, ...]:
    return tuple(
        BlockRow(name, (f"{name}.node",), 0.1, "", False, (Cell(px, px, 0, px, px),) * 2)
        for name, px in costs.items()
    )


def plan_half(bench: Bench, budget_px: float) -> PlanResult:
    """Plan BF16 alone."""
    return plan(bench, budget_px, bench=BenchSettings(half="bf16"))


def plan(on: Bench, budget_px: float, **more: Any) -> PlanResult:
    costs = {"stem": 9.0, **on.costs}
    found = Sensitivity(
        ("a", "b"), rows_of(costs), 8, "", "", "", "minmax", 8, rows_of(on.half), "bf16"
    )
    options = PlanOptions(Limits(budget_px, 1.0), minutes=10.0, **more)
    return plan_on(on, options, CANDIDATES, found, clock=lambda: on.now)


def moved(bench: Bench, plan: Plan) -> float:
    found = bench.accuracy(plan).mean_px
    assert found is not None
    return found


def precisions(result: PlanResult) -> dict[str, str]:
    return {block.name: block.precision for block in result.plan.blocks}


def test_blocks_that_half_precision_hurts_stay_fp32() -> None:
    result = plan(Bench(), 0.1)
    assert precisions(result) == {
        "stem": "fp32",
        "depthwise": "float",
        "fusion": "int8",
        "block": "int8",
        "head": "fp32",
    }
    assert "2 blocks in INT8 and 2 in FP32 take 0.8" in result.conclusion
    (stem,) = (block for block in result.plan.blocks if block.name == "stem")
    assert stem.reason.startswith("stays FP32: half precision moves 0.2000 px for 6.000 ms")
    float_row = next(row for row in result.rows if row.name == ALL_FLOAT)
    assert float_row.over  # 0.25 px: its own accuracy is no excuse any more
    table = result.to_dict()["last_race"]
    assert {row["name"] for row in table} >= {ALL_FLOAT, ALL_FP32}
    assert ["stem", "head"] in [row["fp32_blocks"] for row in table]


def test_a_wide_budget_leaves_nothing_in_fp32() -> None:
    found = precisions(plan(Bench(), 0.5))
    assert "fp32" not in found.values()
    assert found["fusion"] == found["block"] == "int8"


def test_the_budget_decides_how_much_is_fp32() -> None:
    bench = Bench()
    kept = []
    for budget in (0.5, 0.22, 0.1, 0.045, 0.005):
        result = plan(bench, budget)
        kept.append(sum(p == "fp32" for p in precisions(result).values()))
        assert moved(bench, result.plan) <= budget
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (0, 5)


def test_where_no_int8_pays_and_half_is_over_the_budget_fp32_is_built() -> None:
    slow = Bench(gains=dict.fromkeys(GAINS, -50.0), half=dict.fromkeys(NAMES, 1.0))
    result = plan(slow, 0.1)
    assert set(precisions(result).values()) == {"fp32"}
    assert not result.uses_int8
    assert result.precision == "fp32"
    assert "The plan is bf16 with 5 blocks in FP32" in result.conclusion
    assert "Even bf16 alone is over the budget" in result.conclusion


def test_what_the_target_cannot_keep_apart_is_not_planned() -> None:
    found = precisions(plan(Bench(fixed=("head",)), 0.16))
    assert (found["head"], found["stem"]) == ("float", "fp32")
    # The head alone is over this one: what is left is FP32 everywhere, or INT8 that is nearer.
    found = precisions(plan(Bench(fixed=("head",)), 0.1))
    assert set(found.values()) == {"fp32"}


def test_int8_takes_the_place_of_fp32_where_half_is_over_the_budget() -> None:
    """It need not be faster than half precision, which cannot be had."""
    slow = Bench(gains=dict.fromkeys(GAINS, -5.0), half=dict.fromkeys(NAMES, 1.0))
    found = precisions(plan(slow, 0.1))
    assert found["fusion"] == found["block"] == "int8"
    assert found["stem"] == found["head"] == "fp32"


def test_where_no_int8_pays_and_half_is_within_half_is_built() -> None:
    result = plan(Bench(gains=dict.fromkeys(GAINS, -5.0)), 0.5)
    assert set(precisions(result).values()) == {"float"}
    assert result.precision == "bf16"


def test_an_fp32_block_has_all_of_its_products() -> None:
    (fusion,) = (b for b in compose(CANDIDATES, [in_fp32("fusion")]).blocks if b.name == "fusion")
    assert (fusion.precision, fusion.nodes) == ("fp32", ("fusion.node", "fusion.gate"))
    assert fusion.float_nodes == {}
    with pytest.raises(ValueError, match="two options of fusion"):
        compose(CANDIDATES, ["fusion", in_fp32("fusion")])


def test_prices_lead_from_the_fastest_plan_to_the_most_faithful_one() -> None:
    def costs(table: Mapping[str, float]) -> dict[str, Any]:
        return {name: np.array([px]) for name, px in table.items()}

    gains = {**GAINS, **{in_fp32(name): -ms for name, ms in LOST.items()}}
    allowed = ("fusion", "block", "head")
    known = Knowledge(
        CANDIDATES, allowed, gains, costs(COSTS), half_costs_px=costs(HALF), keepable=NAMES
    )
    plans = priced(known)
    assert plans[0] == ("fusion", "block", "head")
    assert plans[-1] == known.all_fp32
    bench = Bench()
    ms = [bench.ms(compose(CANDIDATES, chosen)) for chosen in plans]
    px = [moved(bench, compose(CANDIDATES, chosen)) for chosen in plans]
    assert ms == sorted(ms)
    assert px == sorted(px, reverse=True)
    assert len(set(plans)) == len(plans) > 5


def test_half_precision_alone_is_planned_without_int8() -> None:
    result = plan_half(Bench(), 0.1)
    assert precisions(result) == {
        "stem": "fp32",
        "depthwise": "float",
        "fusion": "float",
        "block": "float",
        "head": "fp32",
    }
    assert result.precision == "bf16"
    assert "3 blocks in bf16 and 2 in FP32 take 1.08" in result.conclusion
    assert "bf16 alone is over the budget: mean displacement" in result.conclusion
    assert not any(row["int8_blocks"] for row in result.to_dict()["last_race"])
    reasons = {block.name: block.reason for block in result.plan.blocks}
    assert reasons["head"].startswith("stays FP32: half precision moves 0.1500 px for 2.000 ms")
    assert reasons["fusion"].startswith("bf16 moves 0.0100 px for +25.000 ms of layer time on aba")


def test_half_precision_within_the_budget_is_left_alone() -> None:
    result = plan_half(Bench(), 0.5)
    assert (set(precisions(result).values()), result.precision) == ({"float"}, "bf16")
    assert "All 5 blocks in bf16 take " in result.conclusion


def test_where_half_precision_saves_no_time_fp32_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setitem(LOST, name, -5.0)  # as where half precision is computed in FP32
    result = plan_half(Bench(), 0.5)
    assert (set(precisions(result).values()), result.precision) == ({"fp32"}, "fp32")
    assert "bf16 does not pay on abacus" in result.conclusion


def test_a_plan_of_half_precision_is_the_cheapest_of_all_within_the_budget() -> None:
    bench = Bench()
    for budget in (0.3, 0.21, 0.16, 0.1, 0.02, 0.012):
        within = [
            bench.ms(candidate)
            for n in range(2 ** len(NAMES))
            for candidate in [
                compose(CANDIDATES, [in_fp32(x) for i, x in enumerate(NAMES) if n >> i & 1])
            ]
            if moved(bench, candidate) <= budget
        ]
        assert bench.ms(plan_half(bench, budget).plan) == pytest.approx(min(within))


def test_a_search_for_int8_may_end_in_half_precision_with_fp32_blocks() -> None:
    result = plan(Bench(gains=dict.fromkeys(GAINS, -50.0)), 0.1)
    assert (result.precision, result.uses_int8) == ("bf16", False)
    found = precisions(result)
    assert [name for name in NAMES if found[name] == "fp32"] == ["stem", "head"]
    assert "The plan is bf16 with 2 blocks in FP32" in result.conclusion


def test_where_no_block_may_be_int8_half_precision_is_planned_all_the_same() -> None:
    bench, able = Bench(), CANDIDATES[1:2]
    found = Sensitivity(
        ("a", "b"), (), 8, "", "", "", "minmax", 8, rows_of({"depthwise": 0.01}), "bf16"
    )
    result = plan_on(bench, PlanOptions(Limits(0.001, 1.0)), able, found, clock=lambda: bench.now)
    assert [block.precision for block in result.plan.blocks] == ["fp32"]
    result = plan_on(bench, PlanOptions(Limits(0.1, 1.0)), able, found, clock=lambda: bench.now)
    assert [block.precision for block in result.plan.blocks] == ["float"]
