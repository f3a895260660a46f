"""What the exporter noted about the machine it ran on."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import onnx_ir as ir


class StripMetadataPass:
    """Removes stack traces, doc strings and exporter notes; keeps ``mahtrt.*``.

    They hold source paths of the machine that exported, and are larger than a small network.
    """

    def __call__(self, model: ir.Model) -> int:
        removed = 0
        for metadata in _all_metadata(model):
            for key in [key for key in metadata if not key.startswith("mahtrt.")]:
                del metadata[key]
                removed += 1
        for holder in (model, model.graph, *model.graph):
            if holder.doc_string:
                holder.doc_string = None
                removed += 1
        return removed


def _all_metadata(model: ir.Model) -> Iterator[MutableMapping[str, str]]:
    graph = model.graph
    yield model.metadata_props
    yield graph.metadata_props
    for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
        yield value.metadata_props
    for node in graph:
        yield node.metadata_props
        for value in node.outputs:
            yield value.metadata_props
