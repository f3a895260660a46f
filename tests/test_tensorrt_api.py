"""Our calls to TensorRT against the names that 10.16 and 11.4 share.

``tensorrt_api.json`` holds, of the classes and enums that we use, the members that the official
bindings 10.16.1.11 and 11.4.0.106 both have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_tensorrt import make_fake
from tensorrt_api_check import ALLOWED, API, check_source, uses_of

ROOT = Path(__file__).parents[1]
PLACES = (
    "mahtrt/targets/tensorrt/*.py",
    "mahtrt/inspection/*.py",
    "mahtrt/verbs/inspect.py",
    "mahtrt/verbs/doctor.py",
    "experiments/*.py",
)
SOURCES = sorted(path for place in PLACES for path in ROOT.glob(place))
# What the list has and TensorRT-RTX lacks: the enterprise flavour's plugins, and leftovers.
NOT_IN_RTX = {
    "Builder": {"build_engine_with_config"},
    "IBuilderConfig": {"remote_auto_tuning_config"},
    "INetworkDefinition": {
        "add_plugin",
        "add_plugin_v2",
        "add_plugin_v3",
        "has_implicit_batch_dimension",
    },
    "ITensor": {"broadcast_across_batch", "location"},
    "NetworkDefinitionCreationFlag": {"PREFER_AOT_PYTHON_PLUGINS", "PREFER_JIT_PYTHON_PLUGINS"},
}
CLASSES_NOT_IN_RTX = {"IPluginV3QuickAOTBuild", "KernelLaunchParams", "QuickPluginCreationRequest"}
REMOVED_IN_11 = {
    "BuilderFlag": {"FP16", "BF16", "INT8", "FP8", "OBEY_PRECISION_CONSTRAINTS"},
    "NetworkDefinitionCreationFlag": {"EXPLICIT_BATCH"},
    "IBuilderConfig": {"int8_calibrator", "max_workspace_size", "set_calibration_profile"},
    "Builder": {"platform_has_fast_fp16", "platform_has_fast_int8", "build_engine"},
    "ILayer": {"precision", "set_output_type"},
    "ITensor": {"set_dynamic_range", "dynamic_range"},
    "IExecutionContext": {"execute_async_v2", "set_binding_shape"},
    "ICudaEngine": {"get_binding_name", "num_bindings", "device_memory_size"},
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_our_calls_are_of_the_shared_api(path: Path) -> None:
    findings = check_source(path.read_text(encoding="utf-8"))
    assert not findings, "\n".join(map(str, findings))


def test_the_check_sees_our_calls() -> None:
    seen = {use for path in SOURCES for use in uses_of(path.read_text(encoding="utf-8"))}
    assert {
        ("module", "Runtime"),
        ("class:ILogger", "ERROR"),
        ("Runtime", "deserialize_cuda_engine"),
        ("ICudaEngine", "get_tensor_shape"),
        ("ICudaEngine", "create_execution_context"),
        ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_tensor_address"),
    } <= seen


def test_runtimes_are_made_only_where_cuda_was_probed_before() -> None:
    # Without a driver a Runtime can crash the process. Both of these are reached after a probe.
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if ("module", "Runtime") in uses_of(path.read_text(encoding="utf-8"))
    }
    assert makers == {"mahtrt/targets/tensorrt/child.py", "mahtrt/targets/tensorrt/run.py"}


BAD = """
def build(trt, flag: Any):
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    config = builder.create_builder_config()
    {line}
"""


@pytest.mark.parametrize(
    ("line", "kind", "attribute"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", "enum-class:BuilderFlag", "FP16"),
        ("flags = [trt.BuilderFlag.INT8]", "enum-class:BuilderFlag", "INT8"),
        ("config.int8_calibrator = None", "IBuilderConfig", "int8_calibrator"),
        ("network.add_typo()", "INetworkDefinition", "add_typo"),
        ("trt.Runtime(logger).foo()", "Runtime", "foo"),
        ("runtime = trt.Runtime(logger); runtime.foo", "Runtime", "foo"),
        ("trt.IInt8EntropyCalibrator2()", "module", "IInt8EntropyCalibrator2"),
        ("1 << trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
         "enum-class:NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"),
        ("network.get_layer(0).precision = 1", "ILayer", "precision"),
        ("network.get_input(0).set_dynamic_range(-1, 1)", "ITensor", "set_dynamic_range"),
        ("[each.precision for each in (network.get_layer(i) for i in range(3))]",
         "ILayer", "precision"),
        ("errors = (trt.OnnxParser(network, logger).get_error(i) for i in range(3))\n"
         "    [error.nope() for error in errors]", "ParserError", "nope"),
        ("engine = trt.Runtime(logger).deserialize_cuda_engine(b''); engine.num_bindings",
         "ICudaEngine", "num_bindings"),
        ("getattr(config, 'int8_calibrator')", "IBuilderConfig", "int8_calibrator"),
        ("setattr(config, 'max_workspace_size', 1)", "IBuilderConfig", "max_workspace_size"),
        ("store(int(trt.DataType.HALF))", "enum:DataType", "lasting integer"),
        ("store(int(network.get_input(0).dtype))", "enum:DataType", "lasting integer"),
        ("store(network.get_input(0).dtype.value)", "enum:DataType", "value"),
        ("class Mine(trt.IInt8Calibrator): pass", "module", "IInt8Calibrator"),
        ("def inner():\n        config.nope", "IBuilderConfig", "nope"),
        ("self._context.execute_async_v2(0)", "IExecutionContext", "execute_async_v2"),
        ("self.made = builder.create_builder_config()\n    self.made.nope",
         "IBuilderConfig", "nope"),
    ],
)  # fmt: skip
def test_a_call_that_is_not_shared_is_found(line: str, kind: str, attribute: str) -> None:
    source = BAD.format(line=line)
    findings = check_source(source)
    assert [(each.kind, each.attribute) for each in findings] == [(kind, attribute)]
    assert "10.16 and 11.4" in str(findings[0])


@pytest.mark.parametrize(
    "line",
    [
        "config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)",
        "print(network.get_input(0).dtype.name)",
        "config.num_compute_capabilities = 1",
        "config.set_compute_capability(getattr(trt.ComputeCapability, 'SM86'), 0)",
        "config: Settings = read(); config.anything",
        "config = Settings(); config.anything",
        "parser = argparse.ArgumentParser(); parser.add_argument('--out')",
        "print(trt.__version__)",
        "class M(trt.IProgressMonitor):\n        def __init__(self):\n"
        "            trt.IProgressMonitor.__init__(self)\n            self.mine = 1",
    ],
)
def test_what_is_shared_or_not_tensorrts_is_let_through(line: str) -> None:
    assert check_source(BAD.format(line=line)) == []


def test_names_mean_nothing_where_there_is_no_tensorrt() -> None:
    assert check_source("def run(parser, config):\n    parser.add_argument; config.anything") == []


def test_every_exception_has_its_reason() -> None:
    assert all(reason for reason in ALLOWED.values())
    for owner, name in ALLOWED:
        entry = API.get(owner, {})
        assert name not in entry.get("members", []), "an exception that is none"


def test_the_list_has_nothing_that_11_removed() -> None:
    for name, removed in REMOVED_IN_11.items():
        (names,) = API[name].values()
        assert not removed & set(names), name


def test_the_real_tensorrt_rtx_has_the_names_of_the_list() -> None:
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    found_missing = {}
    for name, entry in API.items():
        (names,) = entry.values()
        owner = {"functions": trt, "Severity": trt.ILogger.Severity}.get(name)
        owner = owner or getattr(trt, name, None)
        if owner is None:
            assert name in CLASSES_NOT_IN_RTX
            continue
        missing = {each for each in names if not hasattr(owner, each)}
        if missing:
            found_missing[name] = missing
    assert found_missing == NOT_IN_RTX
    assert {"num_compute_capabilities", "set_compute_capability"} <= set(dir(trt.IBuilderConfig))


@pytest.mark.parametrize("version", ["10.16.1", "11.4.0"])
def test_the_fake_has_nothing_that_the_list_lacks(version: str) -> None:
    trt = make_fake(version)
    for name, entry in API.items():
        kind: Any = getattr(trt, name, None)
        if "enum" in entry:
            if name == "Severity":
                kind = trt.ILogger.Severity
            assert set(kind.__members__) == set(entry["enum"]), name
        elif kind is not None:
            public = {each for each in vars(kind) if not each.startswith("_")} - {"ATTRIBUTES"}
            public |= set(getattr(kind, "ATTRIBUTES", ()))
            assert public <= set(entry["members"]), name
    for name, removed in REMOVED_IN_11.items():
        assert not any(hasattr(getattr(trt, name), each) for each in removed)


def test_the_fakes_number_their_enums_differently() -> None:
    ten, eleven = make_fake("10.16.1"), make_fake("11.4.0")
    for name, entry in API.items():
        if "enum" not in entry or name == "Severity":
            continue
        for each in entry["enum"]:
            numbers = [int(getattr(getattr(trt, name), each)) for trt in (ten, eleven)]
            assert numbers[0] != numbers[1], f"{name}.{each}"
            assert getattr(ten, name) is not getattr(eleven, name)
    assert int(ten.DataType.HALF) != ten.DataType.HALF, "an enum is no integer"
