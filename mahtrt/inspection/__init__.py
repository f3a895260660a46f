"""What is inside an ONNX graph, a bundle or a plan; :mod:`mahtrt.inspect` is the way in."""
