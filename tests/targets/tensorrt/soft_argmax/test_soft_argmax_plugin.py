"""The soft-argmax plugin, against a small stand-in for ``tensorrt.plugin``."""

from __future__ import annotations

import enum
import importlib
import inspect
import typing
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from soft_argmax_cpu import CpuKernel
from tensorrt_stage import make_plan

from mahtrt.cuda.probe import CudaProbe, probe_cuda
from mahtrt.errors import MissingComponentError, ModelError
from mahtrt.runtime.soft_argmax import soft_argmax
from mahtrt.targets.tensorrt.soft_argmax import fuse as fusion
from mahtrt.targets.tensorrt.soft_argmax import plugin

GPU = CudaProbe("13.0", ("NVIDIA Test (SM 8.6)",))


class DataType(enum.Enum):
    FLOAT = 7  # the numbers differ between versions, and nobody may care
    HALF = 3
    BF16 = 1


@pytest.fixture(autouse=True)
def _gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "probe_cuda", lambda: GPU)


def make_trt(version: str = "10.12.0.36", name: str = "tensorrt", plugin: Any = ...) -> Any:
    """A module with ``plugin``: a whole one, unless told; without it where that is None."""
    trt: Any = ModuleType(name)
    trt.__version__, trt.DataType = version, DataType
    if plugin is not None:
        trt.plugin = make_plugin_module() if plugin is ... else plugin
    return trt


class SymInt32:
    """A whole number that TensorRT may know only later."""

    def __init__(self, value: int | SymInt32) -> None:
        assert isinstance(value, (int, SymInt32)), type(value)
        assert not isinstance(value, (bool, np.generic))
        self.value: int = value.value if isinstance(value, SymInt32) else value
        assert -(2**31) <= self.value < 2**31

    def __mul__(self, other: int | SymInt32) -> SymInt32:
        return SymInt32(self.value * SymInt32(other).value)


class SymExprs:
    pass


class SymIntExprs(SymExprs):
    def __init__(self, length: int) -> None:
        self.values: list[SymInt32 | None] = [None] * length

    def __setitem__(self, index: int, value: SymInt32) -> None:
        assert isinstance(value, SymInt32)
        self.values[index] = value

    def __iter__(self) -> Iterator[SymInt32 | None]:
        return iter(self.values)


class TensorDesc:
    def __init__(self, shape: tuple[int | SymInt32, ...], dtype: DataType) -> None:
        self.shape_expr = [SymInt32(size) for size in shape]
        self.dtype = dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(size.value for size in self.shape_expr)


class KernelLaunchParams:
    def __init__(self) -> None:
        for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z"):
            self.__dict__[name] = SymInt32(1)
        self.__dict__["shared_mem"] = SymInt32(0)

    def __setattr__(self, name: str, value: int | SymInt32) -> None:
        assert name in self.__dict__
        self.__dict__[name] = SymInt32(value)


class Definition:
    """A registered plugin, and what TensorRT does with it while it builds."""

    def __init__(self, describe: Callable[..., Any]) -> None:
        self.describe = describe
        self.implement: Callable[..., Any] | None = None
        parameters = inspect.signature(describe).parameters.values()
        assert not any(p.default is not p.empty for p in parameters)
        tensors = [issubclass(p.annotation, TensorDesc) for p in parameters]
        assert tensors == sorted(tensors, reverse=True), "tensors come first"
        self.tensors = [p.name for p in parameters if issubclass(p.annotation, TensorDesc)]
        self.attributes = {
            p.name: typing.get_args(typing.get_args(p.annotation)[1])[0]
            for p in parameters
            if p.name not in self.tensors
        }

    def build(
        self, node: onnx.NodeProto, shape: tuple[int, ...], dtype: DataType
    ) -> SimpleNamespace:
        """As the parser and the builder: attributes come as arrays of what ONNX has."""
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        fields = {
            name: np.atleast_1d(given[name]).astype(kind) for name, kind in self.attributes.items()
        }
        desc = TensorDesc(shape, dtype)
        outputs = self.describe(desc, **fields)
        assert self.implement is not None
        name, ptx, launch, extra = self.implement(desc, *fields.values(), outputs, 0)
        assert isinstance(launch, KernelLaunchParams)
        assert isinstance(extra, SymIntExprs)
        return SimpleNamespace(
            outputs=outputs, name=name, ptx=ptx, launch=launch, extra=[e.value for e in extra]
        )


def make_plugin_module() -> Any:
    """What of ``tensorrt.plugin`` is documented, as strict about signatures."""
    definitions: dict[str, Definition] = {}
    op = SimpleNamespace()

    def register(plugin_id: str) -> Callable[..., Any]:
        def decorate(describe: Callable[..., Any]) -> Callable[..., Any]:
            namespace, name = plugin_id.split("::")
            assert plugin_id not in definitions
            assert namespace not in ("", "trt", "tensorrt", "std")
            returned = inspect.signature(describe).return_annotation
            assert typing.get_origin(returned) is tuple
            assert all(issubclass(each, TensorDesc) for each in typing.get_args(returned))
            definitions[plugin_id] = Definition(describe)
            setattr(op, namespace, SimpleNamespace(**{name: definitions[plugin_id]}))
            return describe

        return decorate

    def aot_impl(plugin_id: str) -> Callable[..., Any]:
        def decorate(implement: Callable[..., Any]) -> Callable[..., Any]:
            definition = definitions[plugin_id]
            signature = inspect.signature(implement)
            wanted = [*definition.tensors, *definition.attributes, "outputs", "tactic"]
            assert list(signature.parameters) == wanted
            described = inspect.signature(definition.describe).parameters
            for name in definition.attributes:
                assert signature.parameters[name].annotation == described[name].annotation
            name_type, ptx_type, launch, extra = typing.get_args(signature.return_annotation)
            assert {*typing.get_args(name_type)} == {*typing.get_args(ptx_type)} == {str, bytes}
            assert issubclass(launch, KernelLaunchParams)
            assert issubclass(extra, SymExprs)
            definition.implement = implement
            return implement

        return decorate

    return SimpleNamespace(
        definitions=definitions,
        op=op,
        register=register,
        aot_impl=aot_impl,
        from_shape_expr=lambda shape, dtype: TensorDesc(shape, dtype),
        TensorDesc=TensorDesc,
        SymExprs=SymExprs,
        SymInt32=SymInt32,
        SymIntExprs=SymIntExprs,
        KernelLaunchParams=KernelLaunchParams,
    )


def registered() -> Definition:
    trt = make_trt()
    plugin.register(trt)
    (definition,) = trt.plugin.definitions.values()
    return typing.cast(Definition, definition)


def make_model(
    shape: tuple[int, int, int, int],
    image: tuple[int, int],
    temperature: float,
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A fused graph of nothing else, as the pass leaves it."""
    attributes: dict[str, Any] = {"temperature": temperature, "input_size": list(image)}
    attributes |= fusion.PLUGIN_ATTRIBUTES
    node = helper.make_node(
        fusion.OP_TYPE,
        ["heatmaps"],
        ["landmarks", "confidence", "spread"],
        name="soft_argmax",
        domain=fusion.DOMAIN,
        **attributes,
    )
    outputs = {"landmarks": (*shape[:2], 2), "confidence": shape[:2], "spread": shape[:2]}
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("heatmaps", element, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid(fusion.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def test_parser_finds_the_plugin_by_what_the_pass_writes() -> None:
    attributes = fusion.PLUGIN_ATTRIBUTES
    assert fusion.OP_TYPE == plugin.NAME
    assert (attributes["plugin_namespace"], attributes["aot"]) == (plugin.NAMESPACE, 1)


@pytest.mark.parametrize(
    ("dtype", "kernel"),
    [(DataType.FLOAT, b"mahtrt_soft_argmax_f32"), (DataType.HALF, b"mahtrt_soft_argmax_f16")],
)
def test_plugin_tells_shapes_launch_and_arguments(dtype: DataType, kernel: bytes) -> None:
    node = make_model((2, 7, 64, 48), (256, 192), 0.05).graph.node[0]
    built = registered().build(node, (2, 7, 64, 48), dtype)
    assert [o.shape for o in built.outputs] == [(2, 7, 2), (2, 7), (2, 7)]
    assert {o.dtype for o in built.outputs} == {DataType.FLOAT}
    assert built.name == kernel
    assert b".visible .entry " + kernel + b"(" in built.ptx
    assert {name: size.value for name, size in vars(built.launch).items()} == {
        **dict.fromkeys(("grid_y", "grid_z", "block_y", "block_z"), 1),
        "grid_x": 14,
        "block_x": 256,
        "shared_mem": 0,
    }
    assert built.extra == [64, 48, 256, 192, int(np.float32(0.05).view(np.int32))]


@pytest.fixture(scope="module")
def cpu() -> CpuKernel:
    return CpuKernel()


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_what_the_plugin_launches_gives_what_is_defined(
    cpu: CpuKernel, kind: type[np.generic]
) -> None:
    """From the node of the graph to the kernel's outputs, all but the GPU."""
    shape, image = (2, 3, 24, 40), (96, 120)
    heatmaps = np.random.default_rng(5).random(shape).astype(kind)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    model = make_model(shape, image, 0.07, element)
    dtype = DataType.FLOAT if kind is np.float32 else DataType.HALF
    built = registered().build(model.graph.node[0], shape, dtype)
    outputs = cpu.launch(heatmaps, built.extra, blocks=built.launch.grid_x.value)
    for got, wanted in zip(outputs, soft_argmax(heatmaps, 0.07, image), strict=True):
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=2e-4, rtol=1e-5)


def test_block_size_is_the_kernels() -> None:
    assert f".maxntid {plugin.BLOCK_THREADS}".encode() in plugin.kernel_ptx()


def test_registering_twice_is_registering_once() -> None:
    trt = make_trt()
    for _ in range(2):
        plugin.register(trt)
    assert list(trt.plugin.definitions) == [plugin.PLUGIN_ID]


def test_a_module_that_is_not_imported_yet_is(monkeypatch: pytest.MonkeyPatch) -> None:
    module, trt = make_plugin_module(), make_trt(plugin=None)
    monkeypatch.setattr(importlib, "import_module", {"tensorrt.plugin": module}.__getitem__)
    plugin.register(trt)
    assert list(module.definitions) == [plugin.PLUGIN_ID]


def test_heatmaps_that_no_kernel_reads_are_refused() -> None:
    node = make_model((1, 7, 8, 8), (32, 32), 0.05).graph.node[0]
    with pytest.raises(ModelError, match=r"BF16 heatmaps; expected FLOAT or HALF"):
        registered().build(node, (1, 7, 8, 8), DataType.BF16)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_temperature_is_a_positive_number(temperature: float) -> None:
    with pytest.raises(ModelError, match="temperature"):
        plugin.temperature_bits(temperature)


def without(name: str) -> Any:
    module = make_plugin_module()
    delattr(module, name)
    return module


@pytest.mark.parametrize(
    ("trt", "probe", "message"),
    [
        (
            make_trt("1.7.1.116", "tensorrt_rtx_bindings"),
            GPU,
            r"got TensorRT-RTX 1\.7\.1\.116, which has no plugins .*expected target tensorrt\.",
        ),
        (make_trt(), CudaProbe(problem="no NVIDIA driver"), "got no NVIDIA driver; expected"),
        (make_trt(name="no_such_trt", plugin=None), GPU, r"got no module no_such_trt\.plugin \(No"),
        (
            make_trt("11.4.0.106", plugin=without("aot_impl")),
            GPU,
            r"got tensorrt\.plugin without aot_impl; expected a whole installation",
        ),
    ],
    ids=["rtx", "no driver", "no module", "no aot"],
)
def test_nothing_is_registered_where_the_api_is_not(
    trt: Any, probe: CudaProbe, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "probe_cuda", lambda: probe)
    with pytest.raises(MissingComponentError, match=f"--fuse-soft-argmax: {message}") as caught:
        plugin.register(trt)
    assert "Build without it" in str(caught.value)
    assert caught.value.exit_code == 6
    assert not getattr(getattr(trt, "plugin", None), "definitions", None)


def test_the_tensorrt_rtx_that_is_installed_is_refused() -> None:
    rtx = pytest.importorskip("tensorrt_rtx_bindings", reason="the TensorRT-RTX package")
    with pytest.raises(MissingComponentError, match="which has no plugins in Python"):
        plugin.check_support(rtx)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_plugin_on_a_gpu_gives_what_is_defined(kind: type[np.generic]) -> None:
    if problem := probe_cuda().problem:
        pytest.skip(problem)
    trt = pytest.importorskip("tensorrt", reason="the plugin is for TensorRT")
    torch = pytest.importorskip("torch", reason="tensors on the GPU")
    plugin.register(trt)
    shape, image = (2, 7, 128, 128), (512, 512)
    heatmaps = np.random.default_rng(6).random(shape).astype(kind)
    model = make_model(shape, image, 0.05, helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    logger = trt.Logger()
    engine = trt.Runtime(logger).deserialize_cuda_engine(make_plan(trt, model))
    context = engine.create_execution_context()
    tensors = {"heatmaps": torch.from_numpy(heatmaps).cuda()}
    for output in model.graph.output:
        sizes = [d.dim_value for d in output.type.tensor_type.shape.dim]
        tensors[output.name] = torch.zeros(sizes, device="cuda")
    for name, tensor in tensors.items():
        assert context.set_tensor_address(name, tensor.data_ptr())
    stream = torch.cuda.Stream()
    assert context.execute_async_v3(stream.cuda_stream)
    stream.synchronize()
    defined = soft_argmax(heatmaps, 0.05, image)
    for output, wanted in zip(model.graph.output, defined, strict=True):
        got = tensors[output.name].cpu().numpy()
        np.testing.assert_allclose(got, wanted, atol=1e-3, rtol=1e-5)
