"""ONNX files that contradict themselves, claim what no network has, or lead elsewhere."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mahtrt.errors import ModelError
from mahtrt.graph.graph_file import load_onnx, read_graph
from mahtrt.graph.onnx_file import describe_onnx
from mahtrt.inspection.inspect import InspectOptions, inspect

SHAPE = (1, 3, 8, 8)


def good(shape: tuple[int, ...] = SHAPE) -> onnx.ModelProto:
    """A convolution and an activation."""
    weight = np.ones((2, 3, 3, 3), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["y"], name="relu"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (shape[0], 2, *shape[2:]))],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def saved(path: Path, model: onnx.ModelProto, swap: tuple[bytes, bytes] | None = None) -> Path:
    content = model.SerializeToString()
    if swap is not None:
        assert swap[0] in content
        content = content.replace(*swap)
    path.write_bytes(content)
    return path


def body(depth: int) -> onnx.GraphProto:
    """If nodes within each other."""
    out = [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
    if depth == 0:
        node = helper.make_node("Constant", [], ["r"], value_float=1.0)
    else:
        inner = body(depth - 1)
        node = helper.make_node("If", ["flag"], ["r"], then_branch=inner, else_branch=body(0))
    return helper.make_graph([node], "body", [], out)


def change(function: Callable[[onnx.ModelProto], object]) -> Callable[[], onnx.ModelProto]:
    def made() -> onnx.ModelProto:
        model = good()
        function(model)
        return model

    return made


def nested(model: onnx.ModelProto) -> None:
    flag = helper.make_node("Constant", [], ["flag"], value=helper.make_tensor("", 9, [], [True]))
    branch = helper.make_node("If", ["flag"], ["r"], then_branch=body(18), else_branch=body(0))
    model.graph.node.extend([flag, branch])


def functions(model: onnx.ModelProto) -> None:
    for name, other in (("F", "G"), ("G", "F")):
        call = helper.make_node(other, ["a"], ["b"], domain="own")
        imports = [helper.make_opsetid("own", 1), helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("own", name, ["a"], ["b"], [call], imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("F", ["c"], ["z"], domain="own"))


def dim(model: onnx.ModelProto) -> onnx.TensorShapeProto.Dimension:
    return model.graph.input[0].type.tensor_type.shape.dim[0]


MALFORMED = {
    "type of an input": change(
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 999)
    ),
    "type of a weight": change(lambda m: setattr(m.graph.initializer[0], "data_type", 999)),
    "no type": change(lambda m: setattr(m.graph.initializer[0], "data_type", 0)),
    "a huge input": lambda: good((10**9, 3, 8, 8)),
    "a huge batch": lambda: good((2**40, 3, 8, 8)),
    "a negative size": lambda: good((-5, 3, 8, 8)),
    "a huge weight": change(lambda m: m.graph.initializer[0].dims.__setitem__(0, 10**9)),
    "a negative weight": change(lambda m: m.graph.initializer[0].dims.__setitem__(0, -2)),
    "too little data": change(lambda m: m.graph.initializer[0].dims.__setitem__(0, 3)),
    "no data": change(lambda m: m.graph.initializer[0].ClearField("raw_data")),
    "graphs in graphs": change(nested),
    "functions in a circle": change(functions),
    "a cycle": change(lambda m: m.graph.node[0].input.__setitem__(0, "y")),
    "made twice": change(lambda m: m.graph.node[1].output.__setitem__(0, "c")),
    "shapes that differ": change(
        lambda m: m.graph.output[0].type.tensor_type.shape.dim[1].__setattr__("dim_value", 77)
    ),
    "no inputs of a node": change(lambda m: m.graph.node[0].ClearField("input")),
}


@pytest.mark.parametrize("what", [name for name in MALFORMED if name != "shapes that differ"])
def test_malformed_graphs_are_refused_on_looking(tmp_path: Path, what: str) -> None:
    path = saved(tmp_path / "a.onnx", MALFORMED[what]())
    with pytest.raises(ModelError, match=r"a\.onnx") as caught:
        inspect(InspectOptions(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_graphs_are_refused_for_work(tmp_path: Path, what: str) -> None:
    model = MALFORMED[what]()
    model.metadata_props.add(key="mahtrt.spec", value=json.dumps(TINY_SPEC))
    path = saved(tmp_path / "a.onnx", model)
    with pytest.raises(ModelError, match=r"a\.onnx"):
        read_graph(path)


TINY_SPEC = {
    "family": "own",
    "input": {"size": [8, 8]},
    "outputs": [{"name": "y", "kind": "heatmaps"}],
    "landmarks": ["a", "b"],
}


def test_the_unchanged_graph_is_read(tmp_path: Path) -> None:
    model = good()
    model.metadata_props.add(key="mahtrt.spec", value=json.dumps(TINY_SPEC))
    graph = read_graph(saved(tmp_path / "a.onnx", model))
    assert graph.batch == 1
    assert describe_onnx(tmp_path / "a.onnx").flops == 2 * 2 * 8 * 8 * 27


@pytest.mark.parametrize("element_type", [v for v in TensorProto.DataType.values() if v])
def test_constants_of_every_type_are_read(tmp_path: Path, element_type: int) -> None:
    values: Any = [b"a"] * 5 if element_type == TensorProto.STRING else [0] * 5
    listed = helper.make_tensor("listed", element_type, [5], values)
    model = good()
    model.graph.initializer.append(listed)
    if element_type != TensorProto.STRING:
        array = np.zeros(5, helper.tensor_dtype_to_np_dtype(element_type))
        model.graph.initializer.append(numpy_helper.from_array(array, "raw"))
    read = load_onnx(saved(tmp_path / "a.onnx", model))
    assert all(len(numpy_helper.to_array(tensor)) for tensor in read.graph.initializer)


@pytest.mark.parametrize("old", [b"conv", b"relu", b"net"])
@pytest.mark.parametrize("read", [load_onnx, describe_onnx])
def test_names_that_are_not_utf_8(
    tmp_path: Path, old: bytes, read: Callable[[Path], object]
) -> None:
    path = saved(tmp_path / "a.onnx", good(), (old, b"\xff\xfe\x80\x81"[: len(old)]))
    with pytest.raises(ModelError, match="not UTF-8"):
        read(path)


def test_a_chain_longer_than_the_stack(tmp_path: Path) -> None:
    model = good()
    names = ["w", *(f"w{number}" for number in range(3000))]
    chain = [helper.make_node("Identity", [a], [b]) for a, b in itertools.pairwise(names)]
    nodes = [*chain, *model.graph.node]
    nodes[-2].input[1] = names[-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert describe_onnx(saved(tmp_path / "a.onnx", model)).nodes == 3002


def test_weights_made_of_very_many_initializers(tmp_path: Path) -> None:
    """Each tensor of such a chain has all that came before it, which once was kept for each."""
    model = good()
    names = ["w", *(f"w{number}" for number in range(100))]
    for number, (before, after) in enumerate(itertools.pairwise(names)):
        shape = numpy_helper.from_array(np.array([2, 3, 3, 3]), f"s{number}")
        model.graph.initializer.append(shape)
        model.graph.node.append(helper.make_node("Reshape", [before, shape.name], [after]))
    with pytest.raises(ModelError, match="made of 65 initializers; expected at most 64"):
        describe_onnx(saved(tmp_path / "a.onnx", model))


def test_very_many_functions_are_looked_at_in_little_time(tmp_path: Path) -> None:
    model = good()
    call = helper.make_node("Relu", ["a"], ["b"])
    for number in range(20_000):
        function = helper.make_function("own", f"F{number}", ["a"], ["b"], [call], [])
        model.functions.append(function)
    content = saved(tmp_path / "a.onnx", model)
    started = time.process_time()
    load_onnx(content)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("element_type", [TensorProto.UNDEFINED, TensorProto.STRING])
def test_tensors_of_no_numbers_in_another_file(tmp_path: Path, element_type: int) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(1000))
    model = good()
    model.graph.initializer[0].data_type = element_type
    with pytest.raises(ModelError, match=r"without a type|of text in another file"):
        load_onnx(external(tmp_path / "a.onnx", "w.bin", model))


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of a process")
def test_more_files_of_weights_than_can_be_open_at_once(tmp_path: Path) -> None:
    import resource

    model = good()
    for number in range(200):
        tensor = model.graph.initializer.add(name=f"w{number}", data_type=1, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"{number}.bin")
        (tmp_path / f"{number}.bin").write_bytes(np.float32(number).tobytes())
    path = saved(tmp_path / "a.onnx", model)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))
    try:
        read = load_onnx(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    values = [numpy_helper.to_array(tensor).item() for tensor in read.graph.initializer[1:]]
    assert values == list(range(200))


def external(
    path: Path, location: str, model: onnx.ModelProto | None = None, /, **entries: str
) -> Path:
    model = model or good()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=value)
    return saved(path, model)


def test_weights_in_a_file_beside_the_graph_are_read(tmp_path: Path) -> None:
    data = np.arange(54, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(b"12345678" + data.tobytes())
    model = load_onnx(external(tmp_path / "a.onnx", "w.bin", offset="8", length="216"))
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]).ravel(), data)


@pytest.mark.parametrize(
    ("location", "entries"),
    [
        ("../w.bin", {}),
        ("{folder}/w.bin", {}),
        ("sub/../../w.bin", {}),
        ("link.bin", {}),
        ("round", {}),
        ("", {}),
        ("a\0b", {}),
        ("none.bin", {}),
        ("fifo", {}),
        ("short.bin", {}),
        ("inside.bin", {"offset": "-8"}),
        ("inside.bin", {"offset": "9" * 5000}),
        ("inside.bin", {"offset": "100"}),
        ("inside.bin", {"offset": "many"}),
    ],
)
def test_weights_elsewhere_are_not_read(
    tmp_path: Path, location: str, entries: dict[str, str]
) -> None:
    folder = tmp_path / "graph"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "w.bin", folder / "inside.bin"):
        place.write_bytes(bytes(216))
    (folder / "short.bin").write_bytes(bytes(215))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "round").symlink_to("round")
    os.mkfifo(folder / "fifo")
    path = external(folder / "a.onnx", location.format(folder=tmp_path), **entries)
    with pytest.raises(ModelError):
        load_onnx(path)
    assert describe_onnx(path).nodes == 2  # which reads no weights


def test_weights_that_lie_on_one_another_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(4 * 2**20))
    model = good()
    for number in range(2000):
        tensor = model.graph.initializer.add(name=f"w{number}", data_type=1, dims=[2**20])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="w.bin")
    with pytest.raises(ModelError, match=r"weights of .* bytes, of 4194304 in other files"):
        load_onnx(saved(tmp_path / "a.onnx", model))


def test_files_that_are_not_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").symlink_to("/dev/zero")
    for name, kind in (("a.onnx", "a FIFO"), ("b.onnx", "a character device"), ("", "a folder")):
        for read in (load_onnx, read_graph, describe_onnx):
            with pytest.raises(ModelError, match=kind):
                read(tmp_path / name)
    with (tmp_path / "c.onnx").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelError, match="1099511627776 bytes, of at most"):
        load_onnx(tmp_path / "c.onnx")
