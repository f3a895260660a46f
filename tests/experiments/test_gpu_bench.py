"""The stages of the suite's bench, with commands that only say how they ended."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Answer = Callable[[tuple[str, ...]], int | None]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("experiments.gpu_bench")
    monkeypatch.setattr(module, "image_bytes", lambda _: 4_000_000)
    monkeypatch.setattr(module, "_torch_sees_gpu", lambda: True)
    return module


@pytest.fixture
def run(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, dict[str, Any], list[tuple[str, ...]]]]:
    def run_it(answer: Answer, *more: str) -> tuple[int, dict[str, Any], list[tuple[str, ...]]]:
        asked: list[tuple[str, ...]] = []

        def process(command: Any, *_: Any) -> Any:
            arguments = tuple(command[3:])
            asked.append(arguments)
            if answer(arguments) is None:
                return script.Ended(None, 60.0, "")
            for each in arguments:
                if each.startswith("--json="):
                    Path(each.partition("=")[2]).write_text(json.dumps({"of": arguments[0]}))
            if "--plan=auto" in arguments:
                out = next(each for each in arguments if each.startswith("--out=")).partition("=")
                Path(out[2]).mkdir()
                (Path(out[2]) / "plan.json").write_text('{"plan": 1}')
            return script.Ended(answer(arguments), 0.1, "some words")

        monkeypatch.setattr(script, "run_process", process)
        out = tmp_path / "out.json"
        code = script.main(["--out", str(out), f"--bundle={tmp_path / 'b.mahtrt'}", *more])
        return code, json.loads(out.read_text(encoding="utf-8")), asked

    return run_it


def test_without_a_gpu_target_the_cpus_fp32_stands_beside_the_peers(run: Any, script: Any) -> None:
    code, record, asked = run(lambda _: 0)
    assert (code, record["problem"], record["targets"]) == (0, "", {})
    assert [each[0] for each in asked] == ["export", "build", "bench", "bench"]
    assert {"--target=onnxruntime", "--fp32"} <= set(asked[1])
    assert "--peer=torch-compile" not in asked[2]
    everyone = {each for command in asked for each in command if each.startswith("--peer=")}
    assert everyone == {f"--peer={name}" for name in script.PEERS} - {"--peer=torch-compile-quick"}
    assert "--peer=torch-compile" in asked[3]
    assert "--peer-device=cuda" in asked[2]
    assert record["bench"] == record["bench_compiled"] == {"of": "bench"}
    assert (record["network"], record["image_bytes"]) == ("maht-net/nano", 4_000_000)


def test_the_bytes_of_the_timed_images_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("experiments.gpu_bench")
    monkeypatch.setattr(module, "TIMED_IMAGES", 1)
    image = next(iter(module.open_dataset("phantom:1@99"))).images[0]
    assert module.image_bytes(module.EVALUATED) == image.nbytes
    assert image.size > 100_000


def test_another_network_has_random_weights(run: Any) -> None:
    _, _, asked = run(lambda _: 0, "--model", "maht-net/base")
    assert asked[0][:2] == ("export", "maht-net/base")
    assert not any("checkpoint" in each for each in asked[0])


def test_a_slow_or_inexact_engine_is_a_result(run: Any) -> None:
    code, record, _ = run(lambda arguments: {"build": 3, "bench": 4}.get(arguments[0], 0))
    assert (code, record["problem"]) == (0, "")
    assert [each["exit_code"] for each in record["stages"]] == [0, 3, 4, 4]


def test_a_stage_that_fails_ends_what_needs_it(run: Any) -> None:
    code, record, asked = run(lambda arguments: -11 if arguments[0] == "build" else 0)
    assert (code, record["problem"]) == (1, "build: exit -11: some words")
    assert len(asked) == 2
    code, record, _ = run(lambda arguments: None if arguments[0] == "bench" else 0)
    assert (code, record["problem"]) == (1, "bench: did not end within 60 s")


def test_where_autotuning_does_not_end_the_quick_mode_stands_in(run: Any) -> None:
    code, record, asked = run(lambda each: None if "--peer=torch-compile" in each else 0)
    assert (code, record["problem"]) == (0, "")
    assert "did not end within 60 s; torch.compile's reduce-over" in record["compile_note"]
    assert record["bench"] == record["bench_compiled"] == {"of": "bench"}
    assert "--peer=torch-compile-quick" in asked[4]
    assert record["stages"][3]["problem"] == "bench_compiled: did not end within 60 s"


def test_with_too_little_time_for_autotuning_it_is_not_begun(run: Any) -> None:
    _, record, asked = run(lambda _: 0, "--seconds", "60")
    assert "--peer=torch-compile-quick" in asked[3]
    assert "had 60 s, and needs 110 s" in record["compile_note"]
    _, record, asked = run(lambda _: 0, "--seconds", "20")
    assert len(asked) == 3
    assert "bench_compiled" not in record
    assert record["compile_note"].endswith("nothing stands in for them")


def test_a_plan_for_the_target_that_runs(
    run: Any, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = {"tensorrt-rtx": ("fp32", "fp16", "int8"), "other": ("fp32", "int8")}
    monkeypatch.setattr(script, "gpu_targets", lambda: targets)
    code, record, asked = run(lambda _: 0, "--plan", "--seconds", "100")
    assert (code, record["plan"]) == (0, {"plan": 1})
    assert "--target=tensorrt-rtx" in asked[1]
    _, _, asked = run(lambda _: 0)
    assert [each for each in asked[1] if each in ("--fp32", "--fp16", "--int8")] == [
        "--fp32",
        "--int8",
    ]
