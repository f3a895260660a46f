"""The planner on a bench whose times and costs are arithmetic."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from planning_fixtures import moved_by

from mahtrt.bundle.plan import Plan, plan_from_json
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import BuildError
from mahtrt.measure.limits import Limits
from mahtrt.measure.timing import Timings
from mahtrt.planning.blocks import Candidate
from mahtrt.planning.conclusion import why_int8
from mahtrt.planning.matrix import BlockRow, Cell, Sensitivity
from mahtrt.planning.planner import PlanOptions, PlanResult, plan_on
from mahtrt.planning.proposals import ALL_FLOAT, ALL_INT8, BASELINES, BIG_CONVOLUTIONS, RULES_PLAN

FLOAT_MS = 100.0


def candidate(name: str, **more: object) -> Candidate:
    return Candidate(name, (f"{name}.node",), flops_share=0.1, **more)  # type: ignore[arg-type]


# Gain in ms and cost in px of each block: an ordinary network.
CANDIDATES = (
    candidate("encoder", ruled_out="excluded by the model's spec", excluded=True),
    candidate("mlp"),
    candidate("fusion", convolution_share=0.5),
    candidate("block", convolution_share=0.1),
    candidate("gate"),
    candidate("head", ruled_out="head"),
    Candidate("decode", (), {"decode.node": "thin"}),
)
GAINS = {"encoder": 30.0, "mlp": -3.0, "fusion": 20.0, "block": 8.0, "gate": -1.0, "head": 10.0}
COSTS = {"encoder": 9.0, "mlp": 0.001, "fusion": 0.02, "block": 0.04, "gate": 0.01, "head": 0.3}


class FakeBench:
    """Blocks add up, save for ``interaction``; time passes only here.

    Args:
        noise: Relative standard deviation of each timed call.
        interaction: Milliseconds that a set of blocks costs beyond its parts.
    """

    def __init__(
        self,
        gains: Mapping[str, float] = GAINS,
        costs: Mapping[str, float] = COSTS,
        *,
        profiled: Mapping[str, float] | None = None,
        noise: float = 0.002,
        interaction: Callable[[frozenset[str]], float] = lambda _: 0.0,
        refuses: str = "",
        rounds: int = 30,
    ) -> None:
        self.gains, self.costs, self.profiled = gains, costs, profiled or gains
        self.noise, self.interaction, self.refuses, self.rounds = (
            noise,
            interaction,
            refuses,
            rounds,
        )
        self.now, self.target, self.float_precision = 0.0, "abacus", "fp32"
        self.asked: list[frozenset[str]] = []
        self.open: set[frozenset[str]] = set()
        self.most_open = 0

    def blocks(self, plan: Plan) -> frozenset[str]:
        return frozenset(block.name for block in plan.blocks if block.precision == "int8")

    def accuracy(self, plan: Plan) -> AccuracyRecord:
        self.now += 1.0
        blocks = self.blocks(plan)
        self.asked.append(blocks)
        self._opened(blocks)
        if self.refuses in blocks:
            raise BuildError("engine", got="no", expected="yes")
        mean = float(np.sqrt(sum(self.costs[b] ** 2 for b in blocks)))
        return moved_by(mean, 2 * mean)

    def race(self, plans: Mapping[str, Plan], seconds: float, seed: int) -> dict[str, Timings]:
        self.now += 10.0
        for plan in plans.values():
            self._opened(self.blocks(plan))
        rng = random.Random(seed)
        machine = [1 + abs(rng.gauss(0, 0.3)) for _ in range(self.rounds)]  # what all share
        return {
            name: Timings(
                tuple(self.ms(plan) * m * (1 + rng.gauss(0, self.noise)) for m in machine)
            )
            for name, plan in plans.items()
        }

    def ms(self, plan: Plan) -> float:
        blocks = self.blocks(plan)
        return FLOAT_MS - sum(self.gains[b] for b in blocks) + self.interaction(blocks)

    def block_times_ms(self, plan: Plan, *, whole: bool = False) -> dict[str, float]:
        blocks = self.blocks(plan)
        return {b: 40.0 - (self.profiled[b] if b in blocks else 0.0) for b in self.gains}

    def keeps_fp32(self, candidate: Candidate) -> bool:
        return True

    def forget(self, plan: Plan) -> None:
        self.open.discard(self.blocks(plan))

    def _opened(self, blocks: frozenset[str]) -> None:
        self.open.add(blocks)
        self.most_open = max(self.most_open, len(self.open))


def sensitivity(costs: Mapping[str, float] = COSTS) -> Sensitivity:
    rows = tuple(
        BlockRow(name, (f"{name}.node",), 0.1, "", False, (Cell(px, px, 0, px, px),) * 2)
        for name, px in costs.items()
    )
    return Sensitivity(("a", "b"), rows, 8, "", "", "", "minmax", 8)


def plan(bench: FakeBench, **options: Any) -> PlanResult:
    settings = replace(PlanOptions(Limits(0.1, 1.0), minutes=10.0), **options)
    return plan_on(
        bench,
        settings,
        CANDIDATES,
        sensitivity(bench.costs),
        clock=lambda: bench.now,
    )


def chosen(result: PlanResult) -> set[str]:
    return {b.name for b in result.plan.blocks if b.precision == "int8"}


def test_blocks_that_pay_and_fit_are_chosen() -> None:
    result = plan(FakeBench())
    assert chosen(result) == {"fusion", "block"}
    assert result.uses_int8
    assert "2 blocks in INT8" in result.conclusion
    names = [row.name for row in result.rows]
    assert set(BASELINES) <= set(names)
    best = next(row for row in result.rows if set(row.blocks) == {"fusion", "block"})
    assert best.against_float.median == pytest.approx(0.72, abs=0.01)
    assert best.against_float.high < 1
    assert not best.over
    assert all(
        best.against_float.median <= row.against_float.median + 0.01
        for row in result.rows
        if not row.over
    )


def test_what_is_quoted_is_not_from_the_race_that_picked_the_winner() -> None:
    class Flattering(FakeBench):
        """Notes every race, and flatters whatever is not the float plan in the first of equals."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.seen: list[tuple[frozenset[str], ...]] = []

        def race(self, plans: Mapping[str, Plan], seconds: float, seed: int) -> dict[str, Timings]:
            found = super().race(plans, seconds, seed)
            sets = tuple(sorted((self.blocks(p) for p in plans.values()), key=sorted))
            first = sets not in self.seen
            self.seen.append(sets)
            return {
                name: Timings(tuple(0.9 * ms for ms in timings.samples_ms))
                if first and self.blocks(plans[name])
                else timings
                for name, timings in found.items()
            }

    result = plan(Flattering(), minutes=0.001)  # no time to refine: all races are of equals
    best = next(row for row in result.rows if set(row.blocks) == {"fusion", "block"})
    assert best.against_float.median == pytest.approx(0.72, abs=0.01)
    assert f"take {best.against_float} of fp32's time" in result.conclusion
    no_gain = Flattering(gains=dict.fromkeys(GAINS, 0.0), profiled=GAINS)
    assert not plan(no_gain, minutes=0.001).uses_int8


def test_the_plan_says_why_and_can_be_read_back() -> None:
    result = plan(FakeBench())
    back = plan_from_json(result.plan.to_json())
    assert back == result.plan
    blocks = {b.name: b for b in back.blocks}
    assert (blocks["fusion"].gain_ms, blocks["fusion"].cost_px) == (20.0, 0.02)
    assert blocks["fusion"].reason.startswith("INT8 pays: +20.000 ms")
    assert "does not pay: it takes 3.000 ms more" in blocks["mlp"].reason
    assert "excluded" in blocks["encoder"].reason
    assert blocks["encoder"].gain_ms is None
    assert blocks["decode"].reason == "thin"
    assert "over the budget" in blocks["head"].reason


def test_a_wider_budget_takes_what_the_rules_rule_out() -> None:
    assert chosen(plan(FakeBench(), limits=Limits(0.5, 1.0))) == {"fusion", "block", "head"}


def test_what_the_spec_excludes_is_int8_only_when_asked_for() -> None:
    bench = FakeBench()
    result = plan(bench, limits=Limits(100.0, 100.0))
    assert "encoder" not in chosen(result)
    assert not any("encoder" in blocks for blocks in bench.asked)
    asked = plan(FakeBench(), limits=Limits(100.0, 100.0), consider_excluded=True)
    assert chosen(asked) == {"encoder", "fusion", "block", "head"}


@pytest.mark.parametrize("what", ["worst_landmark_px", "p99_px", "max_px"])
def test_every_part_of_the_budget_is_held(what: str) -> None:
    limits = replace(Limits(10.0, 100.0), **{what: 0.085})
    result = plan(FakeBench(), limits=limits)
    assert chosen(result) in ({"fusion"}, {"block"})
    assert all(row.over for row in result.rows if len(row.blocks) > 1)


def test_nothing_pays() -> None:
    bench = FakeBench(gains=dict.fromkeys(GAINS, -2.0))
    result = plan(bench)
    assert not result.uses_int8
    assert not chosen(result)
    assert "INT8 does not pay on abacus" in result.conclusion
    assert "all fp32" in result.conclusion
    assert plan_from_json(result.plan.to_json()).int8_nodes == ()


def test_layer_times_that_deceive_are_found_out() -> None:
    """By the profile every block gains; measured as a whole, none does."""
    bench = FakeBench(gains=dict.fromkeys(GAINS, -2.0), profiled=dict.fromkeys(GAINS, 5.0))
    assert not plan(bench).uses_int8


def test_gains_below_the_noise_decide_nothing() -> None:
    gains = {**dict.fromkeys(GAINS, 0.0), "fusion": 0.02, "block": -0.01}
    for seed in range(5):
        assert not plan(FakeBench(gains=gains, noise=0.05), seed=seed).uses_int8


def test_noise_does_not_flip_the_plan() -> None:
    found = {frozenset(chosen(plan(FakeBench(noise=0.02), seed=seed))) for seed in range(6)}
    assert found == {frozenset({"fusion", "block"})}


def test_the_same_seed_gives_the_same_plan_and_numbers() -> None:
    first, second = (plan(FakeBench(noise=0.05), seed=3) for _ in range(2))
    assert first.plan.to_json() == second.plan.to_json()
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())


def test_interactions_are_found_by_measuring() -> None:
    """Fusion and block fight: each pays alone, together they are slower than fusion alone."""
    bench = FakeBench(interaction=lambda b: 15.0 if {"fusion", "block"} <= b else 0.0)
    result = plan(bench)
    assert chosen(result) == {"fusion"}
    block = next(b for b in result.plan.blocks if b.name == "block")
    assert "of the time" in block.reason
    assert block.gain_ms == 8.0


def test_a_block_that_pays_only_with_another_is_added() -> None:
    """The profile says that the gate does not pay; beside the fusion it does."""
    bench = FakeBench(interaction=lambda b: -6.0 if {"fusion", "gate"} <= b else 0.0)
    result = plan(bench)
    assert chosen(result) == {"fusion", "block", "gate"}
    reason = next(b.reason for b in result.plan.blocks if b.name == "gate")
    assert reason.startswith("chosen by timing the whole network: -1.000 ms of layer time")
    assert "; without it the network takes 1.07" in reason


def test_costs_that_add_up_worse_than_guessed_are_backed_off() -> None:
    class Dear(FakeBench):
        def accuracy(self, plan: Plan) -> AccuracyRecord:
            found = super().accuracy(plan)
            both = {"fusion", "block"} <= self.blocks(plan)
            return replace(found, mean_px=1.0) if both else found

    assert chosen(plan(Dear())) == {"fusion"}


def test_a_plan_that_the_target_refuses_is_none() -> None:
    assert chosen(plan(FakeBench(refuses="block"))) == {"fusion"}


def test_a_baseline_that_is_best_is_the_plan() -> None:
    """No time to refine, and proposals that the profile leads astray."""
    gains = {"encoder": 0.0, "mlp": 9.0, "fusion": 9.0, "block": 9.0, "gate": 9.0, "head": 0.0}
    bench = FakeBench(gains=gains, profiled={**gains, "mlp": -1.0, "gate": -1.0})
    result = plan(bench, minutes=0.001)
    assert chosen(result) == {"mlp", "fusion", "block", "gate"}
    assert f"It is the baseline {RULES_PLAN}." in result.conclusion
    mlp = next(b for b in result.plan.blocks if b.name == "mlp")
    assert mlp.reason.startswith("kept as part of the fastest plan: -1.000 ms of layer time")


def test_all_int8_is_all_that_may_be_and_the_rules_plan_what_the_rules_leave() -> None:
    rows = {row.name: set(row.blocks) for row in plan(FakeBench()).rows}
    assert rows[RULES_PLAN] == {"mlp", "fusion", "block", "gate"}
    assert rows[ALL_INT8] == rows[RULES_PLAN] | {"head"}
    asked = plan(FakeBench(), consider_excluded=True)
    everything = next(row for row in asked.rows if row.name == ALL_INT8)
    assert set(everything.blocks) == set(GAINS)


def test_int8_that_only_the_budget_refuses_is_told_so() -> None:
    result = plan(FakeBench(), limits=Limits(1e-6, 1.0))
    assert not result.uses_int8
    assert "does not pay" not in result.conclusion
    assert "INT8 is refused on abacus: no plan within the budget was found." in result.conclusion
    assert "of the time, but is over the budget: mean displacement" in result.conclusion
    reasons = {b.name: b.reason for b in result.plan.blocks}
    assert all(reasons[name].startswith("over the budget") for name in ("fusion", "block", "head"))
    assert any(reason.startswith("over the budget even alone") for reason in reasons.values())
    assert "does not pay: it takes 3.000 ms more" in reasons["mlp"]


def test_what_is_within_the_budget_and_no_faster_is_told_beside_what_is_over() -> None:
    gains = {**dict.fromkeys(GAINS, -1.0), "head": 10.0}
    conclusion = plan(FakeBench(gains=gains)).conclusion
    assert "no plan within the budget is faster than fp32 beyond doubt (the fastest, " in conclusion
    assert "of the time, but is over the budget: mean displacement" in conclusion


def test_a_limit_that_cannot_be_judged_is_told() -> None:
    result = plan(FakeBench(), limits=Limits(worst_landmark_px=9.0, budget_mm=0.1))
    assert not result.uses_int8
    assert "mean displacement cannot be judged: the data give no length in mm" in result.conclusion
    assert json.loads(json.dumps(result.to_dict()))["limits"]["budget_mm"] == 0.1


def test_without_a_mean_in_pixels_the_worst_landmark_is_filled_by() -> None:
    result = plan(FakeBench(), limits=Limits(math.inf, 0.1))
    assert chosen(result) == {"fusion", "block"}


@pytest.mark.parametrize(
    ("profiled_ms", "minutes"),
    [(0.002, 0.001), (0.5, 10.0)],
    ids=["below what the profile resolves", "below the margin when taken out"],
)
def test_a_gain_within_the_noise_is_not_called_one(profiled_ms: float, minutes: float) -> None:
    bench = FakeBench({**GAINS, "gate": 0.5}, profiled={**GAINS, "gate": profiled_ms})
    result = plan(bench, minutes=minutes)
    assert chosen(result) == {"fusion", "block", "gate"}
    reasons = {b.name: b.reason for b in result.plan.blocks}
    assert reasons["gate"].startswith(f"kept: its gain is within the noise: {profiled_ms:+.3f} ms")
    assert reasons["fusion"].startswith("INT8 pays: +20.000 ms")


@pytest.mark.parametrize("gain_ms", [-1.0, -0.001, 0.0, 0.004])
def test_no_gain_is_never_called_one(gain_ms: float) -> None:
    for pays in (None, True, False):
        assert "pays" not in why_int8(gain_ms, pays)


def test_time_is_kept() -> None:
    bench = FakeBench()
    result = plan(bench, minutes=1.0)
    assert bench.now < 60 + 30  # what was under way is finished
    assert set(BASELINES) <= {row.name for row in result.rows}
    short = FakeBench()
    assert chosen(plan(short, minutes=1e-6)) <= {"fusion", "block", "gate", "mlp"}


def test_a_float_type_that_is_over_the_budget_is_said() -> None:
    class Coarse(FakeBench):
        def accuracy(self, plan: Plan) -> AccuracyRecord:
            return replace(super().accuracy(plan), mean_px=0.5)

    result = plan(Coarse())
    assert not result.uses_int8
    assert "Even fp32 alone is over the budget: mean displacement 0.5 px" in result.conclusion
    assert "Even" not in plan(FakeBench(gains=dict.fromkeys(GAINS, -2.0))).conclusion


@pytest.mark.parametrize("stage", ["block_times_ms", "accuracy", "race"])
def test_a_clock_that_jumps_ends_the_search(stage: str) -> None:
    """As when the machine slept: what is under way is finished, and there is still an answer."""
    bench = FakeBench()
    measure = getattr(bench, stage)

    def asleep(*arguments: object) -> object:
        bench.now += 1e6
        return measure(*arguments)

    setattr(bench, stage, asleep)
    races = 0
    race = bench.race

    def counted(*arguments: object) -> dict[str, Timings]:
        nonlocal races
        races += 1
        return race(*arguments)  # type: ignore[arg-type]

    bench.race = counted  # type: ignore[assignment,method-assign]
    result = plan(bench, minutes=1.0)
    assert races == 3, "the first race and the two last, and no refinement between"
    assert chosen(result) == {"fusion", "block"}
    assert "the time was up" in result.conclusion
    assert set(BASELINES) <= {row.name for row in result.rows}


@pytest.mark.parametrize(
    ("candidates", "why"),
    [
        ((), "it has no products"),
        (CANDIDATES[-1:], "thin"),
        ((CANDIDATES[0], CANDIDATES[-1]), "excluded by the model's spec; thin"),
    ],
)
def test_nothing_to_decide_is_said_and_nothing_is_measured(
    candidates: tuple[Candidate, ...], why: str
) -> None:
    bench, told = FakeBench(), list[str]()
    result = plan_on(bench, PlanOptions(), candidates, sensitivity(), tell=told.append)
    assert not result.uses_int8
    assert "nothing to decide for abacus" in result.conclusion
    assert f"({why})" in result.conclusion
    assert "all fp32" in result.conclusion
    assert (result.rows, result.tried, bench.asked, bench.open, told) == ((), (), [], set(), [])
    assert plan_from_json(result.plan.to_json()) == result.plan
    assert json.loads(json.dumps(result.to_dict()))["last_race"] == []


def test_int8_that_gains_nothing_between_floating_point_is_not_tried() -> None:
    gains = {**GAINS, "fusion": -1.0, "block": -1.0, "gate": -1.0, "head": 10.0}
    bench = FakeBench(gains, {**COSTS, "head": 0.02})
    assert chosen(plan(bench)) == {"head"}
    assert frozenset({"gate", "head"}) in bench.asked  # they might share a conversion
    assert frozenset({"fusion", "head"}) not in bench.asked
    assert frozenset({"mlp", "head"}) not in bench.asked


def test_engines_are_not_kept_open_for_ever() -> None:
    bench = FakeBench()
    plan(bench)
    assert len(set(bench.asked)) >= 8
    assert bench.most_open <= 8  # baselines, proposals or moves, the plan as it was and is


def test_the_table_is_plain_data() -> None:
    table = json.loads(json.dumps(plan(FakeBench()).to_dict()))
    rows = {row["name"]: row for row in table["last_race"]}
    assert rows[ALL_FLOAT]["int8_blocks"] == []
    assert rows[ALL_FLOAT]["against_float"][0] == 1.0
    assert rows[BIG_CONVOLUTIONS]["int8_blocks"] == ["fusion", "block"]
    assert table["limits"]["budget_px"] == 0.1
    assert table["schema"] == "mahtrt.planning/3"
