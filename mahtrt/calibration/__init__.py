"""ONNX and images to Q/DQ and half-precision ONNX: ranges, plan, placement, types.

In the order of the work: ``plan.default_plan`` says what becomes INT8, ``qdq.tensors_to_calibrate``
which tensors that needs, ``ranges.collect_ranges`` looks at them on real images, ``qdq.quantize``
writes the graph; ``bias_correction``, ``equalize`` and ``method_choice`` make it better, and
``card`` says what it rests on. ``half.to_half`` gives FP16 and BF16 graphs, ``half_emulation``
their numerics on any CPU, ``finite`` looks at every intermediate; ``bf16.round_to_bf16`` is what a
CPU's BF16 does.
"""
