"""Keeps the convolutions that decode heatmaps in FP32 where OpenVINO computes in BF16.

With an inference precision of BF16, OpenVINO lowers every convolution and what lies before the last
of them. The smoothing of DARK would then know a heatmap to three digits, and a landmark to several
pixels (10 px on random maps, OpenVINO 2026.4.1). A node that OpenVINO's own files call ``precise``
keeps its precision, and so does all that follows. Its Python interface cannot say that of a node,
but its reader of files can: so these nodes are read from a few lines of OpenVINO's format, and put
in the place of those of the graph. Nothing changes in FP32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mahtrt.openvino_core import shared_core
from mahtrt.spec import is_decoding

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_FORMAT = """<?xml version="1.0"?><net name="precise" version="11"><layers>
<layer id="0" name="data" type="Parameter" version="opset1"><data shape="{data}"
element_type="f32"/><output><port id="0" precision="FP32">{data_dims}</port></output></layer>
<layer id="1" name="weights" type="Parameter" version="opset1"><data shape="{weights}"
element_type="f32"/><output><port id="0" precision="FP32">{weight_dims}</port></output></layer>
<layer id="2" name="precise" type="{kind}" version="opset1"><data strides="{strides}"
pads_begin="{begin}" pads_end="{end}" dilations="{dilations}" auto_pad="explicit"/>
<rt_info><attribute name="precise" version="0"/></rt_info>
<input><port id="0" precision="FP32">{data_dims}</port>
<port id="1" precision="FP32">{weight_dims}</port></input>
<output><port id="2" precision="FP32">{out_dims}</port></output></layer>
<layer id="3" name="result" type="Result" version="opset1">
<input><port id="0" precision="FP32">{out_dims}</port></input></layer>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
</edges></net>"""


def keep_decoding_float32(model: Any) -> int:
    """Let the convolutions of a module that decodes stay FP32, in place.

    Args:
        model: An ``openvino.Model`` as read from ONNX, before it is saved or compiled.

    Returns:
        How many there are.
    """
    decoding = [
        op
        for op in model.get_ordered_ops()
        if op.get_type_name() in _CONVOLUTIONS and is_decoding(op.get_friendly_name())
    ]
    for op in decoding:
        precise = _precise_twin(op)
        for slot in (0, 1):
            precise.input(slot).replace_source_output(op.input_value(slot))
        for reader in list(op.output(0).get_target_inputs()):
            reader.replace_source_output(precise.output(0))
        precise.set_friendly_name(op.get_friendly_name())
    if decoding:
        model.validate_nodes_and_infer_types()
    return len(decoding)


def _precise_twin(op: Any) -> Any:
    """A node like a convolution, of other inputs, that keeps its precision."""
    settings = op.get_attributes()
    ports = (op.input_value(0), op.input_value(1), op.output(0))
    data, weights, out = (list(port.get_shape()) for port in ports)
    text = _FORMAT.format(
        kind=op.get_type_name(),
        data=_listed(data),
        weights=_listed(weights),
        data_dims=_dims(data),
        weight_dims=_dims(weights),
        out_dims=_dims(out),
        strides=_listed(settings["strides"]),
        begin=_listed(settings["pads_begin"]),
        end=_listed(settings["pads_end"]),
        dilations=_listed(settings["dilations"]),
    )
    model = shared_core().read_model(text.encode(), b"")
    return next(each for each in model.get_ops() if each.get_friendly_name() == "precise")


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _dims(shape: Sequence[int]) -> str:
    return "".join(f"<dim>{size}</dim>" for size in shape)
