"""An ONNX export and images become a Q/DQ graph: ranges, plan, placement of the Q/DQ pairs.

In the order of the work: ``plan.default_plan`` says what becomes INT8, ``qdq.tensors_to_calibrate``
which tensors that needs, ``ranges.collect_ranges`` looks at them on real images, ``qdq.quantize``
writes the graph; ``bias_correction`` and ``method_choice`` make it better, and ``card`` says what
it rests on.
"""
