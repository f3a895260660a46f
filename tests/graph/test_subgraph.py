from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tiny_graphs import smooth_images

from mahtrt.errors import ModelError
from mahtrt.graph.graph_file import GraphFile
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.subgraph import boundary, downstream, extract, size_in_bytes, upstream


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.mark.parametrize("key", ["encoder.stem", "transformer.layers.0.mlp.up", "head.heatmaps"])
def test_prefix_and_suffix_make_the_whole(graph: GraphFile, key: str) -> None:
    index = GraphIndex(graph.proto)
    behind = downstream(index, [key])
    border = boundary(index, behind)
    made = [name for name in border if name in index.producer]
    image = {"image": smooth_images(1)[0][None]}
    feed = dict(image)
    if made:
        feed |= run(extract(index, upstream(index, made), made), image)
    part = extract(index, behind, ["landmarks", "heatmaps"])
    found = run(part, {name: feed[name] for name in border})
    whole = run(graph.proto, image)
    np.testing.assert_allclose(found["landmarks"], whole["landmarks"], atol=1e-4)
    assert len(part.graph.node) <= len(graph.proto.graph.node)


def test_a_part_holds_only_its_own_weights(graph: GraphFile) -> None:
    index = GraphIndex(graph.proto)
    part = extract(index, downstream(index, ["head.heatmaps"]), ["heatmaps"])
    assert {t.name for t in part.graph.initializer} < {
        t.name for t in graph.proto.graph.initializer
    }
    assert part.ByteSize() < graph.proto.ByteSize() / 10


def test_nodes_keep_their_keys_as_names(graph: GraphFile) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(graph.proto)
    for node in model.graph.node:
        node.name = ""
    index = GraphIndex(model)
    part = extract(index, downstream(index, [index.keys[0]]), ["heatmaps"])
    assert {n.name for n in part.graph.node} <= set(index.keys)


def test_sizes(graph: GraphFile) -> None:
    index = GraphIndex(graph.proto)
    assert size_in_bytes(index, "image") == 3 * 32 * 32 * 4
    with pytest.raises(ModelError, match="'nothing' without a static shape"):
        size_in_bytes(index, "nothing")
