"""What is inside an ONNX graph, a bundle or a plan; :mod:`mahtrt.verbs.inspect` is the way in."""
