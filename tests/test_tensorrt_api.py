"""The names that TensorRT 10.16 and 11.4 share, which is what our calls are held to.

``tensorrt_api.json`` holds, of the classes and enums that we use, the members that the official
bindings 10.16.1.11 and 11.4.0.106 both have. The fakes let nothing else pass, and the tests of the
builder and of the engines come by every line of ours that uses TensorRT.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_tensorrt import API, make_fake

PACKAGE = Path(__file__).parents[1] / "mahtrt"
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


def test_runtimes_are_made_only_where_cuda_was_probed_before() -> None:
    # Without a driver a Runtime can crash the process. Both of these are reached after a probe.
    makers = {path.name for path in PACKAGE.rglob("*.py") if ".Runtime(" in path.read_text()}
    assert makers == {"child.py", "run.py"}


@pytest.mark.parametrize("version", ["10.16.1", "11.4.0"])
def test_what_is_not_shared_cannot_be_used(version: str) -> None:
    trt = make_fake(version)
    builder = trt.Builder(trt.Logger())
    config = builder.create_builder_config()
    with pytest.raises(AttributeError, match=r"no int8_calibrator in both 10\.16 and 11\.4"):
        config.int8_calibrator = None
    with pytest.raises(AttributeError, match="IBuilderConfig has no set_compute_capability"):
        config.set_compute_capability(1, 0)
    with pytest.raises(AttributeError, match="Builder has no platform_has_fast_int8"):
        _ = builder.platform_has_fast_int8
    with pytest.raises(AttributeError, match="FP16"):
        _ = trt.BuilderFlag.FP16
    with pytest.raises(AttributeError, match="IInt8EntropyCalibrator2"):
        _ = trt.IInt8EntropyCalibrator2
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    with pytest.raises(AttributeError, match="INetworkDefinition has no"):
        network.has_typo()


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
