"""A work-around for OpenVINO computing INT8 Concats wrongly on CPUs without AMX.

Where the quantisation of a signed INT8 activation can be moved in front of a Concat, OpenVINO
(seen in 2026.4.1, AVX2) moves it there and then loses its scale: values come out rounded to whole
numbers, silently. ONNX Runtime and plain arithmetic agree on the right result for the same file.
A maximum with the lowest float, which changes no value, keeps the quantisation behind the Concat;
then the results agree (tests/targets/openvino/test_openvino_guard.py). U-Net-like decoders
consist of such Concats, so every INT8 model for OpenVINO goes through this. The ONNX file stays
as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mahtrt.errors import require

# What OpenVINO does not move quantisation across.
_STOPS = frozenset(
    {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul", "Softmax", "Result"}
)


def keep_concats_float(model: Any) -> int:
    """Put an exact no-op behind each Concat that feeds a quantiser, in place.

    Args:
        model: An ``openvino.Model`` as read from ONNX, before it is saved or compiled.

    Returns:
        How many Concats were guarded.
    """
    ops: Any = require("openvino.opset13", extra="", needed_for="target openvino")
    concats = [
        op
        for op in model.get_ordered_ops()
        if op.get_type_name() == "Concat"
        and op.get_output_element_type(0).is_real()
        and _reaches_quantizer(op)
    ]
    for concat in concats:
        readers = list(concat.output(0).get_target_inputs())
        kind = concat.get_output_element_type(0).to_dtype()
        lowest = ops.constant(np.array(np.finfo(kind).min, kind))
        guard = ops.maximum(concat, lowest, name=f"{concat.get_friendly_name()}_guard")
        for reader in readers:
            reader.replace_source_output(guard.output(0))
    if concats:
        model.validate_nodes_and_infer_types()
    return len(concats)


def _reaches_quantizer(op: Any) -> bool:
    """Whether a FakeQuantize reads an operation, directly or through lighter ones."""
    stack, seen = [op], set()
    while stack:
        for output in stack.pop().outputs():
            for reader in output.get_target_inputs():
                node = reader.get_node()
                name, kind = node.get_friendly_name(), node.get_type_name()
                if kind == "FakeQuantize":
                    return True
                if name not in seen and kind not in _STOPS:
                    seen.add(name)
                    stack.append(node)
    return False
