"""ONNX and images to Q/DQ ONNX: ranges, plan, placement.

In the order of the work: ``plan.default_plan`` says what becomes INT8, ``qdq.tensors_to_calibrate``
which tensors that needs, ``ranges.collect_ranges`` looks at them on real images, ``qdq.quantize``
writes the graph. ``bf16.round_to_bf16`` shows BF16 numerics on any CPU.
"""
